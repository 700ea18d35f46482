"""Compensations run in reverse, when the block fails or is cancelled, and only then."""

from __future__ import annotations

import pytest

from aion_cli import ContinueAsNew, Saga, activity, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from tests.builders import (
    activity_cancelled,
    cancel_requested,
    completed,
    ended,
    failed,
    failure,
    history,
    replay_of,
    replayed,
    scheduled,
    started,
)


@activity
async def book(what: str) -> str: ...


@activity
async def undo(number: str) -> None: ...


@workflow
async def trip(end: str = "well") -> str:
    async with Saga() as saga:
        for what in ("hotel", "flight"):
            number = await book(what)
            saga.compensate(undo, number)
        if end == "fail":
            raise RuntimeError("no visa")
        if end == "again":
            raise ContinueAsNew("well")
        if end == "wait":
            await book("car")
        return "booked"


def booked(end: str) -> list[ev.Event]:
    return [
        started(end),
        scheduled(0, "book", "hotel"),
        completed(0, "h1"),
        scheduled(1, "book", "flight"),
        completed(1, "f1"),
    ]


def next_activity(*events: ev.Event) -> tuple[str, bytes]:
    (command,) = replayed(trip, history(*events)).unmatched
    assert isinstance(command, cmd.RunActivity)
    return command.activity_type, bytes(command.input)


def test_a_block_that_ends_well_undoes_nothing() -> None:
    assert replayed(trip, history(*booked("well"), ended("booked"))).closed_by is not None


def test_a_failure_undoes_the_last_step_first_and_goes_on_afterwards() -> None:
    events = booked("fail")
    assert next_activity(*events) == ("undo", b'"f1"')
    events += [scheduled(2, "undo", "f1"), completed(2)]
    assert next_activity(*events) == ("undo", b'"h1"')
    events += [scheduled(3, "undo", "h1"), completed(3)]
    (end,) = replayed(trip, history(*events)).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Failed)
    assert (end.outcome.error.type, end.outcome.error.message) == ("RuntimeError", "no visa")


def test_a_compensation_that_fails_is_noted_and_the_others_run() -> None:
    events = [*booked("fail"), scheduled(2, "undo", "f1"), failed(2, failure("OSError", "closed"))]
    assert next_activity(*events) == ("undo", b'"h1"')
    events += [scheduled(3, "undo", "h1"), completed(3)]
    (end,) = replayed(trip, history(*events)).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Failed)
    assert "closed" in end.outcome.error.notes[0]


def test_a_cancellation_undoes_what_was_done() -> None:
    events = [*booked("wait"), scheduled(2, "book", "car"), cancel_requested(), activity_cancelled(2)]
    assert next_activity(*events) == ("undo", b'"f1"')


def test_a_compensation_that_fails_is_noted_on_a_cancellation_as_well() -> None:
    cancelled = [*booked("wait"), scheduled(2, "book", "car"), cancel_requested(), activity_cancelled(2)]
    events = [
        *cancelled,
        scheduled(3, "undo", "f1"),
        failed(3, failure("OSError", "closed")),
        scheduled(4, "undo", "h1"),
    ]
    (end,) = replayed(trip, history(*events, completed(4))).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Cancelled)
    assert [note.endswith("closed") for note in end.outcome.notes] == [True]


def test_a_cancellation_that_comes_while_it_undoes_waits_until_all_is_undone() -> None:
    events = [*booked("fail"), scheduled(2, "undo", "f1"), cancel_requested(), completed(2)]
    assert next_activity(*events) == ("undo", b'"h1"')
    events += [scheduled(3, "undo", "h1"), completed(3)]
    (end,) = replayed(trip, history(*events)).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Cancelled)


def test_continuing_as_new_undoes_nothing() -> None:
    (end,) = replayed(trip, history(*booked("again"))).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Continued)


@pytest.mark.parametrize("length", range(1, 6))
def test_a_suspended_run_undoes_nothing(length: int) -> None:
    replay = replay_of(trip, history(*booked("wait")[:length]))
    replay.run()
    replay.execution.close()
    assert replay.execution.take_commands() == []


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_compensation_whose_failure_has_no_text_stops_none_of_the_others() -> None:
    async def breaks() -> None:
        raise BrokenTextError

    @workflow
    async def order() -> None:
        async with Saga() as saga:
            saga.compensate(undo, "h1")
            saga.compensate(breaks)
            raise RuntimeError("no visa")

    (command,) = replayed(order, history(started())).unmatched
    assert isinstance(command, cmd.RunActivity)
    (end,) = replayed(order, history(started(), scheduled(0, "undo", "h1"), completed(0))).unmatched
    assert isinstance(end, cmd.CompleteWorkflow) and isinstance(end.outcome, cmd.Failed)
    assert [note.endswith("(its message could not be made: RuntimeError)") for note in end.outcome.error.notes] == [
        True
    ]
