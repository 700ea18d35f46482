"""Children: recorded before they start, with histories of their own, and attached again."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import msgspec
import pytest

from aion_cli import ChildError, ContinueAsNew, activity, send_signal, start_child, workflow
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from aion_cli.core.ids import RunName, parse_stem
from aion_cli.core.status import RunStatus
from aion_cli.errors import NonDeterminismError
from aion_cli.runtime import folder
from aion_cli.runtime.endings import RunSettings
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.runner import Runner
from tests.builders import cancel_requested, child, ended, raw, signal, started
from tests.runtime.parcels import CALLS, CHILD, go, no_calls, note, order, order_slowly, ship, ship_when_told
from tests.runtime.shop import Shop, interrupt

__all__ = ["no_calls"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


# --- a child is a run


def test_a_child_has_a_history_of_its_own_that_names_who_asked(shop: Shop) -> None:
    assert shop.run(order, "A1").status is RunStatus.COMPLETED
    assert CALLS == ["ship A1", "bill ship A1"]
    assert shop.names()[1:3] == ["ChildWorkflowStarted", "ChildWorkflowCompleted"]
    first = shop.events(CHILD)[0]
    assert first.parent == ev.ParentRef("order-1", shop.events()[0].run_id, 2)
    assert (first.workflow_type, first.input) == ("ship", raw("A1"))
    assert shop.names(CHILD)[-1] == "WorkflowCompleted"
    take(shop.folder, CHILD, Role.RUN).release()


def test_a_child_is_recorded_by_its_parent_before_it_exists(shop: Shop) -> None:
    shop.run(order, "A1")
    recorded = shop.told.index(("order-1", "ChildWorkflowStarted"))
    assert recorded < shop.told.index((CHILD, "WorkflowStarted"))


def test_a_child_that_fails_is_a_child_error_and_its_failure_has_the_lines_of_the_child(shop: Shop) -> None:
    @activity
    async def loses() -> None:
        raise LookupError("it is gone")

    @workflow
    async def careless() -> None:
        await loses()

    @workflow
    async def parent() -> list[str]:
        try:
            await careless()
        except ChildError as error:
            return [error.type, error.message]
        return []

    shop.run(parent)
    assert shop.events()[-1].result == raw(["LookupError", "it is gone"])
    assert "<locals>.careless\n" in shop.events(CHILD)[-1].error.traceback
    assert shop.events()[2].error == shop.events(CHILD)[-1].error


def test_a_child_may_have_an_id_of_its_own_and_go_on_beside_its_parent(shop: Shop) -> None:
    @workflow
    async def parent() -> list[str]:
        handles = [await start_child(ship, sku, id=f"parcel-{sku}") for sku in ("A", "B")]
        return [await handle for handle in handles]

    shop.run(parent)
    assert shop.ids() == ["order-1", "parcel-A", "parcel-B"]
    assert shop.events()[-1].result == raw(["ship A", "ship B"])


def test_grandchildren_are_found_too(shop: Shop) -> None:
    @workflow
    async def middle(sku: str) -> str:
        return await ship(sku)

    @workflow
    async def top() -> str:
        return await middle("A1")

    shop.run(top)
    assert shop.ids() == ["order-1", "order-1.1-2", "order-1.1-2.1-2"]


def test_a_child_that_continues_as_new_is_followed_to_its_end(shop: Shop) -> None:
    @workflow
    async def counts_down(n: int) -> str:
        if n:
            raise ContinueAsNew(n - 1)
        return await note("down")

    @workflow
    async def parent() -> str:
        return await counts_down(2)

    shop.run(parent)
    assert shop.events()[-1].result == raw("down")
    assert shop.names(CHILD, 3)[-1] == "WorkflowCompleted"


@pytest.mark.parametrize(
    ("message", "expected", "event"),
    [
        (cancel_requested(), "CancelledError: the child workflow was cancelled", "ChildWorkflowCancelled"),
        (ev.WorkflowTerminated(reason="enough"), "WorkflowTerminated: enough", "ChildWorkflowFailed"),
    ],
    ids=["cancelled", "terminated"],
)
def test_how_a_child_ended_arrives_at_its_parent(shop: Shop, message: ev.Event, expected: str, event: str) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until(CHILD, ev.WorkflowStarted)
        shop.send(message, CHILD)

    shop.run(order_slowly, "A1", meanwhile=meanwhile)
    assert shop.events()[-1].result == raw(expected)
    assert shop.names()[2] == event


def test_a_child_that_took_too_long_arrives_as_a_failure_of_that_kind(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship_when_told", "A1", CHILD))
    parent = ev.ParentRef("order-1", "r1", 2)
    shop.write(started("A1", parent=parent), ev.WorkflowTimedOut(timeout_s=5.0), workflow_id=CHILD)
    shop.run(order_slowly)
    error = shop.events()[2].error
    assert (error.kind, error.type, error.message) == (ErrorKind.TIMEOUT, "WorkflowTimedOut", "took longer than 5 s")


def test_a_child_is_started_without_reading_the_names_of_all_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(20):
        shop.write(started(), workflow_id=f"other-{n}")
    read: list[str] = []

    def parse(stem: str) -> RunName:
        read.append(stem)
        return parse_stem(stem)

    monkeypatch.setattr(folder, "parse_stem", parse)
    shop.run(order, "A1")
    assert [stem for stem in read if stem.startswith("other")] == []


# --- whose id it is


@pytest.mark.parametrize(
    "parent", [None, ev.ParentRef("order-1", "r1", 99), ev.ParentRef("order-1", "other", 2), ev.ParentRef("x", "r1", 2)]
)
def test_a_history_that_names_another_asker_is_never_attached(shop: Shop, parent: ev.ParentRef | None) -> None:
    shop.write(started("A1"), child(0, "ship_when_told", "A1", CHILD))
    shop.write(started("A1", parent=parent), workflow_id=CHILD)
    before = shop.path(CHILD).read_bytes()
    shop.run(order_slowly)
    assert shop.events()[2].error.type == "ChildIdTaken"
    assert shop.path(CHILD).read_bytes() == before
    assert CALLS == []


def test_an_id_that_differs_from_another_only_in_case_is_refused(shop: Shop) -> None:
    @workflow
    async def parent() -> str:
        try:
            return await (await start_child(ship, "A1", id="Parcel"))
        except ChildError as error:
            return error.type

    shop.write(started(), workflow_id="parcel")
    shop.run(parent)
    assert shop.events()[-1].result == raw("ChildIdRefused")


def test_a_child_whose_default_id_would_be_too_long_has_failed_to_start(shop: Shop) -> None:
    parent_id = "p" * 117
    shop.run(order_slowly, "A1", parent_id)
    said = msgspec.json.decode(bytes(shop.events(parent_id)[-1].result), type=str)
    assert said.startswith(f"ChildIdRefused: '{parent_id}.1-2' cannot be a workflow id; use 1 to 120 letters")
    assert shop.ids() == [parent_id]


# --- going on


def test_a_child_is_attached_again_after_its_parent_was_interrupted(shop: Shop) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until(CHILD, ev.WorkflowStarted)
        interrupt(runner)

    assert shop.run(order_slowly, "A1", meanwhile=meanwhile).closed_by is None
    assert shop.names(CHILD) == ["WorkflowStarted"]
    take(shop.folder, CHILD, Role.RUN).release()
    shop.send(signal("go", 1), CHILD)
    assert shop.run(order_slowly).status is RunStatus.COMPLETED
    assert CALLS == ["ship A1"]
    assert shop.names() == ["WorkflowStarted", "ChildWorkflowStarted", "ChildWorkflowCompleted", "WorkflowCompleted"]


def test_a_recorded_child_without_a_history_is_started_under_its_recorded_id(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", "parcel-7"))
    shop.run(order)
    assert CALLS == ["ship A1", "bill ship A1"]
    assert shop.events("parcel-7")[0].parent == ev.ParentRef("order-1", "r1", 2)


def test_a_child_that_ended_while_nobody_looked_is_recorded_and_not_run_again(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship_when_told", "A1", CHILD))
    shop.write(
        started("A1", parent=ev.ParentRef("order-1", "r1", 2)), ev.WorkflowTerminated(reason="r"), workflow_id=CHILD
    )
    shop.run(order_slowly)
    assert shop.events()[-1].result == raw("WorkflowTerminated: r")
    assert CALLS == []


def test_a_child_that_diverges_stops_its_parent_here_with_the_childs_history_named(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", CHILD))
    shop.write(started("A1", parent=ev.ParentRef("order-1", "r1", 2)), ended("something else"), workflow_id=CHILD)
    with pytest.raises(NonDeterminismError) as caught:
        shop.run(order)
    assert (caught.value.workflow_id, caught.value.where) == (CHILD, (str(shop.path(CHILD)),))
    assert shop.names() == ["WorkflowStarted", "ChildWorkflowStarted"]


def test_a_child_that_another_process_owns_is_watched_until_it_can_be_had(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", CHILD))
    elsewhere = take(shop.folder, CHILD, Role.RUN)

    async def meanwhile(runner: Runner) -> None:
        await asyncio.sleep(0.05)
        assert CALLS == []
        elsewhere.release()

    assert shop.run(order, meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert CALLS == ["ship A1", "bill ship A1"]


def test_a_child_that_is_owned_briefly_blocks_neither_its_parent_nor_the_loop(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "histories", settings=RunSettings(grace_s=5.0, stop_when_blocked=True))
    shop.write(started("A1"), child(0, "ship", "A1", CHILD))
    elsewhere = take(shop.folder, CHILD, Role.SIGNAL)

    async def meanwhile(runner: Runner) -> None:
        for _ in range(10):
            await asyncio.sleep(0.01)
            assert not runner.is_blocked
        elsewhere.release()

    assert shop.run(order, meanwhile=meanwhile).status is RunStatus.COMPLETED


def test_a_parent_whose_child_another_process_owns_is_blocked(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", CHILD))
    with take(shop.folder, CHILD, Role.RUN):
        end = shop.until_blocked(order)
    assert (end.status, [wait.name for wait in end.waiting], CALLS) == (RunStatus.WAITING, [CHILD], [])


def test_a_parent_whose_child_waits_for_a_signal_is_blocked(shop: Shop) -> None:
    end = shop.until_blocked(order_slowly, "A1")
    assert (end.status, [wait.name for wait in end.waiting]) == (RunStatus.WAITING, [CHILD])
    shop.send(signal("go", 1), CHILD)
    assert shop.run(order_slowly).status is RunStatus.COMPLETED


def test_a_parent_whose_child_cannot_have_its_parents_own_id_is_blocked(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    @workflow
    async def wants_its_own_id() -> int:
        with suppress(ChildError):
            await (await start_child(ship, "A1", id="order-1"))
        return await go.receive()

    assert [wait.name for wait in shop.until_blocked(wants_its_own_id).waiting] == ["go"]
    assert caplog.messages == []  # in which the loop tells what its callbacks raise


@activity
async def settles() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def test_a_child_that_waits_stays_as_long_as_its_parent_has_something_to_do(shop: Shop) -> None:
    @workflow
    async def tells_its_child() -> str:
        parcel = await start_child(ship_when_told, "A1", id="parcel")
        await settles()
        await send_signal("parcel", go, 1)
        return await parcel

    end = shop.until_blocked(tells_its_child)
    assert (end.status, CALLS) == (RunStatus.COMPLETED, ["ship A1"])


def test_a_child_that_waits_cleans_up_when_its_parent_cancels_it(shop: Shop) -> None:
    @workflow
    async def gives_up() -> str:
        parcel = asyncio.ensure_future(ship_when_told("A1"))
        await settles()
        parcel.cancel()
        await asyncio.wait([parcel])
        return "without it"

    assert shop.until_blocked(gives_up).status is RunStatus.COMPLETED
    _, parcel = shop.ids()
    assert (shop.names(parcel)[-1], CALLS) == ("WorkflowCancelled", ["unpack A1"])


def test_a_child_that_cleans_up_after_a_cancellation_is_still_told_of_the_end_of_its_parent(shop: Shop) -> None:
    @workflow
    async def cleans_up_for_long() -> None:
        try:
            await go.receive()
        finally:
            await asyncio.sleep(86_400)

    @workflow
    async def gives_up_and_ends() -> str:
        parcel = await start_child(cleans_up_for_long, id="parcel", parent_close="terminate")
        await settles()
        parcel.cancel()
        await settles()
        return "done"

    assert shop.run(gives_up_and_ends).status is RunStatus.COMPLETED
    assert "WorkflowCancelRequested" in shop.names("parcel")
    assert shop.names("parcel")[-1] == "WorkflowTerminated"


def paused_child(shop: Shop) -> None:
    shop.write(started("A1"), child(0, "ship", "A1", CHILD))
    shop.write(started("A1", parent=ev.ParentRef("order-1", "r1", 2)), ev.WorkflowPaused(), workflow_id=CHILD)


def test_a_child_that_is_paused_is_gone_on_with_when_it_is_resumed(shop: Shop) -> None:
    paused_child(shop)

    async def meanwhile(runner: Runner) -> None:
        await asyncio.sleep(0.05)
        assert CALLS == []
        shop.send(ev.WorkflowResumed(), CHILD)

    assert shop.run(order, meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert CALLS == ["ship A1", "bill ship A1"]


def test_a_parent_whose_child_is_paused_is_blocked(shop: Shop) -> None:
    paused_child(shop)
    end = shop.until_blocked(order)
    assert (end.closed_by, [wait.name for wait in end.waiting], CALLS) == (None, [CHILD], [])


@pytest.mark.parametrize("what", ["paused", "owned elsewhere"])
def test_a_parent_that_ends_does_not_wait_for_a_child_that_cannot_be_run_now(shop: Shop, what: str) -> None:
    @workflow
    async def leaves() -> None:
        await start_child(ship_when_told, "A1", id="kid")
        await go.receive()

    shop.until_blocked(leaves)
    shop.send(signal("go", 1))
    if what == "paused":
        shop.send(ev.WorkflowPaused(), "kid")
    with take(shop.folder, "kid", Role.RUN) if what == "owned elsewhere" else nullcontext():
        begun = time.monotonic()
        assert shop.run(leaves).status is RunStatus.COMPLETED
        assert time.monotonic() - begun < 4.0  # grace would be 5 s
    shop.send(signal("drains what lies there", 1), "kid")
    assert "WorkflowCancelRequested" in shop.names("kid")


def test_a_parent_whose_child_is_paused_stops_at_once_when_it_is_told_to(shop: Shop) -> None:
    paused_child(shop)

    async def meanwhile(runner: Runner) -> None:
        await asyncio.sleep(0.05)
        interrupt(runner)

    begun = time.monotonic()
    assert shop.run(order, meanwhile=meanwhile).closed_by is None
    assert time.monotonic() - begun < 4.0  # grace would be 5 s
    assert shop.names(CHILD) == ["WorkflowStarted", "WorkflowPaused"]
