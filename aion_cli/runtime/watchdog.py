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
        self._over = threading.Event()

    def __enter__(self) -> Watchdog:
        if self._limit_s > 0:
            threading.Thread(target=self._watch, name="aion-watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        step, since = self._execution.steps, time.monotonic()
        warned = False
        while not self._over.wait(self._limit_s / 4):
            if self._execution.steps != step or not self._execution.is_stepping:
                step, since, warned = self._execution.steps, time.monotonic(), False
            elif not warned and time.monotonic() - since >= self._limit_s:
                warned = True
                self._notice(self._warning(time.monotonic() - since))

    def _warning(self, seconds: float) -> str:
        frame = sys._current_frames().get(self._thread_id)  # pyright: ignore[reportPrivateUsage]  # the documented way to another thread's stack
        place = self._paths.innermost(frame) or "an unknown line"
        return (
            f"{self._execution.started.workflow_id}: workflow code has been busy for {seconds:.1f} s at {place}; "
            "meanwhile nothing else of the run moves: do it in an @activity"
        )
