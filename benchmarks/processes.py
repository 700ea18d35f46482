"""P1 to P3: whole processes, against a minimal Typer app with the same global options under the same Python."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import HERE, WORKFLOW_FILE, Bench, aion, interleaved, run
from benchmarks.table import Better, Goal, Row

_CODE = "from benchmarks.peers.typer_minimal import app; app()"
_REPETITIONS = 5


def _minimal(cwd: Path, *arguments: str) -> float:
    return run([sys.executable, "-c", _CODE, *arguments], cwd, env={"PYTHONPATH": str(HERE.parent)}).seconds


def _compare(
    bench: Bench, id_: str, work: str, goal: Goal, ours: Callable[[], float], peer: Callable[[], float]
) -> Row:
    interleaved(1, {"ours": ours, "peer": peer})  # warm the caches of both
    samples = interleaved(bench.repetitions(_REPETITIONS), {"ours": ours, "peer": peer})
    return Row(
        id_,
        work,
        f"{samples.median('ours') * 1000:.0f} ms",
        f"minimal Typer app {samples.median('peer') * 1000:.0f} ms",
        samples.ratio("ours", "peer"),
        goal,
        samples.unrest("ours", "peer"),
    )


def version_and_help(bench: Bench) -> list[Row]:
    """P1."""
    cwd = bench.folder("p1")
    goal = Goal(Better.LOW, 1.3, 1.1, "×")
    return [
        _compare(
            bench,
            "P1",
            f"aion {option}",
            goal,
            lambda option=option: aion(cwd, option).seconds,
            lambda option=option: _minimal(cwd, option),
        )
        for option in ("--version", "--help")
    ]


def run_one_step(bench: Bench) -> list[Row]:
    """P2: a fresh run each time, durably."""
    cwd = bench.folder("p2")
    goal = Goal(Better.LOW, 1.9, 1.35, "×")
    target = f"{WORKFLOW_FILE}:one_step"
    return [
        _compare(
            bench,
            "P2",
            "aion run, one step",
            goal,
            lambda: aion(cwd, "run", target, "--input", "1").seconds,
            lambda: _minimal(cwd, "run", target, "--input", "1"),
        )
    ]


def signal_unowned(bench: Bench) -> list[Row]:
    """P3: to a suspended run, whose code is loaded to check the name and the payload."""
    cwd = bench.folder("p3")
    goal = Goal(Better.LOW, 1.7, 1.25, "×")
    aion(cwd, "run", f"{WORKFLOW_FILE}:listen", "--id", "listener", "--until-blocked", expect=3)
    workflows = str(WORKFLOW_FILE.parent)
    return [
        _compare(
            bench,
            "P3",
            "aion signal, unowned run",
            goal,
            lambda: aion(cwd, "--workflows", workflows, "signal", "listener", "nudge", "1").seconds,
            lambda: _minimal(cwd, "signal", "listener", "nudge"),
        )
    ]
