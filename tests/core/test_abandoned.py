"""Code that is abandoned where it stands: it asks for nothing more, and nothing resumes it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from aion_cli import (
    send_signal,
    wait_until,
    workflow,
)
from aion_cli.core import events as ev
from aion_cli.core.execution import Phase, current
from aion_cli.errors import AionError
from tests.builders import (
    at,
    completed,
    line_of,
    signal,
)
from tests.core.stepping import Stepping, bill, charge, go, kinds, ship, stop


def test_a_suspended_execution_is_closed_without_another_command_and_never_resumed() -> None:
    log: list[str] = []

    @workflow
    async def holds_on() -> None:
        async def generator() -> AsyncIterator[int]:
            try:
                yield await bill("g")
            finally:
                log.append("generator")

        async def in_the_background() -> None:
            try:
                await asyncio.sleep(60)
            except BaseException as error:
                log.append(type(error).__name__)
                raise
            finally:
                asyncio.get_running_loop().call_soon(log.append, "never")
                asyncio.create_task(charge("never"))  # noqa: RUF006 - it is refused

        task = asyncio.create_task(in_the_background())
        try:
            async with asyncio.timeout(30):
                async for _ in generator():
                    pass
        finally:
            log.append("main")
            task.cancel()
            await charge("never")

    run = Stepping(holds_on)
    run.execution.close()
    assert run.execution.take_commands() == []
    run.execution.close()
    assert run.execution.resisting == []
    # Since Python 3.13 what is suspended inside an async generator is closed with it, and not only left behind.
    assert sorted(set(log) - {"generator"}) == ["GeneratorExit", "main"]
    as_closed = list(log)
    del run
    gc.collect()
    assert log == as_closed


async def until_it_works(wait: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await wait()
            return
        except:  # noqa: E722 - a bare except, as authors write it
            continue


async def in_time() -> None:
    async with asyncio.timeout(60):
        await go.receive()


async def as_tasks() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(charge("A1"))


@pytest.mark.parametrize(
    "wait",
    [
        go.receive,
        in_time,
        as_tasks,
        lambda: charge("A1"),
        lambda: ship("A1"),
        lambda: asyncio.sleep(60),
        lambda: asyncio.gather(charge("A1"), asyncio.sleep(60)),
        lambda: asyncio.create_task(charge("A1")),
        lambda: asyncio.wait_for(go.receive(), 60),
        lambda: wait_until(lambda: False),
        lambda: send_signal("order-2", go, 1),
    ],
    ids=["receive", "timeout", "group", "activity", "child", "sleep", "gather", "task", "wait_for", "until", "send"],
)
@pytest.mark.parametrize("ends", [False, True], ids=["suspended", "ended"])
def test_a_loop_around_a_bare_except_does_not_spin_when_its_run_is_closed(
    wait: Callable[[], Awaitable[object]], ends: bool
) -> None:
    @workflow
    async def stubborn() -> None:
        if ends:
            asyncio.create_task(until_it_works(wait))  # noqa: RUF006 - left behind
            await stop.receive()
        else:
            await until_it_works(wait)

    run = Stepping(stubborn)
    run.execution.signals.deliver(msgspec.structs.replace(signal("stop", 1), seq=9, recorded_at=at(9)))
    if ends:
        assert kinds(run(ev.WorkflowResumed())) == ["CompleteWorkflow"]
    else:
        run.execution.close()
        assert run.execution.take_commands() == []
    assert len(run.execution.resisting) == 1
    assert [event.seq for event in run.execution.unconsumed()] == ([] if ends else [9])


@pytest.mark.parametrize("event", [ev.WorkflowTerminated(), ev.WorkflowTimedOut(timeout_s=5)])
def test_termination_and_a_time_limit_close_the_run_whatever_the_code_is_doing(event: ev.Event) -> None:
    log: list[str] = []

    @workflow
    async def resists() -> None:
        try:
            await charge("A1")
        finally:
            log.append("closed")
            await bill("A1")

    run = Stepping(resists)
    assert run(event) == []
    assert (run.execution.phase, log) == (Phase.CLOSED, ["closed"])
    assert not run.execution.expects(completed(0))


def test_a_closed_execution_still_tells_where_it_stood() -> None:
    @workflow
    async def waits() -> int:
        return await go.receive()

    run = Stepping(waits)
    run.execution.close()
    assert run.execution.where() == line_of(waits.fn, 2)


def test_outside_of_a_workflow_there_is_no_execution() -> None:
    with pytest.raises(AionError, match="inside a running workflow"):
        current()

    async def plain() -> None:
        with pytest.raises(AionError, match="inside a running workflow"):
            await charge("A1")

    asyncio.run(plain())
