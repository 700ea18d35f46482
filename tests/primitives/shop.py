"""The activities and signals of the workflows in this table, and the cleanup that all of them do when cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from aion_cli import Signal, activity, activity_info

PATIENCE_S = 5
"""How long what is to be cut off goes on if it is not: tests fail then, and do not hang."""

did: list[str] = []
"""What activities did in this process, in order."""


class Bell:
    """Rung by what is slow, from whatever thread it is in, as soon as it has begun."""

    on_ring: Callable[[], object] = staticmethod(lambda: None)

    def ring(self) -> None:
        self.on_ring()


bell = Bell()

approval = Signal("approval", bool)
note = Signal("note", str)


@activity
def charge(sku: str) -> str:
    """In a thread. "slow" ends only when it is told to."""
    did.append(f"charge {sku}")
    if sku == "slow":
        bell.ring()
        _until_told_to_end()
    return f"receipt of {sku}, in the main thread: {threading.current_thread() is threading.main_thread()}"


def _until_told_to_end() -> None:
    never, begun = threading.Event(), time.monotonic()
    while not activity_info().cancel_requested():
        assert time.monotonic() - begun < PATIENCE_S, "nobody told it to end"
        never.wait(0.001)
    did.append("charge was told to end")


@activity
async def bill(sku: str) -> str:
    """On the process's event loop. "slow" ends only when it is cancelled."""
    did.append(f"bill {sku}")
    if sku == "slow":
        bell.ring()
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            did.append("bill was cancelled")
    return f"bill of {sku}"


@activity
async def refund(receipt: str) -> None:
    did.append(f"refund {receipt}")


@activity
async def tidy() -> None:
    did.append("tidied up")


async def hangs(*_: object) -> None:
    """A fake that takes a day."""
    await asyncio.sleep(86_400)


class Tidying:
    """A block of workflow code that cleans up, with an activity, when it is cancelled."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            await tidy()


def as_json(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
