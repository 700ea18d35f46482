"""Reading histories: streaming, verifying on the way, never locking, never repairing.

What belongs here: lines of a file in order, where damage stands, and whether a bad end is a torn tail. What does not:
setting a torn tail aside, which only the owner does (`runtime.journal`).

A tail is torn, and not damaged, from its first bad line on, if a crash in the middle of one write can explain it: the
line is unterminated or has a zero-filled sector, and no line after it, except the last, ends a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.cursor import visible_events
from aion_cli.core.lines import (
    MAX_LINE,
    ZERO_DIGEST,
    BadLineError,
    LineChain,
    UnknownLineError,
    decode_event,
    ends_batch,
)
from aion_cli.errors import DamagedHistoryError, NoSuchRunError, StoreError, UnsupportedFormatError
from aion_cli.runtime.blobs import BlobStore, DamagedBlobError
from aion_cli.runtime.codec import PayloadCodec
from aion_cli.runtime.files import Files, MissingFileError

MAX_BATCH = 2 << 20
"""Longest write of one batch, in bytes; so a torn tail is no longer either."""

_CHUNK = 256 << 10
_AHEAD = 48 << 10  # bytes of lines
_SECTOR = 512
_FEWEST_ZEROS = 8
_REOPENED = b'{"type":"WorkflowReopened"'


class Head(msgspec.Struct, frozen=True, gc=False):
    """Where a history ends. digest: of its last line, the key of the next. size: bytes up to there."""

    seq: int
    recorded_at: str
    digest: bytes
    size: int


EMPTY_HEAD = Head(0, "", ZERO_DIGEST, 0)


class TornTail(NamedTuple):
    """The end of a history that a crash cut off in mid-write; it was never acknowledged.

    offset, size: in bytes. line: counts from 1. complete: a whole record that lacks only its newline.
    """

    offset: int
    size: int
    line: int
    complete: bool = False


class _Batch(NamedTuple):
    """Events that were read ahead, each with whether all of it is in its line. error: of the line behind them."""

    events: list[tuple[Any, bool]]
    error: BadLineError | None
    is_last: bool


class HistoryReader:
    """The events of one history, in order, verified as they are read. Iterate once.

    torn: the torn tail that ended the reading, once it was met; it was ignored. head: where reading got to.
    codec: opens payloads; None: what AION_CODEC says.
    """

    def __init__(
        self, path: Path, files: Files, limit: int | None = None, *, codec: PayloadCodec | None = None
    ) -> None:
        self._path = path
        self._files = files
        self._limit = limit
        self._blobs = BlobStore(path.parent, files, codec)
        self._chain = LineChain()
        self._offset = 0
        self.torn: TornTail | None = None

    @property
    def head(self) -> Head:
        """Where reading got to: of the whole history once it is exhausted."""
        return Head(self._chain.seq, self._chain.recorded_at, self._chain.digest, self._offset)

    def __iter__(self) -> Iterator[Any]:
        """Yield members of `ev.AnyEvent`, payloads inflated.

        Raises NoSuchRunError if there is no whole line; DamagedHistoryError, UnsupportedFormatError at the bad line.
        """
        fd = open_history(self._path, self._files)
        try:
            yield from self._events(fd)
        finally:
            self._files.close(fd)

    def _events(self, fd: int) -> Iterator[Any]:
        lines, found = self._lines(fd), _Batch([], None, False)
        while not found.is_last:
            found = self._next_batch(lines)
            for event, is_whole in found.events:
                yield event if is_whole else self._inflated(event)
        if found.error is not None:
            self.torn = self._torn_or_raise(fd, found.error)
        if self._chain.seq == 0:
            raise NoSuchRunError(self._path.stem)

    def _next_batch(self, lines: Iterator[bytes]) -> _Batch:
        """Read ahead of whoever takes the events: a line costs a third more if code is stepped after each."""
        read, events, size = self._chain.read, list[tuple[Any, bool]](), 0
        for line in lines:
            try:
                event = read(line)
            except BadLineError as error:
                return _Batch(events, error, True)
            events.append((event, b'{"$' not in line))
            self._offset += len(line) + 1
            size += len(line)
            if size > _AHEAD:
                return _Batch(events, None, False)
        return _Batch(events, None, True)

    def _inflated(self, event: Any) -> Any:
        """Put in the payloads that lie elsewhere, or are encrypted. Not ahead, since they may be big."""
        try:
            return self._blobs.inflate(event)
        except DamagedBlobError as error:
            raise DamagedHistoryError(path=str(self._path), line=event.seq, reason=error.reason) from error

    def verify(self, fd: int) -> TornTail | None:
        """Check every line's digest, and decode the first and the last alone; sets head. For the owner.

        fd: of this history; it stays open. Returns the torn tail, if there is one; complete if it lacks only its
        newline, which head then counts as if it were there. Raises DamagedHistoryError, UnsupportedFormatError.
        """
        chain, last = self._chain, b""
        for line in self._lines(fd):
            try:
                if chain.seq:
                    chain.verify(line)
                else:
                    chain.read(line)
            except BadLineError as error:
                self.torn = self._torn_or_raise(fd, error)
                break
            self._offset += len(line) + 1
            last = line
        self._settle(last)
        if self.torn is not None and self._is_complete(fd, self.torn):
            self._offset += self.torn.size + 1
            self.torn = self.torn._replace(complete=True)
        return self.torn

    def _settle(self, last: bytes) -> None:
        if last:
            try:
                self._chain.settle(last)
            except BadLineError as error:
                raise history_error(self._path, self._chain.seq, error) from error

    def _is_complete(self, fd: int, torn: TornTail) -> bool:
        line = self._files.read_at(fd, torn.size, torn.offset, self._path)
        try:
            self._chain.read(line)
        except UnknownLineError as error:
            raise history_error(self._path, torn.line, error) from error
        except BadLineError:
            return False
        return True

    def _torn_or_raise(self, fd: int, error: BadLineError) -> TornTail:
        line = self._chain.seq + 1
        torn = torn_tail(fd, self._path, self._files, self._offset, line)
        if torn is None or isinstance(error, UnknownLineError):
            raise history_error(self._path, line, error) from error
        return torn

    def _lines(self, fd: int) -> Iterator[bytes]:
        rest = b""
        for chunk in _chunks(fd, self._path, self._files, self._limit):
            first, *others = chunk.split(b"\n")
            rest += first
            if others:
                yield rest
                yield from others[:-1]
                rest = others[-1]
            if len(rest) >= MAX_LINE:
                yield rest  # refused for its length, and by then its end does not matter
                return
        if rest:
            self.torn = TornTail(self._offset, len(rest), self._chain.seq + 1)


def read_history(path: Path, files: Files | None = None, *, codec: PayloadCodec | None = None) -> HistoryReader:
    """Return a reader of a history. Raises NoSuchRunError at once if there is no such file, or it is empty."""
    files = files or Files()
    files.close(open_history(path, files))
    return HistoryReader(path, files, codec=codec)


def open_history(path: Path, files: Files) -> int:
    """Open a history to read. Raises NoSuchRunError if it is missing or empty, StoreError if it cannot be read."""
    try:
        fd = files.open_read(path)
    except MissingFileError:
        raise NoSuchRunError(path.stem) from None
    try:
        size = files.size(fd, path)
        if size == 0:
            raise NoSuchRunError(path.stem)
    except BaseException:
        files.close(fd)
        raise
    return fd


def read_first_event(path: Path, files: Files | None = None) -> ev.WorkflowStarted:
    """Read and verify the first line alone; its payload may be a blob reference.

    Raises NoSuchRunError, DamagedHistoryError, UnsupportedFormatError.
    """
    files = files or Files()
    fd = open_history(path, files)
    try:
        data = files.read_at(fd, 4096, 0, path)
        if b"\n" not in data:
            data = files.read_at(fd, MAX_LINE, 0, path)
        line, newline, _ = data.partition(b"\n")
        if not newline and len(data) < MAX_LINE:
            raise NoSuchRunError(path.stem)
        try:
            return LineChain().read(line)
        except BadLineError as error:
            if torn_tail(fd, path, files, 0, 1):
                raise NoSuchRunError(path.stem) from None
            raise history_error(path, 1, error) from error
    finally:
        files.close(fd)


def read_last_event(path: Path, files: Files | None = None) -> Any:
    """Read the last whole line alone, a member of `ev.AnyEvent`; its payload may be a blob reference.

    Its batch is verified against the digest of the line above it; lines further up are not looked at. Raises as
    read_history.
    """
    files = files or Files()
    fd = open_history(path, files)
    try:
        event = _last_event(fd, path, files)
    finally:
        files.close(fd)
    if event is None:
        # Not the plain case: only reading everything can tell a torn tail from damage.
        (event,) = deque(HistoryReader(path, files), maxlen=1)
    return event


def _last_event(fd: int, path: Path, files: Files) -> Any:
    """Return the last event if its batch is whole and holds together; None if more must be read to tell."""
    size = files.size(fd, path)
    window = 8 << 10
    while True:
        start = max(0, size - window)
        lines = files.read_at(fd, size - start, start, path).split(b"\n")[:-1]
        if start > 0:
            lines = lines[1:]
        above = next((n for n in range(len(lines) - 2, -1, -1) if ends_batch(lines[n])), None)
        if above is not None or start == 0 or window >= 2 * MAX_BATCH:
            break
        window *= 8
    chain = LineChain()
    try:
        if above is not None:
            chain.digest = bytes.fromhex(lines[above][-34:-2].decode())
        elif start > 0:
            return None
        batch = lines if above is None else lines[above + 1 :]
        for line in batch:
            chain.verify(line)
        return decode_event(batch[-1]) if batch else None
    except (BadLineError, ValueError):
        return None


def visible_history(path: Path, files: Files | None = None) -> Iterator[ev.Event]:
    """Yield the events of a history that no reopen superseded. Raises as HistoryReader."""
    return visible_events(read_history(path, files), find_reopens(path, files))


def find_reopens(path: Path, files: Files | None = None) -> list[ev.WorkflowReopened]:
    """Return every WorkflowReopened of a history, in order, by a scan that decodes nothing else.

    Lines are not verified here; reading the history does that. Raises NoSuchRunError.
    """
    files = files or Files()
    found: list[ev.WorkflowReopened] = []
    fd = open_history(path, files)
    try:
        rest = b"\n"
        for chunk in _chunks(fd, path, files, None):
            data = rest + chunk
            end = data.rfind(b"\n")
            if b"\n" + _REOPENED in data:
                found += _reopens_of(data[: end + 1])
            rest = data[end:]
            if len(rest) > MAX_LINE:
                break
    finally:
        files.close(fd)
    return found


def _reopens_of(data: bytes) -> Iterator[ev.WorkflowReopened]:
    for line in data.split(b"\n")[:-1]:
        if line.startswith(_REOPENED):
            try:
                yield decode_event(line)
            except BadLineError:
                return  # reading the history will say where and why


def _chunks(fd: int, path: Path, files: Files, limit: int | None) -> Iterator[bytes]:
    offset = 0
    while limit is None or offset < limit:
        chunk = files.read_at(fd, _CHUNK if limit is None else min(_CHUNK, limit - offset), offset, path)
        if not chunk:
            return
        offset += len(chunk)
        yield chunk


def torn_tail(fd: int, path: Path, files: Files, offset: int, line: int) -> TornTail | None:
    """Say whether what stands from offset on, where the first bad line begins, is a torn tail; None if it is damage."""
    size = files.size(fd, path)
    if size - offset > MAX_BATCH:
        return None
    data = files.read_at(fd, size - offset, offset, path)
    bad, newline, after = data.partition(b"\n")
    if newline:
        later = after.split(b"\n")
        before_last = later[:-1] if later[-1] else later[:-2]
        if not has_zeroed_sector(bad, offset) or any(ends_batch(each) for each in before_last):
            return None
    return TornTail(offset, len(data), line)


def has_zeroed_sector(line: bytes, offset: int) -> bool:
    """Say whether a line that begins at offset of its file holds a sector of 512 bytes that was never written.

    The first sector of a write may hold the end of what was there before it: then its zeros begin with the line. Fewer
    than eight of them are taken for damage, since they could be a change to a whole line.
    """
    first_end = -offset % _SECTOR or _SECTOR
    if _FEWEST_ZEROS <= first_end <= len(line) and not any(line[:first_end]):
        return True
    zeros = bytes(_SECTOR)
    return any(line[at : at + _SECTOR] == zeros for at in range(-offset % _SECTOR, len(line) - _SECTOR + 1, _SECTOR))


def history_error(path: Path, line: int, error: BadLineError) -> StoreError:
    """Return what a bad line means to whoever asked for the history. Raises nothing."""
    if isinstance(error, UnknownLineError):
        return UnsupportedFormatError(
            f"the history cannot be read by this version of aion: {error.reason}",
            where=(f"{path}:{line}",),
            hint="read it with the aion that wrote it, or upgrade; nothing was changed",
        )
    return DamagedHistoryError(path=str(path), line=line, reason=error.reason)
