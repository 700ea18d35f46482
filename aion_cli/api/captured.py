"""A shell command in a process group of its own, and all that it prints."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping
from typing import IO

from aion_cli.api import process_groups
from aion_cli.api.step_output import LineCutter
from aion_cli.core.payload import MAX_BYTES

_CHUNK = 256 << 10

MOST_KEPT = MAX_BYTES
"""Bytes of each stream that are kept: more could not be recorded."""


class CapturedCommand:
    """A command that runs, from when this is made until `close`. On a running event loop only."""

    def __init__(
        self, command: str, *, cwd: str | None, env: Mapping[str, str] | None, tell: Callable[[list[str]], None]
    ) -> None:
        """Start it. env: all its variables, None for ours. tell: gets the lines as they are printed.

        Raises OSError if it cannot be started, as where cwd is no directory.
        """
        self._process = process_groups.start(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._stdout = _Captured(self._process.stdout, LineCutter(tell))
        self._stderr = _Captured(self._process.stderr, LineCutter(tell))
        self._exited = process_groups.exit_of(self._process)

    async def ended(self) -> int:
        """Return its exit code once it has exited and nobody holds its pipes; minus the signal that killed it."""
        await self._stdout.ended.wait()
        await self._stderr.ended.wait()
        await self._exited.wait()
        return self._process.wait()

    async def close(self) -> None:
        """Kill what is left of it, and close our ends of its pipes.

        Whoever else holds them: something that left the process group may go on, and is not waited for.
        """
        if self._exited.is_set() and self._stdout.ended.is_set() and self._stderr.ended.is_set():
            process_groups.over(self._process.pid)
        else:
            # Also if the shell itself has exited: what it started in the background may hold the pipes.
            process_groups.kill(self._process.pid)
        try:
            await self._exited.wait()
        finally:
            self._stdout.close()
            self._stderr.close()

    @property
    def longest(self) -> int:
        """How many bytes it has printed on that of its two streams on which it printed more."""
        return max(self._stdout.size, self._stderr.size)

    @property
    def stdout(self) -> str:
        """What it has printed so far, up to MOST_KEPT bytes; bytes that are no UTF-8 are replaced."""
        return self._stdout.data.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """The same of its stderr."""
        return self._stderr.data.decode("utf-8", "replace")


class _Captured:
    """What comes out of a pipe: its size, and as much as is kept.

    ended: set when nobody holds the other end any more, or it was closed here.
    """

    def __init__(self, pipe: IO[bytes], lines: LineCutter) -> None:
        self.data = bytearray()
        self.size = 0
        self.ended = asyncio.Event()
        self._pipe = pipe
        self._lines = lines
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe.fileno(), False)
        self._loop.add_reader(pipe.fileno(), self._read)

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self.data += chunk[: MOST_KEPT - len(self.data)]
            self.size += len(chunk)
            self._lines.feed(chunk)
        else:
            self.close()

    def close(self) -> None:
        """Read no more."""
        if not self.ended.is_set():
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
            self._lines.end()
            self.ended.set()
