"""Queries, updates and conditions, driven by lists of events."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from aion_cli import ContinueAsNew, activity, query, update, wait_until, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from aion_cli.core.replay import Boundary
from aion_cli.errors import AionError, NonDeterminismError, PayloadError, UsageError
from tests.builders import (
    AnyWorkflow,
    at,
    cancel_requested,
    completed,
    divergence,
    ended,
    failure,
    fired,
    history,
    raw,
    replay_of,
    replayed,
    scheduled,
    started,
    timer,
)


@activity
async def charge(cents: int) -> str: ...


@workflow
async def cart(limit: int = 3) -> list[str]:
    items: list[str] = []

    @query
    def count(of: str = "") -> int:
        return len([item for item in items if item.startswith(of)])

    query("first", lambda: items[0])
    query("touchy", lambda: asyncio.get_running_loop().create_task(charge(1)) and None)

    @update
    async def add(item: str) -> int:
        items.append(item)
        return len(items)

    @add.validator
    def check(item: str) -> None:
        if not item:
            raise ValueError("an item needs a name")

    @update
    async def pay(cents: int) -> str:
        return await charge(cents)

    await wait_until(lambda: len(items) >= limit)
    return items


def requested(update_id: str, name: str, args: object) -> ev.UpdateRequested:
    return ev.UpdateRequested(update_id=update_id, name=name, args=raw(args))


def answered(update_id: str, result: object) -> ev.UpdateCompleted:
    return ev.UpdateCompleted(update_id=update_id, result=raw(result))


def answers(boundary: Boundary) -> dict[str, object]:
    """What the unmatched answers say, by update: results, or the kind and message of errors."""
    found: dict[str, object] = {}
    for command in boundary.unmatched:
        if isinstance(command, cmd.AnswerUpdate):
            if command.error is not None:
                found[command.key.update_id] = (command.error.kind, command.error.message)
            else:
                found[command.key.update_id] = msgspec.json.decode(bytes(command.result or msgspec.Raw(b"null")))
    return found


def asked(workflow_: AnyWorkflow, events: Sequence[ev.Event], name: str, args: object = None) -> object:
    replay = replay_of(workflow_, events)
    replay.run()
    try:
        answer: object = msgspec.json.decode(bytes(replay.execution.ask(name, None if args is None else raw(args))))
        return answer
    finally:
        replay.execution.close()


def test_an_update_is_answered_in_the_step_in_which_its_handler_returns() -> None:
    boundary = replayed(cart, history(started(3), requested("u1", "add", "apple")))
    assert answers(boundary) == {"u1": 1}


class Receipt(msgspec.Struct):
    cents: int
    currency: str = "EUR"


@workflow
async def till() -> None:
    @update
    async def pay(cents: int) -> Receipt:
        return Receipt(cents)

    await wait_until(lambda: False)


def test_a_field_with_a_default_may_be_added_to_an_answer_that_was_recorded() -> None:
    replayed(till, history(started(), requested("u1", "pay", 5), answered("u1", {"cents": 5})))
    with pytest.raises(NonDeterminismError) as caught:
        replayed(till, history(started(), requested("u1", "pay", 5), answered("u1", {"cents": 6})))
    assert (caught.value.recorded.input, caught.value.seq) == ('{"cents":6}', 3)


@workflow
async def offers_ways_out() -> None:
    @update
    async def go_on() -> None:
        raise ContinueAsNew()

    @update
    async def leave() -> None:
        raise SystemExit(3)

    @update
    async def go_on_in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_with(ContinueAsNew()))

    @update
    async def enter() -> None: ...

    @enter.validator
    def check() -> None:  # pyright: ignore[reportUnusedFunction] - the decorator keeps it
        raise SystemExit(4)

    await wait_until(lambda: False)


async def fails_with(error: BaseException) -> None:
    raise error


def test_an_update_that_tries_to_end_its_run_has_failed_and_is_answered() -> None:
    names = ["go_on", "leave", "go_on_in_a_group", "enter"]
    asked_for = [requested(f"u{n}", name, None) for n, name in enumerate(names, start=1)]
    assert answers(replayed(offers_ways_out, history(started(), *asked_for))) == {
        "u1": (
            ErrorKind.ERROR,
            "an update cannot continue its run as new; let it change what the workflow waits for, which can",
        ),
        "u2": (ErrorKind.ERROR, "3"),
        "u3": (ErrorKind.ERROR, "unhandled errors in a TaskGroup (1 sub-exception): ContinueAsNew: "),
        "u4": (ErrorKind.REJECTED, "4"),
    }


@pytest.mark.parametrize("ends", ["returns", "raises", "awaits"])
def test_an_update_whose_handler_resists_the_end_of_its_run_is_carried_over(ends: str) -> None:
    @workflow
    async def moves_on() -> None:
        @update
        async def pay() -> None:
            try:
                await asyncio.sleep(3600)
            except BaseException:  # noqa: BLE001 - what is tested
                if ends == "awaits":
                    await asyncio.sleep(1)
                if ends == "raises":
                    raise ValueError from None

        await asyncio.sleep(1)
        raise ContinueAsNew()

    asked_for = [timer(0, at(1)), requested("u1", "pay", None), timer(1, at(3602))]
    replay = replay_of(moves_on, history(started(), *asked_for, fired(0)))
    replay.run()
    assert [event.seq for event in replay.execution.unconsumed()] == [3]


def test_a_recorded_answer_is_matched_and_changes_the_state_again() -> None:
    events = history(started(3), requested("u1", "add", "apple"), answered("u1", 1), requested("u2", "add", "fig"))
    assert answers(replayed(cart, events)) == {"u2": 2}


def test_another_answer_than_the_recorded_one_is_a_divergence() -> None:
    events = history(started(3), requested("u1", "add", "apple"), answered("u1", 7))
    assert divergence(cart, events).seq == 3


def test_an_update_that_runs_an_activity_is_answered_when_that_has_ended() -> None:
    begun = history(started(3), requested("u1", "pay", 5), scheduled(0, "charge", 5))
    assert answers(replayed(cart, begun)) == {}
    assert answers(replayed(cart, [*begun, *history(*begun, completed(0, "r5"))[-1:]])) == {"u1": "r5"}


@pytest.mark.parametrize(("name", "args", "why"), [("add", "", "an item needs a name"), ("add", 3, "str")])
def test_an_update_that_does_not_pass_its_checks_is_rejected_and_changes_nothing(
    name: str, args: object, why: str
) -> None:
    events = history(started(3), requested("u1", name, args))
    kind, message = cast("tuple[ErrorKind, str]", answers(replayed(cart, events))["u1"])
    assert kind is ErrorKind.REJECTED
    assert why in message
    assert asked(cart, events, "count") == 0


def test_an_update_that_comes_before_its_handler_is_declared_waits_for_it() -> None:
    @workflow
    async def late() -> None:
        await asyncio.sleep(1)

        @update
        async def add(item: str) -> str:
            return item

        await asyncio.sleep(10)

    early = history(started(), timer(0, at(1)), requested("u1", "add", "apple"))
    assert answers(replayed(late, early)) == {}
    declared = history(*early, fired(0))
    assert answers(replayed(late, declared)) == {"u1": "apple"}


def test_an_unanswered_update_is_carried_over_and_an_answered_one_is_not() -> None:
    events = history(
        started(3), requested("u1", "add", "a"), answered("u1", 1), requested("u2", "pay", 5), scheduled(0, "charge", 5)
    )
    replay = replay_of(cart, events)
    replay.run()
    assert [event.seq for event in replay.execution.unconsumed()] == [4]
    replay.execution.close()


def test_a_handler_that_is_cancelled_with_the_run_answers_nothing_after_the_end() -> None:
    events = history(started(3), requested("u1", "pay", 5), scheduled(0, "charge", 5), cancel_requested())
    boundary = replayed(cart, events)
    assert [type(command) for command in boundary.unmatched] == [cmd.CompleteWorkflow]


def test_wait_until_goes_on_in_the_step_that_makes_it_true() -> None:
    events = history(started(1), requested("u1", "add", "apple"), answered("u1", 1), ended(["apple"]))
    assert replayed(cart, events).closed_by is not None


def test_what_a_predicate_raises_is_raised_by_wait_until() -> None:
    @workflow
    async def broken() -> str:
        ready: dict[str, bool] = {"go": False}

        @update
        async def forget() -> None:
            ready.clear()

        try:
            await wait_until(lambda: ready["go"])
        except KeyError:
            return "caught"
        return "never"

    events = history(started(), requested("u1", "forget", None))
    outcome = [
        command.outcome for command in replayed(broken, events).unmatched if isinstance(command, cmd.CompleteWorkflow)
    ]
    assert outcome == [cmd.Completed(raw("caught"))]


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), ContinueAsNew()])
def test_a_predicate_that_raises_what_no_future_takes_fails_the_code_that_waits(error: BaseException) -> None:
    @workflow
    async def broken() -> None:
        ready: list[bool] = []

        @update
        async def forget() -> None:
            ready.append(False)

        def predicate() -> bool:
            if ready:
                raise error
            return False

        await wait_until(predicate)

    events = history(started(), requested("u1", "forget", None))
    outcome = [
        command.outcome for command in replayed(broken, events).unmatched if isinstance(command, cmd.CompleteWorkflow)
    ]
    assert len(outcome) == 1
    assert isinstance(outcome[0], cmd.Continued if isinstance(error, ContinueAsNew) else cmd.Failed)


def test_a_query_is_answered_as_of_the_end_of_a_history_open_or_closed() -> None:
    opened = history(started(2), requested("u1", "add", "apple"), answered("u1", 1))
    assert asked(cart, opened, "count") == 1
    assert asked(cart, opened, "count", "f") == 0
    closed = history(*opened, requested("u2", "add", "fig"), answered("u2", 2), ended(["apple", "fig"]))
    assert asked(cart, closed, "count", "f") == 1
    assert asked(cart, closed, "first") == "apple"


def test_a_query_that_tries_to_act_is_an_error_and_changes_nothing() -> None:
    @workflow
    async def tempted() -> None:
        async def act() -> str:
            return await charge(1)

        query("act", lambda: act().send(None))
        await asyncio.sleep(1)

    with pytest.raises(AionError, match="a query tried to change its run"):
        asked(tempted, history(started(), timer(0, at(1))), "act")


async def later(item: str) -> None:
    raise ValueError(item)


def takes_two(item: str, count: int) -> None:
    raise ValueError(item, count)


@pytest.mark.parametrize(
    ("validator", "said"),
    [
        (later, "the validator of update add is an `async def` function"),
        (partial(later), "the validator of update add is an `async def` function"),
        (takes_two, "the validator of update add does not take what the update takes: missing a required argument"),
        (lambda: None, "the validator of update add does not take what the update takes: too many positional"),
        (5, "the validator of update add is 5, it must be a function"),
    ],
)
def test_a_validator_that_cannot_check_is_refused_where_it_is_declared(validator: Any, said: str) -> None:
    @workflow
    async def wrong() -> str:
        @update
        async def add(item: str, *, note: str = "") -> str:
            return item + note

        try:
            add.validator(validator)
        except UsageError as error:
            return error.message
        return "accepted"

    (end,) = replayed(wrong, history(started())).unmatched
    assert isinstance(end, cmd.CompleteWorkflow) and isinstance(end.outcome, cmd.Completed)
    assert msgspec.json.decode(end.outcome.result).startswith(said)


def test_a_validator_that_has_to_be_awaited_lets_nothing_through() -> None:
    class Later:
        async def __call__(self, item: str) -> None:
            raise ValueError(item)

    @workflow
    async def wrong() -> None:
        @update
        async def add(item: str) -> str:
            return item

        validator: Any = Later()  # its call is `async def`, which `inspect` does not see
        add.validator(validator)
        await wait_until(lambda: False)

    (answer,) = replayed(wrong, history(started(), requested("u1", "add", "x"))).unmatched
    assert isinstance(answer, cmd.AnswerUpdate) and answer.error is not None
    assert "has to be awaited" in answer.error.message


def test_a_bare_value_for_several_parameters_is_told_what_they_are() -> None:
    @workflow
    async def shop() -> None:
        @update
        async def add(item: str, count: int) -> None: ...

        def priced(item: str, count: int) -> None: ...

        query("priced", priced)
        await wait_until(lambda: False)

    events = history(started(), requested("u1", "add", "fig"))
    (answer,) = replayed(shop, events).unmatched
    assert isinstance(answer, cmd.AnswerUpdate) and answer.error is not None
    said = "takes an object of its parameters: item, count"
    assert any(note.startswith("hint:") and note.endswith(said) for note in answer.error.notes)
    with pytest.raises(PayloadError) as caught:
        asked(shop, history(started()), "priced", 5)
    assert caught.value.hint.endswith(said)


def test_an_async_query_and_a_plain_update_are_refused_where_they_are_declared() -> None:
    @workflow
    async def wrong(which: str) -> str:
        try:
            if which == "query":

                @query
                async def status() -> int:
                    return 1

            else:

                @update  # pyright: ignore[reportArgumentType] - what is tested
                def change() -> int:
                    return 1

        except UsageError as error:
            return error.message
        return "accepted"

    for which in ("query", "update"):
        (command,) = replayed(wrong, history(started(which))).unmatched
        assert isinstance(command, cmd.CompleteWorkflow)
        assert isinstance(command.outcome, cmd.Completed)
        assert b"async def" in bytes(command.outcome.result)


def test_a_failed_update_is_matched_by_kind_and_class_of_its_error() -> None:
    rejected = ev.UpdateFailed(update_id="u1", error=failure("ValueError", "in other words", ErrorKind.REJECTED))
    assert replayed(cart, history(started(3), requested("u1", "add", ""), rejected)).unmatched == []
    other = ev.UpdateFailed(update_id="u1", error=failure("KeyError", "?", ErrorKind.REJECTED))
    assert divergence(cart, history(started(3), requested("u1", "add", ""), other)).seq == 3
