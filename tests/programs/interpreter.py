"""One coroutine that runs any program, over aion or over plain asyncio.

What is asyncio in a program is asyncio here. What is aion's (activities, signals, children, time) goes through `Ops`,
so the same code runs on asyncio alone, as an oracle.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

from aion_cli import ActivityError, ChildError, ContinueAsNew
from tests.programs import nodes

MAIN = "main"


class BoomError(Exception):
    """What programs raise by themselves."""


class Ops(Protocol):
    """What a program asks of the world.

    count: the counter of the run. handles: the children that it started and did not await, in order.
    """

    count: int
    handles: list[Awaitable[Any]]

    async def act(self, kind: str, arg: int) -> Any: ...
    def exactly(self, ms: float) -> float:
        """Return a duration in seconds, made unlike any other unless ties are wanted."""
        ...

    async def receive(self, name: str) -> int: ...
    def poll(self, name: str) -> int: ...
    async def send(self, name: str, value: int) -> None: ...
    async def child(self, node: nodes.Child) -> Any: ...
    async def start(self, node: nodes.Start) -> Awaitable[Any]: ...
    async def until(self, predicate: Callable[[], bool]) -> None: ...
    def offer(self, body: nodes.Node) -> None:
        """Offer an update that does what `bump` does."""
        ...

    def path_after(self, node: nodes.Again) -> str:
        """Return the input of the next run."""
        ...

    def derive(self) -> Any: ...
    def in_order(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> Sequence[Awaitable[Any]]:
        """Return what asyncio.as_completed begins in the given order. Its own begins coroutines by their address."""
        ...

    def check_open(self) -> None:
        """Raise something if nothing can begin any more: coroutines would be made that nobody ever awaits."""
        ...

    async def wait_for(self, coroutine: Coroutine[Any, Any, Any], timeout: float) -> Any:
        """Do as asyncio.wait_for of Python 3.12 does; that of 3.11 makes a task, and so takes more steps."""
        ...


async def run(node: nodes.Node, ops: Ops) -> Any:  # noqa: C901 - one flat case a node
    """Run a program."""
    match node:
        case nodes.Act():
            return await ops.act(node.kind, node.arg)
        case nodes.Ghost():
            ghost = asyncio.ensure_future(ops.act("plain", 0))
            await asyncio.sleep(0)
            ghost.cancel()
            return "ghost"
        case nodes.Sleep():
            return await asyncio.sleep(ops.exactly(node.ms))
        case nodes.Yield():
            return await asyncio.sleep(0)
        case nodes.Receive():
            return [node.name, await ops.receive(node.name)]
        case nodes.Poll():
            return ops.poll(node.name)
        case nodes.Derive():
            return ops.derive()
        case nodes.Raise():
            raise BoomError(node.message)
        case nodes.Send():
            return await ops.send(node.name, node.value)
        case nodes.Add():
            ops.count += node.by
            return ops.count
        case nodes.Until():
            await ops.until(lambda: ops.count >= node.least)
            return ["until", ops.count]
        case nodes.Seq():
            return [await run(item, ops) for item in node.items]
        case nodes.Loop():
            return [await run(node.body, ops) for _ in range(node.times)]
        case nodes.Child():
            return ["child", await ops.child(node)]
        case nodes.Gather() | nodes.Group() | nodes.Race() | nodes.EachDone() | nodes.Wait():
            return await _run_together(node, ops)
        case nodes.Locked():
            return await _take_turns(node, ops)
        case nodes.Piped():
            return await _pipe(node, ops)
        case nodes.Try():
            try:
                return await run(node.body, ops)
            except Exception as error:  # noqa: BLE001 - programs handle whatever their bodies raise
                return ["caught", told(error), await run(node.other, ops)]
        case nodes.Finally():
            try:
                return await run(node.body, ops)
            finally:
                await run(node.other, ops)
        case _:
            return await _run_one(node, ops)


async def bump(value: int, body: nodes.Node, ops: Ops) -> Any:
    """Answer an update. What comes before that may be seen by others."""
    ops.count += value
    return [ops.count, await run(body, ops), ops.count]


def refuse_negative(value: int) -> None:
    """Validate an update."""
    if value < 0:
        raise ValueError("negative")


async def _run_one(node: nodes.Node, ops: Ops) -> Any:
    match node:
        case nodes.Deadline():
            async with asyncio.timeout(ops.exactly(node.ms)):
                return await run(node.body, ops)
        case nodes.WaitFor():
            seconds = ops.exactly(node.ms)
            return await ops.wait_for(run(node.body, ops), seconds)
        case nodes.Shield():
            return await asyncio.shield(run(node.body, ops))
        case nodes.Offer():
            ops.offer(node.body)
            return "offered"
        case nodes.Start():
            ops.handles.append(await ops.start(node))
            return "started"
        case nodes.Join():
            return ["joined", await ops.handles[-1 - node.back]] if node.back < len(ops.handles) else "nobody"
        case nodes.Again():
            raise ContinueAsNew(ops.path_after(node))
        case nodes.Orphan():
            orphan = asyncio.ensure_future(run(node.body, ops))
            orphan.add_done_callback(lambda done: done.cancelled() or done.exception())
            return "orphan"
        case nodes.CancelAfter():
            task = asyncio.create_task(run(node.body, ops))
            try:
                await asyncio.sleep(ops.exactly(node.ms))
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            return "cancelled" if task.cancelled() else task.result()
        case _:
            raise TypeError(node)


async def _run_together(node: nodes.Node, ops: Ops) -> Any:
    ops.check_open()
    coroutines = [run(part, ops) for part in node.parts()]
    match node:
        case nodes.Gather():
            results = await asyncio.gather(*coroutines, return_exceptions=node.keep)
            return [told(item) for item in results]
        case nodes.Group():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(item) for item in coroutines]
            return [task.result() for task in tasks]
        case nodes.Race():
            return await _race(coroutines, asyncio.FIRST_COMPLETED, None)
        case nodes.Wait():
            return await _race(coroutines, asyncio.FIRST_EXCEPTION, ops.exactly(node.ms))
        case _:
            found: list[Any] = []
            for ended in asyncio.as_completed(ops.in_order(coroutines)):
                try:
                    found.append(await ended)
                except Exception as error:  # noqa: BLE001 - see run
                    found.append(told(error))
            return found


async def _race(coroutines: Sequence[Coroutine[Any, Any, Any]], when: str, timeout: float | None) -> Any:
    """Cancel what has not ended then, and wait for that."""
    tasks = [asyncio.create_task(item) for item in coroutines]
    try:
        await asyncio.wait(tasks, return_when=when, timeout=timeout)
    finally:
        ended = [task.done() for task in tasks]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return [told(item) if first else "lost" for first, item in zip(ended, results, strict=True)]


async def _take_turns(node: nodes.Locked, ops: Ops) -> Any:
    ops.check_open()
    turn = asyncio.Semaphore(2)

    async def in_turn(item: nodes.Node) -> Any:
        async with turn:
            return await run(item, ops)

    return await asyncio.gather(*[in_turn(item) for item in node.items])


async def _pipe(node: nodes.Piped, ops: Ops) -> Any:
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)

    async def produce(item: nodes.Node) -> None:
        try:
            value = await run(item, ops)
        except Exception as error:  # noqa: BLE001 - see run
            value = told(error)
        await queue.put(value)

    async with asyncio.TaskGroup() as group:
        for item in node.items:
            group.create_task(produce(item))
        return [await queue.get() for _ in node.items]


def told(value: Any) -> Any:
    """Turn what a program got into JSON: exceptions become what can be told of them."""
    match value:
        case ActivityError() | ChildError():
            return [type(value).__name__, value.type, value.message]
        case BaseExceptionGroup():
            group = cast("BaseExceptionGroup[BaseException]", value)
            return ["group", *(told(part) for part in group.exceptions)]
        case BaseException():
            return [type(value).__qualname__, str(value) if isinstance(value, BoomError) else ""]
        case _:
            return value


def jitter_micros(*identity: object) -> int:
    """Return up to a second that is as good as unique."""
    digest = hashlib.blake2b(repr(identity).encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % 1_000_003


class RunState:
    """What a run is to its own code, whoever interprets it. Implements part of Ops.

    It makes the durations that the run asks for unlike any other, unless it is tied.
    """

    def __init__(self, path: str, tied: bool) -> None:
        self.count = 0
        self.handles: list[Awaitable[Any]] = []
        self._path = path
        self._tied = tied
        self._asked = 0

    def exactly(self, ms: float) -> float:
        """See Ops."""
        if self._tied:
            return ms / 1000
        self._asked += 1
        return (round(ms * 1000) + jitter_micros("timer", self._path, self._asked)) / 1_000_000

    def path_after(self, node: nodes.Again) -> str:
        """See Ops."""
        return f"{self._path}@{node.label}"
