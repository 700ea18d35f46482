"""Builders and doubles for tests of the storage floor."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.core import events as ev
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.recorder import Recorder, stamped_from_start


def at(second: int) -> str:
    """An instant, so many seconds (under 60) into a fixed minute."""
    return f"2026-03-01T09:30:{second:02d}.000000Z"


def started(workflow_id: str = "order-1", **fields: Any) -> ev.WorkflowStarted:
    return ev.WorkflowStarted(
        format=fields.pop("format", 1),
        workflow_id=workflow_id,
        run_id="r1",
        workflow_type="order",
        input=msgspec.Raw(b"null"),
        definition=ev.DefinitionRef("order", "order.py", "sha256:0"),
        runtime=ev.RuntimeRef("0", "3"),
        **fields,
    )


def scheduled(ordinal: int, input: bytes = b"1") -> ev.ActivityScheduled:
    return ev.ActivityScheduled(activity_id=ordinal, activity_type="charge", input=msgspec.Raw(input))


def completed(ordinal: int, result: bytes = b'"ok"') -> ev.ActivityCompleted:
    return ev.ActivityCompleted(activity_id=ordinal, attempt=1, result=msgspec.Raw(result))


def signal(signal_id: str, payload: bytes = b"1", name: str = "go") -> ev.SignalReceived:
    return ev.SignalReceived(name=name, payload=msgspec.Raw(payload), signal_id=signal_id)


def done() -> ev.WorkflowCompleted:
    return ev.WorkflowCompleted(result=msgspec.Raw(b"true"))


def create(path: Path, *batches: Sequence[ev.Event], files: Files | None = None) -> JsonlStore:
    """Make a history; the first batch begins with its WorkflowStarted, each further one is an append of its own."""
    store = JsonlStore.create(path, stamped_from_start(batches[0], at(0)), files)
    recorder = Recorder(store)
    for batch in batches[1:]:
        recorder.append(batch, at(1))
    return store


def forty_events(path: Path, files: Files | None = None) -> bytes:
    """Make a history of 40 events in batches of one to four lines, and return its bytes."""
    steps = [[completed(n - 1), scheduled(n)] if n else [scheduled(0)] for n in range(14)]
    batches = [
        [started()],
        *steps[:10],
        *[[*step, signal(f"s{n}")] for n, step in enumerate(steps[10:])],
        [signal("t")],
    ]
    rest = 39 - sum(len(batch) for batch in batches)
    create(path, *batches, [signal(f"u{n}") for n in range(rest)], [signal("v")], files=files).close()
    return path.read_bytes()


class Unsynced(Calls):
    """Real calls that leave the syncs out, for tests of thousands of files."""

    def fdatasync(self, fd: int) -> None:
        pass

    def fsync_directory(self, path: Path) -> None:
        pass


class Failing(Calls):
    """Real calls that count and name the changing ones, and fail where told to.

    fail_at: index of the changing call that fails; None for none. short: a failing write takes half of the bytes first.
    lasting: all later changing calls fail as well.
    """

    def __init__(
        self, fail_at: int | None = None, error: int = errno.EIO, *, short: bool = False, lasting: bool = False
    ) -> None:
        self.log: list[str] = []
        self.fail_at = fail_at
        self.error = error
        self.short = short
        self.lasting = lasting

    def _step(self, name: str) -> bool:
        index = len(self.log)
        self.log.append(name)
        return self.fail_at is not None and (index == self.fail_at or (self.lasting and index > self.fail_at))

    def _require(self, name: str) -> None:
        if self._step(name):
            raise OSError(self.error, os.strerror(self.error))

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self._step("write"):
            if not self.short:
                raise OSError(self.error, os.strerror(self.error))
            return super().write(fd, data[: len(data) // 2])
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._require("fdatasync")
        super().fdatasync(fd)

    def fsync_directory(self, path: Path) -> None:
        self._require("fsync_directory")
        super().fsync_directory(path)

    def ftruncate(self, fd: int, size: int) -> None:
        self._require("ftruncate")
        super().ftruncate(fd, size)

    def rename(self, source: Path, target: Path) -> None:
        self._require("rename")
        super().rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._require("link")
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._require("unlink")
        super().unlink(path)
