"""Where in the author's code something happened: "file:line", without touching a file.

Frames of aion itself and of the standard library are passed over, so what remains is the line that the author wrote.
Paths below `root` (the directory that the process was started in) are shortened to be relative to it: messages stay
readable, and a history does not carry the layout of one machine.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_OWN = __file__.rpartition("core")[0]
_ASYNCIO = asyncio.__file__.rpartition("__init__")[0]
_LIBRARY = _ASYNCIO.rpartition("asyncio")[0]


def _is_foreign(filename: str) -> bool:
    """Say whether a file is aion's or the standard library's; what is installed besides may be the author's."""
    if filename.startswith((_OWN, "<frozen ")):
        return True
    return filename.startswith(_LIBRARY) and "site-packages" not in filename


Site = tuple[str, int]
"""A line of code, before its path is shortened: (file, line)."""

# What the loop runs is called from here; the frames below are those of whoever drives the workflow.
_BOTTOM = asyncio.Handle._run.__code__  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # the function that every callback of a loop is run by


def call_site() -> Site:
    """Return where the function that calls this was called."""
    frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]  # the documented way to a frame without reading files
    return frame.f_code.co_filename, frame.f_lineno


class SourcePaths:
    """Shortens paths against one root. root: absolute, no trailing separator; empty: leave paths as they are."""

    def __init__(self, root: str = "") -> None:
        self.root = root
        self._prefixes = (root + "/", root + "\\") if root else ()
        self._known: dict[str, str | None] = {}

    def _shown(self, filename: str) -> str | None:
        """Return the path to show, or None for a file that is not the author's."""
        try:
            return self._known[filename]
        except KeyError:
            shown = None if _is_foreign(filename) else self.shorten(filename)
            self._known[filename] = shown
            return shown

    def shorten(self, filename: str) -> str:
        """Return filename relative to the root if it lies below it."""
        for prefix in self._prefixes:
            if filename.startswith(prefix):
                return filename[len(prefix) :]
        return filename

    def caller(self) -> str:
        """Return the innermost line of the author's code that is being run, or an empty string."""
        return self.innermost(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]  # the documented way to a frame without reading files

    def innermost(self, frame: FrameType | None) -> str:
        """Return the innermost line of the author's code in a stack, or an empty string. frame: its top."""
        while frame is not None and frame.f_code is not _BOTTOM:
            shown = self._shown(frame.f_code.co_filename)
            if shown is not None:
                return f"{shown}:{frame.f_lineno}"
            frame = frame.f_back
        return ""

    def place(self, site: Site) -> str:
        """Return a site as "file:line", or an empty string if it is not in the author's code."""
        shown = self._shown(site[0])
        return "" if shown is None else f"{shown}:{site[1]}"

    def last_line(self, frame: FrameType | None) -> str:
        """Return the line that a frame runs or ran last, or an empty string."""
        return "" if frame is None else f"{self.shorten(frame.f_code.co_filename)}:{frame.f_lineno}"

    def waiting_at(self, coroutine: object) -> str:
        """Return the line of the author's code where a suspended coroutine waits, or an empty string."""
        found = ""
        inner: Any = coroutine
        while inner is not None:
            frame: FrameType | None = getattr(inner, "cr_frame", None) or getattr(inner, "ag_frame", None)
            if frame is not None:
                shown = self._shown(frame.f_code.co_filename)
                if shown is not None:
                    found = f"{shown}:{frame.f_lineno}"
            inner = getattr(inner, "cr_await", None) or getattr(inner, "ag_await", None)
        return found

    def raised_at(self, error: BaseException) -> str:
        """Return the innermost line of the author's code in an exception's traceback, or an empty string."""
        lines = [f"{shown}:{line}" for shown, line, _ in self.frames(error.__traceback__)]
        return lines[-1] if lines else ""

    def frames(self, trace: TracebackType | None) -> Iterator[tuple[str, int, str]]:
        """Yield (path, line, function) of the author's frames, outermost first."""
        while trace is not None:
            code = trace.tb_frame.f_code
            shown = self._shown(code.co_filename)
            if shown is not None:
                yield shown, trace.tb_lineno, code.co_qualname
            trace = trace.tb_next

    def authors_part(self, trace: TracebackType | None) -> TracebackType | None:
        """Return a traceback without the frames that are not the author's; None if none is left."""
        found: list[TracebackType] = []
        while trace is not None:
            if self._shown(trace.tb_frame.f_code.co_filename) is not None:
                found.append(trace)
            trace = trace.tb_next
        kept: TracebackType | None = None
        for each in reversed(found):
            kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
        return kept

    def traceback(self, error: BaseException) -> str:
        """Return the author's frames of a traceback, one a line, without source text (that would be a file read)."""
        return "\n".join(
            f'  File "{path}", line {line}, in {function}' for path, line, function in self.frames(error.__traceback__)
        )
