"""Signals to other runs: delivered once, or refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aion_cli import ActivityError, send_signal, start_child, workflow
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus
from tests.builders import ended, raw, started
from tests.runtime.parcels import CHILD, go, no_calls, ship_when_told
from tests.runtime.shop import Shop

__all__ = ["no_calls"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


def test_a_parent_sends_its_child_a_signal_without_knowing_its_id(shop: Shop) -> None:
    @workflow
    async def hurries() -> str:
        parcel = await start_child(ship_when_told, "A1")
        await send_signal(parcel, go, 1)
        return await parcel

    assert shop.run(hurries).status is RunStatus.COMPLETED
    assert shop.events()[-1].result == raw("ship A1")
    assert [event.target_workflow_id for event in shop.events() if isinstance(event, ev.SignalSendRequested)] == [CHILD]


@workflow
async def tells(target: str) -> str:
    try:
        await send_signal(target, go, 7)
    except ActivityError as error:
        return error.type
    return "sent"


def test_a_signal_to_another_run_is_in_its_history_once_it_is_sent(shop: Shop) -> None:
    shop.write(started("A1"), workflow_id="parcel")
    shop.run(tells, "parcel")
    assert shop.events()[-1].result == raw("sent")
    arrived = shop.events("parcel")[-1]
    assert (arrived.name, arrived.payload) == ("go", raw(7))
    assert arrived.signal_id == f"{shop.events()[0].run_id}/2"


def test_a_send_that_a_crash_cut_off_is_repeated_and_arrives_once(shop: Shop) -> None:
    shop.write(started("A1"), workflow_id="parcel")
    requested = ev.SignalSendRequested(ordinal=0, target_workflow_id="parcel", name="go", payload=raw(7))
    shop.write(started("parcel"), requested)
    shop.send(ev.SignalReceived(name="go", payload=raw(7), signal_id="r1/2"), "parcel")
    shop.run(tells)
    assert shop.names() == ["WorkflowStarted", "SignalSendRequested", "SignalSent", "WorkflowCompleted"]
    assert shop.names("parcel") == ["WorkflowStarted", "SignalReceived"]


def test_a_signal_to_nobody_or_to_a_closed_run_is_an_error_of_the_send(shop: Shop) -> None:
    shop.run(tells, "nobody")
    assert shop.events()[-1].result == raw("NoSuchRunError")
    shop.write(started("A1"), ended("r"), workflow_id="closed")
    shop.run(tells, "closed", workflow_id="order-2")
    assert shop.events("order-2")[-1].result == raw("WrongStateError")


def test_a_run_can_signal_itself_its_parent_and_its_child(shop: Shop) -> None:
    @workflow
    async def chatty() -> int:
        handle = await start_child(ship_when_told, "A1", id="parcel")
        await send_signal("parcel", go, 1)
        await send_signal("order-1", go, 5)
        await handle
        return await go.receive()

    shop.run(chatty)
    assert shop.events()[-1].result == raw(5)
    assert msgspec.json.decode(shop.events("parcel")[-1].result) == "ship A1"
