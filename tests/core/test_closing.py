"""Closing a loop: its tasks end where they stand, and nothing ever resumes them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aion_cli.core.loop import RunClosed, WorkflowLoop
from tests.core.loops import Note, SkippingHost, run_until_idle


async def until_closed(note: Note, name: str) -> None:
    try:
        await asyncio.sleep(100)
    finally:
        note(f"{name} closed")
        try:
            await asyncio.sleep(0.001)
        except RunClosed:
            note(f"{name} refused")
            raise


def closed_while_suspended(main: Callable[[Note], Any]) -> tuple[list[object], list[str], SkippingHost]:
    """Run main until it waits, and close; returns what was noted, the names of tasks that resist, and the host."""
    host, log = SkippingHost(), list[object]()
    loop = WorkflowLoop(host)
    task = run_until_idle(loop, lambda: main(log.append))
    assert not task.done()
    started = list(host.started)
    resisting = loop.close_tasks()
    assert host.started == started, "a timer was started while closing"
    assert host.cancelled == [], "a timer was cancelled while closing"
    return log, resisting, host


def test_suspended_tasks_are_closed_oldest_first_and_what_they_await_then_is_refused() -> None:
    async def main(note: Note) -> None:
        note(asyncio.create_task(until_closed(note, "second")).get_name())
        await until_closed(note, "main")

    log, resisting, _ = closed_while_suspended(main)
    assert log == ["task-2", "main closed", "main refused", "second closed", "second refused"]
    assert resisting == []


@pytest.mark.parametrize("waits", ["timeout", "group", "gather", "shield", "wait", "lock", "queue"])
def test_whatever_a_task_waits_with_it_is_closed_without_another_step(waits: str) -> None:
    async def main(note: Note) -> None:
        inner = [until_closed(note, name) for name in "ab"]
        match waits:
            case "timeout":
                inner.pop().close()
                async with asyncio.timeout(50):
                    await inner[0]
            case "group":
                async with asyncio.TaskGroup() as group:
                    for one in inner:
                        group.create_task(one)
            case "gather":
                await asyncio.gather(*inner)
            case "shield":
                inner.pop().close()
                await asyncio.shield(inner[0])
            case "wait":
                await asyncio.wait([asyncio.ensure_future(one) for one in inner], timeout=50)
            case "lock":
                inner.pop().close()
                lock = asyncio.Lock()
                async with lock:
                    await inner[0]
            case _:
                for one in inner:
                    one.close()
                await asyncio.Queue[int]().get()

    log, resisting, _ = closed_while_suspended(main)
    assert sorted(set(map(str, log))) == sorted(
        {"queue": [], "timeout": ["a closed", "a refused"], "shield": ["a closed", "a refused"]}.get(
            waits, ["a closed", "a refused"] if waits == "lock" else ["a closed", "a refused", "b closed", "b refused"]
        )
    )
    assert resisting == []


def test_garbage_collection_never_resumes_what_was_closed() -> None:
    log: list[str] = []

    class Suspended:
        pass

    def suspended() -> weakref.ref[Suspended]:
        marker = Suspended()

        async def generator() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(100)
            finally:
                log.append("generator resumed")

        async def main() -> None:
            kept = marker
            async for _ in generator():
                try:
                    await asyncio.sleep(100)
                except BaseException as error:
                    log.append(type(error).__name__)
                    raise
            del kept

        loop = WorkflowLoop(SkippingHost())
        run_until_idle(loop, main)
        loop.close_tasks()
        log.append("closed")
        return weakref.ref(marker)

    reference = suspended()
    gc.collect()
    assert reference() is None
    assert log == ["GeneratorExit", "closed"]


def test_a_task_that_swallows_everything_is_named_and_stays_where_it_is() -> None:
    steps: list[int] = []

    async def stubborn() -> None:
        for over in [asyncio.get_running_loop().create_future() for _ in range(1_000)]:
            try:
                await over
            except BaseException:  # noqa: BLE001 - that is what is tested
                steps.append(1)

    async def main(note: Note) -> None:
        await stubborn()

    _, resisting, _ = closed_while_suspended(main)
    assert resisting == ["main"]
    after_closing = len(steps)
    gc.collect()
    assert len(steps) == after_closing


def test_a_process_that_left_such_a_task_behind_ends_all_the_same() -> None:
    program = """
from aion_cli import Signal, workflow
from tests.builders import history, replay_of, started

go = Signal("go", int)

@workflow
async def stubborn():
    while True:
        try:
            await go.receive()
        except:
            continue

replay = replay_of(stubborn, history(started()))
replay.run()
replay.execution.close()
print(replay.execution.resisting)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['main']\n", "")


def test_closing_twice_does_nothing_more() -> None:
    loop = WorkflowLoop(SkippingHost())

    async def main() -> None:
        await loop.create_future()

    run_until_idle(loop, main)
    assert (loop.close_tasks(), loop.close_tasks()) == ([], [])


def test_what_begins_while_closing_is_refused_and_leaves_no_coroutine_behind() -> None:
    refused: list[str] = []

    async def other() -> None:
        refused.append("ran")

    async def main(note: Note) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            for make in (lambda: asyncio.create_task(other()), asyncio.get_running_loop().create_future):
                try:
                    make()
                except RunClosed:
                    refused.append("refused")

    closed_while_suspended(main)
    assert refused == ["refused", "refused"]


def test_a_cleanup_of_several_that_is_refused_leaves_no_warning_of_coroutines_never_awaited() -> None:
    async def cleans_up() -> None:
        """Never begins."""

    async def main(note: Note) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.gather(cleans_up(), cleans_up())

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        closed_while_suspended(main)
        gc.collect()
    assert warned == []


def test_an_async_generator_first_used_while_closing_is_not_left_to_the_loop_around_it() -> None:
    closed: list[str] = []

    async def generator() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("by the loop around it")

    async def around() -> None:
        async def main(note: Note) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                async for _ in generator():
                    break

        asyncio.get_running_loop().call_soon(closed_while_suspended, main)
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0.0)

    asyncio.run(around())
    assert closed == []
