"""The real command line under strace, which kills it or fails its calls: what the seam of the files may hide."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.promises import UNCLEAR, BrokenPromise
from tests.faults.shell import RealShell
from tests.faults.tally import INJECTED, STRACE_KILLS, Tally

CALLS = ("write", "fdatasync", "fsync", "ftruncate", "rename", "link", "unlink", "mkdir")
COMMANDS = ("start", "signal", "go on")
SIZES = ((20, 300), (1,), (700, 2, 40), (300_000, 10), (5, 6, 7, 8), (9, 8, 7, 6, 5, 4))
_CALL = re.compile(r"^\d+ +(\w+)\((?:\d+<(pipe|socket):)?")
_WHO = re.compile(r"^(\d+) ")


def has_strace() -> bool:
    """Whether strace is there, and may trace."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(not has_strace(), reason="strace is not installed, or may not trace here"),
]


class Prepared:
    """A run that stands right before one of the commands."""

    def __init__(self, folder: Path, command: str, sizes: Sequence[int]) -> None:
        self._folder = folder
        self._command = command
        self._sizes = sizes
        self._copies = 0
        shell = RealShell(folder / "0" / "histories", folder / "0" / "ledger", sizes)
        shell.histories.parent.mkdir(parents=True)
        if command != "start":
            assert shell.run() == 3
        if command == "go on":
            assert shell.signal() == 0

    def copy(self) -> RealShell:
        """A copy of its own."""
        self._copies += 1
        place = self._folder / str(self._copies)
        shutil.copytree(self._folder / "0", place, ignore=shutil.ignore_patterns(".bell"))
        return RealShell(place / "histories", place / "ledger", self._sizes)

    def give(self, shell: RealShell, wrapper: Sequence[str]) -> int:
        """Give the command under a wrapper; returns its exit code."""
        return shell.signal(wrapper) if self._command == "signal" else shell.run(wrapper)

    def points(self, what: str = "") -> Iterator[tuple[str, int]]:
        """Each call that the command's main thread makes: its name, and which of that name it is, from 1.

        what: is to happen to it. A write that takes less than it says can be noticed where it went to a file alone.
        """
        log = self._folder / "strace"
        traced = ",".join(f"?{name},?{name}at,?{name}at2" for name in CALLS)
        wrapper = ["strace", "-f", "-qq", "-y", "-o", str(log), "-e", f"trace={traced}"]
        assert self.give(self.copy(), wrapper) in (0, 3)
        lines = log.read_text().splitlines()
        main = next(found[1] for line in lines if (found := _WHO.match(line)))
        counts = Counter[str]()
        for line in lines:
            if line.startswith(main) and (found := _CALL.match(line)):
                name, into_pipe = found.groups()
                counts[name] += 1
                if not what.startswith("retval") or (name == "write" and not into_pipe):
                    yield name, counts[name]


def injecting(call: str, number: int, what: str) -> list[str]:
    return [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:{what}:when={number}",
    ]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("sizes", SIZES)
def test_the_real_command_line_killed_at_each_call_loses_nothing(
    tmp_path: Path, command: str, sizes: Sequence[int], tally: Tally
) -> None:
    prepared = Prepared(tmp_path, command, sizes)
    for call, number in prepared.points():
        shell = prepared.copy()
        code = prepared.give(shell, injecting(call, number, "signal=KILL"))
        assert code in (-9, 137, 0, 3)  # not killed where threads share the calls out otherwise
        try:
            shell.finish()
        except BrokenPromise as broken:
            broken.add_note(f"killed at {call} {number} of {command}")
            raise
        tally.add(STRACE_KILLS, code in (-9, 137))
        shutil.rmtree(shell.histories.parent)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", ["error=EIO", "error=ENOSPC", "retval=7"])
def test_the_real_command_line_whose_calls_fail_says_so_and_loses_nothing(
    tmp_path: Path, command: str, what: str, tally: Tally
) -> None:
    prepared = Prepared(tmp_path, command, SIZES[0])
    points = list(prepared.points(what))
    assert points
    for call, number in points:
        shell = prepared.copy()
        code = prepared.give(shell, injecting(call, number, what))
        if code not in (0, 3, 10):
            raise BrokenPromise(UNCLEAR, f"exit {code} when {call} {number} of {command} met {what}")
        try:
            shell.finish()
        except BrokenPromise as broken:
            broken.add_note(f"{what} at {call} {number} of {command}")
            raise
        tally.add(INJECTED)
        shutil.rmtree(shell.histories.parent)
