"""Leaving in time: this process ends, whatever an activity left running in it.

What was acknowledged is on disk, so ending at any moment is safe, and hanging is not. A thread waits for the deadline,
says the last words, kills the process groups of activities, and ends the process without asking anybody.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable

from aion_cli.api import process_groups
from aion_cli.runtime.masked_output import drain_masked_output

_LAST_WORDS_S = 0.5
_LOOK_EVERY_S = 0.05


class Departure:
    """The end of this process, at the latest.

    patience_s: how long the interpreter may take to end when the command is done; None: as long as it likes.
    is_stuck: something is left that would complain, or wait for ever, if the interpreter ended in the usual way.
    """

    def __init__(self) -> None:
        self.patience_s: float | None = None
        self.is_stuck = False
        self._leave_at: float | None = None
        self._code = 0
        self._last_words: Callable[[], None] = _flush
        self._thread: threading.Thread | None = None

    def leave_within(self, seconds: float, code: int, last_words: Callable[[], None]) -> None:
        """End the process with this exit code at a deadline, which can be moved up by a second call, but not put off.

        May be called by a signal handler, so it takes no lock that the code which was interrupted may hold.
        """
        leave_at = time.monotonic() + seconds
        if self._leave_at is None or leave_at < self._leave_at:
            self._code, self._last_words, self._leave_at = code, last_words, leave_at
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, name="aion-departure", daemon=True)
            self._thread.start()

    def end(self, code: int) -> None:
        """Have the interpreter end in time, once the command is done. For the very end of the process alone."""
        if self.patience_s is None:
            return
        if self.is_stuck:
            leave_now(code, _flush)
        main = threading.main_thread()
        if any(thread is not main and not thread.daemon for thread in threading.enumerate()):
            self.leave_within(self.patience_s, code, _flush)

    def _wait(self) -> None:
        while True:
            leave_at = self._leave_at
            if leave_at is not None and time.monotonic() >= leave_at:
                leave_now(self._code, self._last_words)
            time.sleep(_LOOK_EVERY_S)


def leave_now(code: int, last_words: Callable[[], None]) -> None:
    """End the process without waiting for anything in it."""
    # In a thread of its own: stderr may be a pipe that nobody reads any more.
    talker = threading.Thread(target=last_words, daemon=True)
    talker.start()
    talker.join(_LAST_WORDS_S)
    drain_masked_output(_LAST_WORDS_S)
    process_groups.kill_all()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


departure = Departure()
"""That of this process."""
