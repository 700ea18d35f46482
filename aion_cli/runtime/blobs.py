"""Payloads too big for a line, each in a file named by its own digest.

A payload over INLINE_LIMIT bytes is written, synced and given its name before the line that names it is written; in
the line stands `{"$blob":"sha256:…","size":n}`. A user's own object with such a key never reaches this module as it is:
`core.payload` wraps it in `$lit`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from aion_cli.core import events as ev
from aion_cli.errors import PayloadError
from aion_cli.runtime.codec import PayloadCodec, codec_from_environment
from aion_cli.runtime.files import Files, MissingFileError, fresh_name, temporary_directory

INLINE_LIMIT = 256 << 10
"""Longest payload that stands in the line itself, in bytes."""

BLOB_LIMIT = 64 << 20
"""Longest payload at all, in bytes."""

_STORED_LIMIT = 2 * BLOB_LIMIT  # a codec makes payloads longer
_REFERENCE = re.compile(rb'\{"\$blob":"sha256:([0-9a-f]{64})","size":([0-9]{1,12})\}')
_RAW_FIELDS: dict[type[ev.Event], tuple[str, ...]] = {}


class DamagedBlobError(Exception):
    """A blob is not there, or is not what was written. reason: as part of a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BlobStore:
    """The blobs of one folder of histories.

    root: the folder that holds `.aion`. codec: encrypts payloads before they are stored; None: what AION_CODEC says.
    """

    def __init__(self, root: Path, files: Files, codec: PayloadCodec | None = None) -> None:
        self._root = root
        self._codec = codec or codec_from_environment()
        self._directory = root / ".aion" / "blobs" / "sha256"
        self._files = files

    def deflate(self, event: ev.Event) -> ev.Event:
        """Return the event with its big payloads replaced by references; their blobs are on the disk.

        Raises PayloadError for a payload over BLOB_LIMIT, StoreError if a blob cannot be written.
        """
        if self._codec.name is not None:
            return _with_payloads(event, self._deflated)
        for name in raw_fields(type(event)):
            if memoryview(getattr(event, name)).nbytes > INLINE_LIMIT:
                return _with_payloads(event, self._deflated)
        return event

    def inflate(self, event: ev.Event) -> ev.Event:
        """Return the event with its payloads in place of references. Raises DamagedBlobError, StoreError."""
        return _with_payloads(event, self._inflated)

    def _deflated(self, plain: msgspec.Raw) -> msgspec.Raw:
        size = memoryview(plain).nbytes
        if size > BLOB_LIMIT:
            raise PayloadError(
                f"a payload of {size} bytes is over the limit of {BLOB_LIMIT >> 20} MiB",
                hint="put the data in a file or a bucket, and pass its name on",
            )
        raw = self._codec.seal(plain)
        size = memoryview(raw).nbytes
        if size <= INLINE_LIMIT:
            return raw
        data = bytes(raw)
        digest = hashlib.sha256(data).hexdigest()
        self._write(digest, data)
        return msgspec.Raw(b'{"$blob":"sha256:%b","size":%d}' % (digest.encode(), size))

    def _write(self, digest: str, data: bytes) -> None:
        path = self._path(digest)
        self._files.ensure_directory(path.parent, self._root)
        if self._holds(path, data):
            # Whoever put it there may have been killed before its name was on the disk.
            self._files.sync_directory(path.parent)
            return
        directory = temporary_directory(self._root)
        self._files.ensure_directory(directory, self._root)
        temporary = directory / fresh_name("blob-")
        self._files.write_new(temporary, data)
        self._files.rename(temporary, path)
        self._files.sync_directory(path.parent)

    def _holds(self, path: Path, data: bytes) -> bool:
        try:
            return self._files.read_whole(path, _STORED_LIMIT) == data
        except MissingFileError:
            return False

    def _inflated(self, raw: msgspec.Raw) -> msgspec.Raw:
        if memoryview(raw)[:3].tobytes() != b'{"$':
            return raw
        found = _REFERENCE.fullmatch(raw)
        if found is None:
            return self._codec.open(raw)
        digest = found[1].decode()
        path = self._path(digest)
        try:
            data = self._files.read_whole(path, _STORED_LIMIT)
        except MissingFileError:
            raise DamagedBlobError(f"its payload {path} is missing") from None
        if len(data) != int(found[2]) or hashlib.sha256(data).hexdigest() != digest:
            raise DamagedBlobError(f"its payload {path} is not what was written")
        return self._codec.open(msgspec.Raw(data))

    def _path(self, digest: str) -> Path:
        return self._directory / digest[:2] / digest[2:]


def _with_payloads(event: ev.Event, change: Callable[[msgspec.Raw], msgspec.Raw]) -> ev.Event:
    changes: dict[str, msgspec.Raw] = {}
    for name in raw_fields(type(event)):
        raw: msgspec.Raw = getattr(event, name)
        changed = change(raw)
        if changed is not raw:
            changes[name] = changed
    return msgspec.structs.replace(event, **changes) if changes else event


def raw_fields(kind: type[ev.Event]) -> tuple[str, ...]:
    """Return the names of the fields of an event type that hold raw JSON."""
    names = _RAW_FIELDS.get(kind)
    if names is None:
        names = tuple(field.name for field in msgspec.structs.fields(kind) if field.type is msgspec.Raw)
        _RAW_FIELDS[kind] = names
    return names
