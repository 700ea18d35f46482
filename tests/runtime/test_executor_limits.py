"""Limits of time: of one attempt at an activity, and of all of them."""

from __future__ import annotations

import asyncio

from aion_cli import activity
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from tests.builders import at
from tests.runtime.executing import Executing, flaky, in_time, policy, request


@activity(name="flaky", timeout=0.01, retry=policy(max_attempts=2))
async def too_slow() -> None:
    await asyncio.get_running_loop().create_future()


def test_an_attempt_that_takes_too_long_is_a_timeout_and_may_be_repeated() -> None:
    async def scenario() -> None:
        here = Executing()
        outcome = await here.run(too_slow)
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.error.kind, outcome.attempt) == (ErrorKind.TIMEOUT, 2)

    in_time(scenario)


def test_all_attempts_and_waits_together_that_take_too_long_are_a_total_timeout() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 99, total_timeout=100, retry=policy(max_attempts=None))
        outcome = await here.run(definition)
        assert isinstance(outcome, ev.ActivityFailed)
        assert outcome.error.kind is ErrorKind.TOTAL_TIMEOUT
        assert outcome.error.message == "all attempts together took longer than 100 s"
        assert outcome.attempt == 3
        assert calls.attempts == [1, 2, 3]

    in_time(scenario)


def test_a_total_timeout_that_passes_in_backoff_is_told_when_it_passes_and_not_when_the_wait_is_over() -> None:
    async def scenario() -> None:
        here = Executing()
        _, definition = flaky(here, 99, total_timeout=100, retry=policy(initial=600))
        running = asyncio.ensure_future(here.executor.run_activity(request(definition), here.attempts))
        while len(here.attempts.log) < 2:
            await asyncio.sleep(0)
        here.clock.advance(100)
        outcome = await running
        assert isinstance(outcome, ev.ActivityFailed)
        assert outcome.error.kind is ErrorKind.TOTAL_TIMEOUT

    in_time(scenario)


def test_a_total_timeout_counts_from_the_schedule_downtime_included() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 0, total_timeout=50)
        outcome = await here.run(definition, scheduled_at=at(10), attempt=2)
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.error.kind, calls.attempts, here.attempts.log) == (ErrorKind.TOTAL_TIMEOUT, [], [])
        assert outcome.attempt == 1
        assert not here.executor.try_reserve(request(definition).command, at(10))

    in_time(scenario)


def test_waiting_for_room_counts_towards_the_total_timeout() -> None:
    async def scenario() -> None:
        here = Executing()
        calls, definition = flaky(here, 0, total_timeout=50)

        async def takes_long() -> None:
            here.clock.advance(1_000)

        here.attempts.on_started = takes_long
        outcome = await here.executor.run_activity(request(definition), here.attempts)
        assert isinstance(outcome, ev.ActivityFailed)
        assert (outcome.error.kind, calls.attempts) == (ErrorKind.TOTAL_TIMEOUT, [])
        assert here.executor.try_reserve(request(definition).command, at(1_100))

    in_time(scenario)


def test_room_that_was_reserved_is_given_back_if_time_is_over() -> None:
    async def scenario() -> None:
        here = Executing(max_concurrency=1)
        _, definition = flaky(here, 0, total_timeout=50)
        command = request(definition).command
        assert here.executor.try_reserve(command, at(100))
        await here.run(definition, scheduled_at=at(10), started=True)
        assert here.executor.try_reserve(command, at(100))

    in_time(scenario)
