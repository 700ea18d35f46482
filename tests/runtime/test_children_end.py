"""Children that are cancelled, and what becomes of those that are open when their parent ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from aion_cli import Signal, start_child, workflow
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus
from aion_cli.runtime.endings import RunSettings
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.runner import Runner
from tests.builders import cancel_requested, child, raw, signal, started
from tests.runtime.parcels import CALLS, CHILD, go, no_calls, order_slowly, ship_when_told
from tests.runtime.shop import Shop

__all__ = ["no_calls"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


def test_cancelling_the_await_asks_the_child_which_may_clean_up(shop: Shop) -> None:
    @workflow
    async def gives_up() -> str:
        task = asyncio.create_task(ship_when_told("A1"))
        await go.receive()
        task.cancel()
        await stop.receive()
        return "done"

    stop = Signal("stop", int)

    async def meanwhile(runner: Runner) -> None:
        await shop.until(CHILD, ev.WorkflowStarted)
        shop.send(signal("go", 1))
        await shop.until(CHILD, ev.WorkflowCancelled)
        shop.send(signal("stop", 1, "s2"))

    assert shop.run(gives_up, meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert CALLS == ["unpack A1"]
    asked = shop.events()[3]
    assert isinstance(asked, ev.ChildCancelRequested)
    request = next(event for event in shop.events(CHILD) if isinstance(event, ev.WorkflowCancelRequested))
    assert request.request_id == f"{shop.events()[0].run_id}/{asked.seq}"
    assert "ChildWorkflowCancelled" not in shop.names()


def parent_that_leaves(parent_close: str) -> object:
    @workflow
    async def leaves() -> str:
        await start_child(ship_when_told, "A1", parent_close=parent_close)  # pyright: ignore[reportArgumentType] - one of the three
        await go.receive()
        return "done"

    return leaves


def test_a_child_that_nobody_runs_is_run_to_be_cancelled_with_its_parent(shop: Shop) -> None:
    assert shop.until_blocked(order_slowly, "A1").status is RunStatus.WAITING
    shop.send(cancel_requested())
    assert shop.run(order_slowly).status is RunStatus.CANCELLED
    assert (shop.names(CHILD)[-1], CALLS) == ("WorkflowCancelled", ["unpack A1"])


@pytest.mark.parametrize(
    ("parent_close", "ends_with"),
    [("cancel", "WorkflowCancelRequested"), ("terminate", "WorkflowTerminated"), ("abandon", "WorkflowStarted")],
)
def test_terminating_a_run_that_nobody_owns_deals_with_its_open_children(
    shop: Shop, parent_close: str, ends_with: str
) -> None:
    shop.until_blocked(parent_that_leaves(parent_close))  # pyright: ignore[reportArgumentType] - a workflow
    shop.send(ev.WorkflowTerminated())
    assert shop.names()[-1] == "WorkflowTerminated"
    assert shop.names(CHILD)[-1] == ends_with


@pytest.mark.parametrize(
    ("parent_close", "ends_with", "calls"),
    [
        (ev.ParentClose.CANCEL, "WorkflowCancelled", ["unpack A1"]),
        (ev.ParentClose.TERMINATE, "WorkflowTerminated", []),
        (ev.ParentClose.ABANDON, "WorkflowCompleted", ["ship A1"]),
    ],
)
def test_a_child_that_was_recorded_before_a_crash_is_started_when_its_parent_is_terminated(
    shop: Shop, parent_close: ev.ParentClose, ends_with: str, calls: list[str]
) -> None:
    recorded = msgspec.structs.replace(child(0, "ship_when_told", "A1", CHILD), parent_close=parent_close)
    shop.write(started("B2", run_id="r7"), recorded)
    shop.send(ev.WorkflowTerminated())
    assert shop.names()[-1] == "WorkflowTerminated"
    first = shop.events(CHILD)[0]
    assert (first.parent, first.input) == (ev.ParentRef("order-1", "r7", 2), raw("A1"))
    assert first.definition == ev.DefinitionRef("order", "order.py", "")
    if parent_close is not ev.ParentClose.TERMINATE:
        shop.send(signal("go", 1), CHILD)
    shop.run(ship_when_told, "A1", CHILD)
    assert (shop.names(CHILD)[-1], CALLS) == (ends_with, calls)


def test_a_child_whose_cancellation_was_recorded_before_a_crash_is_told_when_its_parent_is_terminated(
    shop: Shop,
) -> None:
    abandoned = msgspec.structs.replace(child(0, "ship_when_told", "A1", CHILD), parent_close=ev.ParentClose.ABANDON)
    shop.write(started("B2", run_id="r7"), abandoned, ev.ChildCancelRequested(ordinal=0))
    shop.send(ev.WorkflowTerminated())
    asked = shop.events(CHILD)[1]
    assert (asked.request_id, asked.reason) == ("r7/3", "its parent cancelled it")
    assert shop.run(ship_when_told, "A1", CHILD).status is RunStatus.CANCELLED


@pytest.mark.parametrize("child_id", ["ORDER-1", "x" * 121])
def test_terminating_a_run_does_not_make_a_child_that_cannot_have_its_id(shop: Shop, child_id: str) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", child_id))
    shop.send(ev.WorkflowTerminated())
    assert (shop.names()[-1], shop.ids()) == ("WorkflowTerminated", ["order-1"])


def test_terminating_a_run_that_nobody_owns_leaves_alone_what_it_did_not_start(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", CHILD))
    shop.write(started("A1", parent=ev.ParentRef("order-1", "another", 2)), workflow_id=CHILD)
    shop.send(ev.WorkflowTerminated())
    assert shop.names()[-1] == "WorkflowTerminated"
    assert shop.names(CHILD) == ["WorkflowStarted"]


@pytest.mark.parametrize(
    ("parent_close", "ends_with", "calls"),
    [
        ("cancel", "WorkflowCancelled", ["unpack A1"]),
        ("terminate", "WorkflowTerminated", []),
        ("abandon", "WorkflowStarted", []),
    ],
)
def test_an_open_child_is_dealt_with_when_its_parent_ends(
    shop: Shop, parent_close: str, ends_with: str, calls: list[str]
) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until(CHILD, ev.WorkflowStarted)
        shop.send(signal("go", 1))

    shop.run(parent_that_leaves(parent_close), meanwhile=meanwhile)  # pyright: ignore[reportArgumentType] - a workflow
    assert shop.names()[-1] == "WorkflowCompleted"
    assert (shop.names(CHILD)[-1], CALLS) == (ends_with, calls)


def test_a_child_that_takes_longer_to_end_than_grace_stays_open_with_what_it_was_told(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "histories", settings=RunSettings(grace_s=0.05))

    @workflow
    async def never_ends() -> None:
        try:
            await go.receive()
        finally:
            await asyncio.sleep(86_400)

    @workflow
    async def leaves() -> str:
        await start_child(never_ends)
        await go.receive()
        return "done"

    async def meanwhile(runner: Runner) -> None:
        await shop.until(CHILD, ev.WorkflowStarted)
        shop.send(signal("go", 1))

    assert shop.run(leaves, meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert shop.names(CHILD) == ["WorkflowStarted", "WorkflowCancelRequested", "TimerStarted"]
    take(shop.folder, CHILD, Role.RUN).release()


@pytest.mark.parametrize("parent_close", ["cancel", "terminate"])
def test_what_an_open_child_is_told_is_accepted_before_the_end_of_its_parent_is_written(
    shop: Shop, parent_close: str
) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until(CHILD, ev.WorkflowStarted)
        shop.send(signal("go", 1))

    shop.run(parent_that_leaves(parent_close), meanwhile=meanwhile)  # pyright: ignore[reportArgumentType] - a workflow
    told = next(e for e in shop.events(CHILD) if isinstance(e, ev.WorkflowCancelRequested | ev.WorkflowTerminated))
    assert told.reason == "its parent ended"


@pytest.mark.parametrize("parent_close", ["cancel", "terminate", "abandon"])
def test_a_child_that_was_recorded_as_its_parent_ended_is_started_all_the_same(shop: Shop, parent_close: str) -> None:
    @workflow
    async def leaves() -> str:
        await start_child(ship_when_told, "A1", parent_close=parent_close)  # pyright: ignore[reportArgumentType] - one of the three
        return "done"

    shop.run(leaves)
    assert shop.names() == ["WorkflowStarted", "ChildWorkflowStarted", "WorkflowCompleted"]
    expected = {
        "cancel": "WorkflowCancelled",
        "terminate": "WorkflowTerminated",
        "abandon": "WorkflowStarted",
    }
    assert shop.names(CHILD)[-1] == expected[parent_close]
