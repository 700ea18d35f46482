"""A live run: what is written when, what begins when, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import pytest

from aion_cli import ActivityError, Signal, activity, send_signal, wait_until, workflow
from aion_cli.core import events as ev
from aion_cli.core.execution import Phase
from aion_cli.core.replay import Replay
from aion_cli.errors import AionError, StoreError
from aion_cli.runtime.endings import Closed, RunSettings, Suspended, SuspendReason
from aion_cli.runtime.executor import ActivityOutcome, ActivityRequest, AttemptLog, ChildSuspendedError
from aion_cli.runtime.handoff import Identity
from aion_cli.runtime.inbox import Message, MessageId, message_id
from aion_cli.runtime.live import LiveRun
from aion_cli.runtime.recorder import Recorder
from tests.builders import (
    AnyWorkflow,
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    child,
    child_completed,
    completed,
    failed,
    failure,
    history,
    raw,
    replay_of,
    replayed,
    scheduled,
    send,
    signal,
    started,
    timer,
)
from tests.core.loops import in_skipped_time
from tests.runtime.seam import WORKER, HandClock, HandMailbox, NotingExecutor, NotingStore

T = TypeVar("T")


@activity
def charge(sku: str) -> str | None:
    raise AssertionError(f"an activity ran: {sku}")


@activity
def bill(sku: str) -> int | None:
    raise AssertionError(f"an activity ran: {sku}")


@activity(at_most_once=True)
def charge_once(sku: str) -> str | None:
    raise AssertionError(f"an activity ran: {sku}")


@workflow
async def ship(sku: str) -> str:
    raise AssertionError(f"a child ran: {sku}")


go = Signal("go", int)
stop = Signal("stop", int)


class Live:
    """A live run over doubles. Its parts share one log of what happened, in order."""

    def __init__(self, definition: AnyWorkflow, *events: ev.Event, settings: RunSettings | None = None) -> None:
        self.log: list[str] = []
        self.definition = definition
        self.store = NotingStore(history(*events), self.log)
        self.replay: Replay = replay_of(definition, list(self.store.read()))
        known: set[MessageId] = {found for event in events if (found := message_id(event)) is not None}
        self.executor = NotingExecutor(self.log)
        self.mailbox = HandMailbox(self.log)
        self.clock = HandClock()
        self.told: list[str] = []
        self.quiet = 0
        self.run = LiveRun(
            self.replay,
            self.replay.run(goes_on=True),
            Recorder(self.store),
            self.executor,
            self.mailbox,
            identity=Identity("order-1", "r1", 1),
            worker=WORKER,
            clock=self.clock,
            known_ids=known,
            settings=settings,
            listener=lambda events: self.told.extend(type(event).__name__ for event in events),
            on_quiet=self._on_quiet,
        )

    def _on_quiet(self) -> None:
        self.quiet += 1

    async def begin(self, suspend_at_once: SuspendReason | None = None) -> asyncio.Task[Closed | Suspended]:
        """Begin to run, and return once nothing moves by itself."""
        task = asyncio.create_task(self.run.run(suspend_at_once))
        await settle()
        return task

    async def answer(self, *outcomes: ActivityOutcome) -> None:
        """End activities that are held, all in one turn of the loop."""
        for outcome in outcomes:
            self.executor.release(outcome)
        await settle()

    def since(self, mark: int) -> list[str]:
        return self.log[mark:]

    def require_clean_replay(self) -> None:
        """What was written must replay with the same code."""
        replayed(self.definition, list(self.store.read()))


async def settle() -> None:
    """Let everything run that is ready, and what becomes ready by that."""
    for _ in range(50):
        await asyncio.sleep(0)


def live(scenario: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await scenario()

    return in_skipped_time(run())


@workflow
async def order(sku: str) -> str | None:
    receipt = await charge(sku)
    await bill("b")
    return receipt


@workflow
async def both() -> None:
    async def chain(name: str) -> None:
        await charge(name)
        await bill(name)

    await asyncio.gather(chain("a"), chain("b"))


# --- batches, and what is on disk before what


def test_a_sequential_run_costs_one_append_a_step() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert here.store.batches == [
            ["ActivityScheduled", "ActivityStarted"],
            ["ActivityCompleted", "ActivityScheduled", "ActivityStarted"],
            ["ActivityCompleted"],
            ["WorkflowCompleted"],
        ]
        here.require_clean_replay()

    live(scenario)


def test_answers_that_come_together_share_an_append_each_directly_followed_by_its_commands() -> None:
    async def scenario() -> None:
        here = Live(both, started())
        here.executor.hold = True
        await here.begin()
        await here.answer(completed(1, "rb"), completed(0, "ra"))
        assert here.store.batches[1:] == [
            [
                "ActivityCompleted",
                "ActivityScheduled",
                "ActivityStarted",
                "ActivityCompleted",
                "ActivityScheduled",
                "ActivityStarted",
            ]
        ]
        done = here.store.events(ev.ActivityCompleted)
        begun = here.store.events(ev.ActivityScheduled)
        assert [(event.activity_id, event.seq) for event in done] == [(1, 6), (0, 9)]
        assert [(event.input, event.seq) for event in begun[2:]] == [(raw("b"), 7), (raw("a"), 10)]
        here.require_clean_replay()

    live(scenario)


def test_no_effect_begins_before_what_caused_it_is_on_disk() -> None:
    @workflow
    async def all_kinds() -> None:
        await asyncio.gather(charge("a"), asyncio.sleep(60), ship("c"), send_signal("order-2", go, 1), go.receive())

    async def scenario() -> None:
        here = Live(all_kinds, started())
        here.executor.hold = True
        await here.begin()
        assert here.log == [
            "await signal go",
            "append ActivityScheduled ActivityStarted TimerStarted ChildWorkflowStarted SignalSendRequested",
            "run charge 0",
            "timer 0",
            "child order-1.1-5",
            "send go to order-2 as r1/6",
            "append SignalSent",
        ]

    live(scenario)


def test_messages_are_removed_and_listeners_told_only_of_what_is_on_disk() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        mark = len(here.log)
        here.mailbox.put(signal("go", 1))
        await settle()
        assert here.since(mark) == ["append SignalReceived", "remove 1"]

        def full(events: Any, expected_seq: int) -> int:
            raise StoreError("the disk is full")

        here.store.append = full
        told = len(here.told)
        here.mailbox.put(signal("go", 2, "s2"))
        with pytest.raises(StoreError, match="full"):
            await task
        assert len(here.mailbox.messages) == 1
        assert len(here.told) == told
        assert not any(line.startswith("run bill") for line in here.log)

    live(scenario)


def test_what_history_left_unmatched_is_recorded_first_and_then_begun() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), attempted(0), completed(0, "r1"))
        here.executor.hold = True
        await here.begin()
        assert here.log == ["append ActivityScheduled ActivityStarted", "run bill 1"]

    live(scenario)


def test_the_listener_is_told_of_every_event_in_order() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        await (await here.begin())
        assert here.told == here.store.names()[1:]

    live(scenario)


def test_workflow_code_is_stepped_from_a_plain_callback_and_never_inside_a_task() -> None:
    # Python 3.14 refuses to enter a task while another one runs, also one of another loop.
    inside: set[str] = set()

    async def scenario() -> None:
        outer = asyncio.get_running_loop()

        def look() -> bool:
            inside.add(str(asyncio.current_task(outer) and asyncio.current_task(outer).get_coro()))  # pyright: ignore[reportOptionalMemberAccess] - asked in the same expression
            return False

        @workflow(timeout=60)
        async def looks() -> None:
            await charge("a")
            await go.receive()
            await wait_until(look)

        here = Live(looks, started(), settings=RunSettings(timeout_s=3_600))
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        await settle()
        here.mailbox.on_lock.append(Message("late", signal("go", 2, "s2")))
        here.clock.advance(10_000)
        await settle()
        assert isinstance(await task, Closed)

    live(scenario)
    assert inside == {"None"}


def test_a_context_variable_that_an_activity_sets_does_not_leak_into_workflow_code_or_other_activities() -> None:
    leaky: ContextVar[str] = ContextVar("leaky", default="clean")
    seen: list[str] = []

    @workflow
    async def looks() -> None:
        await charge("a")
        task = asyncio.create_task(bill("b"))
        await wait_until(lambda: seen.append(leaky.get()) is not None or task.done())

    async def sets(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        seen.append(leaky.get())
        leaky.set("leaked")
        return ev.ActivityCompleted(activity_id=request.command.key.ordinal, attempt=1, result=raw(None))

    async def scenario() -> None:
        here = Live(looks, started())
        here.executor.outcomes = {"charge": sets, "bill": sets}
        await (await here.begin())

    live(scenario)
    assert set(seen) == {"clean"}


# --- messages


def test_messages_are_recorded_in_their_order_and_repeats_are_removed_without_an_event() -> None:
    @workflow
    async def adds() -> int:
        return sum([await go.receive() for _ in range(3)])

    async def scenario() -> None:
        here = Live(adds, started(), signal("go", 1, "s1"))
        here.mailbox.messages = [Message("m0", signal("go", 1, "s1")), Message("m1", signal("go", 2, "s2"))]
        task = await here.begin()
        here.mailbox.put(signal("go", 2, "s2"), signal("go", 3, "s3"))
        end = await task
        assert isinstance(end, Closed)
        assert end.event == ev.WorkflowCompleted(seq=5, recorded_at=at(100), result=raw(6))
        assert [event.signal_id for event in here.store.events(ev.SignalReceived)] == ["s1", "s2", "s3"]
        assert here.mailbox.messages == []

    live(scenario)


def test_what_was_accepted_before_is_drained_before_anything_begins() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), attempted(0))
        here.mailbox.messages = [Message("m0", cancel_requested())]
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowCancelled)
        assert here.store.names()[3:] == ["WorkflowCancelRequested", "ActivityCancelled", "WorkflowCancelled"]
        assert not any(line.startswith("run") for line in here.log)
        here.require_clean_replay()

    live(scenario)


def test_a_message_under_way_is_not_handed_out_twice() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        await here.begin()
        here.mailbox.put(ev.WorkflowResumed())
        here.mailbox.look()
        here.mailbox.look()
        await settle()
        assert here.store.names().count("WorkflowResumed") == 1

    live(scenario)


# --- withdrawing


@workflow
async def gives_up() -> int:
    tasks = [asyncio.create_task(one) for one in (charge("a"), asyncio.sleep(600), ship("c"))]
    await go.receive()
    for task in tasks:
        task.cancel()
    return await stop.receive()


def test_what_is_withdrawn_is_stopped_after_that_is_on_disk_and_a_child_is_asked() -> None:
    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.hold = True
        await here.begin()
        mark = len(here.log)
        here.mailbox.put(signal("go", 1))
        await settle()
        assert here.since(mark) == [
            "await signal stop",
            "append SignalReceived ActivityCancelled ChildCancelRequested TimerCancelled",
            "remove 1",
            "cancel child order-1.1-5 as r1/8",
            "cancelled charge 0",
            "timer 0 withdrawn",
        ]

    live(scenario)


def test_an_outcome_that_nobody_waits_for_any_more_is_not_recorded() -> None:
    async def stubborn(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return completed(0, "late")
        raise AssertionError

    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.outcomes["charge"] = stubborn
        await here.begin()
        here.mailbox.put(signal("go", 1))
        await settle()
        assert "ActivityCompleted" not in here.store.names()
        here.require_clean_replay()

    live(scenario)


def test_what_was_scheduled_and_withdrawn_in_one_batch_never_begins() -> None:
    @workflow
    async def changes_its_mind() -> int:
        await go.receive()
        task = asyncio.create_task(charge("a"))
        await go.receive()
        task.cancel()
        return await stop.receive()

    async def scenario() -> None:
        here = Live(changes_its_mind, started())
        await here.begin()
        here.mailbox.put(signal("go", 1, "s1"), signal("go", 2, "s2"))
        await settle()
        assert here.store.batches == [
            ["SignalReceived", "ActivityScheduled", "ActivityStarted", "SignalReceived", "ActivityCancelled"]
        ]
        assert not any(line.startswith("run") for line in here.log)
        assert "give back charge" in here.log
        here.require_clean_replay()

    live(scenario)


# --- the end


def test_the_end_is_appended_under_the_inbox_lock_after_a_listing_that_was_empty() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        await (await here.begin())
        assert here.log[-3:] == ["lock", "append WorkflowCompleted", "unlock"]

    live(scenario)


def test_what_arrives_between_the_finish_and_the_end_is_recorded_before_it() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.mailbox.on_lock = [Message("late", signal("go", 1))]
        await (await here.begin())
        assert here.store.batches[-2:] == [["SignalReceived"], ["WorkflowCompleted"]]
        assert here.log[-7:] == [
            "lock",
            "unlock",
            "append SignalReceived",
            "remove 1",
            "lock",
            "append WorkflowCompleted",
            "unlock",
        ]
        here.require_clean_replay()

    live(scenario)


def test_a_termination_between_the_finish_and_the_end_is_the_end() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.mailbox.on_lock = [Message("late", ev.WorkflowTerminated(reason="now"))]
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowTerminated)
        assert here.store.names()[-2:] == ["ActivityCompleted", "WorkflowTerminated"]
        here.require_clean_replay()

    live(scenario)


def test_a_terminated_run_ends_at_once_and_what_runs_is_cancelled() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated(reason="enough"))
        end = await task
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowTerminated)
        assert here.store.names()[-1] == "WorkflowTerminated"
        assert here.log[-1] == "cancelled charge 0"

    live(scenario)


def test_messages_after_a_termination_are_left_in_the_inbox() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated(), signal("go", 1))
        await task
        assert here.store.names()[-1] == "WorkflowTerminated"
        assert [type(message.event) for message in here.mailbox.messages] == [ev.SignalReceived]

    live(scenario)


def test_a_run_that_ends_cancels_what_still_runs_and_records_nothing_of_it() -> None:
    @workflow
    async def leaves() -> str:
        asyncio.create_task(charge("a"))  # noqa: RUF006 - left behind
        await go.receive()
        return "done"

    async def scenario() -> None:
        here = Live(leaves, started())
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        assert isinstance(await task, Closed)
        assert here.store.names()[-2:] == ["SignalReceived", "WorkflowCompleted"]
        assert here.log[-1] == "cancelled charge 0"

    live(scenario)


def test_what_was_emitted_as_the_run_ended_is_recorded_and_not_begun() -> None:
    @workflow
    async def leaves_much() -> None:
        await go.receive()
        for one in (charge("a"), send_signal("order-2", go, 1), ship("c")):
            asyncio.create_task(one)  # noqa: RUF006 - left behind
        await asyncio.sleep(0)

    async def scenario() -> None:
        here = Live(leaves_much, started())
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        await task
        assert here.store.batches[0][0] == "SignalReceived"
        assert set(here.store.batches[0]) == {
            "SignalReceived",
            "ActivityScheduled",
            "SignalSendRequested",
            "ChildWorkflowStarted",
        }
        assert not any(line.startswith(("run", "send", "child")) for line in here.log)
        # A recorded child is told of the end of its parent before that end is written.
        closed = [n for n, line in enumerate(here.log) if line.startswith("close child")]
        assert closed == [here.log.index("append WorkflowCompleted") - 2]
        here.require_clean_replay()

    live(scenario)


def test_children_are_told_before_a_termination_is_written() -> None:
    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated())
        await task
        told = here.log.index("close child order-1.1-5 as r1/5/close")
        assert told < here.log.index("append WorkflowTerminated")

    live(scenario)


def test_a_run_that_takes_longer_than_its_limit_is_timed_out() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(timeout_s=300.0))
        here.executor.hold = True
        task = await here.begin()
        here.clock.advance(199)
        await settle()
        assert not task.done()
        here.clock.advance(1)
        end = await task
        assert isinstance(end, Closed)
        assert end.event == ev.WorkflowTimedOut(seq=4, recorded_at=at(300), timeout_s=300.0)
        here.require_clean_replay()

    live(scenario)


def test_a_failure_of_the_executor_ends_the_run_here_and_leaves_it_open() -> None:
    async def breaks(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        raise OSError("no threads left")

    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.outcomes["charge"] = breaks
        with pytest.raises(OSError, match="no threads left"):
            await (await here.begin())
        assert here.store.names() == ["WorkflowStarted", "ActivityScheduled", "ActivityStarted"]
        assert here.replay.execution.phase is Phase.CLOSED

    live(scenario)


def test_a_result_that_does_not_fit_its_type_is_a_divergence_and_is_not_written() -> None:
    async def wrong(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        return completed(0, 5)

    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.outcomes["charge"] = wrong
        with pytest.raises(AionError, match="no longer matches its history"):
            await (await here.begin())
        assert here.store.names()[-1] == "ActivityStarted"

    live(scenario)


# --- stopping


def test_a_stop_waits_for_what_is_in_flight_and_records_what_it_comes_to() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        here.run.suspend(SuspendReason.INTERRUPTED)
        await settle()
        assert not task.done()
        await here.answer(completed(0, "r1"))
        assert await task == Suspended(SuspendReason.INTERRUPTED)
        assert here.store.batches[-1] == ["ActivityCompleted", "ActivityScheduled"]
        assert not any(line.startswith("run bill") for line in here.log)
        assert [wait.name for wait in here.run.waiting()] == ["bill"]
        here.require_clean_replay()

    live(scenario)


def test_a_stop_waits_no_longer_than_grace_and_then_cancels() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(grace_s=10.0))
        here.executor.hold = True
        task = await here.begin()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        here.run.suspend(SuspendReason.TERMINATED)
        assert await task == Suspended(SuspendReason.TERMINATED)
        assert loop.time() - begun == pytest.approx(10.0, abs=0.6)
        assert here.log[-1] == "cancelled charge 0"
        assert here.store.names()[-1] == "ActivityStarted"

    live(scenario)


def test_a_second_stop_waits_for_nothing() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        here.run.suspend(SuspendReason.INTERRUPTED)
        here.run.suspend(SuspendReason.INTERRUPTED)
        await task
        assert loop.time() - begun < 1.0

    live(scenario)


def test_nothing_new_begins_while_it_stops_not_even_a_further_attempt() -> None:
    async def scenario() -> None:
        here = Live(both, started())
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def waits_in_backoff(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(request.attempt, failure(), at(101))
            here.executor.attempting.discard(request.stable_id)
            await over
            await log.started(request.attempt + 1)
            raise AssertionError("a further attempt began")

        here.executor.outcomes["charge"] = waits_in_backoff
        task = await here.begin()
        here.run.suspend(SuspendReason.INTERRUPTED)
        over.set_result(None)
        assert await task == Suspended(SuspendReason.INTERRUPTED)
        assert here.store.names().count("ActivityStarted") == 2

    live(scenario)


def test_an_activity_in_backoff_is_not_waited_for() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(grace_s=10.0))

        async def waits_in_backoff(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(request.attempt, failure(), at(5000))
            here.executor.attempting.discard(request.stable_id)
            return await asyncio.get_running_loop().create_future()

        here.executor.outcomes["charge"] = waits_in_backoff
        task = await here.begin()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        here.run.suspend(SuspendReason.INTERRUPTED)
        await task
        assert loop.time() - begun < 1.0
        assert here.store.names()[-1] == "ActivityFailed"

    live(scenario)


def test_an_activity_that_swallows_its_cancellation_does_not_hold_up_the_end() -> None:
    async def swallows(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return completed(0, "late")
        raise AssertionError

    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(grace_s=10.0))
        here.executor.outcomes["charge"] = swallows
        task = await here.begin()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        here.mailbox.put(ev.WorkflowTerminated())
        await task
        assert loop.time() - begun < 1.0
        assert here.store.names()[-1] == "WorkflowTerminated"

    live(scenario)


def test_told_to_stop_before_it_begins_it_records_what_is_due_and_begins_nothing() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.mailbox.messages = [Message("m0", signal("go", 1))]
        task = await here.begin(SuspendReason.INTERRUPTED)
        assert await task == Suspended(SuspendReason.INTERRUPTED)
        assert here.store.names() == ["WorkflowStarted", "SignalReceived", "ActivityScheduled"]
        assert not any(line.startswith("run") for line in here.log)

    live(scenario)


def test_what_is_left_of_children_is_suspended_with_the_run() -> None:
    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.hold = True
        task = await here.begin()
        here.run.suspend(SuspendReason.INTERRUPTED)
        await settle()
        assert "suspend child order-1.1-5" in here.log
        here.executor.child_outcomes["order-1.1-5"].set_exception(ChildSuspendedError("suspended"))
        assert await task == Suspended(SuspendReason.INTERRUPTED)

    live(scenario)


# --- being blocked


def test_a_run_that_waits_only_for_signals_and_timers_is_blocked() -> None:
    @workflow
    async def waits() -> int:
        async with asyncio.timeout(3_600):
            return await go.receive()

    async def scenario() -> None:
        here = Live(waits, started(), settings=RunSettings(stop_when_blocked=True))
        assert await (await here.begin()) == Suspended(SuspendReason.BLOCKED)
        assert here.quiet > 0
        assert [wait.kind for wait in here.run.waiting()] == ["timer", "signal"]
        assert here.run.waiting()[0].deadline == at(3_600)

    live(scenario)


def test_a_run_with_an_activity_in_flight_or_in_backoff_is_not_blocked() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(stop_when_blocked=True))
        here.executor.hold = True
        task = await here.begin()
        assert not task.done()
        assert not here.run.is_blocked
        assert here.quiet == 0

    live(scenario)


def test_a_run_is_blocked_once_an_activity_that_it_gave_up_has_cleaned_up() -> None:
    @workflow
    async def gives_up_one() -> int:
        given_up = asyncio.create_task(charge("a"))
        await go.receive()
        given_up.cancel()
        return await stop.receive()

    async def scenario() -> None:
        here = Live(gives_up_one, started(), settings=RunSettings(stop_when_blocked=True))
        cleaned = asyncio.Event()

        async def cleans_up(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            del log
            try:
                await asyncio.Event().wait()
            finally:
                await cleaned.wait()
            return ev.ActivityCompleted(activity_id=0, attempt=request.attempt, result=raw(None))

        here.executor.outcomes["charge"] = cleans_up
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        await settle()
        assert not here.run.is_blocked
        cleaned.set()
        assert await asyncio.wait_for(task, 10) == Suspended(SuspendReason.BLOCKED)

    live(scenario)


def test_a_run_whose_child_is_blocked_is_blocked() -> None:
    @workflow
    async def waits_for_child() -> str:
        return await ship("c")

    async def scenario() -> None:
        here = Live(waits_for_child, started(), settings=RunSettings(stop_when_blocked=True))
        task = await here.begin()
        assert not here.run.is_blocked
        here.executor.blocked_children = True
        here.run.check_quiet()
        await settle()
        here.executor.child_outcomes["order-1.1-2"].set_exception(ChildSuspendedError("suspended"))
        assert await task == Suspended(SuspendReason.BLOCKED)

    live(scenario)


# --- pausing


def test_a_pause_withholds_dispatch_and_records_what_arrives() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowPaused())
        await settle()
        mark = len(here.log)
        await here.answer(completed(0, "r1"))
        here.mailbox.put(signal("go", 1))
        await settle()
        assert not task.done()
        assert here.since(mark) == ["append ActivityCompleted ActivityScheduled", "append SignalReceived", "remove 1"]
        mark = len(here.log)
        here.mailbox.put(ev.WorkflowResumed())
        await settle()
        assert here.since(mark)[:3] == ["append WorkflowResumed", "remove 1", "run bill 1"]
        await here.answer(completed(1, 1))
        assert isinstance(await task, Closed)
        here.require_clean_replay()

    live(scenario)


def test_a_pause_withholds_further_attempts_as_well() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def retries(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(1, failure(), at(101))
            await over
            await log.started(2)
            return completed(0, "r1")

        here.executor.outcomes["charge"] = retries
        await here.begin()
        here.mailbox.put(ev.WorkflowPaused())
        over.set_result(None)
        await settle()
        assert here.store.names()[-2:] == ["ActivityFailed", "WorkflowPaused"]
        here.mailbox.put(ev.WorkflowResumed())
        await settle()
        assert here.store.events(ev.ActivityStarted)[1].attempt == 2

    live(scenario)


def test_timers_go_on_while_paused_and_what_they_bring_is_only_recorded() -> None:
    @workflow
    async def sleeps_first() -> None:
        await asyncio.sleep(60)
        await charge("a")

    async def scenario() -> None:
        here = Live(sleeps_first, started())
        await here.begin()
        here.mailbox.put(ev.WorkflowPaused())
        await settle()
        here.executor.timers[0].set_result(None)
        await settle()
        assert here.store.batches[-1] == ["TimerFired", "ActivityScheduled"]
        assert not any(line.startswith("run") for line in here.log)

    live(scenario)


def test_a_run_that_is_started_while_paused_stops_again_with_what_it_waits_for() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), ev.WorkflowPaused())
        assert await (await here.begin()) == Suspended(SuspendReason.PAUSED)
        assert here.log == []
        assert [wait.name for wait in here.run.waiting()] == ["charge"]

    live(scenario)


def test_a_message_that_resumes_a_paused_run_as_it_is_started_lets_it_go_on() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), ev.WorkflowPaused())
        here.mailbox.messages = [Message("m0", ev.WorkflowResumed())]
        assert isinstance(await (await here.begin()), Closed)

    live(scenario)


# --- going on with half-done work


def test_what_history_began_is_taken_up_in_the_order_of_asking_without_another_event_for_the_command() -> None:
    @workflow
    async def all_kinds() -> None:
        await asyncio.gather(charge("a"), asyncio.sleep(160), ship("c"), send_signal("order-2", go, 1), go.receive())

    async def scenario() -> None:
        here = Live(
            all_kinds,
            started(),
            scheduled(0, "charge", "a"),
            attempted(0),
            timer(0, at(160)),
            child(0, "ship", "c", "parcel-7"),
            send(0, "order-2", "go", 1),
        )
        here.executor.hold = True
        await here.begin()
        assert here.log == [
            "await signal go",
            "append ActivityStarted",
            "run charge 0",
            "timer 0",
            "child parcel-7",
            "send go to order-2 as r1/6",
            "append SignalSent",
        ]
        assert here.executor.requests[0].attempt == 2

    live(scenario)


def test_a_crash_in_backoff_resumes_the_wait() -> None:
    async def scenario() -> None:
        again = failed(0, again_at=at(500))
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), attempted(0), again)
        here.executor.hold = True
        await here.begin()
        request = here.executor.requests[0]
        assert (request.due, request.attempt, request.failures, request.started) == (at(500), 2, 1, False)

    live(scenario)


def test_an_at_most_once_activity_that_a_crash_cut_off_is_raised_as_interrupted() -> None:
    @workflow
    async def careful() -> str:
        try:
            await charge_once("a")
        except ActivityError as error:
            return type(error).__name__
        return "charged"

    async def scenario() -> None:
        here = Live(careful, started(), scheduled(0, "charge_once", "a"), attempted(0))
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowCompleted)
        assert end.event.result == raw("ActivityInterrupted")
        assert here.executor.requests == []
        here.require_clean_replay()

    live(scenario)


def test_a_childs_cancellation_that_a_crash_kept_from_being_delivered_is_delivered_again() -> None:
    async def scenario() -> None:
        here = Live(
            gives_up,
            started(),
            scheduled(0, "charge", "a"),
            timer(0, at(600)),
            child(0, "ship", "c", "parcel-7"),
            signal("go", 1),
            activity_cancelled(0),
            ev.ChildCancelRequested(ordinal=0),
            ev.TimerCancelled(timer_id=0),
        )
        await here.begin()
        assert "cancel child parcel-7 as r1/7" in here.log
        assert "child parcel-7" in here.log
        here.executor.child_outcomes["parcel-7"].set_result(child_completed(0, "late"))
        await settle()
        assert here.store.names()[-1] == "TimerCancelled"

    live(scenario)
