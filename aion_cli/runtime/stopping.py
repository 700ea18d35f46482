"""Patience: how long a run that stops, or that has ended, waits for what it began.

Two waits. While it stops, what is in flight may finish and is recorded. Then, or at once if the run has ended, what is
left is cancelled, and gets time to clean up. A hurry, such as a second signal to the process, cuts both short.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

CLEANUP_S = 0.5
"""What a cancelled task gets, at most, when there is a hurry: enough to kill a process and close a file."""


class Patience:
    """The waits of one run. Made inside the running loop. grace_s: the longest that each may take."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._loop = asyncio.get_running_loop()
        self._hurry: asyncio.Future[None] = self._loop.create_future()
        self._stirred: asyncio.Future[None] = self._loop.create_future()

    def hurry(self) -> None:
        """Wait for nothing any more but cleaning up."""
        if not self._hurry.done():
            self._hurry.set_result(None)

    def stir(self) -> None:
        """Have whoever waits look again."""
        if not self._stirred.done():
            self._stirred.set_result(None)

    async def until_stirred(self) -> None:
        """Wait for the next stir."""
        await asyncio.wait([self._next_stir()])

    def _next_stir(self) -> asyncio.Future[None]:
        if self._stirred.done():
            self._stirred = self._loop.create_future()
        return self._stirred

    async def until_idle(self, busy: Callable[[], Collection[asyncio.Task[Any]] | None]) -> None:
        """Wait until busy() returns None, or until patience ends. busy: asked after each of its tasks and each stir."""
        give_up_at = self._loop.time() + self._grace_s
        while (tasks := busy()) is not None and (left_s := give_up_at - self._loop.time()) > 0:
            if self._hurry.done():
                return
            await asyncio.wait([*tasks, self._next_stir(), self._hurry], timeout=left_s, return_when=_FIRST)

    async def until_cleaned_up(self, cancelled: Collection[asyncio.Task[Any]]) -> None:
        """Wait for tasks that were cancelled."""
        give_up_at = self._loop.time() + self._grace_s
        tasks = set(cancelled)
        while tasks and (left_s := give_up_at - self._loop.time()) > 0:
            if self._hurry.done():
                await asyncio.wait(tasks, timeout=min(left_s, CLEANUP_S))
                return
            done, _ = await asyncio.wait([*tasks, self._hurry], timeout=left_s, return_when=_FIRST)
            tasks.difference_update(done)


_FIRST = asyncio.FIRST_COMPLETED
