"""A terminal to run `aion` on, and what a person would see on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator

from tests.cli.support import Project, environment

_SEQUENCE = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07")


class Screen:
    """What a stream of bytes leaves on a terminal that scrolls for ever: enough of one for lines that are redrawn.

    commands: the control sequences that came, colours left out.
    """

    def __init__(self, width: int) -> None:
        self.lines = [""]
        self.commands: list[bytes] = []
        self.widest = 0
        self._width = width
        self._row = 0
        self._column = 0
        self._rest: bytes = b""

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        self._rest = b""
        at = 0
        while at < len(data):
            if data[at : at + 1] == b"\x1b":
                found = _SEQUENCE.match(data, at)
                if found is None:
                    self._rest = data[at:]
                    return
                self._command(found)
                at = found.end()
            else:
                end = data.find(b"\x1b", at)
                text = data[at : len(data) if end < 0 else end]
                shown = text.decode("utf-8", "ignore")
                left = text[len(shown.encode()) :] if end < 0 else b""
                self._write(shown)
                self._rest = left
                at += len(text)

    def _command(self, found: re.Match[bytes]) -> None:
        if found[2] == b"m":
            return
        self.commands.append(found[0])
        match found[2]:
            case b"A":
                self._row = max(0, self._row - int(found[1] or b"1"))
            case b"K":
                assert found[1] == b"2"
                self.lines[self._row] = ""
            case _:
                pass

    def _write(self, text: str) -> None:
        for char in text:
            if char == "\r":
                self._column = 0
            elif char == "\n":
                self._row += 1
                self._column = 0
                if self._row == len(self.lines):
                    self.lines.append("")
            else:
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + char + line[self._column + 1 :]
                self._column += 1
                self.widest = max(self.widest, self._column)


class OnTerminal:
    """A command whose stderr is a terminal; its stdout is a pipe. Killed at the end of the `with` block."""

    def __init__(self, project: Project, *args: str, width: int = 80, height: int = 24, **environ: str) -> None:
        self.screen = Screen(width)
        self._terminal, line = pty.openpty()
        fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aion_cli", *args],
            cwd=project.root,
            env=environment({"TERM": "xterm", "COLUMNS": "", "LINES": "", **environ}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=line,
        )
        os.close(line)

    def _read(self) -> Iterator[None]:
        """Read until the terminal is closed; yield whenever something came."""
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            ready, _, _ = select.select([self._terminal], [], [], 1)
            if ready:
                try:
                    data = os.read(self._terminal, 65536)
                except OSError:  # nobody has the other end any more
                    return
                self.screen.feed(data)
            yield

    def until(self, condition: Callable[[list[str]], object]) -> None:
        """Return when what is on the screen fulfils a condition."""
        for _ in self._read():
            if condition(self.screen.lines):
                return
        raise AssertionError(f"never came to be; the screen: {self.screen.lines}")

    def end(self) -> tuple[int, str, list[str]]:
        """Wait for the end; return the exit code, stdout, and the lines that are left on the screen."""
        for _ in self._read():
            pass
        assert self.process.stdout is not None
        out = self.process.stdout.read().decode()
        return self.process.wait(30), out, [line.rstrip() for line in self.screen.lines if line.strip()]

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            os.close(self._terminal)
