"""Children whose parent continues as a new run: they stay attached to its workflow id."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from aion_cli import ContinueAsNew, Signal, activity, start_child, workflow
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus
from aion_cli.runtime.live import LiveRun
from aion_cli.runtime.runner import Runner
from aion_cli.testing import crash_everywhere
from tests.builders import signal
from tests.runtime.parcels import CALLS, go, no_calls, note, ship_when_told
from tests.runtime.shop import Shop, interrupt

__all__ = ["no_calls"]

stop = Signal("stop", int)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


parcel = workflow(name="parcel")(ship_when_told.fn)


@workflow
async def orders(runs: int, parent_close: str = "cancel", first: bool = True) -> str:
    if first:
        await start_child(parcel, "A1", id="parcel", parent_close=parent_close)  # pyright: ignore[reportArgumentType] - one of the three
    if runs > 1:
        raise ContinueAsNew(runs - 1, parent_close, first=False)
    await stop.receive()
    return "stopped"


def test_a_child_that_is_recorded_as_its_parent_continues_is_started_and_carried_over(shop: Shop) -> None:
    end = shop.until_blocked(orders, {"runs": 3})
    assert end.status is RunStatus.WAITING
    assert shop.names("parcel") == ["WorkflowStarted"]
    first, second, third = (shop.events(number=number)[0] for number in (1, 2, 3))
    expected = [ev.AttachedChild("parcel", first.run_id, 2)]
    assert (first.children, second.children, third.children) == ([], expected, expected)


def test_an_activity_of_a_child_is_not_disturbed_when_its_parent_continues(shop: Shop) -> None:
    @activity
    async def takes_its_time() -> None:
        CALLS.append("begun")
        while not shop.path(number=4).exists():
            await asyncio.sleep(0.001)

    @workflow
    async def slow() -> str:
        await takes_its_time()
        return await note("ended")

    @workflow
    async def parent(n: int) -> str:
        if n == 1:
            await start_child(slow, id="slow")
            while "begun" not in CALLS:
                await asyncio.sleep(0.001)
        if n < 4:
            raise ContinueAsNew(n + 1)
        while "ended" not in CALLS:
            await asyncio.sleep(0.001)
        return "done"

    assert shop.run(parent, 1).status is RunStatus.COMPLETED
    assert CALLS == ["begun", "ended"]
    attempts = [event.attempt for event in shop.events("slow") if isinstance(event, ev.ActivityStarted)]
    assert attempts == [1, 1]


def test_the_runs_of_a_chain_are_forgotten_while_their_child_goes_on(shop: Shop) -> None:
    remembered: list[int] = []

    @activity
    async def count_runs() -> None:
        gc.collect()
        remembered.append(sum(isinstance(found, LiveRun) for found in gc.get_objects()))

    @workflow
    async def parent(n: int) -> None:
        if n == 1:
            await start_child(parcel, "A1", id="parcel")
        await count_runs()
        if n < 8:
            raise ContinueAsNew(n + 1)

    shop.run(parent, 1)
    assert remembered[-1] < remembered[3] + 3  # of five more


def test_another_process_goes_on_with_a_child_whose_parent_continued(shop: Shop) -> None:
    shop.until_blocked(orders, {"runs": 2})
    shop.send(signal("go", 1), "parcel")
    later = Shop(shop.folder.root, find_code=lambda first: {"parcel": parcel}[first.workflow_type])

    async def meanwhile(runner: Runner) -> None:
        await later.until("parcel", ev.WorkflowCompleted)
        interrupt(runner)

    later.run(orders, {"runs": 2}, meanwhile=meanwhile)
    assert CALLS == ["ship A1"]
    assert shop.names(number=2) == ["WorkflowStarted"]


def test_a_child_whose_code_is_gone_is_reported_and_told_of_the_end_of_its_parent_which_runs(shop: Shop) -> None:
    shop.until_blocked(orders, {"runs": 2})
    later = Shop(shop.folder.root)
    later.send(signal("stop", 1))
    assert later.run(orders, {"runs": 2}).status is RunStatus.COMPLETED
    assert later.notices == ["parcel, a child of order-1, stays where it is: there is no code for parcel"]
    assert shop.names("parcel")[-1] == "WorkflowCancelRequested"


@pytest.mark.parametrize(
    ("parent_close", "ends_with", "calls"),
    [
        ("cancel", "WorkflowCancelled", ["unpack A1"]),
        ("terminate", "WorkflowTerminated", []),
        ("abandon", "WorkflowStarted", []),
    ],
)
def test_an_attached_child_is_dealt_with_when_the_last_run_of_its_parent_ends(
    shop: Shop, parent_close: str, ends_with: str, calls: list[str]
) -> None:
    async def meanwhile(runner: Runner) -> None:
        del runner
        await shop.until("order-1", ev.WorkflowStarted, 2)
        shop.send(signal("stop", 1))

    end = shop.run(orders, {"runs": 2, "parent_close": parent_close}, meanwhile=meanwhile)
    assert end.status is RunStatus.COMPLETED
    assert (shop.names("parcel")[-1], CALLS) == (ends_with, calls)


def test_an_attached_child_is_told_of_the_end_of_a_parent_that_ends_as_it_is_stopped(shop: Shop) -> None:
    stopping = asyncio.Event()

    @activity
    async def ends_in_grace() -> None:
        CALLS.append("begun")
        await stopping.wait()

    @workflow
    async def parent(n: int) -> None:
        if n == 1:
            await start_child(parcel, "A1", id="parcel")
            raise ContinueAsNew(2)
        await ends_in_grace()

    async def meanwhile(runner: Runner) -> None:
        while "begun" not in CALLS:
            await asyncio.sleep(0.001)
        interrupt(runner)
        await asyncio.sleep(0.05)
        stopping.set()

    assert shop.run(parent, 1, meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert (shop.names("parcel")[-1], CALLS) == ("WorkflowCancelled", ["begun", "unpack A1"])


def test_a_pause_holds_when_the_run_continues_and_its_owner_stays_until_it_is_resumed(shop: Shop) -> None:
    paused = asyncio.Event()

    @activity
    async def ends_while_paused() -> None:
        CALLS.append("begun")
        await paused.wait()

    @workflow
    async def ships_at_once() -> None:
        await note("child")

    @workflow
    async def parent(n: int) -> str:
        if n == 1:
            await ends_while_paused()
            await start_child(ships_at_once, id="child")
            raise ContinueAsNew(2)
        await note("parent")
        await stop.receive()
        return "stopped"

    async def meanwhile(runner: Runner) -> None:
        del runner
        while "begun" not in CALLS:
            await asyncio.sleep(0.001)
        shop.send(ev.WorkflowPaused(reason="lunch"))
        await shop.until("order-1", ev.WorkflowPaused)
        paused.set()
        await shop.until("order-1", ev.ActivityScheduled, 2)
        assert CALLS == ["begun"]
        shop.send(ev.WorkflowResumed())
        await shop.until("child", ev.ActivityCompleted)
        shop.send(signal("stop", 1))

    assert shop.run(parent, 1, meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert shop.names(number=2)[:4] == ["WorkflowStarted", "WorkflowPaused", "ActivityScheduled", "WorkflowResumed"]
    assert sorted(CALLS) == ["begun", "child", "parent"]


def test_a_run_that_was_paused_before_it_continued_is_not_gone_on_with_by_another_process(shop: Shop) -> None:
    shop.until_blocked(orders, {"runs": 2})
    shop.path(number=2).unlink()
    (*first, continued) = shop.events()
    shop.path().unlink()
    shop.write(*first, ev.WorkflowPaused(), continued)
    end = shop.run(orders)
    assert (end.status, shop.names(number=2)) == (RunStatus.PAUSED, ["WorkflowStarted", "WorkflowPaused"])


def test_a_child_that_has_ended_is_not_carried_over(shop: Shop) -> None:
    @workflow
    async def parent(n: int) -> str:
        if n == 1:
            await (await start_child(note_once, id="once"))
        if n < 3:
            raise ContinueAsNew(n + 1)
        return "done"

    @workflow
    async def note_once() -> str:
        return await note("once")

    assert shop.run(parent, 1).status is RunStatus.COMPLETED
    assert [shop.events(number=number)[0].children for number in (1, 2, 3)] == [[], [], []]


def test_a_parent_is_blocked_only_when_its_attached_children_are(shop: Shop) -> None:
    @activity
    async def takes_a_while() -> None:
        for _ in range(300):
            await asyncio.sleep(0)
        CALLS.append("taken")

    @workflow
    async def busy() -> None:
        await takes_a_while()
        await go.receive()

    @workflow
    async def parent(n: int) -> None:
        if n == 1:
            await start_child(busy, id="busy")
            raise ContinueAsNew(2)
        await stop.receive()

    assert shop.until_blocked(parent, 1).status is RunStatus.WAITING
    assert CALLS == ["taken"]


def test_wherever_it_is_crashed_an_attached_child_ends_once() -> None:
    done: list[str] = []

    @activity
    async def ship(sku: str) -> str:
        return sku

    @workflow
    async def child(sku: str) -> str:
        await asyncio.sleep(60)
        return await ship(sku)

    @workflow
    async def parent(n: int) -> str:
        if n == 1:
            await start_child(child, "A1")
            raise ContinueAsNew(2)
        await asyncio.sleep(3600)
        return "done"

    def shipped(sku: str) -> str:
        done.append(sku)
        return sku

    assert crash_everywhere(parent, 1, activities={ship: shipped}) == "done"
    assert done
