"""Children: recorded before they start, attached again, told when their parent ends; and signals to other runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import msgspec
import pytest

from aion_cli import ActivityError, ChildError, ContinueAsNew, Signal, activity, send_signal, start_child, workflow
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
from tests.runtime.shop import Shop, interrupt

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


@activity
async def note(what: str) -> str:
    CALLS.append(what)
    return what


go = Signal("go", int)


@workflow
async def ship(sku: str) -> str:
    return await note(f"ship {sku}")


@workflow
async def ship_when_told(sku: str) -> str:
    try:
        await go.receive()
        return await note(f"ship {sku}")
    except asyncio.CancelledError:
        await note(f"unpack {sku}")
        raise


@workflow
async def order(sku: str) -> str:
    parcel = await ship(sku)
    await note(f"bill {parcel}")
    return parcel


@workflow
async def order_slowly(sku: str) -> str:
    try:
        return await ship_when_told(sku)
    except ChildError as error:
        return f"{error.type}: {error.message}"


CHILD = "order-1.1-2"


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


# --- cancelling and closing


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


# --- signals to other runs


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
