"""`wait`, `wait_for` and `as_completed` do the same on the deterministic loop as on a plain one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.core.loops import BoomError, Note, Program, nap, on_plain_loop, on_workflow_loop

PROGRAMS: list[Program] = []


def program(fn: Program) -> Program:
    PROGRAMS.append(fn)
    return fn


# --- wait_for


@program
async def wait_for_in_time(note: Note) -> object:
    return await asyncio.wait_for(nap(note, 1), 5)


@program
async def wait_for_too_late(note: Note) -> object:
    try:
        await asyncio.wait_for(nap(note, 5), 1)
    except TimeoutError:
        return asyncio.get_running_loop().time()


@program
async def wait_for_without_a_limit(note: Note) -> object:
    return await asyncio.wait_for(nap(note, 5), None)


@program
async def wait_for_what_fails(note: Note) -> object:
    return await asyncio.wait_for(nap(note, 1, fail=True), 5)


@program
async def wait_for_no_time_at_all(note: Note) -> object:
    task = asyncio.create_task(nap(note, 5))
    await asyncio.sleep(1)
    try:
        await asyncio.wait_for(task, 0)
    except TimeoutError as error:
        return type(error.__cause__).__name__, task.cancelled()


@program
async def wait_for_no_time_what_is_done(note: Note) -> object:
    task = asyncio.create_task(nap(note, 1))
    await asyncio.sleep(2)
    return await asyncio.wait_for(task, 0), await asyncio.wait_for(task, -1)


@program
async def wait_for_a_future(note: Note) -> object:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()
    loop.call_later(1, future.set_result, "set")
    return await asyncio.wait_for(future, 5)


@program
async def wait_for_that_is_cancelled(note: Note) -> object:
    task = asyncio.create_task(asyncio.wait_for(nap(note, 5), 3))
    await asyncio.sleep(1)
    task.cancel("enough")
    done, _ = await asyncio.wait([task])
    return [one.cancelled() for one in done]


# --- wait


@program
async def wait_for_all(note: Note) -> object:
    tasks = [asyncio.create_task(nap(note, n)) for n in (3, 1, 2)]
    done, pending = await asyncio.wait(tasks)
    return sorted(str(task.result()) for task in done), len(pending)


@program
async def wait_for_the_first(note: Note) -> object:
    tasks = [asyncio.create_task(nap(note, n)) for n in (3, 1, 2)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return [task.result() for task in done], len(pending), asyncio.get_running_loop().time()


@program
async def wait_for_the_first_failure(note: Note) -> object:
    tasks = [asyncio.create_task(nap(note, n, fail=n == 2)) for n in (3, 1, 2)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    return sorted(repr(task.exception()) for task in done), len(pending)


@program
async def wait_for_a_failure_that_never_comes(note: Note) -> object:
    tasks = [asyncio.create_task(nap(note, n)) for n in (3, 1)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    return len(done), len(pending)


@program
async def wait_until_a_limit(note: Note) -> object:
    tasks = [asyncio.create_task(nap(note, n)) for n in (3, 1)]
    done, pending = await asyncio.wait(tasks, timeout=2)
    first = len(done), len(pending)
    done, pending = await asyncio.wait(tasks, timeout=0)
    return first, len(done), len(pending), asyncio.get_running_loop().time()


@program
async def wait_for_what_is_done_already(note: Note) -> object:
    tasks = [asyncio.create_task(nap(note, n, fail=n == 1)) for n in (1, 9)]
    await asyncio.sleep(2)
    for when in (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION):
        done, pending = await asyncio.wait(tasks, return_when=when)
        note((when, len(done), len(pending)))
    done, pending = await asyncio.wait(tasks[:1])
    return len(done), len(pending)


@program
async def wait_counts_one_task_once(note: Note) -> object:
    task = asyncio.create_task(nap(note, 1))
    done, pending = await asyncio.wait([task, task])
    return len(done), len(pending)


@program
async def wait_that_is_cancelled_cancels_nothing(note: Note) -> object:
    inner = asyncio.create_task(nap(note, 5))

    async def waits() -> None:
        await asyncio.wait([inner], timeout=4)

    outer = asyncio.create_task(waits())
    await asyncio.sleep(1)
    outer.cancel()
    await asyncio.wait([outer])
    return outer.cancelled(), await inner


# --- as_completed


@program
async def as_completed_in_order_of_ending(note: Note) -> object:
    return [await one for one in asyncio.as_completed([nap(note, 3), nap(note, 1), nap(note, 2)])]


@program
async def as_completed_with_failures(note: Note) -> object:
    found: list[str] = []
    for one in asyncio.as_completed([nap(note, n, fail=n == 2) for n in (3, 1, 2)]):
        try:
            found.append(str(await one))
        except BoomError as error:
            found.append(repr(error))
    return found


@program
async def as_completed_until_a_limit(note: Note) -> object:
    found: list[object] = []
    try:
        for one in asyncio.as_completed([nap(note, n) for n in (3, 1, 9)], timeout=5):
            found.append(await one)
    except TimeoutError:
        found.append("late")
    return found


@program
async def as_completed_asked_late(note: Note) -> object:
    waiting = list(asyncio.as_completed([nap(note, n) for n in (3, 1, 9)], timeout=5))
    await asyncio.sleep(6)
    return [repr(one) for one in await asyncio.gather(*waiting, return_exceptions=True)]


@program
async def as_completed_of_nothing(note: Note) -> object:
    nothing: list[asyncio.Future[int]] = []
    return [await one for one in asyncio.as_completed(nothing, timeout=5)]


@program
async def as_completed_counts_one_task_once(note: Note) -> object:
    task = asyncio.create_task(nap(note, 1))
    return [await one for one in asyncio.as_completed([task, task])]


@program
async def as_completed_whose_first_waiter_gives_up(note: Note) -> object:
    loop = asyncio.get_running_loop()
    ends: asyncio.Future[str] = loop.create_future()
    never: asyncio.Future[str] = loop.create_future()
    first, second = (asyncio.ensure_future(one) for one in asyncio.as_completed([ends, never]))
    await asyncio.sleep(1)
    ends.set_result("ended")
    await asyncio.sleep(0)
    first.cancel()
    return await second, first.cancelled()


# --- what is refused


@program
async def refusals(note: Note) -> object:
    task = asyncio.create_task(nap(note, 1))
    wrong: list[Callable[[], Any]] = [
        lambda: asyncio.wait(list[asyncio.Task[object]]()),
        lambda: asyncio.wait([nap(note, 1)]),  # pyright: ignore[reportArgumentType, reportUnknownLambdaType] - what is refused
        lambda: asyncio.wait([task], return_when="SOMETIME"),
        lambda: asyncio.wait(task),  # pyright: ignore[reportArgumentType, reportUnknownLambdaType, reportCallIssue] - what is refused
        lambda: asyncio.wait(nap(note, 1)),  # pyright: ignore[reportArgumentType, reportUnknownLambdaType, reportCallIssue] - what is refused
        lambda: _drained(asyncio.as_completed(task)),  # pyright: ignore[reportArgumentType, reportUnknownLambdaType] - what is refused
    ]
    found: list[str] = []
    for make in wrong:
        try:
            await make()
        except (ValueError, TypeError) as error:
            found.append(type(error).__name__)
    return found, await task


async def _drained(items: Any) -> list[Any]:
    return [await item for item in items]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_does_the_same_on_both_loops(program: Program) -> None:
    ours, plain = on_workflow_loop(program), on_plain_loop(program)
    assert ours.outcome == plain.outcome
    assert ours.by_instant() == plain.by_instant()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_program_does_the_same_again_in_the_same_order(program: Program) -> None:
    assert on_workflow_loop(program) == on_workflow_loop(program)
