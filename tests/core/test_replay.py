"""A history against code that matches it, up to its end or its resume-live boundary."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from aion_cli import ContinueAsNew, activity, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import ErrorKind
from aion_cli.core.replay import Replay
from aion_cli.errors import HistoryShapeError, NonDeterminismError, Step
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    child,
    completed,
    divergence,
    ended,
    ended_in,
    failed,
    failure,
    fired,
    history,
    raw,
    replay_of,
    replayed,
    scheduled,
    signal,
    started,
    timer,
    when,
)
from tests.core.orders import FAILS, WHOLE, Order, bill, charge, failing, go, order, ship, unmatched

# --- what matches


def test_a_whole_history_replays_clean() -> None:
    boundary = replayed(order, history(*WHOLE))
    assert (boundary.unmatched, type(boundary.closed_by)) == ([], ev.WorkflowCompleted)
    assert (boundary.events, boundary.last_seq, boundary.recorded_at) == (10, 10, at(67))


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_every_prefix_of_a_history_replays_up_to_its_boundary(length: int) -> None:
    boundary = replayed(order, history(*WHOLE[:length]))
    missing = {1: ["RunActivity"], 4: ["StartTimer"], 6: ["RunActivity"], 9: ["CompleteWorkflow"]}
    assert [type(command).__name__ for command in boundary.unmatched] == missing.get(length, [])
    assert boundary.closed_by is None
    assert boundary.last_seq == length


def test_commands_of_one_activation_are_matched_in_their_order() -> None:
    @workflow
    async def both() -> tuple[object, object]:
        return await asyncio.gather(charge("A1"), bill("A2"))

    events = [started(), scheduled(0, "charge", "A1"), scheduled(1, "bill", "A2")]
    assert unmatched(both, *events) == []
    assert len(unmatched(both, *events[:2])) == 1
    assert type(replayed(both, history(*events, completed(1, 5), completed(0, "r"), ended(["r", 5]))).closed_by)


def test_what_came_from_outside_may_stand_between_a_command_and_its_event() -> None:
    @workflow
    async def listens() -> tuple[object, object]:
        return await asyncio.gather(charge("A1"), go.receive())

    # The process died after it began, before it recorded the activity; a signaller appended meanwhile.
    boundary = replayed(
        listens,
        history(
            started(),
            signal("go", 5),
            ev.WorkflowPaused(),
            ev.TagsSet(tags={"vip": "yes"}),
            ev.WorkflowResumed(),
            scheduled(0, "charge", "A1"),
            completed(0, "r1"),
            ended(["r1", 5]),
        ),
    )
    assert isinstance(boundary.closed_by, ev.WorkflowCompleted)
    assert boundary.tags == {"vip": "yes"}


def test_what_came_from_outside_may_bring_commands_before_the_earlier_ones_are_recorded() -> None:
    events = [started("A1"), cancel_requested(), scheduled(0, "charge", "A1"), activity_cancelled(0)]
    assert unmatched(order, *events, ev.WorkflowCancelled()) == []
    left = unmatched(order, *events[:2])
    assert [type(command) for command in left] == [cmd.RunActivity, cmd.CancelActivity, cmd.CompleteWorkflow]


def test_attempts_are_not_the_codes_business() -> None:
    events = [
        started("A1"),
        scheduled(0, "charge", "A1"),
        attempted(0),
        failed(0, again_at=at(9)),
        attempted(0, 2),
        ev.ActivityHeartbeat(activity_id=0, attempt=2, details=raw("half")),
        completed(0, "r1"),
    ]
    assert [type(command) for command in unmatched(order, *events)] == [cmd.StartTimer]


def test_options_and_ids_that_the_runtime_made_are_not_compared() -> None:
    @workflow
    async def family() -> str:
        await charge.options(timeout=5)("A1")
        return await ship("A1")

    retimed = msgspec.structs.replace(scheduled(0, "charge", "A1"), options={"timeout_s": 99.0})
    assert unmatched(family, started(), retimed, completed(0, "r"), child(0, "ship", "A1", "some-id")) == []


def test_input_with_a_field_more_that_has_a_default_is_the_same_input() -> None:
    @activity
    def pick(order: Order) -> None:
        raise AssertionError(order)

    @workflow
    async def picks(order: Order) -> None:
        await pick(order)

    events = [started({"sku": "A1"}), scheduled(0, "pick", {"sku": "A1"})]
    assert unmatched(picks, *events) == []
    error = divergence(picks, history(events[0], scheduled(0, "pick", {"sku": "A2"})))
    assert error.requested == Step("activity", "pick", "0", '{"sku":"A1","express":false}')


def test_an_arrival_that_nobody_waits_for_any_more_is_a_no_op() -> None:
    @workflow
    async def gives_up() -> int:
        task = asyncio.create_task(charge("A1"))
        await go.receive()
        task.cancel()
        return await go.receive()

    events = [started(), scheduled(0, "charge", "A1"), signal("go", 1), activity_cancelled(0), completed(0, "late")]
    assert unmatched(gives_up, *events) == []
    assert [type(c) for c in unmatched(gives_up, *events, signal("go", 2))] == [cmd.CompleteWorkflow]


# --- closing, and after


@pytest.mark.parametrize("end", [ev.WorkflowTerminated(reason="r"), ev.WorkflowTimedOut(timeout_s=5.0)])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 6, 9])
def test_termination_closes_a_run_at_any_moment_and_matches_no_command(end: ev.Event, length: int) -> None:
    boundary = replayed(order, history(*WHOLE[:length], end))
    assert type(boundary.closed_by) is type(end)


@pytest.mark.parametrize("until_its_end", [WHOLE, [*WHOLE[:8], ev.WorkflowTerminated()]], ids=["its own", "terminated"])
@pytest.mark.parametrize("late", [signal("go", 1), completed(1, 7), scheduled(2, "bill"), ended("r1")])
def test_nothing_but_a_reopen_may_follow_the_end(until_its_end: list[ev.Event], late: ev.Event) -> None:
    with pytest.raises(HistoryShapeError, match=f"stands after the run was closed at {len(until_its_end)}"):
        replayed(order, history(*until_its_end, late))


def test_a_history_begins_with_its_start() -> None:
    for events in ([], history(signal("go", 1))):
        with pytest.raises(HistoryShapeError, match="begins with WorkflowStarted"):
            Replay(HistoryCursor(events), order)


def test_an_answer_to_what_was_never_asked_is_nonsense() -> None:
    with pytest.raises(HistoryShapeError, match="never asked for"):
        replayed(order, history(started("A1"), scheduled(0, "charge", "A1"), completed(5, "r")))


def test_pauses_are_known_at_the_boundary() -> None:
    paused = [started("A1"), scheduled(0, "charge", "A1"), ev.WorkflowPaused()]
    assert replayed(order, history(*paused)).paused
    assert not replayed(order, history(*paused, ev.WorkflowResumed())).paused


def test_a_cancelled_run_replays_as_cancelled() -> None:
    events = [started("A1"), scheduled(0, "charge", "A1"), cancel_requested(reason="why"), activity_cancelled(0)]
    assert replayed(order, history(*events, ev.WorkflowCancelled(reason="why"))).closed_by
    assert divergence(failing(asyncio.CancelledError()), history(*FAILS, ev.WorkflowCancelled())).seq == 4
    failed_as_cancelled = ended_in(failure("CancelledError", kind=ErrorKind.CANCELLED))
    assert replayed(failing(asyncio.CancelledError()), history(*FAILS, failed_as_cancelled)).closed_by


# --- continue as new


def test_a_run_that_continues_ends_and_the_next_file_counts_from_zero() -> None:
    @workflow
    async def loops(n: int) -> int:
        await charge("a")
        await asyncio.sleep(10)
        if n:
            raise ContinueAsNew(n - 1)
        return n

    def one_file(n: int, end: ev.Event, **fields: Any) -> list[ev.Event]:
        begun = [scheduled(0, "charge", "a"), completed(0, "r"), timer(0, at(12)), when(12, fired(0))]
        return history(started(n, **fields), *begun, end)

    first = one_file(1, ev.WorkflowContinuedAsNew(input=raw(0), new_run_id="r1@2"))
    assert isinstance(replayed(loops, first).closed_by, ev.WorkflowContinuedAsNew)
    second = one_file(0, ended(0), run_id="r1@2", continued_from="r1")
    assert isinstance(replayed(loops, second).closed_by, ev.WorkflowCompleted)
    assert divergence(loops, one_file(1, ev.WorkflowContinuedAsNew(input=raw(1), new_run_id="r1@2"))).seq == 6


# --- the driver itself


def test_an_observer_sees_every_event_with_the_command_it_was_matched_with() -> None:
    seen: list[tuple[int, str | None]] = []

    def observe(event: ev.Event, command: cmd.AnyCommand | None) -> None:
        seen.append((event.seq, None if command is None else type(command).__name__))

    replay = replay_of(order, history(*WHOLE))
    replay.run(observe)
    replay.execution.close()
    matched = {2: "RunActivity", 5: "StartTimer", 7: "RunActivity", 10: "CompleteWorkflow"}
    assert seen == [(seq, matched.get(seq)) for seq in range(1, 11)]


def test_replay_never_calls_what_an_activity_would_do() -> None:
    # charge, bill and ship raise AssertionError if they run; this is the oracle of every test above.
    for fn in (charge.fn, bill.fn):
        with pytest.raises(AssertionError):
            fn("A1")


def test_a_history_replays_the_same_however_often() -> None:
    errors = {str(divergence(failing(ValueError("v")), history(*WHOLE)).requested) for _ in range(5)}
    assert len(errors) == 1


def test_a_divergence_leaves_nothing_running() -> None:
    log: list[str] = []

    @workflow
    async def cleans(sku: str) -> None:
        try:
            await bill(sku)
        finally:
            log.append("closed")

    replay = replay_of(cleans, history(*WHOLE))
    with pytest.raises(NonDeterminismError):
        replay.run()
    assert log == []
    replay.execution.close()
    assert log == ["closed"]
