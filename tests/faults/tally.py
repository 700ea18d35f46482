"""What the fault suite counted, added up over all tests, and printed at the end as the figures of reliability.

A test counts into its own `user_properties`, which reach the process that prints even when workers ran the tests. With
AION_FIGURES=FILE what one pytest process counted is kept there for the next one, whose end shows both; then it is a
failure if there are fewer than were to be.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.promises import DEADLOCKED, LOST, REPEATED, SILENT

TORTURE = os.environ.get("AION_TORTURE") == "1"
"""Whether `make torture` asked for everything, rather than `make test` for a quick selection."""

STATES = "crash states tried"
REFUSED = "crash states refused as damage, nothing touched"
KILLS = "kill -9"
STRACE_KILLS = "kill -9 by strace"
INJECTED = "errors of system calls"
FULL_DISKS = "errors of disks that are really full"
ORDERS = "interleavings"
DAMAGED = "damaged files"
TRUNCATIONS = "truncations"
MUTANTS_CAUGHT = "mutants caught"
POWER_CUTS_EXT4 = "power cuts on ext4"
POWER_CUTS_XFS = "power cuts on xfs"
SIGNALS = "signals of many senders"
STEPS = "steps of the state machine"

_PREFIX = "fault: "
_FAULTS = (KILLS, STRACE_KILLS, POWER_CUTS_EXT4, POWER_CUTS_XFS, INJECTED, FULL_DISKS, TRUNCATIONS, DAMAGED)
_BROKEN = (LOST, REPEATED, SILENT, DEADLOCKED)
_SHORT = " SHORT"
_FIGURES = os.environ.get("AION_FIGURES", "")


class Goal(NamedTuple):
    """A figure that is counted. row: of reliability.md. wanted: the count; 0: all there are. in_torture: only there."""

    row: str
    what: str
    wanted: int
    said: str
    in_torture: bool = False


GOALS = (
    Goal("G1", KILLS, 10_000, "processes killed with -9 before, half-way through and after every operation"),
    Goal("G2", STRACE_KILLS, 500, "aion killed by strace at every write, sync, rename …", in_torture=True),
    Goal("G3", POWER_CUTS_EXT4, 500, "power cuts on ext4, at every operation", in_torture=True),
    Goal("G3", POWER_CUTS_XFS, 500, "power cuts on xfs, at every operation", in_torture=True),
    Goal("G4", STATES, 20_000, "modelled crash states: recovered; a second recovery changes nothing"),
    Goal("G4", REFUSED, 0, "of them refused as damage, with nothing touched"),
    Goal("G5", TRUNCATIONS, 0, "lengths to which a history of 40 events was cut, all of them by the contract"),
    Goal("G6", DAMAGED, 0, "flipped bits, other bytes, lost, doubled and swapped lines, changes under a live run"),
    Goal("G7", INJECTED, 0, "ENOSPC, EIO, EDQUOT and short writes, once and lasting, at every operation"),
    Goal("G7", FULL_DISKS, 0, "runs on full disks and under limits of file size: exit 10, gone on with later"),
    Goal("G8", SIGNALS, 64_000, "signals of 64 senders, each recorded once and in order", in_torture=True),
    Goal("G13", MUTANTS_CAUGHT, 12, "mutants of the durability code, each caught by its layer"),
    Goal("G15", STEPS, 10_000, "steps of the state machine, 0 broken promises", in_torture=True),
    Goal("–", ORDERS, 0, "interleavings of two processes"),
)


class Tally:
    """Counts for one test."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(self, what: str, count: int = 1) -> None:
        """Count something."""
        self._properties.append((_PREFIX + what, count))

    def say(self, what: str) -> None:
        """Have a line printed at the end: "G9: …" for a row of the table, or anything."""
        self._properties.append((_PREFIX, what))


class _Figures:
    """All that was counted and said."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.lines: list[str] = []

    def take(self, properties: list[tuple[str, object]]) -> None:
        for name, value in properties:
            if name == _PREFIX:
                self.lines.append(str(value))
            elif name.startswith(_PREFIX) and isinstance(value, int):
                self.counts[name.removeprefix(_PREFIX)] += value

    def share(self, path: Path) -> None:
        """Add what an earlier process left in a file, and leave the sum there."""
        if path.exists():
            before = json.loads(path.read_text())
            self.counts.update(before["counts"])
            self.lines += before["lines"]
        path.write_text(json.dumps({"counts": self.counts, "lines": self.lines}))

    def rows(self) -> Iterator[tuple[int, str]]:
        """The rows of the table, each with its number."""
        for goal in GOALS:
            count = self.counts[goal.what]
            if count:
                yield _number(goal.row), f"{goal.row:<4}{count:>9,}{_wanted(goal, count):<18} {goal.said}"
        for line in self.lines:
            row, colon, said = line.partition(": ")
            if colon and row[:1] == "G":
                yield _number(row), f"{row:<4}{'':27} {said}"


def _number(row: str) -> int:
    return int(row[1:]) if row[1:].isdigit() else 99


def _wanted(goal: Goal, count: int) -> str:
    if not goal.wanted or (goal.in_torture and not TORTURE):
        return ""
    if count >= goal.wanted:
        return f" of {goal.wanted:,}"
    return f"{_SHORT} of {goal.wanted:,}" if _FIGURES else ""  # else only some of the tests were asked for, perhaps


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was injected and what was broken, then the table of figures."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # it has an end of its own, which nobody sees
        return
    figures = _Figures()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                figures.take(report.user_properties)
    if _FIGURES:
        figures.share(Path(_FIGURES))
    counts = figures.counts
    if not counts and not figures.lines:
        return
    terminalreporter.section("faults")
    for line in sorted(line for line in figures.lines if not line.startswith("G")):
        terminalreporter.line(line)
    for _, row in sorted(figures.rows()):
        terminalreporter.line(row)
    injected = ", ".join(f"{counts[name]:,} {name}" for name in _FAULTS if counts[name])
    if injected:
        terminalreporter.line(f"faults injected {sum(counts[name] for name in _FAULTS):,} ({injected})")
    terminalreporter.line(", ".join(f"{name} {counts[name]}" for name in _BROKEN))
    if _FIGURES and any(_SHORT in row for _, row in figures.rows()):
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED
