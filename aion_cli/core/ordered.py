"""Ordered versions of `asyncio.as_completed`, `wait` and `wait_for`, and of what `gather` returns, for our loop.

asyncio's own put what they were given into sets: plain coroutines hash by address, so tasks start in another order in
every process. And `wait_for` was built differently before Python 3.12, which would give other commands there. While
another loop runs, the originals run.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import events as asyncio_events
from asyncio import tasks as asyncio_tasks
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any


def install(loop_class: type[asyncio.AbstractEventLoop]) -> None:
    """Put the ordered versions in place for loops of this class."""
    for name, own in (("as_completed", as_completed), ("wait", wait), ("wait_for", wait_for)):
        original = getattr(asyncio, name)
        chosen = _choosing(original, own, loop_class)
        setattr(asyncio, name, chosen)
        setattr(asyncio_tasks, name, chosen)
    asyncio_tasks._GatheringFuture = _ordered_gathering(asyncio_tasks._GatheringFuture)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]  # the class of what gather returns has no public name


def _ordered_gathering(original: Any) -> Any:
    """Let what `asyncio.gather` returns hash by the order of creation on our loop: it may stand in a set too."""

    class OrderedGathering(original):
        def __init__(self, children: Any, *, loop: Any) -> None:
            next_order: Callable[[], int] | None = getattr(loop, "next_order", None)
            self._order = id(self) if next_order is None else next_order()
            original.__init__(self, children, loop=loop)

        def __hash__(self) -> int:
            return self._order

    OrderedGathering.__qualname__ = OrderedGathering.__name__ = original.__name__
    return OrderedGathering


def _choosing(
    original: Callable[..., Any], own: Callable[..., Any], loop_class: type[asyncio.AbstractEventLoop]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def choose(*args: Any, **kwargs: Any) -> Any:
        running = asyncio_events._get_running_loop()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # the variant of get_running_loop that does not raise
        return own(*args, **kwargs) if isinstance(running, loop_class) else original(*args, **kwargs)

    return choose


async def wait(
    fs: Iterable[asyncio.Future[Any]], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[asyncio.Future[Any]], set[asyncio.Future[Any]]]:
    """As asyncio.wait: the sets (done, pending); nothing is cancelled."""
    _require_many(fs)
    futures = _in_given_order(fs)
    if not futures:
        raise ValueError("Set of Tasks/Futures is empty.")
    if return_when not in (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION):
        raise ValueError(f"Invalid return_when value: {return_when}")
    for item in futures:
        if not asyncio.isfuture(item):
            raise TypeError("Passing coroutines is forbidden, use tasks explicitly.")

    def ends_wait(future: asyncio.Future[Any]) -> bool:
        if return_when == asyncio.FIRST_COMPLETED:
            return True
        failed = not future.cancelled() and future.exception() is not None
        return return_when == asyncio.FIRST_EXCEPTION and failed

    if not any(future.done() and ends_wait(future) for future in futures):
        await _until(ends_wait, futures, timeout)
    done = {future for future in futures if future.done()}
    return done, set(futures) - done


async def _until(
    ends_wait: Callable[[asyncio.Future[Any]], bool], futures: list[asyncio.Future[Any]], timeout: float | None
) -> None:
    """Return when all futures are done, when one ends of which ends_wait holds, or after timeout seconds."""
    pending = [future for future in futures if not future.done()]
    if not pending:
        return
    left = len(pending)
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def finish() -> None:
        if not over.done():
            over.set_result(None)

    def count(future: asyncio.Future[Any]) -> None:
        nonlocal left
        left -= 1
        if not left or ends_wait(future):
            finish()

    timer = None if timeout is None else loop.call_later(timeout, finish)
    for future in pending:
        future.add_done_callback(count)
    try:
        await over
    finally:
        if timer is not None:
            timer.cancel()
        for future in pending:
            future.remove_done_callback(count)


async def wait_for(fut: Awaitable[Any], timeout: float | None) -> Any:
    """As asyncio.wait_for: TimeoutError after timeout seconds, with what was awaited cancelled."""
    if timeout is None or timeout > 0:
        async with asyncio.timeout(timeout):
            return await fut
    future = asyncio.ensure_future(fut)
    if future.done():
        return future.result()
    future.cancel()
    await _until(lambda _: True, [future], None)
    try:
        return future.result()
    except asyncio.CancelledError as error:
        raise TimeoutError from error


def as_completed(fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> AsCompleted:
    """As asyncio.as_completed: iterates over awaitables in the order in which they end, started in the given order."""
    _require_many(fs)
    return AsCompleted([asyncio.ensure_future(item) for item in _in_given_order(fs)], timeout)


class AsCompleted:
    """Both kinds of iterator that asyncio.as_completed has been: `for` gives coroutines, `async for` the futures."""

    def __init__(self, futures: list[asyncio.Future[Any]], timeout: float | None) -> None:
        self._left = len(futures)
        self._pending = len(futures)
        self._ended: deque[asyncio.Future[Any]] = deque()
        self._loop = asyncio.get_running_loop()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timed_out = False
        self._futures = futures
        self._timer = self._loop.call_later(timeout, self._on_timeout) if timeout is not None and futures else None
        for future in futures:
            future.add_done_callback(self._on_done)

    def _on_done(self, future: asyncio.Future[Any]) -> None:
        if self._timed_out:
            return
        self._pending -= 1
        self._ended.append(future)
        self._wake()
        if not self._pending and self._timer is not None:
            self._timer.cancel()

    def _on_timeout(self) -> None:
        self._timed_out = True
        for future in self._futures:
            future.remove_done_callback(self._on_done)
        while self._waiters:
            self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _next_ended(self) -> asyncio.Future[Any]:
        while not self._ended:
            if self._timed_out:
                raise TimeoutError
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if self._ended:
                    self._wake()
                raise
        return self._ended.popleft()

    async def _next_result(self) -> Any:
        return (await self._next_ended()).result()

    def __iter__(self) -> Iterator[Coroutine[Any, Any, Any]]:
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._next_result()

    def __aiter__(self) -> AsyncIterator[asyncio.Future[Any]]:
        return self

    async def __anext__(self) -> asyncio.Future[Any]:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next_ended()


def _require_many(fs: object) -> None:
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")


def _in_given_order(items: Iterable[Any]) -> list[Any]:
    """Return the distinct items, first come first. A set of plain coroutines has no order to keep; of ours, it has."""
    return list({id(item): item for item in items}.values())
