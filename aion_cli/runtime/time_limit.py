"""TimeLimit: how long a run may take since its start or last reopen, and what closes it when that time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aion_cli.core import events as ev
from aion_cli.core.replay import Boundary
from aion_cli.runtime.waits import closes_at
from aion_cli.runtime.wall import Clock


class TimeLimit:
    """The limit of one live run, if it has one. close: records that time is up."""

    def __init__(
        self, boundary: Boundary, timeout_s: float | None, clock: Clock, close: Callable[[ev.WorkflowTimedOut], None]
    ) -> None:
        self._closes_at = closes_at(boundary, timeout_s)
        self._timeout_s = timeout_s
        self._clock = clock
        self._close = close
        self._task: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self._closes_at is not None and self._closes_at <= self._clock.micros()

    def close(self) -> None:
        """Close the run, whether or not its time is up."""
        assert self._timeout_s is not None
        self._close(ev.WorkflowTimedOut(timeout_s=self._timeout_s))

    def watch(self) -> None:
        """Close the run when its time is up."""
        if self._closes_at is not None:
            self._task = asyncio.get_running_loop().create_task(self._wait(self._closes_at))

    async def _wait(self, closes_at: int) -> None:
        await self._clock.until(closes_at)
        self.close()

    def tasks(self) -> list[asyncio.Task[None]]:
        """The task that watches, if one does."""
        return [] if self._task is None else [self._task]
