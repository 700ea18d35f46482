"""A machine that is a model disk, scenes played on it, and what is found after a power cut."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import filelock
import msgspec
import pytest

from aion_cli.errors import StoreError
from aion_cli.runtime import blobs, journal
from aion_cli.runtime.files import Calls
from tests.faults.crashes import SECTOR, disks_after, fingerprint
from tests.faults.disk import CHANGING, TOP, Disk, ModelCalls, ModelLock, Step, Watch, nobody
from tests.faults.promises import (
    LOST,
    UNSTABLE,
    BrokenPromise,
    Ended,
    Entry,
    Torn,
    hold_against,
    kept_lines,
)
from tests.faults.scenes import Scene

ROOT = Path(TOP) / "histories"
INLINE = 700
BATCH = 4000


class ModelMachine:
    """A model disk, and the world that remembers what happened on it. Implements Machine."""

    def __init__(self, disk: Disk, watch: Watch = nobody, entries: list[Entry] | None = None) -> None:
        self.root = ROOT
        self.disk = disk
        self.watch = watch
        self.entries: list[Entry] = [] if entries is None else entries
        self._processes = 0

    def calls(self) -> Calls:
        """The calls of a new process, which a watch sees."""
        ModelLock.disk = self.disk
        self._processes += 1
        return ModelCalls(self.disk, lambda step: self.watch(step), self._processes)

    def histories(self) -> dict[str, bytes]:
        """The bytes of every history, as the kernel shows them."""
        directory = self.disk.directories.get(str(ROOT))
        names = {} if directory is None or directory.names is None else directory.names
        return {name: node.data for name, node in names.items() if name.endswith(".jsonl")}

    def remember(self, entry: Entry) -> None:
        """Enter something in the ledger."""
        self.entries.append(entry)

    def remembers(self, entry: Entry) -> bool:
        """Whether something was entered."""
        return entry in self.entries


@contextmanager
def small_limits() -> Generator[None]:
    """Blobs from 700 bytes on and batches of 4,000, so that short scenes have both; owner locks on the model disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "INLINE_LIMIT", INLINE)
        patch.setattr(journal, "MAX_BATCH", BATCH)
        patch.setattr(filelock, "FileLock", ModelLock)
        yield


class Crash(NamedTuple):
    """A disk that a power cut left. entries: how many of the ledger's came before it."""

    disk: Disk
    entries: int


def crashes_of(scene: Scene, machine: ModelMachine, rng: random.Random, most: int) -> list[Crash]:
    """Play a scene on a machine; returns the disks that a power cut at any moment may leave, each once.

    most: disks of one moment. A disk that several moments leave counts for the last, when most was acknowledged.
    """
    found: dict[int, Crash] = {}

    def look() -> None:
        for disk in disks_after(machine.disk, rng, most):
            found[fingerprint(disk)] = Crash(disk, len(machine.entries))

    def watch(step: Step) -> None:
        if step.name in CHANGING:
            look()

    machine.watch = watch
    scene.play(machine)
    look()
    machine.watch = nobody
    return list(found.values())


class KilledError(BaseException):
    """Ends a process of a model machine as kill -9 does: no call that it makes afterwards does anything."""


def killed_at(scene: Scene, at: int) -> ModelMachine:
    """Play a scene up to a changing call and no further; what the kernel has then is all there, synced or not.

    at: index of the call; a write is half done.
    """
    disk = Disk()
    count = 0

    def watch(step: Step) -> int | None:
        nonlocal count
        if count > at:
            raise KilledError
        if step.name not in CHANGING:
            return None
        count += 1
        if count <= at:
            return None
        if step.name == "write":
            return step.size // 2
        raise KilledError

    machine = ModelMachine(disk, watch)
    with suppress(KilledError):
        scene.play(machine)
    disk.lock_holders.clear()
    for _, node in disk.files():
        node.holder = None
    return ModelMachine(disk, entries=machine.entries)


def points_of(scene: Scene) -> int:
    """How many changing calls a scene makes, unharmed."""
    steps: list[Step] = []
    scene.play(ModelMachine(Disk(), steps.append))
    return sum(step.name in CHANGING for step in steps)


def recover(scene: Scene, disk: Disk, remembered: list[Entry], watch: Watch = nobody) -> bool:
    """Play a scene again on the disk that a crash left, twice, and raise BrokenPromise unless all promises hold.

    remembered: what was acknowledged before the crash. Returns False for the one kind of torn tail that cannot be told
    from damage, and that is refused, with nothing touched.
    """
    found = ModelMachine(disk).histories()
    kept = {file: kept_lines(data) for file, data in found.items()}
    machine = ModelMachine(disk, watch, remembered + torn_tails(found))
    refusals = scene.play(machine)
    if refusals:
        _require_explained(refusals, found, machine.histories(), kept)
        return False
    machine.watch = nobody
    histories = machine.histories()
    hold_against(machine.entries, histories, blobs_of(disk), aside_on(disk))
    for file, data in kept.items():
        if not histories.get(file, b"").startswith(data):
            raise BrokenPromise(LOST, f"{file} no longer begins with the whole lines that the crash left")
    results = {entry.result for entry in machine.entries if isinstance(entry, Ended)}
    if results != {scene.expected}:
        raise BrokenPromise(LOST, f"the run came to {results}, not to {scene.expected}")
    _require_settled(scene, machine)
    return True


def _require_settled(scene: Scene, machine: ModelMachine) -> None:
    before = _settled(machine.disk)
    _require_no_message_stranded(before)
    scene.recover(machine)
    after = _settled(machine.disk)
    if before != after:
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        raise BrokenPromise(UNSTABLE, f"a second recovery changed {sorted(changed)}")


def _require_no_message_stranded(contents: dict[str, bytes]) -> None:
    """What still lies in the inbox of a run that has ended must be in its history: its unlinking was lost."""
    messages = {path: data for path, data in contents.items() if "/inbox/" in path and path.endswith(".json")}
    recorded = b"".join(data for path, data in contents.items() if path.endswith(".jsonl")) if messages else b""
    for path, data in messages.items():
        if msgspec.json.decode(data)["signal_id"].encode() not in recorded:
            raise BrokenPromise(LOST, f"{path} was left in the inbox")


def torn_tails(histories: Mapping[str, bytes]) -> list[Entry]:
    """What a crash left after the whole lines of each history."""
    tails: list[Entry] = []
    for file, data in histories.items():
        whole = len(kept_lines(data))
        if whole < len(data):
            tails.append(Torn(file, whole, data[whole:]))
    return tails


def _require_explained(
    refusals: Sequence[StoreError],
    found: dict[str, bytes],
    histories: dict[str, bytes],
    kept: dict[str, bytes],
) -> None:
    for file, data in found.items():
        begin = len(kept[file])
        zeros = -begin % SECTOR
        if 0 < zeros < 8 and data[begin : begin + zeros] == bytes(zeros) and histories[file] == data:
            return
    raise BrokenPromise(LOST, f"recovery was refused: {refusals}")


def _settled(disk: Disk) -> dict[str, bytes]:
    return {path: data for path, data in disk.contents().items() if "/locks/" not in path}


def blobs_of(disk: Disk) -> dict[str, bytes]:
    """The blobs on a disk, by digest."""
    return {"".join(path.split("/")[-2:]): data for path, data in disk.contents().items() if "/blobs/" in path}


def aside_on(disk: Disk) -> set[bytes]:
    """What lies in `.aion/torn`."""
    return {data for path, data in disk.contents().items() if "/.aion/torn/" in path}
