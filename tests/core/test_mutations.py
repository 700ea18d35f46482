"""What a changed workflow is told about its history, with lists of events: which event, which command, which line."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from aion_cli import Signal, activity, send_signal, workflow
from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.errors import Step
from tests.builders import (
    activity_cancelled,
    at,
    child,
    child_completed,
    completed,
    divergence,
    ended,
    ended_in,
    failed,
    failure,
    fired,
    history,
    line_of,
    replayed,
    scheduled,
    send,
    signal,
    started,
    timer,
    timer_cancelled,
    when,
)

AnyWorkflow = WorkflowDefinition[..., Any]
go = Signal("go", int)


@activity
async def charge(cents: int) -> str: ...


@activity
async def bill(cents: int) -> str: ...


@activity
async def ship(receipt: str) -> str: ...


@workflow
async def pack(cents: int) -> str: ...


@workflow
async def charge_then_ship(cents: int) -> str:
    receipt = await charge(cents)
    return await ship(receipt)


CHARGED = (started(5), scheduled(0, "charge", 5), completed(0, "r1"))
SHIPPED = (*CHARGED, scheduled(1, "ship", "r1"), completed(1, "t1"))

CHARGE = Step("activity", "charge", "0", "5")
SHIP = Step("activity", "ship", "1", '"r1"')


def told(of: AnyWorkflow, *events: ev.Event) -> tuple[int, Step, Step | None, str]:
    """Replay events over code that does not match them. The line is counted from the `def` of the code."""
    error = divergence(of, history(*events))
    file, _, line = error.source.rpartition(":")
    assert file == of.fn.__code__.co_filename
    return error.seq, error.recorded, error.requested, f"+{int(line) - of.fn.__code__.co_firstlineno - 1}"


def test_the_same_code_matches_at_every_length() -> None:
    whole = history(*SHIPPED, ended("t1"))
    for length in range(1, len(whole) + 1):
        assert replayed(charge_then_ship, whole[:length]).last_seq == length


def test_an_activity_that_was_renamed() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return await bill(cents)

    assert told(mutated, *CHARGED) == (2, CHARGE, Step("activity", "bill", "0", "5"), "+1")


def test_two_activities_that_were_swapped() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        shipped = await ship("r1")
        return shipped + await charge(cents)

    assert told(mutated, *SHIPPED) == (2, CHARGE, Step("activity", "ship", "0", '"r1"'), "+1")


def test_an_activity_that_was_removed() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return await ship("r1")

    assert told(mutated, *SHIPPED) == (2, CHARGE, Step("activity", "ship", "0", '"r1"'), "+1")


def test_an_activity_that_was_added() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        receipt = await charge(cents)
        await bill(cents)
        return await ship(receipt)

    assert told(mutated, *SHIPPED) == (4, SHIP, Step("activity", "bill", "1", "5"), "+2")


def test_an_input_that_changed() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return await charge(cents + 1)

    assert told(mutated, *CHARGED) == (2, CHARGE, Step("activity", "charge", "0", "6"), "+1")


def test_a_sleep_that_became_a_signal() -> None:
    @workflow
    async def mutated() -> None:
        await go.receive()

    events = (started(), timer(0, at(60)), when(60, fired(0)), ended())
    assert told(mutated, *events) == (2, Step("timer", "", "0", at(60)), Step("wait for signal", "go", "0"), "+1")


def test_a_signal_that_became_a_sleep() -> None:
    @workflow
    async def mutated() -> int:
        await asyncio.sleep(60)
        return 1

    events = (started(), signal("go", 1), ended(1))
    assert told(mutated, *events) == (3, Step("completion", "", "", "1"), Step("timer", "", "0", at(60)), "+1")


def test_a_timer_that_takes_longer() -> None:
    @workflow
    async def mutated() -> None:
        await asyncio.sleep(61)

    events = (started(), timer(0, at(60)))
    assert told(mutated, *events) == (2, Step("timer", "", "0", at(60)), Step("timer", "", "0", at(61)), "+1")


def test_code_that_ends_early() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return await charge(cents)

    assert told(mutated, *SHIPPED) == (4, SHIP, Step("completion", "", "", '"r1"'), "+1")


def test_code_that_ends_early_while_the_history_is_open() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return str(cents)

    assert told(mutated, *CHARGED) == (2, CHARGE, Step("completion", "", "", '"5"'), "+1")


def test_code_that_goes_on_too_long() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        tracking = await ship(await charge(cents))
        await bill(cents)
        return tracking

    events = (*SHIPPED, ended("t1"))
    completion = Step("completion", "", "", '"t1"')
    assert told(mutated, *events) == (6, completion, Step("activity", "bill", "2", "5"), "+2")


def test_code_that_waits_where_the_history_ended() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        tracking = await ship(await charge(cents))
        await asyncio.Event().wait()
        return tracking

    assert told(mutated, *SHIPPED, ended("t1")) == (6, Step("completion", "", "", '"t1"'), None, "+2")


def test_code_that_waits_for_what_it_has_asked_for_already() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        charging = asyncio.create_task(charge(cents))
        return await charging

    events = (started(5), scheduled(0, "charge", 5), scheduled(1, "ship", "r1"))
    assert told(mutated, *events) == (3, SHIP, Step("wait for activity", "charge", "0"), "+1")


def test_sequential_code_that_became_parallel() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        results = await asyncio.gather(
            charge(cents),
            ship("r1"),
        )
        return results[1]

    assert told(mutated, *SHIPPED) == (3, Step("outcome of activity", "charge", "0"), SHIP, "+3")


def test_parallel_code_that_became_sequential() -> None:
    events = (started(5), scheduled(0, "charge", 5), scheduled(1, "ship", "r1"), completed(0, "r1"))
    assert told(charge_then_ship, *events) == (3, SHIP, Step("wait for activity", "charge", "0"), "+1")


def test_a_child_that_became_an_activity_and_back() -> None:
    @workflow
    async def parent(cents: int) -> str:
        return await pack(cents)

    spawned = Step("child workflow", "pack", "0", "5")
    events = (started(5), child(0, "pack", 5), child_completed(0, "box"))
    assert told(charge_then_ship, *events) == (2, spawned, CHARGE, "+1")
    assert told(parent, *CHARGED) == (2, CHARGE, spawned, "+1")


def test_a_result_that_changed() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return await ship(await charge(cents)) + "!"

    events = (*SHIPPED, ended("t1"))
    assert told(mutated, *events) == (
        6,
        Step("completion", "", "", '"t1"'),
        Step("completion", "", "", '"t1!"'),
        "+1",
    )


def test_a_run_that_failed_and_now_completes_and_the_other_way_round() -> None:
    @workflow
    async def fails(cents: int) -> str:
        raise ValueError(f"{cents} is too little")

    @workflow
    async def completes(cents: int) -> str:
        return "enough"

    broken = Step("failure", "ValueError", "", "5 is too little")
    enough = Step("completion", "", "", '"enough"')
    error = failure("ValueError", "5 is too little")
    assert told(completes, started(5), ended_in(error)) == (2, broken, enough, "+1")
    assert told(fails, started(5), ended("enough")) == (2, enough, broken, "+1")


def test_the_message_of_a_failure_may_change_and_its_class_may_not() -> None:
    @workflow
    async def fails(cents: int) -> str:
        raise ValueError(f"{cents} is too little")

    replayed(fails, history(started(5), ended_in(failure("ValueError", "another text"))))
    assert divergence(fails, history(started(5), ended_in(failure("KeyError", "5 is too little")))).seq == 2


def test_an_activity_whose_failure_is_no_longer_caught() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        return await charge(cents)

    events = (started(5), scheduled(0, "charge", 5), failed(0, failure("Declined", "no")), scheduled(1, "bill", 5))
    recorded = Step("activity", "bill", "1", "5")
    assert told(mutated, *events) == (4, recorded, Step("failure", "Declined", "", "no"), "+1")


def test_a_deadline_that_was_taken_away() -> None:
    @workflow
    async def timed(cents: int) -> str:
        async with asyncio.timeout(60):
            return await charge(cents)

    @workflow
    async def untimed(cents: int) -> str:
        return await charge(cents)

    events = (started(5), timer(0, at(60)), scheduled(0, "charge", 5), completed(0, "r1"), timer_cancelled(0))
    replayed(timed, history(*events, ended("r1")))
    assert told(untimed, *events) == (2, Step("timer", "", "0", at(60)), CHARGE, "+1")


def test_a_cancellation_that_the_code_no_longer_asks_for() -> None:
    @workflow
    async def mutated(cents: int) -> str:
        charging = asyncio.ensure_future(charge(cents))
        await go.receive()
        return await charging

    events = (started(5), scheduled(0, "charge", 5), signal("go", 1), activity_cancelled(0), ended("gone"))
    recorded = Step("cancellation of activity", "charge", "0")
    assert told(mutated, *events) == (4, recorded, Step("wait for activity", "charge", "0"), "+1")


def test_a_signal_that_goes_to_another_run() -> None:
    @workflow
    async def mutated() -> None:
        await send_signal("order-8", go, 1)

    recorded = Step("signal", "go to order-7", "0", "1")
    requested = Step("signal", "go to order-8", "0", "1")
    assert told(mutated, started(), send(0, "order-7", "go", 1)) == (2, recorded, requested, "+1")


def test_a_message_may_stand_between_a_command_and_its_event_and_an_answer_may_not() -> None:
    @workflow
    async def two(cents: int) -> None:
        await asyncio.gather(charge(cents), ship("r1"))

    asked = (started(5), scheduled(0, "charge", 5))
    replayed(two, history(*asked, signal("go", 1), scheduled(1, "ship", "r1")))
    error = divergence(two, history(*asked, completed(0, "r1"), scheduled(1, "ship", "r1")))
    assert (error.seq, error.recorded, error.requested) == (3, Step("outcome of activity", "charge", "0"), SHIP)


class Old(msgspec.Struct):
    sku: str


class New(msgspec.Struct):
    sku: str
    rush: bool = False


class Stricter(msgspec.Struct):
    sku: str
    rush: bool


def order_with(type: Any) -> AnyWorkflow:
    async def reserve(order: Any) -> None: ...

    reserve.__annotations__["order"] = type
    reserving = activity(reserve)

    @workflow
    async def order() -> None:
        await reserving(msgspec.convert({"sku": "A1", "rush": False}, type))

    return order


def test_a_field_with_a_default_may_be_added_to_an_input_and_one_without_may_not() -> None:
    events = history(started(), scheduled(0, "reserve", {"sku": "A1"}))
    for type in (Old, New):
        replayed(order_with(type), events)
    error = divergence(order_with(Stricter), events)
    assert (error.seq, error.requested) == (2, Step("activity", "reserve", "0", '{"sku":"A1","rush":false}'))


def test_a_recorded_result_that_does_not_fit_todays_types() -> None:
    error = divergence(charge_then_ship, history(started(5), scheduled(0, "charge", 5), completed(0, 7)))
    assert (error.seq, error.requested, error.source) == (3, CHARGE, line_of(charge_then_ship.fn, 2))
    assert error.hint.startswith("what is recorded does not fit the types of today's code: Expected `str`, got `int`")


def test_a_workflow_cannot_swallow_a_divergence() -> None:
    @workflow
    async def swallows(cents: int) -> str:
        try:
            return await bill(cents)
        except BaseException:  # noqa: BLE001 - the worst that an author may write
            return "fine"

    assert told(swallows, *CHARGED) == (2, CHARGE, Step("activity", "bill", "0", "5"), "+2")


@pytest.mark.parametrize("length", range(2, 6))
def test_the_last_event_that_agreed_is_named(length: int) -> None:
    @workflow
    async def mutated(cents: int) -> str:
        receipt = await charge(cents)
        await asyncio.sleep(0)
        return await ship(receipt + "!")

    events = history(*SHIPPED)[:length]
    if length < 4:
        replayed(mutated, events)
    else:
        assert divergence(mutated, events).last_match == 2
