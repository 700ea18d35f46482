"""How a live run stops: what is in flight gets grace once, nothing begins, and a second word is enough."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aion_cli import RetryPolicy, activity, heartbeat, workflow
from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.errors import StoreError
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.ownership import Role, take
from tests.runs import Place, a_while

STOP = SuspendReason.TERMINATED
release = asyncio.Event()
attempts: list[int] = []


@pytest.fixture(autouse=True)
def a_fresh_world() -> None:
    global release
    release = asyncio.Event()
    attempts.clear()


@activity(retry=RetryPolicy(max_attempts=5, initial=60, jitter=0.0))
async def flaky() -> None:
    attempts.append(len(attempts))
    raise ConnectionError("not now")


@activity
async def slow() -> str:
    await release.wait()
    return "done"


@activity
async def stubborn() -> None:
    while True:
        try:
            await release.wait()
            return
        except asyncio.CancelledError:
            attempts.append(-1)


@activity
async def beats() -> None:
    heartbeat("there")
    await release.wait()


@workflow
async def beats_and_waits() -> None:
    await beats()


@workflow
async def retries() -> None:
    await flaky()


@workflow
async def retries_beside_something_slow() -> None:
    await asyncio.gather(flaky(), slow())


@workflow
async def stuck() -> None:
    await stubborn()


@workflow
async def parent() -> None:
    await stuck()


@workflow
async def leaves_something_stuck() -> int:
    asyncio.ensure_future(stubborn())  # noqa: RUF006 - it is to be left behind
    await asyncio.sleep(0)
    return 1


def test_a_retry_that_comes_due_while_the_run_stops_does_not_begin(tmp_path: Path) -> None:
    async def stop_in_between(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(retries_beside_something_slow, runner=runner))
        await place.until_told(ev.ActivityFailed)
        runner.suspend(STOP)
        place.clock.pass_s(3_600)
        await a_while()
        assert (attempts, run.done()) == ([0], False)
        release.set()
        return await asyncio.wait_for(run, 30)

    place = Place(tmp_path, grace_s=600)
    assert asyncio.run(stop_in_between(place)).reason is STOP
    assert place.names()[-2:] == ["ActivityFailed", "ActivityCompleted"]


def test_an_activity_between_two_attempts_is_not_waited_for(tmp_path: Path) -> None:
    async def stop_in_between(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(retries, runner=runner))
        await place.until_told(ev.ActivityFailed)
        runner.suspend(STOP)
        return await asyncio.wait_for(run, 30)

    assert asyncio.run(stop_in_between(Place(tmp_path, grace_s=600))).reason is STOP


def test_a_paused_run_makes_no_further_attempt_until_it_goes_on(tmp_path: Path) -> None:
    async def pause_in_between(place: Place) -> None:
        runner = place.runner()
        run = asyncio.create_task(place.go(retries, runner=runner))
        await place.until_told(ev.ActivityFailed)
        place.deliver(ev.WorkflowPaused())
        await place.until_told(ev.WorkflowPaused)
        place.clock.pass_s(61)
        await a_while()
        assert attempts == [0]
        place.deliver(ev.WorkflowResumed())
        await place.until_told(ev.WorkflowResumed)
        async with asyncio.timeout(30):
            while len(attempts) < 2:
                await asyncio.sleep(0.001)
        runner.suspend(STOP)
        await asyncio.wait_for(run, 30)

    asyncio.run(pause_in_between(Place(tmp_path)))


def test_a_run_that_is_told_to_stop_before_it_is_live_begins_nothing(tmp_path: Path) -> None:
    async def stop_before() -> RunEnd:
        runner = place.runner()
        runner.suspend(STOP)
        return await asyncio.wait_for(place.go(retries, runner=runner), 30)

    place = Place(tmp_path, grace_s=600)
    assert asyncio.run(stop_before()).reason is STOP
    assert (place.names(), attempts) == (["WorkflowStarted", "ActivityScheduled"], [])


@pytest.mark.parametrize("workflow_", [stuck, parent], ids=["itself", "its-child"])
def test_a_second_word_is_enough_however_stubborn_an_activity_is(tmp_path: Path, workflow_: object) -> None:
    async def stop_twice(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(parent if workflow_ is parent else stuck, runner=runner))
        await place.until_told(ev.ActivityStarted)
        runner.suspend(STOP)
        await a_while()
        assert not run.done()
        runner.suspend(STOP)
        end = await asyncio.wait_for(run, 30)
        assert attempts == [-1]  # it was told
        release.set()
        await a_while()
        return end

    assert asyncio.run(stop_twice(Place(tmp_path, grace_s=600))).reason is STOP


def test_the_longest_wait_is_not_made_longer_by_grace(tmp_path: Path) -> None:
    async def stop(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(parent, runner=runner))
        await place.until_told(ev.ActivityStarted)
        runner.suspend(SuspendReason.MAX_WAIT)
        end = await asyncio.wait_for(run, 30)
        release.set()
        await a_while()
        return end

    assert asyncio.run(stop(Place(tmp_path, grace_s=600))).reason is SuspendReason.MAX_WAIT


def test_a_run_that_has_ended_waits_for_what_it_left_until_it_is_told_to_hurry(tmp_path: Path) -> None:
    async def hurry(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(leaves_something_stuck, runner=runner))
        await place.until_told(ev.WorkflowCompleted)
        await a_while()
        runner.suspend(STOP)
        end = await asyncio.wait_for(run, 30)
        release.set()
        await a_while()
        return end

    end = asyncio.run(hurry(Place(tmp_path, grace_s=600)))
    assert isinstance(end.closed_by, ev.WorkflowCompleted)


def test_a_child_that_another_process_runs_is_not_waited_for(tmp_path: Path) -> None:
    async def stop(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(parent, runner=runner))
        await place.until_told(ev.ChildWorkflowStarted)
        await a_while()
        runner.suspend(STOP)
        return await asyncio.wait_for(run, 30)

    place = Place(tmp_path, grace_s=600)
    with take(Place(tmp_path).folder, "order-1.1-2", Role.RUN):
        assert asyncio.run(stop(place)).reason is STOP


def test_a_last_write_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    async def stop(place: Place) -> RunEnd:
        runner = place.runner()
        run = asyncio.create_task(place.go(beats_and_waits, runner=runner))
        await place.until_told(ev.ActivityStarted)
        await a_while()
        place.folder.history(RunName("order-1")).unlink()
        runner.suspend(STOP)
        return await asyncio.wait_for(run, 30)

    with pytest.raises(StoreError, match="was removed"):
        asyncio.run(stop(Place(tmp_path, grace_s=0.01)))
