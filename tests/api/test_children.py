"""Children that run beside their parent, driven by lists of events."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import ChildError, Signal, activity, send_signal, start_child, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.events import ParentClose
from aion_cli.errors import UsageError
from tests.builders import (
    child,
    child_completed,
    child_failed,
    completed,
    divergence,
    ended,
    failure,
    history,
    replayed,
    scheduled,
    send,
    sent,
    signal,
    started,
)


@activity
async def step() -> None: ...


@workflow
async def ship(sku: str) -> str: ...


@workflow
async def order() -> str:
    handle = await start_child(ship, "A1", id="ship-A1", parent_close="abandon")
    await step()
    return f"{handle.workflow_id}: {await handle}"


def test_a_child_is_asked_for_and_the_parent_goes_on_in_the_same_step() -> None:
    spawn, run = replayed(order, history(started())).unmatched
    assert isinstance(spawn, cmd.SpawnChild)
    assert (spawn.workflow_id, spawn.parent_close, bytes(spawn.input)) == ("ship-A1", ParentClose.ABANDON, b'"A1"')
    assert isinstance(run, cmd.RunActivity)


def test_a_child_that_ended_before_it_is_awaited_gives_its_result() -> None:
    begun = [started(), child(0, "ship", "A1", "ship-A1"), scheduled(0, "step")]
    events = history(*begun, child_completed(0, "sea"), completed(0))
    (end,) = replayed(order, events).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Completed)
    assert bytes(end.outcome.result) == b'"ship-A1: sea"'


def test_a_failed_child_raises_its_failure_where_it_is_awaited() -> None:
    @workflow
    async def careful() -> list[str]:
        handle = await start_child(ship, "A1")
        try:
            return [await handle]
        except ChildError as error:
            return [error.type, error.message]

    events = history(started(), child(0, "ship", "A1"), child_failed(0, failure("OSError", "storm")))
    (end,) = replayed(careful, events).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Completed)
    assert bytes(end.outcome.result) == b'["OSError","storm"]'


def test_cancelling_a_handle_asks_the_child_to_cancel_and_ends_the_wait() -> None:
    @workflow
    async def impatient() -> str:
        handle = await start_child(ship, "A1")
        await asyncio.sleep(0)
        await step()
        handle.cancel()
        try:
            return await handle
        except asyncio.CancelledError:
            return "no longer"

    begun = [started(), child(0, "ship", "A1"), scheduled(0, "step")]
    done = completed(0)
    events = history(*begun, done, ev.ChildCancelRequested(ordinal=0), ended("no longer"))
    assert replayed(impatient, events).closed_by is not None


@pytest.mark.parametrize("bad", ["a/b", "..", ""])
def test_an_id_that_cannot_be_one_is_refused_before_anything_is_asked_for(bad: str) -> None:
    @workflow
    async def wrong() -> str:
        try:
            await start_child(ship, "A1", id=bad)
        except UsageError:
            return "refused"
        return "accepted"

    (end,) = replayed(wrong, history(started())).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert isinstance(end.outcome, cmd.Completed)
    assert bytes(end.outcome.result) == b'"refused"'


go = Signal("go", int)


@workflow
async def tells_its_child() -> None:
    handle = await start_child(ship, "A1")
    await send_signal(handle, go, 1)


def test_a_signal_to_a_child_goes_to_the_id_under_which_the_child_is_recorded() -> None:
    begun = [started(), child(0, "ship", "A1", "order-1.1-2")]
    for between in ([], [signal("go", 7)]):  # as after a crash between the two
        events = history(*begun, *between, send(0, "order-1.1-2", "go", 1), sent(0))
        (end,) = replayed(tells_its_child, events).unmatched
        assert isinstance(end, cmd.CompleteWorkflow)
    diverged = divergence(tells_its_child, history(*begun, send(0, "order-2", "go", 1)))
    assert diverged.requested is not None
    assert diverged.requested.name == "go to order-1.1-2"
