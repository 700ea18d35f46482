"""What else asyncio offers does the same on the deterministic loop as on a plain one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.core.loops import BoomError, Note, Program, nap, on_plain_loop, on_workflow_loop

PROGRAMS: list[Program] = []


def program(fn: Program) -> Program:
    PROGRAMS.append(fn)
    return fn


# --- sleeping and deadlines


@program
async def sleeping_is_in_order_of_time(note: Note) -> object:
    return await asyncio.gather(nap(note, 3), nap(note, 1), nap(note, 2))


@program
async def sleeping_no_time_lets_others_run(note: Note) -> None:
    async def count(name: str) -> None:
        for n in range(3):
            note((name, n))
            await asyncio.sleep(0)

    await asyncio.gather(count("a"), count("b"))


@program
async def a_deadline_that_is_met(note: Note) -> object:
    async with asyncio.timeout(5) as deadline:
        result = await nap(note, 2)
    return result, deadline.expired()


@program
async def a_deadline_that_is_missed(note: Note) -> object:
    try:
        async with asyncio.timeout(2):
            await nap(note, 5)
    except TimeoutError:
        note("late")
        await nap(note, 1)
        return "caught"


@program
async def a_deadline_that_nobody_catches(note: Note) -> None:
    async with asyncio.timeout(2):
        await nap(note, 5)


@program
async def a_deadline_in_the_past(note: Note) -> None:
    loop = asyncio.get_running_loop()
    await nap(note, 5)
    async with asyncio.timeout_at(loop.time() - 1):
        note("begun")
        await nap(note, 1)


@program
async def a_deadline_that_is_moved(note: Note) -> object:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(2) as deadline:
        await nap(note, 1)
        deadline.reschedule(loop.time() + 10)
        await nap(note, 5)
        deadline.reschedule(None)
        return await nap(note, 100)


@program
async def nested_deadlines_the_inner_first(note: Note) -> object:
    async with asyncio.timeout(10):
        try:
            async with asyncio.timeout(1):
                await nap(note, 20)
        except TimeoutError:
            note("inner")
        return await nap(note, 3)


@program
async def nested_deadlines_the_outer_first(note: Note) -> object:
    try:
        async with asyncio.timeout(1):
            try:
                async with asyncio.timeout(10):
                    await nap(note, 20)
            except TimeoutError:
                note("never")
    except TimeoutError:
        return "outer"


# --- gather, TaskGroup, shield


@program
async def gather_that_fails(note: Note) -> object:
    try:
        await asyncio.gather(nap(note, 1, fail=True), nap(note, 3))
    except BoomError:
        note("failed")
    return await nap(note, 5)


@program
async def gather_of_outcomes(note: Note) -> object:
    return [repr(one) for one in await asyncio.gather(nap(note, 1, fail=True), nap(note, 3), return_exceptions=True)]


@program
async def gather_that_is_cancelled(note: Note) -> object:
    task = asyncio.ensure_future(asyncio.gather(nap(note, 5), nap(note, 6)))
    await asyncio.sleep(1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled"


@program
async def group_that_succeeds(note: Note) -> object:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(nap(note, n)) for n in (2, 1)]
    return [task.result() for task in tasks]


@program
async def group_that_fails_cancels_the_others(note: Note) -> object:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(nap(note, 5))
            group.create_task(nap(note, 1, fail=True))
            await nap(note, 9, "body")
    except* BoomError as caught:
        note([str(one) for one in caught.exceptions])
    return asyncio.get_running_loop().time()


@program
async def group_whose_body_fails(note: Note) -> object:
    async with asyncio.TaskGroup() as group:
        group.create_task(nap(note, 5))
        await nap(note, 1, "body", fail=True)


@program
async def group_inside_a_deadline(note: Note) -> object:
    try:
        async with asyncio.timeout(2), asyncio.TaskGroup() as group:
            group.create_task(nap(note, 5))
            group.create_task(nap(note, 1))
    except TimeoutError:
        return "late"


@program
async def group_whose_children_clean_up(note: Note) -> object:
    async def with_cleanup() -> None:
        try:
            await nap(note, 5)
        finally:
            await nap(note, 2, "cleanup")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(with_cleanup())
            group.create_task(nap(note, 1, fail=True))
    except* BoomError:
        note("failed")
    return asyncio.get_running_loop().time()


@program
async def shield_from_a_deadline(note: Note) -> object:
    inner = asyncio.create_task(nap(note, 5))
    try:
        async with asyncio.timeout(1):
            await asyncio.shield(inner)
    except TimeoutError:
        note("late")
    return await inner


@program
async def shield_of_what_fails(note: Note) -> object:
    return await asyncio.shield(nap(note, 1, fail=True))


# --- cancellation


@program
async def cancelling_once_and_again(note: Note) -> object:
    task = asyncio.create_task(nap(note, 5))
    await asyncio.sleep(1)
    asked = task.cancel("one"), task.cancel("two"), task.cancelling()
    try:
        await task
    except asyncio.CancelledError as error:
        note(error.args)
    return asked, task.cancel()


@program
async def cancelling_before_it_begins(note: Note) -> object:
    task = asyncio.create_task(nap(note, 5))
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


@program
async def cancelling_what_goes_on_all_the_same(note: Note) -> object:
    async def stubborn() -> object:
        try:
            await nap(note, 5)
        except asyncio.CancelledError:
            return await nap(note, 1, "stubborn")

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(1)
    task.cancel()
    return await task


@program
async def cancelling_itself(note: Note) -> object:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    note("still here")
    await asyncio.sleep(0)


@program
async def raising_cancelled_by_hand(note: Note) -> object:
    async def raises() -> None:
        raise asyncio.CancelledError("by hand")

    task = asyncio.create_task(raises())
    await asyncio.wait([task])
    return task.cancelled()


# --- queues, events, locks


@program
async def a_queue_between_two(note: Note) -> object:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=2)

    async def produce() -> None:
        for n in range(5):
            await queue.put(n)
            note(f"put {n}")
            await asyncio.sleep(1)

    async def consume() -> list[int]:
        found: list[int] = []
        while len(found) < 5:
            await asyncio.sleep(3)
            found.append(await queue.get())
            queue.task_done()
        return found

    _, found = await asyncio.gather(produce(), consume())
    await queue.join()
    return found


@program
async def a_queue_whose_first_reader_gives_up(note: Note) -> object:
    queue: asyncio.Queue[str] = asyncio.Queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    queue.put_nowait("item")
    first.cancel()
    return await second, [repr(one) for one in await asyncio.gather(first, return_exceptions=True)]


@program
async def an_event_for_many(note: Note) -> object:
    event = asyncio.Event()

    async def waits(name: str) -> None:
        await event.wait()
        note(name)

    tasks = [asyncio.create_task(waits(name)) for name in "abc"]
    await asyncio.sleep(1)
    event.set()
    await asyncio.gather(*tasks)
    return event.is_set()


@program
async def a_lock_in_turn(note: Note) -> None:
    lock = asyncio.Lock()

    async def holds(name: str) -> None:
        async with lock:
            note(f"{name} in")
            await asyncio.sleep(1)

    await asyncio.gather(*(holds(name) for name in "abc"))


@program
async def a_semaphore_for_two(note: Note) -> None:
    room = asyncio.Semaphore(2)

    async def enters(n: int) -> None:
        async with room:
            await nap(note, n)

    await asyncio.gather(*(enters(n) for n in (3, 1, 2, 4)))


@program
async def a_condition(note: Note) -> object:
    condition = asyncio.Condition()
    ready: list[int] = []

    async def waits() -> int:
        async with condition:
            await condition.wait_for(lambda: len(ready) > 1)
            return len(ready)

    task = asyncio.create_task(waits())
    for n in range(2):
        await asyncio.sleep(1)
        async with condition:
            ready.append(n)
            condition.notify_all()
    return await task


@program
async def a_barrier(note: Note) -> object:
    barrier = asyncio.Barrier(2)

    async def meets(seconds: int) -> float:
        await asyncio.sleep(seconds)
        await barrier.wait()
        return asyncio.get_running_loop().time()

    return await asyncio.gather(meets(1), meets(4))


# --- generators, callbacks, failing


@program
async def an_async_generator_left_early_is_closed(note: Note) -> object:
    async def counts() -> AsyncIterator[int]:
        try:
            for n in range(10):
                await asyncio.sleep(1)
                yield n
        finally:
            note("closed")

    async for n in counts():
        if n == 1:
            break
    await asyncio.sleep(1)
    return "left"


@program
async def callbacks_in_order(note: Note) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(note, "soon")
    handle = loop.call_later(1, note, "never")
    loop.call_at(loop.time() + 2, note, "at")
    loop.call_later(1.5, note, "later")
    handle.cancel()
    await asyncio.sleep(3)


@program
async def a_callback_that_raises_harms_nobody(note: Note) -> object:
    def broken() -> None:
        raise BoomError

    asyncio.get_running_loop().call_soon(broken)
    return await nap(note, 1)


@program
async def failing_with_a_cause(note: Note) -> None:
    try:
        await nap(note, 1, fail=True)
    except BoomError as error:
        raise ValueError("because") from error


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
