"""What the fault suite counted, added up over all tests and printed at the end.

A test counts into its own `user_properties`, which reach the process that prints even when workers ran the tests.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from tests.faults.promises import DEADLOCKED, LOST, REPEATED, SILENT

TORTURE = os.environ.get("AION_TORTURE") == "1"
"""Whether `make torture` asked for everything, rather than `make test` for a quick selection."""

STATES = "crash states tried"
REFUSED = "crash states refused as damage, nothing touched"
KILLS = "kill -9"
STRACE_KILLS = "kill -9 by strace"
INJECTED = "errors of system calls"
ORDERS = "interleavings"
DAMAGED = "damaged files"
MUTANTS_CAUGHT = "mutants caught"
POWER_CUTS = "power cuts"

_PREFIX = "fault: "
_FAULTS = (KILLS, STRACE_KILLS, INJECTED, POWER_CUTS, DAMAGED)
_BROKEN = (LOST, REPEATED, SILENT, DEADLOCKED)


class Tally:
    """Counts for one test."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(self, what: str, count: int = 1) -> None:
        """Count something."""
        self._properties.append((_PREFIX + what, count))

    def say(self, what: str) -> None:
        """Have a line printed at the end."""
        self._properties.append((_PREFIX, what))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was injected and what was broken."""
    counts: Counter[str] = Counter()
    lines: list[str] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call":
                for name, value in report.user_properties:
                    if name == _PREFIX:
                        lines.append(str(value))
                    elif name.startswith(_PREFIX) and isinstance(value, int):
                        counts[name.removeprefix(_PREFIX)] += value
    if not counts and not lines:
        return
    terminalreporter.section("faults")
    injected = ", ".join(f"{counts[name]:,} {name}" for name in _FAULTS if counts[name])
    terminalreporter.line(f"faults injected {sum(counts[name] for name in _FAULTS):,} ({injected})")
    for name in (STATES, REFUSED, ORDERS, MUTANTS_CAUGHT):
        if counts[name]:
            terminalreporter.line(f"{name} {counts[name]:,}")
    terminalreporter.line(", ".join(f"{name} {counts[name]}" for name in _BROKEN))
    for line in sorted(lines):
        terminalreporter.line(line)
