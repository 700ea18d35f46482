"""EventStore: where one run's history lives; as a JSONL file, and in memory.

What belongs here: batches, syncs, what happens when storage refuses, opening to write and setting a torn tail aside.
What does not: who may write (`runtime.ownership`), stamping events (`runtime.recorder`), reading without owning
(`runtime.reading`).

An append is one `write` of whole lines and one `fdatasync`. If either fails, the file is cut back to what was
acknowledged, and the store is poisoned: a failed sync may have marked the pages clean, so that a second one would lie.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from aion_cli.core import events as ev
from aion_cli.core.lines import TAIL, LineChain, encode_body, is_instant, seal
from aion_cli.errors import HistoryShapeError, NoSuchRunError, SequenceConflictError, StoreError
from aion_cli.runtime.blobs import BlobStore
from aion_cli.runtime.files import Files, FileTakenError, MissingFileError, fresh_name, temporary_directory
from aion_cli.runtime.reading import (
    EMPTY_HEAD,
    MAX_BATCH,
    Head,
    HistoryReader,
    TornTail,
    find_reopens,
    read_first_event,
    read_history,
    read_last_event,
)

__all__ = [
    "Durability",
    "EventStore",
    "Head",
    "HistoryReader",
    "JsonlStore",
    "MemoryStore",
    "SetAside",
    "TornTail",
    "find_reopens",
    "read_first_event",
    "read_history",
    "read_last_event",
]

_ROOM_FOR_B = 16


class Durability(enum.Enum):
    """What an append survives once it returned. FULL: power loss. PROCESS: kill -9 only; nothing is synced."""

    FULL = "full"
    PROCESS = "process"


class EventStore(Protocol):
    """Where one run's history lives. One conformance suite runs on every implementation."""

    @property
    def head(self) -> Head:
        """The last event that was appended."""
        ...

    def append(self, events: Sequence[ev.Event], expected_seq: int) -> int:
        """Append one batch, and return the new head's seq.

        events: stamped, so that they continue the head; HistoryShapeError if they do not.
        expected_seq: seq of the last event the caller saw; 0 if none.
        Durable on return unless durability is PROCESS; after a crash before that, a prefix may remain.
        Raises SequenceConflictError if another writer moved the head, PayloadError (nothing was written) for what a
        line cannot hold, StoreError if storage refuses: then nothing was acknowledged, and every later append raises.
        """
        ...

    def read(self) -> Iterator[Any]:
        """Yield the history up to the head, members of `ev.AnyEvent`, verified on the way, payloads inflated."""
        ...

    def close(self) -> None:
        """Let go of what is open. Appending afterwards raises StoreError."""
        ...


class SetAside(NamedTuple):
    """What opening to write did about a torn tail.

    path: where its bytes are now; None if they were a whole record that lacked only its newline, which it was given.
    size: in bytes. line: where it stood, counting from 1.
    """

    path: Path | None
    size: int
    line: int


class MemoryStore:
    """A history in memory, as the lines a file would hold, so that what is read was encoded and decoded as well."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._head = EMPTY_HEAD
        self._closed = False

    @property
    def head(self) -> Head:
        return self._head

    def append(self, events: Sequence[ev.Event], expected_seq: int) -> int:
        """Append one batch; see EventStore."""
        if self._closed:
            raise StoreError("the store is closed")
        require_continuation(self._head, events, expected_seq)
        for data, head in sealed_batches(events, self._head):
            self._lines += data.split(b"\n")[:-1]
            self._head = head
        return self._head.seq

    def read(self) -> Iterator[Any]:
        """Yield the history; see EventStore."""
        chain = LineChain()
        for line in self._lines[: self._head.seq]:
            yield chain.read(line)

    def close(self) -> None:
        """Refuse further appends."""
        self._closed = True


class JsonlStore:
    """A history in a file, opened to write by the owner of its run. Made by `create` and `open_to_write` only.

    set_aside: what opening did about a torn tail, for a notice; None if there was none.
    """

    def __init__(
        self, path: Path, fd: int, head: Head, files: Files, durability: Durability, set_aside: SetAside | None = None
    ) -> None:
        self.path = path
        self._place = files.at(path)
        self.set_aside = set_aside
        self._fd = fd
        self._head = head
        self._files = files
        self._durability = durability
        self._blobs = BlobStore(path.parent, files)
        self._refusal = ""
        self._identity = files.identity(fd, path)

    @classmethod
    def create(
        cls,
        path: Path,
        events: Sequence[ev.Event],
        files: Files | None = None,
        durability: Durability = Durability.FULL,
    ) -> JsonlStore:
        """Make a history that holds its first batch from the moment it exists. The caller owns the run.

        events: stamped from seq 1 on. Raises FileTakenError if there is a history of that name; an empty file is none.
        """
        files = files or Files()
        require_continuation(EMPTY_HEAD, events, 0)
        directory = temporary_directory(path.parent)
        files.ensure_directory(directory, path.parent)
        blobs = BlobStore(path.parent, files)
        batches = sealed_batches([blobs.deflate(event) for event in events], EMPTY_HEAD)
        temporary = directory / fresh_name(path.stem + "-")
        files.write_new(temporary, b"".join(data for data, _ in batches))
        try:
            _link_in_place_of_empty(temporary, path, files)
        finally:
            files.unlink(temporary)
        files.sync_directory(path.parent)
        return cls(path, files.open_append(path), batches[-1][1], files, durability)

    @classmethod
    def open_to_write(
        cls, path: Path, files: Files | None = None, durability: Durability = Durability.FULL
    ) -> JsonlStore:
        """Open a history to append to it, and set a torn tail aside. The caller owns the run.

        Raises NoSuchRunError if there is none; a file that holds nothing, or nothing but a torn first line, is removed.
        Raises DamagedHistoryError or UnsupportedFormatError, with nothing touched.
        """
        files = files or Files()
        try:
            fd = files.open_append(path)
        except MissingFileError:
            raise NoSuchRunError(path.stem) from None
        try:
            # A process that was killed may have left bytes, and a name, that are not on the disk yet.
            files.sync(fd, path)
            files.ensure_directory(path.parent, path.parent)
            files.sync_directory(path.parent)
            head, set_aside = _recover(fd, path, files)
        except BaseException:
            files.close(fd)
            raise
        return cls(path, fd, head, files, durability, set_aside)

    @property
    def head(self) -> Head:
        return self._head

    def append(self, events: Sequence[ev.Event], expected_seq: int) -> int:
        """Append one batch; see EventStore. Over 2 MiB it is several, each synced before the next is written."""
        if self._refusal:
            raise StoreError(f"nothing is appended to {self.path}: {self._refusal}", hint="run it again")
        require_continuation(self._head, events, expected_seq)
        for data, head in sealed_batches([self._blobs.deflate(event) for event in events], self._head):
            self._require_untouched()
            self._write(data)
            self._head = head
        return self._head.seq

    def _require_untouched(self) -> None:
        """Raise unless the name still stands for the open file, with the bytes that were appended and no others."""
        found = self._files.look(self._place)
        if found is not None and found.identity == self._identity and found.size == self._head.size:
            return
        self._refusal = "something else changed it"
        if found is None:
            said = "was removed"
        elif found.identity != self._identity:
            said = "is another file now"
        else:
            said = f"holds {found.size} bytes, not {self._head.size}"
        raise StoreError(
            f"{self.path} was changed by something else: it {said}",
            hint="stop whatever writes to it, then run `aion verify` on it",
        )

    def _write(self, data: bytes) -> None:
        try:
            self._files.write_once(self._fd, data, self.path)
            if self._durability is Durability.FULL:
                self._files.sync(self._fd, self.path)
        except BaseException:
            # Also for an interrupt: whether the bytes are in the file, or on the disk, is not known any more.
            self._refusal = "an earlier write to it failed"
            with suppress(StoreError):
                self._files.truncate(self._fd, self._head.size, self.path)
            raise

    def settle(self) -> None:
        """Bring to the disk what an append has not, because of its durability. Raises StoreError, as an append does."""
        if self._durability is Durability.FULL or self._refusal:
            return
        try:
            self._files.sync(self._fd, self.path)
        except BaseException:
            self._refusal = "its bytes could not be brought to the disk"
            raise

    def read(self) -> Iterator[Any]:
        """Yield the history; see EventStore. Raises as reading.HistoryReader does."""
        return iter(HistoryReader(self.path, self._files, self._head.size))

    def close(self) -> None:
        """Close the file; see EventStore."""
        if self._fd >= 0:
            self._files.close(self._fd)
        self._fd = -1
        self._refusal = self._refusal or "the store is closed"


def require_continuation(head: Head, events: Sequence[ev.Event], expected_seq: int) -> None:
    """Raise SequenceConflictError or HistoryShapeError unless these events may follow this head."""
    if expected_seq != head.seq:
        raise SequenceConflictError(expected_seq=expected_seq, found_seq=head.seq)
    recorded_at = head.recorded_at
    for seq, event in enumerate(events, head.seq + 1):
        if event.seq != seq:
            raise HistoryShapeError(f"event {event.seq} cannot be appended where event {seq} belongs")
        if (type(event) is ev.WorkflowStarted) != (seq == 1):
            raise HistoryShapeError(f"event {seq} cannot be {type(event).__name__}: WorkflowStarted is the first, once")
        is_new = event.recorded_at != recorded_at or seq == 1
        if is_new and (event.recorded_at < recorded_at or not is_instant(event.recorded_at, recorded_at)):
            raise HistoryShapeError(f"event {seq} has the time {event.recorded_at!r}, after {recorded_at!r}")
        recorded_at = event.recorded_at


def sealed_batches(events: Sequence[ev.Event], head: Head) -> list[tuple[bytes, Head]]:
    """Return the bytes of each batch of at most MAX_BATCH, and the head after it. Raises PayloadError."""
    groups: list[list[tuple[ev.Event, bytes]]] = []
    room = 0
    for event in events:
        body = encode_body(event)
        size = len(body) + _ROOM_FOR_B + TAIL + 1
        if size > room:
            groups.append([])
            room = MAX_BATCH
        groups[-1].append((event, body))
        room -= size
    batches: list[tuple[bytes, Head]] = []
    for group in groups:
        lines: list[bytes] = []
        digest = head.digest
        for following, (_, body) in zip(range(len(group) - 1, -1, -1), group, strict=True):
            line, digest = seal(body, digest, following)
            lines.append(line)
        data = b"".join(lines)
        last = group[-1][0]
        head = Head(last.seq, last.recorded_at, digest, head.size + len(data))
        batches.append((data, head))
    return batches


def _link_in_place_of_empty(temporary: Path, path: Path, files: Files) -> None:
    while True:
        try:
            return files.link(temporary, path)
        except FileTakenError:
            if not _is_gone_if_empty(path, files):
                raise


def _is_gone_if_empty(path: Path, files: Files) -> bool:
    """Unlink a history that holds nothing; False if it holds something."""
    try:
        fd = files.open_read(path)
    except MissingFileError:
        return True
    try:
        if files.size(fd, path):
            return False
        _unlink_empty(fd, path, files)
        return True
    finally:
        files.close(fd)


def _unlink_empty(fd: int, path: Path, files: Files) -> None:
    """Take its name from an empty file, unless another file has got it since it was opened.

    A parent makes the history of its child without owning it. So the owner lock does not keep others from putting a
    history in the place of an empty file; the lock of that file does.
    """
    with files.holding(fd, path):
        found = files.look(path)
        if found is not None and found.identity == files.identity(fd, path):
            files.unlink(path)


def _recover(fd: int, path: Path, files: Files) -> tuple[Head, SetAside | None]:
    size = files.size(fd, path)
    reader = HistoryReader(path, files)
    torn = reader.verify(fd)
    if torn is None and size:
        return reader.head, None
    if torn is not None and torn.complete:
        files.write_once(fd, b"\n", path)
        files.sync(fd, path)
        return reader.head, SetAside(None, torn.size, torn.line)
    kept = _set_aside(fd, torn, path, files) if torn is not None else None
    if reader.head.size == 0:
        _unlink_empty(fd, path, files)
        files.sync_directory(path.parent)
        raise NoSuchRunError(path.stem)
    return reader.head, kept


def _set_aside(fd: int, torn: TornTail, path: Path, files: Files) -> SetAside:
    data = files.read_at(fd, torn.size, torn.offset, path)
    directory = path.parent / ".aion" / "torn"
    files.ensure_directory(directory, path.parent)
    # Named by place and content: whoever is killed in here does the same again, under the same name.
    name = f"{path.stem}-{torn.offset}-{hashlib.sha256(data).hexdigest()[:16]}"
    files.ensure_directory(temporary_directory(path.parent), path.parent)
    temporary = temporary_directory(path.parent) / fresh_name("torn-")
    files.write_new(temporary, data)
    files.rename(temporary, directory / name)
    files.sync_directory(directory)
    files.truncate(fd, torn.offset, path)
    files.sync(fd, path)
    return SetAside(directory / name, torn.size, torn.line)
