"""Heartbeats: when an attempt was last heard of, and its details on their way into the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

RECORD_EVERY_S = 1.0


class Pulse:
    """The heartbeats of one attempt. `beat` may be called from any thread.

    report: called on the loop, at most once a second, with the newest details.
    """

    def __init__(self, report: Callable[[msgspec.Raw], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._report = report
        self._newest: msgspec.Raw | None = None
        self._reported: msgspec.Raw | None = None
        self._reported_at = -RECORD_EVERY_S
        self._concluded = False
        self._due = False
        self.last_at = self._loop.time()

    def beat(self, details: msgspec.Raw) -> None:
        """Take note of a heartbeat."""
        self.last_at = self._loop.time()
        self._newest = details
        try:
            self._loop.call_soon_threadsafe(self._schedule)
        except RuntimeError:
            # The loop is closed: the run went on without this function.
            return

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_later(max(0.0, self._reported_at + RECORD_EVERY_S - self._loop.time()), self._pass_on)

    def _pass_on(self) -> None:
        self._due = False
        if self._concluded or self._newest is self._reported:
            return
        self._reported_at = self._loop.time()
        self._reported = self._newest
        if self._newest is not None:
            self._report(self._newest)

    def conclude(self) -> None:
        """Report at once what was not reported yet: the attempt has failed. A function that goes on is not heard."""
        self._pass_on()
        self._concluded = True
