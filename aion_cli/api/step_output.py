"""What a step prints while it runs, for whoever watches. What is recorded of it in the end is no concern of this.

A line is handed on when it is whole: of a secret that came in two pieces, neither would be recognised. So what has no
end is shown at the end of the step, and of a line without measure only its length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from aion_cli.api.attempts import activity_info
from aion_cli.api.masking import masks

_LONGEST_LINE = 16 << 10


class Watcher(Protocol):
    """Shows what steps print."""

    def on_printed(self, workflow_id: str, ordinal: int, lines: list[str]) -> None:
        """Take lines that a step has printed, without their ends. Secrets are masked; all else is as it was printed.

        ordinal: number of the activity. Called on the process's event loop, which waits for it.
        """
        ...


class StepOutput(msgspec.Struct):
    """Who watches. watcher: None while nobody does."""

    watcher: Watcher | None = None

    def teller(self) -> Callable[[list[str]], None]:
        """Return what the running attempt tells of its lines. To be called in the attempt, if there is a watcher."""
        if self.watcher is None:
            return _tell_nobody
        info = activity_info()

        def tell(lines: list[str]) -> None:
            if self.watcher is not None:
                self.watcher.on_printed(info.workflow_id, info.ordinal, lines)

        return tell


step_output = StepOutput()
"""That of the steps of this process."""


class LineCutter:
    """Cuts one stream of a step, which comes in chunks, into lines of text. tell: gets them, secrets masked."""

    def __init__(self, tell: Callable[[list[str]], None]) -> None:
        self._tell = tell
        self._begun = bytearray()
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk, and tell of the lines that it ends."""
        if self._tell is _tell_nobody:
            return
        first, *others = chunk.split(b"\n")
        self._begin(first)
        if others:
            *whole, last = others
            self._hand_on([self._ended(), *map(_measured, whole)])
            self._begin(last)

    def end(self) -> None:
        """Tell of what is left: a last line without an end."""
        if self._size:
            self._hand_on([self._ended()])

    def _begin(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= _LONGEST_LINE:
            self._begun += part

    def _ended(self) -> bytes:
        line = bytes(self._begun) if self._size <= _LONGEST_LINE else _only_length(self._size)
        self._begun.clear()
        self._size = 0
        return line

    def _hand_on(self, lines: list[bytes]) -> None:
        masks.look_for_expected()  # a shell step may print what only the environment has revealed to it
        self._tell(masks.mask_text(b"\n".join(lines).decode("utf-8", "replace")).split("\n"))


def _measured(line: bytes) -> bytes:
    return line if len(line) <= _LONGEST_LINE else _only_length(len(line))


def _only_length(size: int) -> bytes:
    return f"(a line of {size:,} bytes)".encode()


def _tell_nobody(lines: list[str]) -> None:
    del lines
