"""Compress the files of a folder, a few at a time, and list their checksums.

    mkdir -p playground/logs && for n in 1 2 3 4 5 6; do seq 300000 > playground/logs/day-$n.log; done
    aion run compress_folder --id logs-1
    (cd playground/packed && sha256sum -c SHA256SUMS)

Kill it on the way, and type the `run` line again: files that are done are not done again. A file that can't be
compressed is left out, and said so in the result; the others are not kept waiting. From another place:

    aion run compress_folder --id logs-2 -p folder=. -p pattern='docs/*.md' -p into=playground/docs -p limit:=2

What is compressed stays where it is; the packed files get the same name and `.gz`.
"""

import gzip
import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from aion_cli import (
    ActivityError,
    RetryPolicy,
    activity,
    activity_info,
    heartbeat,
    log,
    map_activities,
    set_progress,
    workflow,
)

CHUNK = 1 << 20


class Packed(msgspec.Struct, frozen=True, tag="packed", tag_field="status"):
    """A file that was compressed. sha256: of the compressed file."""

    name: str
    bytes_before: int
    bytes_after: int
    sha256: str


class LeftOut(msgspec.Struct, frozen=True, tag="left_out", tag_field="status"):
    """A file that was not."""

    name: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """What came of all of them. checksums: the file that lists them."""

    packed: int
    saved_bytes: int
    left_out: list[LeftOut]
    checksums: str


class CancelledInTheMiddleError(Exception):
    """Nobody wants the rest of the file any more."""


@activity(timeout=timedelta(minutes=1))
def find(folder: str, pattern: str) -> list[str]:
    """Return the names of the files that match, relative to the folder, in order."""
    root = Path(folder)
    if not root.is_dir():
        raise NotADirectoryError(f"there is no folder {folder}")
    return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_file())


# A file that is not there, or not ours to read, will be no other in a second; a full disk may.
@activity(
    retry=RetryPolicy(max_attempts=3, non_retryable=[FileNotFoundError, PermissionError]),
    heartbeat_timeout=timedelta(minutes=1),
)
def compress(folder: str, name: str, into: str) -> Packed:
    """Compress one file. Another attempt begins anew and comes to the same bytes."""
    source, target = Path(folder, name), Path(into, f"{name}.gz")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".part")
    with source.open("rb") as plain, draft.open("wb") as file:
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            while chunk := plain.read(CHUNK):
                packed.write(chunk)
                heartbeat({"at": plain.tell()})
                if activity_info().cancel_requested():
                    raise CancelledInTheMiddleError(name)
        file.flush()
        os.fsync(file.fileno())
        before = plain.tell()
    draft.replace(target)
    with target.open("rb") as file:
        return Packed(name, before, target.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@activity(timeout=timedelta(minutes=1))
def list_checksums(into: str, packed: list[Packed]) -> str:
    """Write the checksums in the form that `sha256sum -c` reads; returns the path."""
    target = Path(into, "SHA256SUMS")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".part")
    draft.write_text("".join(f"{each.sha256}  {each.name}.gz\n" for each in packed), encoding="utf-8")
    draft.replace(target)
    return str(target)


@workflow
async def compress_folder(
    folder: str = "playground/logs",
    pattern: str = "*.log",
    into: str = "playground/packed",
    limit: Annotated[int, msgspec.Meta(ge=1)] = 4,
) -> Report:
    """Compress what matches, at most `limit` files at a time."""
    names = await find(folder, pattern)
    done = 0

    async def compressed(name: str) -> Packed | LeftOut:
        nonlocal done
        outcome = await compressed_or_left_out(folder, name, into)
        done += 1
        set_progress(done, len(names), name)
        return outcome

    outcomes = await map_activities(compressed, names, limit=limit)
    packed = [outcome for outcome in outcomes if isinstance(outcome, Packed)]
    return Report(
        packed=len(packed),
        saved_bytes=sum(each.bytes_before - each.bytes_after for each in packed),
        left_out=[outcome for outcome in outcomes if isinstance(outcome, LeftOut)],
        checksums=await list_checksums(into, packed),
    )


async def compressed_or_left_out(folder: str, name: str, into: str) -> Packed | LeftOut:
    """Compress a file; one that can't be must not end the work on the others."""
    try:
        return await compress(folder, name, into)
    except ActivityError as error:
        log.warning("%s is left out: %s", name, error)
        return LeftOut(name, f"{error.type}: {error.message}")
