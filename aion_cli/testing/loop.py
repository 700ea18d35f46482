"""An event loop whose time skips: it stands still while anything is ready, and jumps when nothing is.

A year of sleeps takes milliseconds, and the order of what happens is the same in every run: what is due at one instant
is let go in the order in which it was asked for, one by one, each with all its consequences before the next.

Work that really runs, in a thread or a process, is waited for in real time (`real_work`).
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import selectors
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

_MICROSECONDS = 1_000_000
START = 1_767_225_600 * _MICROSECONDS
"""Where time begins unless told otherwise: 2026-01-01T00:00:00Z, in microseconds since the epoch."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """Runs callbacks as asyncio does, over time of its own.

    on_stuck: called when nothing is ready and nothing is due; it has to make something ready.
    bursts: let everything that is due at one instant go at once.
    ties: how often two things were due at the same instant.
    """

    def __init__(self) -> None:
        super().__init__(_Idling(self))
        self._due: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._asked = 0
        self._real_work = 0
        self.restart(START)

    def restart(self, micros: int) -> None:
        """Begin anew at an instant, with nothing due."""
        self.micros = micros
        self.on_stuck: Callable[[], None] = _nothing_can_move
        self.bursts = False
        self.ties = 0
        self._due.clear()
        self._last_due = -1

    def time(self) -> float:
        return self.micros / _MICROSECONDS

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self._call_at_micros(self.micros + round(delay * _MICROSECONDS), callback, args, context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self._call_at_micros(round(when * _MICROSECONDS), callback, args, context)

    def _call_at_micros(
        self, micros: int, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(micros / _MICROSECONDS, callback, args, self, context)
        self._asked += 1
        heapq.heappush(self._due, (micros, self._asked, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled handle is passed over when it is due."""

    async def until(self, micros: int) -> None:
        """Return at an instant, at once if it has passed."""
        if micros > self.micros:
            due = self.create_future()
            self._call_at_micros(micros, _finish, (due,), None)
            await due

    @contextmanager
    def real_work(self) -> Generator[None]:
        """While this is held, time passes as it does outside."""
        self._real_work += 1
        try:
            yield
        finally:
            self._real_work -= 1

    def idle(self) -> float | None:
        """Nothing is ready: make something so, or return how many seconds to wait for real work (None: any time)."""
        due = self._next_due()
        if self._real_work and (due is None or due > self.micros):
            return None if due is None else (due - self.micros) / _MICROSECONDS
        if due is None:
            self.on_stuck()
        else:
            self._release(due)
        return 0.0

    def pass_real_time(self, seconds: float) -> None:
        """Go on by what really passed while real work was waited for, at most to what is due next."""
        due = self._next_due()
        later = self.micros + round(seconds * _MICROSECONDS)
        if due is not None and later >= due:
            self._release(due)
        else:
            self.micros = later

    def _next_due(self) -> int | None:
        while self._due and self._due[0][2].cancelled():
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _release(self, due: int) -> None:
        self.ties += due == self._last_due
        self._last_due = due
        self.micros = max(self.micros, due)
        while True:
            _, _, handle = heapq.heappop(self._due)
            self.call_soon(handle._run)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]  # how a loop runs its handles
            if not self.bursts or self._next_due() != due:
                return


class SkippingClock:
    """The clock of runs on a SkippingLoop. Implements `runtime.wall.Clock`."""

    def __init__(self, loop: SkippingLoop) -> None:
        self._loop = loop

    def micros(self) -> int:
        """Microseconds since the epoch."""
        return self._loop.micros

    async def until(self, micros: int) -> None:
        """Return when the clock has reached an instant, at once if it has passed."""
        await self._loop.until(micros)


class _Idling(selectors.BaseSelector):
    """The machine's selector, asked only while real work is under way."""

    def __init__(self, loop: SkippingLoop) -> None:
        self._machine = selectors.DefaultSelector()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready of the machine; nothing as long as the loop has something to do without it."""
        if timeout is not None and timeout <= 0:
            return []
        wait_s = self._loop.idle()
        if wait_s == 0.0:
            return []
        before = time.monotonic()
        found = self._machine.select(wait_s)
        self._loop.pass_real_time(time.monotonic() - before)
        return found

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._machine.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._machine.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._machine.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._machine.get_map()

    def close(self) -> None:
        self._machine.close()


def _nothing_can_move() -> None:
    raise RuntimeError("everything waits, and nothing is due")


def _finish(due: asyncio.Future[None]) -> None:
    if not due.done():
        due.set_result(None)
