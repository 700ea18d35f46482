"""The wall clock: the one place where the runtime asks what time it is.

Waiting compares with the wall clock again and again, in bounded naps: a machine that was suspended, or whose clock was
set, still fires a timer at its instant, and never before it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from aion_cli.core import clock

_LONGEST_NAP_S = 15.0
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
    """The machine's clock."""

    def micros(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000

    async def until(self, micros: int) -> None:
        """Return when the clock has reached an instant, at once if it has passed."""
        while (left := micros - self.micros()) > 0:
            await asyncio.sleep(min(left / _MICROSECONDS, _LONGEST_NAP_S))


def instant(clock_: Clock) -> str:
    """Return the present as an instant."""
    return clock.format_instant(clock_.micros())
