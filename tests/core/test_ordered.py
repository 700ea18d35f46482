"""What asyncio offers does the same on the deterministic loop as on a plain one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.loops import Note, Program, on_plain_loop, on_workflow_loop


class BoomError(Exception):
    pass


async def nap(note: Note, seconds: float, name: object = None, *, fail: bool = False) -> object:
    """Sleep, then return the name or raise; notes when it ends, and when it is cancelled."""
    name = seconds if name is None else name
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(f"{name} cancelled")
        raise
    note(f"{name} over")
    if fail:
        raise BoomError(name)
    return name


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


# --- random programs


@dataclass(frozen=True)
class Node:
    """A part of a program. seconds: how long it waits, a power of two of its own, so that no two sums are equal."""

    kind: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    seconds: float = 0.0

    def named(self, seconds: Iterator[float], name: str = "leaf") -> Node:
        parts = tuple(part.named(seconds, f"{name} {n}") for n, part in enumerate(self.parts))
        return Node(self.kind, parts, name, next(seconds))


LIMITED = ("timeout", "wait_for", "wait_first", "wait_limit", "as_completed_limit")
MANY = ("gather", "gather_all", "group", "as_completed", "sequence", *LIMITED)
ALONE = ("shield", "cleanup", "cancelled")

trees = st.recursive(
    st.builds(Node, st.sampled_from(["rest", "rest", "fail"])),
    lambda inner: (
        st.builds(Node, st.sampled_from(MANY), st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Node, st.sampled_from(ALONE), inner.map(lambda one: (one,)))
    ),
    max_leaves=9,
)


@dataclass(frozen=True)
class Runner:
    """Runs a tree; each kind of node is a method."""

    note: Note

    async def run(self, node: Node) -> object:
        run: Callable[[Node], Awaitable[object]] = getattr(self, node.kind)
        return await run(node)

    async def rest(self, node: Node) -> object:
        return await nap(self.note, node.seconds, node.name)

    async def fail(self, node: Node) -> object:
        return await nap(self.note, node.seconds, node.name, fail=True)

    async def sequence(self, node: Node) -> object:
        return [await self.run(part) for part in node.parts]

    async def gather(self, node: Node) -> object:
        return await asyncio.gather(*map(self.run, node.parts))

    async def gather_all(self, node: Node) -> object:
        return [repr(one) for one in await asyncio.gather(*map(self.run, node.parts), return_exceptions=True)]

    async def group(self, node: Node) -> object:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(part)) for part in node.parts]
        return [task.result() for task in tasks]

    async def as_completed(self, node: Node) -> object:
        return await self._as_completed(node, None)

    async def as_completed_limit(self, node: Node) -> object:
        return await self._as_completed(node, node.seconds)

    async def _as_completed(self, node: Node, timeout: float | None) -> object:
        tasks = [asyncio.ensure_future(self.run(part)) for part in node.parts]
        return [await one for one in asyncio.as_completed(tasks, timeout=timeout)]

    async def timeout(self, node: Node) -> object:
        async with asyncio.timeout(node.seconds):
            return await self.sequence(node)

    async def wait_for(self, node: Node) -> object:
        return await asyncio.wait_for(self.sequence(node), node.seconds)

    async def wait_first(self, node: Node) -> object:
        return await self._wait(node, None, asyncio.FIRST_COMPLETED)

    async def wait_limit(self, node: Node) -> object:
        return await self._wait(node, node.seconds, asyncio.FIRST_EXCEPTION)

    async def _wait(self, node: Node, timeout: float | None, return_when: str) -> object:
        tasks = [asyncio.ensure_future(self.run(part)) for part in node.parts]
        done, pending = await asyncio.wait(tasks, timeout=timeout, return_when=return_when)
        self.note((len(done), len(pending)))
        for task in tasks:
            task.cancel()
        return await asyncio.gather(*tasks)

    async def shield(self, node: Node) -> object:
        return await asyncio.shield(self.run(node.parts[0]))

    async def cleanup(self, node: Node) -> object:
        try:
            return await self.run(node.parts[0])
        finally:
            await nap(self.note, node.seconds, f"{node.name} cleanup")

    async def cancelled(self, node: Node) -> object:
        task = asyncio.ensure_future(self.run(node.parts[0]))
        await nap(self.note, node.seconds, node.name)
        task.cancel()
        return await task


@settings(max_examples=300, deadline=None)
@given(trees, st.permutations(range(30)))
def test_random_programs_do_the_same_on_both_loops(tree: Node, order: list[int]) -> None:
    named = tree.named(iter([2**n / 1_000_000 for n in order]))

    async def program(note: Note) -> object:
        return await Runner(note).run(named)

    ours, plain = on_workflow_loop(program), on_plain_loop(program)
    assert ours.outcome == plain.outcome
    assert ours.before_its_end() == plain.before_its_end()
    assert on_workflow_loop(program) == ours
