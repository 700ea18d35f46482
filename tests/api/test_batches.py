"""Many activities, a few at a time."""

from __future__ import annotations

from aion_cli import activity, map_activities, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from tests.builders import completed, ended, failed, history, replayed, scheduled, started


@activity
async def double(n: int) -> int: ...


@workflow
async def batch(items: list[int], limit: int) -> list[int]:
    return await map_activities(double, items, limit=limit)


def begun(items: list[int], limit: int) -> ev.WorkflowStarted:
    return started({"items": items, "limit": limit})


def asked(*events: ev.Event) -> list[str]:
    return [
        f"{type(command).__name__} {getattr(command.key, 'ordinal', '')}".strip()
        for command in replayed(batch, history(*events)).unmatched
    ]


def test_no_more_than_the_limit_run_at_once() -> None:
    assert asked(begun([1, 2, 3], 2)) == ["RunActivity 0", "RunActivity 1"]


def test_the_next_begins_when_one_ends_whichever_it_is() -> None:
    first = [begun([1, 2, 3], 2), scheduled(0, "double", 1), scheduled(1, "double", 2)]
    assert asked(*first, completed(1, 4)) == ["RunActivity 2"]


def test_results_are_in_the_order_of_the_items() -> None:
    events = history(
        begun([1, 2, 3], 2),
        scheduled(0, "double", 1),
        scheduled(1, "double", 2),
        completed(1, 4),
        scheduled(2, "double", 3),
        completed(2, 6),
        completed(0, 2),
        ended([2, 4, 6]),
    )
    assert replayed(batch, events).closed_by is not None


def test_a_failure_cancels_what_is_in_flight_and_begins_nothing_more() -> None:
    first = [begun([1, 2, 3], 2), scheduled(0, "double", 1), scheduled(1, "double", 2)]
    assert asked(*first, failed(0)) == ["CancelActivity 1", "CompleteWorkflow"]


def test_no_items_ask_for_nothing() -> None:
    (end,) = replayed(batch, history(begun([], 2))).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)


def test_a_limit_below_one_fails_the_run() -> None:
    (end,) = replayed(batch, history(begun([1], 0))).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Failed)


def test_the_failure_of_an_item_says_which_one_it_is() -> None:
    events = history(begun([1, 2, 3], 2), scheduled(0, "double", 1), scheduled(1, "double", 2), failed(1))
    (end,) = (c for c in replayed(batch, events).unmatched if isinstance(c, cmd.CompleteWorkflow))
    assert isinstance(end.outcome, cmd.Failed)
    assert end.outcome.error.notes == ["it was raised for items[1] of 3 in map_activities"]
