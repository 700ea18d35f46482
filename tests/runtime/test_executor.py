"""The executor in this process: attempts, retries and limits of an activity, by a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from aion_cli import NonRetryable, activity, activity_info, heartbeat
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from aion_cli.core.retry import next_delay_s
from aion_cli.errors import HistoryShapeError
from tests.builders import at, failure, raw
from tests.runtime.executing import Executing, flaky, in_time, policy, request, settle

# --- attempts


def test_a_first_attempt_that_is_on_record_already_is_not_recorded_again() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 0)
        assert here.executor.try_reserve(request(definition).command, at(100))
        outcome = await here.run(definition, started=True)
        assert outcome == ev.ActivityCompleted(activity_id=0, attempt=1, result=raw("done"))
        assert (here.attempts.log, calls.attempts) == ([], [1])

    in_time(scenario)


def test_failures_are_followed_by_further_attempts_until_one_succeeds() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 2, retry=policy())
        outcome = await here.run(definition)
        assert outcome == ev.ActivityCompleted(activity_id=0, attempt=3, result=raw("done"))
        assert calls.attempts == [1, 2, 3]
        told = [line.partition(",")[0] for line in here.attempts.log]
        assert told == [
            "started 1",
            "failed 1 ConnectionError",
            "started 2",
            "failed 2 ConnectionError",
            "started 3",
        ]

    in_time(scenario)


def test_the_last_failure_is_the_outcome() -> None:
    async def scenario() -> None:
        here = Executing()
        _, definition = flaky(here, 99, retry=policy(max_attempts=3))
        outcome = await here.run(definition)
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.attempt, outcome.error.type, outcome.next_attempt_at) == (3, "ConnectionError", None)

    in_time(scenario)


def test_without_a_policy_the_first_failure_is_final() -> None:
    async def scenario() -> None:
        here = Executing()
        _, definition = flaky(here, 1)
        outcome = await here.run(definition)
        assert isinstance(outcome, ev.ActivityFailed)
        assert outcome.attempt == 1

    in_time(scenario)


def test_max_attempts_counts_recorded_failures_and_not_attempts_that_a_crash_cut_off() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 99, retry=policy(max_attempts=3))
        outcome = await here.run(definition, attempt=5, failures=1)
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.attempt, calls.attempts) == (6, [5, 6])

    in_time(scenario)


def test_a_non_retryable_error_ends_the_attempts() -> None:
    async def scenario() -> None:
        here = Executing()

        @activity(name="flaky", retry=policy())
        def gives_up() -> None:
            raise NonRetryable("why")

        outcome = await here.run(gives_up)
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.attempt, outcome.error.kind) == (1, ErrorKind.NON_RETRYABLE)

    in_time(scenario)


# --- waiting


def test_a_crash_in_backoff_resumes_the_wait_until_the_recorded_instant() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 0, retry=policy())
        running = asyncio.ensure_future(
            here.executor.run_activity(request(definition, attempt=2, failures=1, due=at(160)), here.attempts)
        )
        await settle()
        here.clock.advance(59)
        await settle()
        assert (calls.attempts, here.attempts.log) == ([], [])
        here.clock.advance(1)
        assert isinstance(await running, ev.ActivityCompleted)
        assert calls.attempts == [2]

    in_time(scenario)


def test_the_delay_is_that_of_the_policy_with_jitter_from_the_stable_id() -> None:
    async def scenario() -> None:
        here = Executing()
        jittery = policy(jitter=0.5)
        _, definition = flaky(here, 1, retry=jittery)
        running = asyncio.ensure_future(here.executor.run_activity(request(definition), here.attempts))
        while len(here.attempts.log) < 2:
            await asyncio.sleep(0)
        delay = next_delay_s(jittery, failure(), failures=1, elapsed_s=0, stable_id="r1/2")
        assert delay is not None
        assert delay != 20
        assert here.attempts.log[1] == f"failed 1 ConnectionError, again at {at(100 + delay)[14:19]}"
        running.cancel()

    in_time(scenario)


def test_max_elapsed_runs_from_the_schedule_downtime_included() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 99, retry=policy(max_attempts=None, max_elapsed=300))
        # 100 s have passed while nobody ran it; it waits 20, 40 and 80 s more, and then 160 s would be too long.
        outcome = await here.run(definition, scheduled_at=at(0))
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.error.type, calls.attempts) == ("ConnectionError", [1, 2, 3, 4])

    in_time(scenario)


def test_an_activity_waits_for_room_and_takes_it_in_turn() -> None:
    async def scenario() -> None:
        here = Executing(max_concurrency=1)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        @activity(name="flaky")
        async def holds() -> None:
            await gate

        _, quick = flaky(here, 0)
        first = asyncio.ensure_future(here.executor.run_activity(request(holds), here.attempts))
        await asyncio.sleep(0)
        following = msgspec.structs.replace(request(quick), stable_id="r1/3")
        second = asyncio.ensure_future(here.executor.run_activity(following, here.attempts))
        await settle()
        assert here.attempts.log == ["started 1"]
        gate.set_result(None)
        await asyncio.gather(first, second)
        assert here.attempts.log == ["started 1", "started 1"]

    in_time(scenario)


def test_room_is_given_back_if_an_attempt_cannot_be_recorded() -> None:
    async def scenario() -> None:
        here = Executing(max_concurrency=1)
        _, definition = flaky(here, 0)

        async def refuses() -> None:
            raise OSError("the disk is full")

        here.attempts.on_started = refuses
        with pytest.raises(OSError, match="full"):
            await here.executor.run_activity(request(definition), here.attempts)
        assert here.executor.try_reserve(request(definition).command, at(100))

    in_time(scenario)


def test_what_rests_between_two_attempts_is_known() -> None:
    async def scenario() -> None:
        here = Executing()
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        @activity(name="flaky", retry=policy())
        async def fails_later() -> None:
            await gate
            raise ConnectionError

        running = asyncio.ensure_future(here.executor.run_activity(request(fails_later), here.attempts))
        await settle()
        assert not here.executor.is_resting("r1/2")
        gate.set_result(None)
        await settle()
        assert here.attempts.log[-1].startswith("failed 1")
        assert here.executor.is_resting("r1/2")
        running.cancel()
        await asyncio.wait([running])
        assert not here.executor.is_resting("r1/2")

    in_time(scenario)


def test_an_attempt_that_is_overdue_does_not_rest() -> None:
    async def scenario() -> None:
        here = Executing()
        slow: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def until(micros: int) -> None:
            await slow

        here.clock.until = until
        _, definition = flaky(here, 0, retry=policy())
        due = request(definition, attempt=2, failures=1, due=at(160))
        running = asyncio.ensure_future(here.executor.run_activity(due, here.attempts))
        await settle()
        assert here.executor.is_resting("r1/2")
        here.clock.advance(60)
        assert not here.executor.is_resting("r1/2")
        slow.set_result(None)
        await running

    in_time(scenario)


def test_an_attempt_that_may_not_begin_rests_and_takes_no_room() -> None:
    async def scenario() -> None:
        here = Executing(max_concurrency=1)
        here.attempts.may_begin = False

        @activity(name="flaky")
        async def works() -> str:
            return "done"

        held = asyncio.ensure_future(here.executor.run_activity(request(works), here.attempts))
        await settle()
        assert here.attempts.log == ["held"]
        assert here.executor.is_resting("r1/2")
        assert here.executor.try_reserve(request(works).command, at(100))
        here.attempts.may_begin = True
        here.attempts.resumed.set()
        await settle()
        assert not here.executor.is_resting("r1/2")
        here.executor.give_back(request(works).command)
        await held
        assert here.attempts.log == ["held", "started 1"]

    in_time(scenario)


def test_a_pause_while_an_attempt_waits_for_room_leaves_the_room_to_others() -> None:
    async def scenario() -> None:
        here = Executing(max_concurrency=1)

        @activity(name="flaky")
        async def works() -> str:
            return "done"

        assert here.executor.try_reserve(request(works).command, at(100))
        waiting = asyncio.ensure_future(here.executor.run_activity(request(works), here.attempts))
        await settle()
        here.attempts.may_begin = False
        here.executor.give_back(request(works).command)
        await settle()
        assert here.attempts.log == ["held"]
        assert here.executor.try_reserve(request(works).command, at(100))
        waiting.cancel()
        await asyncio.wait([waiting])

    in_time(scenario)


def test_a_pause_just_before_an_attempt_is_recorded_leaves_the_room_to_others() -> None:
    async def scenario() -> None:
        here = Executing(max_concurrency=1)
        here.attempts.is_held = True

        async def paused() -> None:
            here.attempts.may_begin = False

        here.attempts.on_started = paused

        @activity(name="flaky")
        async def works() -> str:
            raise AssertionError("the attempt began")

        waiting = asyncio.ensure_future(here.executor.run_activity(request(works), here.attempts))
        await settle()
        assert here.executor.is_resting("r1/2")
        assert here.executor.try_reserve(request(works).command, at(100))
        waiting.cancel()
        await asyncio.wait([waiting])

    in_time(scenario)


# --- the rest of the protocol


def test_a_timer_returns_when_its_instant_has_come() -> None:
    async def scenario() -> None:
        here = Executing()
        timer = asyncio.ensure_future(here.executor.start_timer(cmd.StartTimer(key=key.Timer(0), fire_at=at(160))))
        await asyncio.sleep(0)
        here.clock.advance(59.999)
        await asyncio.sleep(0)
        assert not timer.done()
        here.clock.advance(0.001)
        await timer

    in_time(scenario)


def test_waiting_for_a_signal_looks_at_the_inbox_at_once() -> None:
    here = Executing()
    here.executor.await_signal(cmd.AwaitSignal(key=key.Signal("go", 0)))
    assert here.looks == 1


def test_an_activity_without_a_definition_is_nonsense() -> None:
    with pytest.raises(HistoryShapeError, match="'flaky' has no definition"):
        Executing().executor.try_reserve(request(None).command, at(100))


def test_heartbeat_details_of_an_earlier_attempt_reach_the_next_one() -> None:
    async def scenario() -> None:
        here = Executing()

        @activity(name="flaky")
        async def tells() -> Any:
            return activity_info().heartbeat_details

        outcome = await here.run(tells, heartbeat=raw({"row": 7}))
        assert isinstance(outcome, ev.ActivityCompleted)
        assert outcome.result == raw({"row": 7})

    in_time(scenario)


def test_the_last_of_several_heartbeats_is_recorded_before_the_failure_that_follows_and_reaches_the_next_attempt() -> (
    None
):
    async def scenario() -> None:
        here = Executing()

        @activity(name="flaky", retry=policy(initial=1))
        async def gets_further() -> Any:
            if activity_info().attempt == 1:
                heartbeat(1)
                heartbeat(2)
                raise ValueError("cut off")
            return activity_info().heartbeat_details

        outcome = await here.run(gets_further)
        assert isinstance(outcome, ev.ActivityCompleted)
        assert outcome.result == raw(2)
        assert here.attempts.log == [
            "started 1",
            "heartbeat 1 2",
            "failed 1 ValueError, again at 31:41",
            "started 2",
        ]

    in_time(scenario)
