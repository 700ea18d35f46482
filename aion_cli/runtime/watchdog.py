"""The watchdog: says which line of workflow code keeps everything waiting.

Workflow code runs on the thread of the event loop. If one step of it takes long (a blocking call, an endless loop), no
activity can report and no signal is seen. A thread of its own notices, and names the line; it interrupts nothing.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable

from aion_cli.core.execution import Execution
from aion_cli.core.source import SourcePaths
from aion_cli.errors import UsageError

VARIABLE = "AION_WATCHDOG"
DEFAULT_LIMIT_S = 2.0


def limit_from_environment() -> float:
    """Return the longest step that is no news, in seconds, as AION_WATCHDOG says; 0: no limit.

    Raises UsageError if that is no number of seconds.
    """
    given = os.environ.get(VARIABLE, "")
    try:
        limit_s = float(given) if given else DEFAULT_LIMIT_S
    except ValueError:
        limit_s = math.nan
    if not 0 <= limit_s < math.inf:
        raise UsageError(
            f"{VARIABLE} is {given!r}, which is no number of seconds",
            hint=f"{VARIABLE}=10 warns of steps of 10 s and more, {VARIABLE}=0 of none",
        )
    return limit_s


class Watchdog:
    """Watches the steps of one execution while it is entered. limit_s: longest step that is no news; 0: no limit."""

    def __init__(
        self, execution: Execution, paths: SourcePaths, notice: Callable[[str], None], limit_s: float = DEFAULT_LIMIT_S
    ) -> None:
        self._execution = execution
        self._paths = paths
        self._notice = notice
        self._limit_s = limit_s
        self._thread_id = threading.get_ident()
        self._step, self._since = execution.steps, time.monotonic()
        self._warned = False

    @property
    def every_s(self) -> float:
        """How often to look."""
        return self._limit_s / 4

    def __enter__(self) -> Watchdog:
        if self._limit_s > 0:
            _rounds.begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        _rounds.end(self)

    def look(self) -> None:
        """Warn if the step that is being made takes too long, once for each."""
        if self._execution.steps != self._step or not self._execution.is_stepping:
            self._step, self._since, self._warned = self._execution.steps, time.monotonic(), False
        elif not self._warned and time.monotonic() - self._since >= self._limit_s:
            self._warned = True
            self._notice(self._warning(time.monotonic() - self._since))

    def _warning(self, seconds: float) -> str:
        frame = sys._current_frames().get(self._thread_id)  # pyright: ignore[reportPrivateUsage]  # the documented way to another thread's stack
        place = self._paths.innermost(frame) or "an unknown line"
        return (
            f"{self._execution.started.workflow_id}: workflow code has been busy for {seconds:.1f} s at {place}; "
            "meanwhile nothing else of the run moves: do it in an @activity"
        )


class _Rounds:
    """Looks at every watchdog that is entered, on one thread for all of them: a process may have thousands of runs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entered: set[Watchdog] = set()
        self._every_s = 0.0
        self._thread: threading.Thread | None = None

    def begin(self, watchdog: Watchdog) -> None:
        """Look at a watchdog from now on."""
        with self._changed:
            self._entered.add(watchdog)
            if self._thread is None:
                self._thread = threading.Thread(target=self._walk, name="aion-watchdog", daemon=True)
                self._thread.start()
            elif watchdog.every_s < self._every_s:
                self._changed.notify()

    def end(self, watchdog: Watchdog) -> None:
        """Look at a watchdog no more; the thread ends with the last one."""
        with self._changed:
            self._entered.discard(watchdog)
            if not self._entered:
                self._changed.notify()

    def _walk(self) -> None:
        while entered := self._next_round():
            for watchdog in entered:
                watchdog.look()

    def _next_round(self) -> list[Watchdog]:
        with self._changed:
            if self._entered:
                self._every_s = min(watchdog.every_s for watchdog in self._entered)
                self._changed.wait(self._every_s)
            if not self._entered:
                self._thread = None
            return list(self._entered)


_rounds = _Rounds()
