"""How a live run stops, waits and is paused, while it is open."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from aion_cli import workflow
from aion_cli.core import events as ev
from aion_cli.runtime.endings import Closed, RunSettings, Suspended, SuspendReason
from aion_cli.runtime.executor import ActivityOutcome, ActivityRequest, AttemptLog, ChildSuspendedError
from aion_cli.runtime.inbox import Message
from tests.builders import (
    at,
    completed,
    failed,
    failure,
    raw,
    scheduled,
    signal,
    started,
)
from tests.runtime.living import Live, both, charge, gives_up, go, live, order, settle, ship, stop

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
            await over
            await log.admission()
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


def test_a_run_whose_activity_is_between_two_attempts_is_blocked() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(stop_when_blocked=True))

        async def waits_in_backoff(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(request.attempt, failure(), at(5000))
            here.executor.resting.add(request.stable_id)
            return await asyncio.get_running_loop().create_future()

        here.executor.outcomes["charge"] = waits_in_backoff
        task = await here.begin()
        assert await asyncio.wait_for(task, 10) == Suspended(SuspendReason.BLOCKED)

    live(scenario)


def test_a_run_that_is_gone_on_with_between_two_attempts_is_blocked() -> None:
    async def scenario() -> None:
        recorded = [started("A1"), scheduled(0, "charge", "A1"), failed(0, again_at=at(5000))]
        here = Live(order, *recorded, settings=RunSettings(stop_when_blocked=True))

        async def waits_in_backoff(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(request.attempt, failure(), at(5000))
            here.executor.resting.add(request.stable_id)
            return await asyncio.get_running_loop().create_future()

        here.executor.outcomes["charge"] = waits_in_backoff
        assert await asyncio.wait_for(await here.begin(), 10) == Suspended(SuspendReason.BLOCKED)

    live(scenario)


def test_a_run_whose_next_attempt_may_not_begin_is_looked_at_again_and_is_blocked() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(stop_when_blocked=True))
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def is_due_while_paused(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(request.attempt, failure(), at(101))
            await due
            here.executor.resting.add(request.stable_id)
            assert not log.may_begin
            await log.admission()
            raise AssertionError("a further attempt began")

        here.executor.outcomes["charge"] = is_due_while_paused
        task = await here.begin()
        here.mailbox.put(ev.WorkflowPaused())
        await settle()
        assert not task.done()
        due.set_result(None)
        assert await asyncio.wait_for(task, 10) == Suspended(SuspendReason.PAUSED)

    live(scenario)


def test_a_run_with_an_activity_in_flight_is_not_blocked() -> None:
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


# --- attempts that are recorded as begun


def test_an_attempt_that_was_recorded_as_begun_is_made_although_a_pause_came_with_it() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))

        async def ends_as_a_pause_comes(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            asyncio.get_running_loop().call_soon(here.mailbox.put, ev.WorkflowPaused())
            return completed(0, "r1")

        here.executor.outcomes["charge"] = ends_as_a_pause_comes
        here.executor.hold = True
        task = await here.begin()
        batch = ["ActivityCompleted", "ActivityScheduled", "ActivityStarted", "WorkflowPaused"]
        assert here.store.batches[-1] == batch
        assert "run bill 1" in here.log
        await here.answer(completed(1, 1))
        assert isinstance(await task, Closed)

    live(scenario)


def test_an_attempt_that_was_recorded_as_begun_is_made_and_waited_for_although_the_run_stops_in_that_step() -> None:
    def is_the_start_of_bill(event: ev.Event) -> bool:
        return isinstance(event, ev.ActivityStarted) and event.activity_id == 1

    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(stop_at=is_the_start_of_bill))
        assert isinstance(await (await here.begin()), Closed)
        assert here.store.names()[-3:] == ["ActivityStarted", "ActivityCompleted", "WorkflowCompleted"]
        assert "run bill 1" in here.log

    live(scenario)


def test_the_details_of_a_heartbeat_are_written_soon_although_nothing_else_is() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def beats(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            for details in (b"1", b"2"):
                log.heartbeat(request.attempt, msgspec.Raw(details))
                await asyncio.sleep(1.5)
            await over
            return completed(0, "r1")

        here.executor.outcomes["charge"] = beats
        task = await here.begin()
        assert here.store.names()[-1] == "ActivityStarted"
        await asyncio.sleep(4)
        assert here.store.batches[-2:] == [["ActivityHeartbeat"], ["ActivityHeartbeat"]]
        over.set_result(None)
        assert isinstance(await task, Closed)

    live(scenario)


def test_nothing_begins_that_is_asked_for_after_the_event_at_which_the_run_is_to_stop() -> None:
    def is_the_receipt(event: ev.Event) -> bool:
        return isinstance(event, ev.ActivityCompleted)

    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(stop_at=is_the_receipt))
        assert await (await here.begin()) == Suspended(SuspendReason.BLOCKED)
        assert here.store.batches[-1] == ["ActivityCompleted", "ActivityScheduled"]
        assert "run bill 1" not in here.log

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


def test_a_run_that_stops_when_it_is_blocked_stops_as_paused_if_that_is_what_blocks_it() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(stop_when_blocked=True))
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowPaused())
        await here.answer(completed(0, "r1"))
        assert await asyncio.wait_for(task, 10) == Suspended(SuspendReason.PAUSED)
        assert [wait.name for wait in here.run.waiting()] == ["bill"]

    live(scenario)


@pytest.mark.parametrize("by", ["a pause", "a stop"])
def test_an_attempt_that_is_overtaken_is_neither_recorded_nor_begun(by: str) -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        begun: list[bool] = []

        async def retries(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(1, failure(), at(101))
            assert log.may_begin
            here.mailbox.put(ev.WorkflowPaused()) if by == "a pause" else here.run.suspend(SuspendReason.INTERRUPTED)
            begun.append(await log.started(2))
            return await asyncio.get_running_loop().create_future()

        here.executor.outcomes["charge"] = retries
        await here.begin()
        await settle()
        assert begun == [False]
        assert here.store.names().count("ActivityStarted") == 1

    live(scenario)


def test_a_pause_withholds_further_attempts_as_well() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def retries(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
            await log.failed(1, failure(), at(101))
            await over
            await log.admission()
            assert await log.started(2)
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
