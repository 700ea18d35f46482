"""Real processes on real files, killed with -9 before, half-way through and after every operation.

    python -m tests.faults.killing SEED POINTS FOLDER

A chain: a child process plays a scene and kills itself at one point; another one plays the scene again and kills itself
at a random point of what is left; and so on. The last one plays the scene to its end, holds what the world remembers
against the histories, and recovers once more. Every point of a scene is the first one of some chain. The parent does
nothing but fork and wait, and prints a report as JSON.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import sys
import traceback
from pathlib import Path

import msgspec

from aion_cli.runtime import blobs, journal
from aion_cli.runtime.files import Calls
from tests.faults.clerk import ClerkScene
from tests.faults.model import BATCH, INLINE, torn_tails
from tests.faults.promises import DEADLOCKED, LOST, UNSTABLE, BrokenPromise, Ended, Entry, hold_against
from tests.faults.scenes import RunScene, Scene

MOST_KILLS = 8
"""Of one chain."""

NEAR = 40
"""Within so many points from its start a process that goes on is killed again."""

_LONGEST_S = 60
_BROKEN, _UNEXPECTED = 3, 4
_LEDGER = msgspec.json.Decoder(Entry)


class Report(msgspec.Struct):
    """What became of all chains. kills: how many processes were killed. broken: kind and story of broken promises."""

    kills: int = 0
    chains: int = 0
    broken: list[tuple[str, str]] = []


class Points:
    """Counts the points of one process, and kills it at one of them. at: its index; None: nowhere."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self.count = 0

    def is_here(self) -> bool:
        """Pass a point; returns whether it is the one."""
        self.count += 1
        return self.count - 1 == self._at

    def pass_by(self) -> None:
        """Pass a point, or die at it."""
        if self.is_here():
            ending()


def die() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


ending = die
"""What happens at the point; a power cut is another one."""


class KillingCalls(Calls):
    """Real calls with a point before, after, and for a write in the middle of each that changes or locks something."""

    def __init__(self, points: Points) -> None:
        self._points = points

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        if not flags & os.O_CREAT:
            return super().open(path, flags, mode)
        self._points.pass_by()
        fd = super().open(path, flags, mode)
        self._points.pass_by()
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._points.pass_by()
        if self._points.is_here():
            super().write(fd, data[: len(data) // 2])
            ending()
        written = super().write(fd, data)
        self._points.pass_by()
        return written

    def fdatasync(self, fd: int) -> None:
        self._points.pass_by()
        super().fdatasync(fd)
        self._points.pass_by()

    def fsync_directory(self, path: Path) -> None:
        self._points.pass_by()
        super().fsync_directory(path)
        self._points.pass_by()

    def ftruncate(self, fd: int, size: int) -> None:
        self._points.pass_by()
        super().ftruncate(fd, size)
        self._points.pass_by()

    def rename(self, source: Path, target: Path) -> None:
        self._points.pass_by()
        super().rename(source, target)
        self._points.pass_by()

    def link(self, source: Path, target: Path) -> None:
        self._points.pass_by()
        super().link(source, target)
        self._points.pass_by()

    def unlink(self, path: Path) -> None:
        self._points.pass_by()
        super().unlink(path)
        self._points.pass_by()

    def mkdir(self, path: Path) -> None:
        self._points.pass_by()
        super().mkdir(path)
        self._points.pass_by()

    def mkfifo(self, path: Path) -> None:
        self._points.pass_by()
        super().mkfifo(path)
        self._points.pass_by()

    def flock(self, fd: int, operation: int) -> None:
        self._points.pass_by()
        super().flock(fd, operation)
        self._points.pass_by()


class RealMachine:
    """A folder of histories, and a ledger in a file beside it, which a kill does not reach. Implements Machine."""

    def __init__(self, place: Path, points: Points, ledger: Path | None = None) -> None:
        self.root = place / "histories"
        self._points = points
        self._ledger = ledger or place / "ledger.jsonl"
        place.mkdir(exist_ok=True)
        self._fd = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def calls(self) -> Calls:
        """The calls of a new command; all of them die together."""
        return KillingCalls(self._points)

    def histories(self) -> dict[str, bytes]:
        """The bytes of every history."""
        return {path.name: path.read_bytes() for path in self.root.glob("*.jsonl")}

    def remember(self, entry: Entry) -> None:
        """Enter something in the ledger."""
        os.write(self._fd, msgspec.json.encode(entry) + b"\n")

    def remembers(self, entry: Entry) -> bool:
        """Whether something was entered."""
        return msgspec.json.encode(entry) + b"\n" in self._ledger.read_bytes()

    def entries(self) -> list[Entry]:
        """All that the world remembers."""
        return [_LEDGER.decode(line) for line in self._ledger.read_bytes().splitlines()]

    def settled(self) -> dict[str, bytes]:
        """All files but owner locks."""
        paths = [path for path in self.root.rglob("*") if path.is_file() and path.parent.name != "locks"]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}

    def blobs(self) -> dict[str, bytes]:
        """The blobs by digest."""
        paths = (self.root / ".aion" / "blobs" / "sha256").glob("*/*")
        return {path.parent.name + path.name: path.read_bytes() for path in paths}

    def aside(self) -> set[bytes]:
        """What was set aside."""
        return {path.read_bytes() for path in (self.root / ".aion" / "torn").glob("*")}


def play_on(scene: Scene, place: Path, at: int | None, ledger: Path | None) -> None:
    """Play a scene in this process, which dies at a point; without one, to its end, and judge what is found there."""
    machine = RealMachine(place, Points(at), ledger)
    for tail in torn_tails(machine.histories()):
        machine.remember(tail)
    refusals = scene.play(machine)
    if refusals:
        raise BrokenPromise(LOST, f"recovery was refused: {refusals}")
    if at is not None:
        return  # fewer points are left than that
    entries = machine.entries()
    hold_against(entries, machine.histories(), machine.blobs(), machine.aside())
    results = {entry.result for entry in entries if isinstance(entry, Ended)}
    if results != {scene.expected}:
        raise BrokenPromise(LOST, f"the run came to {results}, not to {scene.expected}")
    before = machine.settled()
    scene.recover(machine)
    after = machine.settled()
    if before != after:
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        raise BrokenPromise(UNSTABLE, f"a second recovery changed {sorted(changed)}")


def points_of(scene: Scene, place: Path) -> int:
    """Play a scene unharmed, and return how many points it has."""
    points = Points()
    scene.play(RealMachine(place, points))
    return points.count


def forked(scene: Scene, place: Path, at: int | None, ledger: Path | None = None) -> tuple[bool, str, str]:
    """Play in a child; returns whether it was killed, and if it broke a promise which one, and its story.

    ledger: where the world remembers; None: beside the histories.
    """
    story = (ledger or place).with_suffix(".story")
    pid = os.fork()
    if pid == 0:
        signal.alarm(_LONGEST_S)
        try:
            play_on(scene, place, at, ledger)
            os._exit(0)
        except BrokenPromise as broken:
            story.write_text(f"{broken.kind}\n{scene!r} {at=}: {broken}")
            os._exit(_BROKEN)
        except BaseException:  # noqa: BLE001 - a child must never go on as its parent
            story.write_text(f"{LOST}\n{scene!r} {at=}: {traceback.format_exc()}")
            os._exit(_UNEXPECTED)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code in (0, -signal.SIGKILL):
        return code != 0, "", ""
    if code == -signal.SIGALRM:
        return False, DEADLOCKED, f"{scene!r} {at=}"
    kind, _, told = story.read_text().partition("\n")
    return False, kind, told


def run_chain(scene: Scene, place: Path, first: int, rng: random.Random, report: Report) -> None:
    """Kill at a point, then at random ones, then play to the end."""
    at: int | None = first
    kills: list[int] = []
    while True:
        killed, kind, story = forked(scene, place, at)
        if kind:
            report.broken.append((kind, f"killed at {kills}, then {story}"))
            break
        if killed and at is not None:
            kills.append(at)
            at = rng.randrange(NEAR) if len(kills) < MOST_KILLS else None
        elif at is not None:
            at = None
        else:
            break
    report.kills += len(kills)
    report.chains += 1
    shutil.rmtree(place)


def kill_everywhere(seed: int, wanted: int, folder: Path) -> Report:
    """Run chains until so many processes were killed, or promises were broken."""
    blobs.INLINE_LIMIT = INLINE
    journal.MAX_BATCH = BATCH
    rng = random.Random(seed)
    report = Report()
    gc.collect()
    gc.freeze()  # so that no collection in a child touches, and thereby copies, what it shares with its parent
    while report.kills < wanted and not report.broken:
        make = rng.choice((RunScene, ClerkScene, ClerkScene))
        scene = make.random(rng, 2)
        points = points_of(scene, folder / "unharmed")
        shutil.rmtree(folder / "unharmed")
        for first in range(points):
            run_chain(scene, folder / str(first), first, rng, report)
            if report.kills >= wanted or len(report.broken) > 3:
                break
    return report


if __name__ == "__main__":
    given_seed, given_points, given_folder = sys.argv[1:]
    sys.stdout.buffer.write(
        msgspec.json.encode(kill_everywhere(int(given_seed), int(given_points), Path(given_folder)))
    )
