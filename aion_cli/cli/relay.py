"""What a process and its child processes print, caught line by line, so that it does not run through a live display.

Python's streams are not enough: a logging handler keeps the stream that it was made with, and child processes write to
file descriptors. So 1 and 2 are pointed at a pipe, and whoever shows the lines has the terminal to itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable

_CHUNK = 64 << 10
_LONGEST_LINE = 64 << 10


class OutputRelay:
    """Catches what goes to file descriptors 1 and 2. terminal: a descriptor of what 2 was, for whoever shows it."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        """on_line: told of each line, without its end, by `drain`."""
        self._on_line = on_line
        self._rest = b""
        _flush()
        self._kept = {fd: os.dup(fd) for fd in (1, 2)}
        self.terminal = self._kept[2]
        self._source, target = os.pipe()
        os.set_blocking(self._source, False)
        for fd in self._kept:
            os.dup2(target, fd)
        os.close(target)

    def fileno(self) -> int:
        """Return what to wait for: readable when there is something to drain."""
        return self._source

    def drain(self) -> None:
        """Hand on the lines that were printed so far. Not for several threads at once."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._source, _CHUNK):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                if len(self._rest) > _LONGEST_LINE:
                    lines.append(self._rest)
                    self._rest = b""
                for line in lines:
                    self._hand_on(line)

    def _hand_on(self, line: bytes) -> None:
        self._on_line(line.decode("utf-8", "replace").rstrip("\r"))

    def close(self) -> None:
        """Give the descriptors back, and hand on what is left. What child processes print goes straight there again."""
        _flush()
        for fd, kept in self._kept.items():
            os.dup2(kept, fd)
        self.drain()
        if self._rest:
            self._hand_on(self._rest)
        if not self._is_abandoned():
            # A process that an activity left behind would die of its next line; so somebody goes on reading.
            os.set_blocking(self._source, True)
            with contextlib.suppress(OSError):
                subprocess.Popen(["cat"], stdin=self._source, stdout=2, start_new_session=True)
        os.close(self._source)
        for kept in self._kept.values():
            os.close(kept)

    def _is_abandoned(self) -> bool:
        """Say whether nobody holds the other end any more."""
        poll = select.poll()
        poll.register(self._source, 0)
        return bool(poll.poll(0))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
