"""The owner lock: at most one process extends a run.

The lock is the kernel's, on a file beside the history, so it is free the moment its owner is gone; what the file says
is only for people, and for deciding whether waiting makes sense. Nothing guesses whether a lock is stale.
"""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock
import msgspec

from aion_cli.core.clock import format_instant
from aion_cli.errors import OwnedElsewhereError, StoreError
from aion_cli.runtime.files import Files, translated
from aion_cli.runtime.folder import HistoriesFolder

_POLL_S = 0.02
_UNNAMED_S = 0.2
_LONGEST_RECORD = 4096


class Role(enum.StrEnum):
    """What an owner does with a run."""

    RUN = "run"
    RESUME = "resume"
    SUPERVISE = "supervise"
    SIGNAL = "signal"
    UPDATE = "update"
    CANCEL = "cancel"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    TERMINATE = "terminate"
    REOPEN = "reopen"
    REPAIR = "repair"


BRIEF_ROLES = frozenset(
    {Role.SIGNAL, Role.UPDATE, Role.CANCEL, Role.PAUSE, Role.UNPAUSE, Role.TERMINATE, Role.REOPEN, Role.REPAIR}
)
"""Who holds a lock only for as long as it takes to append a few lines."""


class OwnerRecord(msgspec.Struct, frozen=True, omit_defaults=False):
    """What a lock file says of the process that holds the lock. since: an instant."""

    pid: int = 0
    host: str = ""
    role: str = ""
    since: str = ""


class Ownership:
    """A run that this process owns, until `release` or the end of the process."""

    def __init__(self, workflow_id: str, lock: filelock.FileLock) -> None:
        self.workflow_id = workflow_id
        self._lock = lock

    def release(self) -> None:
        """Let others have the run. May be called twice."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take(
    folder: HistoriesFolder,
    workflow_id: str,
    role: Role,
    *,
    wait_s: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Ownership:
    """Own a workflow id, without waiting for another owner, unless that one is brief.

    wait_s: how long to wait for an owner in a brief role; another one is not waited for.
    Raises OwnedElsewhereError with what the lock file says, StoreError if the place cannot hold locks.
    """
    path = folder.lock(workflow_id)
    folder.files.ensure_directory(path.parent, folder.root)
    lock = _lock(path, role, folder.files)
    begun = time.monotonic()
    while not _acquired(lock, path):
        owner = read_owner(path, folder.files)
        waited = time.monotonic() - begun
        # An owner that has just got the lock has not written its name yet.
        patience = wait_s if owner.role in BRIEF_ROLES else 0.0 if owner.role else min(wait_s, _UNNAMED_S)
        if waited >= patience:
            raise OwnedElsewhereError(workflow_id, pid=owner.pid, host=owner.host, role=owner.role, since=owner.since)
        sleep(_POLL_S)
    return Ownership(workflow_id, lock)


def _lock(path: Path, role: Role, files: Files) -> filelock.FileLock:
    def write_record(fd: int) -> None:
        record = OwnerRecord(os.getpid(), os.uname().nodename, role, format_instant(time.time_ns() // 1000))
        files.truncate(fd, 0, path)
        files.write_once(fd, msgspec.json.encode(record) + b"\n", path)

    return filelock.FileLock(
        files.at(path),
        mode=0o600,
        thread_local=False,
        blocking=False,
        fallback_to_soft=False,
        preserve_lock_file=True,
        on_acquired=write_record,
    )


def _acquired(lock: filelock.FileLock, path: Path) -> bool:
    with translated("lock", path):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            return False
    return True


def read_owner(path: Path, files: Files) -> OwnerRecord:
    """Read what a lock file says, leniently: an empty record if it says nothing. The lock may be free all the same."""
    try:
        return msgspec.json.decode(files.read_whole(path, _LONGEST_RECORD), type=OwnerRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, StoreError):
        return OwnerRecord()
