"""Signals inside a run: buffered, in file order, first come first served."""

from __future__ import annotations

import asyncio

import msgspec

from aion_cli import (
    ContinueAsNew,
    workflow,
)
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from tests.builders import (
    at,
    completed,
    fired,
    signal,
)
from tests.core.stepping import Stepping, charge, failure_in, go, result_of, stop


@workflow
async def takes_three() -> list[int]:
    return [await go.receive() for _ in range(3)]


def test_signals_are_buffered_before_anyone_listens_and_taken_in_file_order() -> None:
    @workflow
    async def busy_first() -> list[int]:
        await charge("A1")
        return [await go.receive(), await stop.receive(), await go.receive()]

    run = Stepping(busy_first)
    for event in (signal("go", 1), signal("go", 2), signal("stop", 3)):
        assert run(event) == []
    assert result_of(run.ends(completed(0, "r"))) == [1, 3, 2]


def test_a_wait_for_a_signal_has_the_name_and_how_many_were_taken_before() -> None:
    run = Stepping(takes_three)
    waited = [run.first[0].key]
    for value in (1, 2):
        waited += [command.key for command in run(signal("go", value))]
    assert waited == [key.Signal("go", 0), key.Signal("go", 1), key.Signal("go", 2)]


@workflow
async def two_listen() -> list[tuple[str, int]]:
    taken: list[tuple[str, int]] = []

    async def listen(name: str) -> None:
        taken.append((name, await go.receive()))

    first, second = asyncio.create_task(listen("first")), asyncio.create_task(listen("second"))
    if await stop.receive():
        first.cancel()
    await asyncio.wait([first, second])
    return taken


def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    run = Stepping(two_listen)
    assert {c.key for c in run.first} == {key.Signal("go", 0), key.Signal("go", 1), key.Signal("stop", 0)}
    run(signal("stop", 0))
    run(signal("go", 1))
    assert result_of(run.ends(signal("go", 2))) == [["first", 1], ["second", 2]]


def test_a_cancelled_receive_takes_nothing() -> None:
    run = Stepping(two_listen)
    run(signal("stop", 1))
    assert result_of(run.ends(signal("go", 7))) == [["second", 7]]


def test_a_receive_that_is_cancelled_as_its_signal_arrives_passes_the_wake_up_on() -> None:
    @workflow
    async def cancels_on_arrival() -> list[object]:
        first, second = asyncio.create_task(go.receive()), asyncio.create_task(go.receive())
        await asyncio.sleep(0)

        async def cancel_first() -> None:
            await stop.receive()
            first.cancel()

        canceller = asyncio.create_task(cancel_first())
        outcomes = await asyncio.gather(first, second, canceller, return_exceptions=True)
        return [outcome if isinstance(outcome, int) else type(outcome).__name__ for outcome in outcomes]

    run = Stepping(cancels_on_arrival)
    execution = run.execution
    # Both arrive before the code takes a step: the first waiter is woken, and cancelled before it runs.
    for seq, event in enumerate((signal("stop", 1), signal("go", 7, "s2")), start=2):
        execution.signals.deliver(msgspec.structs.replace(event, seq=seq, recorded_at=at(seq)))
    assert result_of(run.ends(ev.WorkflowResumed())) == ["CancelledError", 7, "NoneType"]


def test_a_deadline_around_a_receive_leaves_the_signal_for_the_next() -> None:
    @workflow
    async def patient() -> list[object]:
        try:
            async with asyncio.timeout(10):
                await go.receive()
        except TimeoutError:
            pass
        return [go.pending(), await go.receive()]

    run = Stepping(patient)
    assert [command.key for command in run(fired(0))] == [key.Signal("go", 0)]
    assert result_of(run.ends(signal("go", 5))) == [0, 5]


def test_pending_counts_what_no_code_has_taken() -> None:
    @workflow
    async def counts() -> list[int]:
        await stop.receive()
        before = go.pending()
        await go.receive()
        return [before, go.pending(), stop.pending()]

    run = Stepping(counts)
    run(signal("go", 1))
    run(signal("go", 2))
    assert result_of(run.ends(signal("stop", 0))) == [2, 1, 0]


def test_signals_can_be_iterated_over() -> None:
    @workflow
    async def adds() -> int:
        total = 0
        async for value in go:
            if not value:
                break
            total += value
        return total

    run = Stepping(adds)
    run(signal("go", 3))
    run(signal("go", 4))
    assert result_of(run.ends(signal("go", 0))) == 7


def test_what_no_code_took_is_left_over_in_file_order() -> None:
    @workflow
    async def takes_one() -> int:
        return await go.receive()

    run = Stepping(takes_one)
    run(signal("stop", 1, "s1"))
    run(signal("stop", 2, "s2"))
    run.ends(signal("go", 3, "s3"))
    run(signal("go", 4, "s4"))
    left = run.execution.unconsumed()
    assert [event.signal_id for event in left if isinstance(event, ev.SignalReceived)] == ["s1", "s2", "s4"]


def test_code_that_is_closed_takes_no_signal_any_more() -> None:
    @workflow
    async def helper_takes_one_as_it_is_closed() -> None:
        async def helper() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await go.receive()

        asyncio.create_task(helper())  # noqa: RUF006 - it is closed with the run
        await stop.receive()
        raise ContinueAsNew

    run = Stepping(helper_takes_one_as_it_is_closed)
    run(signal("go", 1, "s1"))
    assert isinstance(run.ends(signal("stop", 1, "s2")), cmd.Continued)
    assert [event.seq for event in run.execution.unconsumed()] == [2]


def test_a_payload_that_does_not_fit_the_signal_is_an_error_of_the_code() -> None:
    error = failure_in(Stepping(takes_three).ends(signal("go", "no number")))
    assert error.type == "PayloadError"
