"""Unwinding: what becomes of what a live run has underway, when the run is told to stop, and once it is over.

A run that stops stays open: nothing new begins, what is in flight gets grace to finish, and what it comes to is
recorded. A run that is over records nothing more: children that were told to end may do so, all else is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from aion_cli.runtime.endings import Suspended, SuspendReason
from aion_cli.runtime.stopping import Patience
from aion_cli.runtime.underway import Underway


class Unwinding:
    """Ends one live run gently. Made inside the running loop.

    end: where the run's outcome is set. is_busy: whether arrivals wait to be recorded. settle: commits what is staged.
    """

    def __init__(
        self,
        underway: Underway,
        patience: Patience,
        end: asyncio.Future[Any],
        *,
        is_busy: Callable[[], bool],
        settle: Callable[[], None],
    ) -> None:
        self._underway = underway
        self._patience = patience
        self._end = end
        self._is_busy = is_busy
        self._settle = settle
        self._task: asyncio.Task[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the run was told to stop."""
        return self._task is not None

    def suspend(self, reason: SuspendReason) -> None:
        """Begin to stop. A second call does not wait for what is in flight; nor does one that comes as the run ends."""
        if self._task is None and not self._end.done():
            self._task = asyncio.get_running_loop().create_task(self._suspend(reason))
        elif reason is not SuspendReason.MAX_WAIT:
            self._underway.suspend_children()
            self._set_end(reason)

    async def _suspend(self, reason: SuspendReason) -> None:
        self._underway.suspend_children()
        if reason is not SuspendReason.MAX_WAIT:  # which is that long at the latest, whatever it waits for
            await self._patience.until_idle(self._in_flight)
        self._settle()
        self._set_end(reason)

    def _set_end(self, reason: SuspendReason) -> None:
        self._patience.hurry()
        if not self._end.done():
            self._end.set_result(Suspended(reason))

    def _in_flight(self) -> list[asyncio.Task[Any]] | None:
        found = self._underway.in_flight()
        return found if found or self._is_busy() else None

    async def finish(self, *, ended: bool, others: Collection[asyncio.Task[Any]]) -> None:
        """Stop what still runs, and wait for it no longer than grace. Nothing of it is recorded here.

        ended: the run is closed, and its children were told. others: tasks of the run that are no command's.
        """
        current = asyncio.current_task()
        tasks = {*self._underway.all_tasks(), *others} - {current}
        if self._task is not None:
            tasks.add(self._task)
        children = self._underway.leave_children() if ended else set[asyncio.Task[Any]]()
        for task in tasks - children:
            if not task.cancelling():  # a second time would cut short the cleaning up that the first one began
                task.cancel()
        await self._patience.until_cleaned_up(tasks)
        if left := [task for task in children if not task.done()]:
            self._patience.hurry()
            for task in left:
                task.cancel()
            await self._patience.until_cleaned_up(left)
