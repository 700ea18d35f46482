"""No accepted message is stranded in the inbox of a run that somebody has let go of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aion_cli import Signal, workflow
from aion_cli.core import events as ev
from aion_cli.errors import NonDeterminismError
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.journal import JsonlStore
from tests.runs import Place
from tests.storage import signal

go = Signal("go", int)


@workflow(name="order")
async def waits() -> None:
    await asyncio.sleep(3_600)


@workflow(name="order")
async def waits_longer() -> None:
    await asyncio.sleep(7_200)


def accepted(place: Place, signal_id: str) -> None:
    """What a sender does that finds the run owned: it leaves the message to the owner."""
    Inbox(place.folder, "order-1").accept(signal(signal_id), chosen_id=True)


def test_a_run_whose_code_has_changed_records_what_was_sent_to_it_meanwhile(tmp_path: Path) -> None:
    place = Place(tmp_path, stop_when_blocked=True)
    place.run(waits)
    accepted(place, "a")
    with pytest.raises(NonDeterminismError):
        place.run(waits_longer)
    assert place.names() == ["WorkflowStarted", "TimerStarted", "SignalReceived"]
    assert Inbox(place.folder, "order-1").names() == []


def test_what_comes_when_an_owner_has_looked_for_the_last_time_is_recorded_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path, stop_when_blocked=True)
    close = JsonlStore.close

    def close_late(store: JsonlStore) -> None:
        if place.told and isinstance(place.told[-1], ev.TimerStarted):
            place.told.clear()
            accepted(place, "late")
        close(store)

    monkeypatch.setattr(JsonlStore, "close", close_late)
    place.run(waits)
    assert place.names() == ["WorkflowStarted", "TimerStarted", "SignalReceived"]


def test_what_is_sent_while_a_run_ends_is_in_its_history_before_the_end(tmp_path: Path) -> None:
    @workflow
    async def ends() -> None:
        await asyncio.sleep(0.001)

    place = Place(tmp_path)

    async def run() -> None:
        task = asyncio.create_task(place.go(ends))
        await place.until_told(ev.TimerStarted)
        accepted(place, "last")
        place.clock.pass_s(1)
        await asyncio.wait_for(task, 30)

    asyncio.run(run())
    assert place.names()[-1] == "WorkflowCompleted"
    assert "SignalReceived" in place.names()
