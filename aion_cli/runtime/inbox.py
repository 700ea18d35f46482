"""The inbox: messages to a run that are accepted, and not in its history yet.

A message is an event from outside without seq and time, one file each, sealed like the first line of a history. It is
accepted once its file has its final name and the directory is synced; the owner appends it, syncs, and then unlinks it.

The short inbox lock is held around naming and renaming, and around listing: a directory listing is no snapshot, so
without it the owner could see a later message of a sender before an earlier one.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.lines import MAX_LINE, ZERO_DIGEST, BadLineError, LineChain, decode_event, encode_line
from aion_cli.errors import HistoryShapeError, StoreError, UsageError, WrongStateError
from aion_cli.runtime.blobs import BlobStore, DamagedBlobError
from aion_cli.runtime.codec import codec_from_environment
from aion_cli.runtime.files import Doorbell, Files, MissingFileError, fresh_name, open_doorbell, ring_doorbell
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.reading import read_last_event
from aion_cli.runtime.recorder import Recorder

MESSAGE_TYPES = (
    ev.SignalReceived,
    ev.UpdateRequested,
    ev.WorkflowCancelRequested,
    ev.WorkflowPaused,
    ev.WorkflowResumed,
    ev.WorkflowTerminated,
)
"""The events that arrive through an inbox."""

_NAME = re.compile(r"(\d{20})-([0-9A-Za-z]+)\.json")
TEMPORARY = ".tmp-"
"""How the names of messages begin that are being written, and not accepted yet."""

_TERMINATE = "terminate"
_PLAIN = "plain"
_CHUNK = 1 << 20
_MESSAGE_LINE = re.compile(rb'\{"type":"(?:SignalReceived|UpdateRequested|WorkflowCancelRequested)"')


class MessageId(NamedTuple):
    """Which message this is, whoever repeats it. kind: the type of its event; ids of different kinds never meet."""

    kind: str
    id: str


class Message(NamedTuple):
    """A message in the inbox. name: of its file. event: unstamped, a member of `ev.AnyEvent`, payload inflated."""

    name: str
    event: Any


class Accepted(NamedTuple):
    """The message is in the inbox, durably. name: of its file."""

    name: str


class AlreadyKnown(NamedTuple):
    """The same message was accepted before. recorded: whether it is in the history already."""

    recorded: bool


def message_id(event: ev.Event) -> MessageId | None:
    """Return the id of a message, or None for a kind that has none: repeating those changes nothing."""
    match event:
        case ev.SignalReceived(signal_id=found):
            return MessageId("SignalReceived", found)
        case ev.UpdateRequested(update_id=found):
            return MessageId("UpdateRequested", found)
        case ev.WorkflowCancelRequested(request_id=found):
            return MessageId("WorkflowCancelRequested", found)
        case _:
            return None


class Inbox:
    """The inbox of one workflow id. Not for several threads at once; several instances and processes may be."""

    def __init__(self, folder: HistoriesFolder, workflow_id: str, files: Files | None = None) -> None:
        self.workflow_id = workflow_id
        self._folder = folder
        self._files = files or folder.files
        self._directory = folder.inbox(workflow_id)
        self._blobs = BlobStore(folder.root, self._files)
        self._recorded = _RecordedMessages(folder, workflow_id, self._files)
        self._holds = 0

    def accept(self, event: ev.Event, *, chosen_id: bool, now_ns: int | None = None) -> Accepted | AlreadyKnown:
        """Put a message into the inbox, durably. Ring afterwards, or own the run and drain.

        event: one of MESSAGE_TYPES, unstamped. chosen_id: the sender chose its id and may be repeating itself; then it
        is looked up in the inbox and in all runs of the workflow id. now_ns: wall clock; read here if it is None.
        Raises NoSuchRunError, WrongStateError if the run is closed, UsageError if the id was used for something else or
        the history names another workflow id, CodecError if the run's payloads are encrypted and the codec is not set,
        PayloadError, StoreError.
        """
        if not isinstance(event, MESSAGE_TYPES):
            raise HistoryShapeError(f"{type(event).__name__} is no message")
        started = self._folder.require_own(self._folder.latest(self.workflow_id))
        codec_from_environment().require(started.codec)
        self._files.ensure_directory(self._directory, self._folder.root)
        temporary = self._directory / fresh_name(TEMPORARY)
        line, _ = encode_line(self._blobs.deflate(event), ZERO_DIGEST)
        self._files.write_new(temporary, line)
        try:
            with self.locked():
                outcome = self._find_known(event) if chosen_id else None
                if outcome is None:
                    outcome = self._name(temporary, event, time.time_ns() if now_ns is None else now_ns)
        finally:
            # Gone if it was renamed; a copy of what is known already is not needed.
            self._files.unlink(temporary)
        # Also for what was known: whoever named it may not have synced the directory yet.
        self._files.sync_directory(self._directory)
        return outcome

    def _name(self, temporary: Path, event: ev.Event, now_ns: int) -> Accepted:
        names = self._names()
        self._require_open(names)
        newest = int(names[-1][:20]) if names else 0
        name = f"{max(now_ns, newest + 1):020d}-{_suffix(event)}.json"
        self._files.rename(temporary, self._directory / name)
        return Accepted(name)

    def _require_open(self, names: list[str]) -> None:
        last = read_last_event(self._folder.latest(self.workflow_id).path, self._files)
        # A run that continues as new is only between two files: what arrives belongs to the next.
        if isinstance(last, ev.TERMINAL_EVENTS) and not isinstance(last, ev.WorkflowContinuedAsNew):
            again = (
                "start a new run under another id"
                if isinstance(last, ev.WorkflowCompleted)
                else f"open it again with: aion reopen {self.workflow_id}"
            )
            raise WrongStateError(
                f"{self.workflow_id} is closed: its history ends with {type(last).__name__}", hint=again
            )
        if names and names[-1].endswith(f"-{_TERMINATE}.json"):
            raise WrongStateError(f"{self.workflow_id} is being terminated")

    def _find_known(self, event: ev.Event) -> AlreadyKnown | None:
        """Look for a message with the same id. The inbox first: what is no longer in it was synced to the history."""
        wanted = message_id(event)
        if wanted is None:
            return None
        ending = f"-{_suffix(event)}.json"
        for name in self._names():
            if name.endswith(ending):
                found = self._read(name)
                if found is not None and message_id(found) == wanted:
                    _require_same(found, event)
                    return AlreadyKnown(recorded=False)
        recorded = self._recorded.find(wanted)
        if recorded is None:
            return None
        _require_same(self._inflated(recorded, wanted.id), event)
        return AlreadyKnown(recorded=True)

    def list(self) -> list[Message]:
        """Return the messages in their order. Raises StoreError for a file that is no message, or a damaged one."""
        messages: list[Message] = []
        for name in self.names():
            event = self._read(name)
            if event is not None:
                messages.append(Message(name, event))
        return messages

    def names(self) -> list[str]:
        """Return the names of the messages in their order, without reading them."""
        # Looking without the lock is enough to see that nothing was accepted before.
        if not self._holds and not self._names():
            return []
        with self.locked():
            return self._names()

    def remove(self, names: Iterable[str]) -> None:
        """Unlink messages that the history holds; first to last, so that what a crash leaves is still in order.

        One without an id would be taken for a new one if a power cut brought it back. So the newest of those goes only
        when all others are gone for good: what then comes back says again what was said last.
        """
        names = list(names)
        newest = next((name for name in reversed(names) if _has_no_id(name)), None)
        for name in names:
            if name != newest:
                self._files.unlink(self._directory / name)
        if newest is not None:
            self.settle()
            self._files.unlink(self._directory / newest)

    def settle(self) -> None:
        """Bring to the disk that messages were removed, so that no power cut brings one back."""
        with suppress(MissingFileError):  # a run that never got a message has no directory for them
            self._files.sync_directory(self._directory)

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the inbox lock: nothing is accepted meanwhile. May be nested; `list` and `names` may be called in it."""
        if self._holds == 0:
            self._files.ensure_directory(self._directory, self._folder.root)
        self._holds += 1
        try:
            if self._holds > 1:
                yield
            else:
                with self._files.locked(self._directory / ".lock"):
                    yield
        finally:
            self._holds -= 1

    def is_recorded(self, wanted: MessageId) -> bool:
        """Say whether the history of any run of this workflow id holds a message."""
        return self._recorded.find(wanted) is not None

    def recorded_ids(self) -> set[MessageId]:
        """Return the ids of the messages in the inbox that the history of a run of this workflow id holds already.

        A power cut can bring back what was unlinked, also after the run that recorded it has continued as new.
        """
        found = {wanted for message in self.list() if (wanted := message_id(message.event)) is not None}
        return {wanted for wanted in found if self.is_recorded(wanted)}

    def open_doorbell(self) -> Doorbell | None:
        """Listen for `ring`, as the owner. None where there cannot be a doorbell: then look every 250 ms, as always."""
        self._files.ensure_directory(self._directory, self._folder.root)
        return open_doorbell(self._directory / ".bell", self._files)

    def ring(self) -> None:
        """Tell the owner, and a supervisor, that something was accepted. Best effort; both look by themselves."""
        ring_doorbell(self._directory / ".bell", self._files)
        with suppress(StoreError):
            if self._files.has_directory(self._folder.wake, self._folder.root):
                self._files.close(self._files.open_or_create(self._folder.wake / self.workflow_id))

    def _names(self) -> list[str]:
        names = sorted(name for name in self._files.names(self._directory) if not name.startswith("."))
        for name in names:
            if not _NAME.fullmatch(name):
                raise StoreError(
                    f"{self._directory / name} is no message of aion",
                    hint="move it out of the way; nothing was changed",
                )
        return names

    def _read(self, name: str) -> Any:
        path = self._directory / name
        try:
            data = self._files.read_whole(path, MAX_LINE)
        except MissingFileError:
            return None  # the owner has recorded it since it was listed
        chain = LineChain()
        try:
            line = data.removesuffix(b"\n")
            chain.verify(line)
            event = decode_event(line)
        except BadLineError as error:
            raise self._damaged(path, error.reason) from error
        if not isinstance(event, MESSAGE_TYPES):
            raise self._damaged(path, f"{type(event).__name__} is no message")
        return self._inflated(event, name)

    def _inflated(self, event: Any, name: str) -> Any:
        try:
            return self._blobs.inflate(event)
        except DamagedBlobError as error:
            raise self._damaged(self._directory / name, error.reason) from error

    def _damaged(self, path: Path, reason: str) -> StoreError:
        return StoreError(
            f"a message to {self.workflow_id} is damaged: {reason}",
            where=(str(path),),
            hint="move that file out of the way to go on without the message; nothing was changed",
        )


class _RecordedMessages:
    """The messages with an id in all runs of a workflow id; grows with the files, and reads only what is new."""

    def __init__(self, folder: HistoriesFolder, workflow_id: str, files: Files) -> None:
        self._folder = folder
        self._workflow_id = workflow_id
        self._files = files
        self._read_to: dict[Path, int] = {}
        self._lines: dict[MessageId, bytes] = {}

    def find(self, wanted: MessageId) -> Any:
        """Return the recorded event of a message, or None; its payload may be a blob reference."""
        for run in self._folder.runs_of(self._workflow_id):
            self._catch_up(run.path)
        line = self._lines.get(wanted)
        return None if line is None else decode_event(line)

    def _catch_up(self, path: Path) -> None:
        fd = self._files.open_read(path)
        try:
            size = self._files.size(fd, path)
            offset = self._read_to.get(path, 0)
            if size < offset:
                # The owner cut back what it could not sync; what stood there was never acknowledged.
                self._lines.clear()
                self._read_to.clear()
                offset = 0
            rest = b""
            while chunk := self._files.read_at(fd, _CHUNK, offset + len(rest), path):
                lines, newline, rest = (rest + chunk).rpartition(b"\n")
                offset += len(lines) + len(newline)
                self._index(lines)
            self._read_to[path] = offset
        finally:
            self._files.close(fd)

    def _index(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
            if _MESSAGE_LINE.match(line):
                with suppress(BadLineError):  # reading the history says where damage is
                    event = decode_event(line)
                    found = message_id(event)
                    if found is not None:
                        self._lines.setdefault(found, line)


def drain(
    inbox: Inbox, recorder: Recorder, known_ids: set[MessageId], recorded_at: str, *, closed: bool = False
) -> list[Any]:
    """Record what is in the inbox, durably, then remove it. Returns the stamped events, in order.

    known_ids: of the messages that the history holds; those are removed and not recorded again. What is recorded here
    is added. closed: the history ends in a terminal event, so nothing is recorded; what it holds is removed, and what
    has no id.
    Events that were staged on the recorder before go into the same batch. WorkflowTerminated is the last one recorded.
    """
    fresh: list[Any] = []
    done: list[str] = []
    ended = closed
    for name, event in inbox.list():
        found = message_id(event)
        if found is not None and found in known_ids:
            done.append(name)
        elif not ended:
            ended = isinstance(event, ev.WorkflowTerminated)
            fresh.append(event)
            done.append(name)
            if found is not None:
                known_ids.add(found)
        elif found is None:
            # A run ends with an empty inbox: a power cut brought this back.
            done.append(name)
    stamped = recorder.append(fresh, recorded_at) if fresh else []
    inbox.remove(done)
    return stamped


def _suffix(event: ev.Event) -> str:
    """Return what a file's name says of its message: enough to find a repeated id without reading every file."""
    if isinstance(event, ev.WorkflowTerminated):
        return _TERMINATE
    found = message_id(event)
    if found is None:
        return _PLAIN
    return hashlib.blake2b(f"{found.kind}/{found.id}".encode(), digest_size=8).hexdigest()


def _has_no_id(name: str) -> bool:
    return name.endswith((f"-{_TERMINATE}.json", f"-{_PLAIN}.json"))


def _require_same(found: ev.Event, event: ev.Event) -> None:
    if _content(found) != _content(event):
        named = message_id(event)
        raise UsageError(
            f"the id {named.id if named else ''} was used before, for another message",
            hint="leave the id out to send a new message, or repeat the first one exactly",
        )


def _content(event: ev.Event) -> bytes:
    plain: Any = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(event, seq=0, recorded_at="", b=0)))
    return msgspec.json.encode(plain, order="sorted")
