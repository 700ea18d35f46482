"""Time, randomness and ids for workflow code: recorded or derived, never the machine's."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime

from aion_cli.api import given
from aion_cli.core import clock
from aion_cli.core.execution import current
from aion_cli.errors import UsageError

_MICROSECONDS = 1_000_000


def now() -> datetime:
    """The present of the run as an aware datetime in UTC; the same on every replay."""
    return current("now()").context.now()


def random() -> float:
    """A float in [0, 1), the same on every replay."""
    return current("random()").context.random()


def randint(low: int, high: int) -> int:
    """An integer in [low, high], the same on every replay. Raises ValueError if low > high."""
    return current("randint()").context.randint(low, high)


def uuid4() -> uuid.UUID:
    """A version 4 UUID, the same on every replay."""
    return current("uuid4()").context.uuid4()


def history_length() -> int:
    """How many events the run's history holds by now; helps to decide when to continue as new."""
    return current("history_length()").last_seq


async def sleep_until(moment: datetime) -> None:
    """Sleep durably until moment, which must be aware. Raises ValueError for a naive one."""
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
        raise UsageError(f"sleep_until takes an aware datetime, and got {given.shown(moment)}")
    current("sleep_until()")
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_at(clock.micros_of(moment) / _MICROSECONDS, _finish, over)
    try:
        await over
    finally:
        timer.cancel()


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
