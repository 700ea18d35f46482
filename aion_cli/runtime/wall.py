"""The wall clock: the one place where the runtime asks what time it is.

Waiting compares with the wall clock again and again, in bounded naps: a machine that was suspended, or whose clock was
set, still fires a timer at its instant, and never before it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

from aion_cli.core import clock

_LONGEST_NAP_S = 1.0
_MICROSECONDS = 1_000_000


class Clock(Protocol):
    """Time as a live run needs it. Tests bring one that skips."""

    def micros(self) -> int:
        """Microseconds since the epoch."""
        ...

    async def until(self, micros: int) -> None:
        """Return when the clock has reached an instant, at once if it has passed."""
        ...


class WallClock:
    """The machine's clock. All that waits for it shares one alarm, so what is due is woken in the order of time."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._withdrawn = 0
        self._alarm: asyncio.Handle | None = None

    def micros(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000

    async def until(self, micros: int) -> None:
        """Return when the clock has reached an instant, at once if it has passed.

        Of several that wait, also if they began in one turn of the loop, the earliest instant comes first.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._waiters, self._alarm = loop, [], None
        waiter: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiters, (micros, next(self._order), waiter))
        if self._waiters[0][2] is waiter:
            self._set_alarm(loop)
        try:
            await waiter
        except asyncio.CancelledError:
            self._forget_withdrawn()
            raise

    def _set_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        left_s = (self._waiters[0][0] - self.micros()) / _MICROSECONDS
        self._alarm = (
            loop.call_soon(self._ring, loop)
            if left_s <= 0
            else loop.call_later(min(left_s, _LONGEST_NAP_S), self._ring, loop)
        )

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        present = self.micros()
        while self._waiters and (self._waiters[0][0] <= present or self._waiters[0][2].done()):
            _, _, waiter = heapq.heappop(self._waiters)
            if not waiter.done():
                waiter.set_result(None)
        if self._waiters:
            self._set_alarm(loop)

    def _forget_withdrawn(self) -> None:
        """Keep a run that sets and withdraws timers for days from collecting them."""
        self._withdrawn += 1
        if self._withdrawn > 64 and self._withdrawn * 2 > len(self._waiters):
            self._waiters = [entry for entry in self._waiters if not entry[2].done()]
            heapq.heapify(self._waiters)
            self._withdrawn = 0


def instant(clock_: Clock) -> str:
    """Return the present as an instant."""
    return clock.format_instant(clock_.micros())
