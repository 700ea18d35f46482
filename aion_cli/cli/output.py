"""Streams and exit codes: stdout carries the result and nothing else, everything for people goes to stderr.

While a command runs, `stdout_for_results` keeps the real stdout to itself and lets file descriptor 1 point at stderr,
so that whatever workflow code, activities and their child processes print goes there. The functions that write a
result are the only ones that know the real stdout.
"""

from __future__ import annotations

import codecs
import contextlib
import enum
import errno
import os
import select
import shutil
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, TextIO, cast

import msgspec

from aion_cli import errors
from aion_cli.api.masking import masks
from aion_cli.cli.settings import Settings
from aion_cli.cli.terminal import visible, visible_json


class ExitCode(enum.IntEnum):
    """What the exit code of `aion` says; the same in every output mode."""

    OK = 0
    WORKFLOW_FAILED = 1
    USAGE = 2
    SUSPENDED = 3
    NON_DETERMINISM = 4
    DAMAGED = 5
    OWNED_ELSEWHERE = 6
    NO_SUCH_RUN = 7
    WRONG_STATE = 8
    CLOSED_FROM_OUTSIDE = 9
    STORAGE = 10
    INTERNAL = 70
    SIGINT = 130
    STDOUT_CLOSED = 141
    SIGTERM = 143


# The most special class comes first.
_CODES: tuple[tuple[type[errors.AionError], ExitCode], ...] = (
    (errors.UsageError, ExitCode.USAGE),
    (errors.NonDeterminismError, ExitCode.NON_DETERMINISM),
    (errors.DamagedHistoryError, ExitCode.DAMAGED),
    (errors.UnsupportedFormatError, ExitCode.DAMAGED),
    (errors.HistoryShapeError, ExitCode.DAMAGED),
    (errors.OwnedElsewhereError, ExitCode.OWNED_ELSEWHERE),
    (errors.NoSuchRunError, ExitCode.NO_SUCH_RUN),
    (errors.WrongStateError, ExitCode.WRONG_STATE),
    (errors.StoreError, ExitCode.STORAGE),
    (errors.SequenceConflictError, ExitCode.STORAGE),
    (errors.WorkflowFailure, ExitCode.WORKFLOW_FAILED),
)


def exit_code_of(error: errors.AionError) -> ExitCode:
    """Return the exit code of an error that ended a command."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.INTERNAL


_LONGEST_BEGUN = 8 << 10


class MaskedStream:
    """A text stream in which revealed secrets show as `***`; otherwise the stream that it stands for.

    It writes whole lines, so that those of activities in several threads do not run into each other; what is no line
    yet is written by `flush`. While `mute_while` says so, what is written is dropped.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._begun: dict[int, str] = {}
        self.buffer = _MaskedBytes(self)

    def write(self, text: str) -> int:
        """Write text with secrets masked; returns the number of characters that were given."""
        if not _muting.is_muted():
            thread = threading.get_ident()
            begun = self._begun.pop(thread, "") + text
            lines, newline, rest = begun.rpartition("\n")
            if len(rest) > _LONGEST_BEGUN:
                lines, newline, rest = begun, "", ""
            rest = self._put(lines + newline) + rest
            if rest:
                self._begun[thread] = rest
        return len(text)

    def write_masked(self, lines: str) -> None:
        """Write whole lines of which the secrets are masked already, at once."""
        if self._begun:  # what somebody has begun comes first, if it is this thread
            self.write(lines)
            self.flush()
        elif not _muting.is_muted():
            try:
                self._stream.write(lines)
            except OSError as error:
                _lose(error)
            self._flush_stream()

    def flush(self) -> None:
        """Write what this thread has begun to write as well, but for what may be the beginning of a secret."""
        thread = threading.get_ident()
        rest = self._put(self._begun.pop(thread, ""))
        if rest:
            self._begun[thread] = rest
        self._flush_stream()

    def finish(self) -> None:
        """Write what any thread has begun to write."""
        while self._begun:
            self._write_masked(self._begun.popitem()[1])
        self._flush_stream()

    def _flush_stream(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            _lose(error)

    def _put(self, text: str) -> str:
        """Write text, and return the end of it that has to wait: what follows may make a secret of it."""
        if not text:
            return ""
        ready, rest = masks.split(text)
        self._write_masked(ready)
        return rest

    def _write_masked(self, text: str) -> None:
        try:
            self._stream.write(masks.mask_text(text))
        except OSError as error:
            _lose(error)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _MaskedBytes:
    """The `buffer` of a masked stream: bytes that are written to it take the same way as text."""

    def __init__(self, stream: MaskedStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write bytes; returns how many were given."""
        self._stream.write(self._decoder.decode(bytes(data)))
        return len(data)

    def flush(self) -> None:
        """Write what has begun."""
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _lose(error: OSError) -> None:
    """Lose what was written: a stderr whose reader is gone must not fail the activity that prints."""
    if error.errno in (errno.EPIPE, errno.EIO):
        # Both have led to it. What is in buffers, and what child processes print, now has a place to go.
        _point_at_nothing(1, 2)


def _never() -> bool:
    return False


class _Muting(msgspec.Struct):
    is_muted: Callable[[], bool] = _never


_muting = _Muting()


def mute_while(is_muted: Callable[[], bool]) -> None:
    """Drop what is printed while is_muted() holds: commands that replay keep workflow code silent with it."""
    _muting.is_muted = is_muted


class StdoutClosedError(Exception):
    """Whoever read our stdout is gone, as in `aion list | head -1`. Ends the process as it ends other tools."""


class _Stdout(msgspec.Struct):
    """The real stdout. fd: None if the process was started without one. documents: how many were written."""

    fd: int | None = 1
    documents: int = 0


_stdout = _Stdout()


@contextlib.contextmanager
def stdout_for_results() -> Generator[None]:
    """Keep stdout for results while a command runs: all that others print to it goes to stderr."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    outer_fd, outer_stream, outer_stderr = _stdout.fd, sys.stdout, sys.stderr
    try:
        _stdout.fd = os.dup(1)  # not inheritable, so no child process can write to it
    except OSError:
        _stdout.fd = None
    _point_stdout_at_stderr()
    masked = MaskedStream(outer_stderr)
    sys.stdout = sys.stderr = cast("TextIO", masked)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            masked.finish()
        sys.stdout, sys.stderr = outer_stream, outer_stderr
        if _stdout.fd is not None:
            os.dup2(_stdout.fd, 1)
            os.close(_stdout.fd)
        _stdout.fd = outer_fd


def masked_json(document: object) -> msgspec.Raw:
    """Return a document in which no text holds a revealed secret: for what no history has masked."""
    return masks.mask_json(msgspec.Raw(msgspec.json.encode(document)))


def write_json(document: object) -> None:
    """Write one JSON document and a newline to stdout. Values may hold `msgspec.Raw`, which goes out as it stands."""
    write_json_line(msgspec.json.encode(document))
    _stdout.documents += 1


def write_json_line(line: bytes) -> None:
    """Write one line of JSON to stdout, at once. `line` is UTF-8 without its newline.

    On a terminal, what could steer it is escaped the way JSON escapes; elsewhere the bytes go out as they are.
    Raises StdoutClosedError if nobody reads any more, and StoreError if it can't be written for another reason.
    """
    if stdout_is_terminal():
        line = visible_json(line.decode("utf-8", "replace")).encode()
    _write_all(line + b"\n")


def write_text(text: str) -> None:
    """Write text that is already safe for a terminal, and a newline, to stdout. Raises like write_json_line."""
    _write_all(text.encode("utf-8", "backslashreplace") + b"\n")


def has_written_a_document() -> bool:
    """Say whether stdout got its JSON document, after which no other may follow."""
    return _stdout.documents > 0


def stdout_is_terminal() -> bool:
    """Say whether results go to a terminal."""
    return _stdout.fd is not None and os.isatty(_stdout.fd)


def stdout_takes_color(settings: Settings) -> bool:
    """Say whether results for people may be coloured."""
    return settings.color and stdout_is_terminal() and os.environ.get("TERM") != "dumb"


def stdout_width() -> int | None:
    """Return the width of the terminal that results go to; None elsewhere."""
    if not stdout_is_terminal():
        return None
    return shutil.get_terminal_size().columns


def say(settings: Settings, text: str) -> None:
    """Write progress to stderr, unless `--quiet`."""
    if not settings.quiet:
        warn(text)


def warn(text: str) -> None:
    """Write a line to stderr that has to be seen, `--quiet` or not. Untrusted text in it is made visible here."""
    write_stderr(visible(text))


def write_stderr(text: str) -> None:
    """Write text that is already safe for a terminal, secrets masked. A stderr that nobody reads is no error."""
    stream: Any = sys.stderr
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if isinstance(stream, MaskedStream):
            stream.write_masked(masks.mask_text(text) + "\n")
        else:
            stream.write(masks.mask_text(text) + "\n")
            stream.flush()


def stderr_takes_color(settings: Settings) -> bool:
    """Say whether messages may be coloured: stderr is a terminal, and nothing forbids it."""
    try:
        return settings.color and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (ValueError, AttributeError):
        return False


def _write_all(data: bytes) -> None:
    if _stdout.fd is None:
        raise errors.StoreError("stdout is closed, so the result cannot be written")
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(_stdout.fd, rest) :]
        except BlockingIOError:  # a pipe that another program made non-blocking
            select.select([], [_stdout.fd], [])
        except BrokenPipeError:
            raise StdoutClosedError from None
        except OSError as error:
            raise errors.StoreError(f"the result cannot be written to stdout: {error.strerror}") from error


def _point_stdout_at_stderr() -> None:
    try:
        os.dup2(2, 1)
    except OSError:  # no stderr either
        _point_at_nothing(1)


def _point_at_nothing(*fds: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in fds:
        os.dup2(null, fd)
    if null not in fds:
        os.close(null)
