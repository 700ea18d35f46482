"""Saga: what was done is undone in reverse order if the rest fails or is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self

from aion_cli.core.failures import said_by

P = ParamSpec("P")


class Saga:
    """`async with Saga() as s:` … `s.compensate(refund, receipt)` after each step that may have to be undone.

    Compensations run in reverse, each awaited before the next, when the block is left by a failure or a cancellation;
    not when it is left well, continues as new, or is suspended. One that fails does not keep the others from running;
    it is added to the failure as a note. Nor does a cancellation that comes meanwhile: it is raised when all is undone.
    Otherwise the failure itself goes on.
    """

    def __init__(self) -> None:
        self._compensations: list[Callable[[], Awaitable[Any]]] = []

    def compensate(self, action: Callable[P, Awaitable[Any]], *args: P.args, **kwargs: P.kwargs) -> None:
        """Undo the last step with `await action(...)` if the block fails; usually an activity."""
        self._compensations.append(partial(action, *args, **kwargs))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Other BaseExceptions end the code where it stands: a suspension, or continuing as new.
        if not isinstance(error, Exception | asyncio.CancelledError):
            return
        undoing = asyncio.ensure_future(self._undo(error))
        cancellation: asyncio.CancelledError | None = None
        while not undoing.done():
            try:
                await asyncio.shield(undoing)
            except asyncio.CancelledError as late:
                cancellation = late
        undoing.result()
        if cancellation is not None:
            for note in getattr(error, "__notes__", ()):
                cancellation.add_note(note)
            raise cancellation

    async def _undo(self, error: BaseException) -> None:
        for action in reversed(self._compensations):
            try:
                await action()
            except (Exception, asyncio.CancelledError) as failed:  # noqa: BLE001 - whatever one raises, the others must run
                error.add_note(f"a compensation failed as well: {type(failed).__qualname__}: {said_by(failed)}")
