"""P8 to P10 and P12: replay of ready-made histories, against decoding alone and against Temporal's Replayer.

Measured is `aion replay` of one history, integrity included, called as a function: the start of the process is not in
it. P8 and P10 count processor time, since nothing waits there; P9 counts wall time, since its peer has several threads;
P12 is the whole process. The histories are written by real runs (unsynced, which changes nothing in them).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aion_cli.__main__ import main
from benchmarks.histories import run_workflow
from benchmarks.limits import decoded_per_second
from benchmarks.measure import (
    AION,
    NOT_INSTALLED,
    WORKFLOW_FILE,
    Bench,
    BenchmarkError,
    has_peers,
    interleaved,
    peak_bytes,
    peer,
    stdout_to,
)
from benchmarks.table import Better, Goal, Row

_SMALL, _LARGE = 10_000, 100_000
_TEMPORAL_STEPS = 5_000
_EVENTS_A_STEP = 3
_MIB = 1 << 20


def _history(bench: Bench, steps: int) -> Path:
    """Return a history of that many steps, made once for all benchmarks of this run."""
    cwd = bench.scratch / f"replayed-{steps}"
    history = cwd / "histories" / "ready-made.jsonl"
    if not history.exists():
        bench.folder(cwd.name)
        run_workflow(cwd, "sequence", steps, "ready-made", "--durability", "process", "--quiet")
    return history


def _replay_seconds(history: Path, clock: Callable[[], float] = time.process_time) -> float:
    sys.argv = ["aion", "replay", str(history), "--workflow", f"{WORKFLOW_FILE}:sequence"]
    with (history.parent.parent / "verdict.txt").open("w+") as verdict, stdout_to(verdict.fileno()):
        began = clock()
        code = main()
        seconds = clock() - began
        verdict.seek(0)
        if code != 0 or not verdict.read().startswith("clean"):
            raise BenchmarkError(f"{history} does not replay clean: exit {code}")
    return seconds


def _wall_rate(history: Path, steps: int) -> Callable[[], float]:
    return lambda: steps / _replay_seconds(history, time.perf_counter)


def against_decoding(bench: Bench) -> list[Row]:
    """P8."""
    history = _history(bench, _SMALL)
    samples = interleaved(
        bench.repetitions(5),
        {
            "limit": lambda: decoded_per_second(history),
            "ours": lambda: _EVENTS_A_STEP * _SMALL / _replay_seconds(history),
        },
    )
    return [
        Row(
            "P8",
            f"replay of {_SMALL:,} steps",
            f"{samples.median('ours'):,.0f} events/s",
            f"decode+seq+chain {samples.median('limit'):,.0f}/s",
            samples.ratio("ours", "limit"),
            Goal(Better.HIGH, 0.15, 0.40),
        )
    ]


def against_temporal(bench: Bench) -> list[Row]:
    """P9."""
    goal, work = Goal(Better.HIGH, 25, 80, "×"), f"replay of {_TEMPORAL_STEPS:,} steps"
    if not has_peers():
        return [Row("P9", work, "–", f"Temporal {NOT_INSTALLED}", None, goal)]
    history, cwd = _history(bench, _TEMPORAL_STEPS), bench.folder("p9-temporal")
    ours = _wall_rate(history, _TEMPORAL_STEPS)
    before = ours()
    theirs = float(json.loads(peer("temporal_replay.py", cwd, str(_TEMPORAL_STEPS)).stdout)["steps_per_s"])
    rate = (before + ours()) / 2
    return [
        Row(
            "P9",
            work,
            f"{rate:,.0f} steps/s, file verified",
            f"Temporal, unsandboxed {theirs:,.0f}/s",
            rate / theirs,
            goal,
            ["aion reads and verifies its file in the measured time; Temporal is given its history in memory."],
        )
    ]


def growth(bench: Bench) -> list[Row]:
    """P10."""
    small, large = _history(bench, _SMALL), _history(bench, _LARGE)
    samples = interleaved(
        bench.repetitions(1),
        {
            "small": lambda: 1e6 * _replay_seconds(small) / _SMALL,
            "large": lambda: 1e6 * _replay_seconds(large) / _LARGE,
        },
    )
    return [
        Row(
            "P10",
            f"growth from {_SMALL:,} to {_LARGE:,} steps",
            f"{samples.median('large'):.1f} µs a step",
            f"{samples.median('small'):.1f} µs a step",
            samples.ratio("large", "small"),
            Goal(Better.LOW, 1.15, 1.05, "×"),
        )
    ]


def memory(bench: Bench) -> list[Row]:
    """P12."""

    def peak(steps: int) -> float:
        cwd = _history(bench, steps).parent.parent
        return peak_bytes([AION, "replay", "ready-made", "--workflow", f"{WORKFLOW_FILE}:sequence"], cwd)

    samples = interleaved(bench.repetitions(1), {"empty": lambda: peak(0), "large": lambda: peak(_LARGE)})
    above = (samples.median("large") - samples.median("empty")) / _MIB
    return [
        Row(
            "P12",
            f"memory of a replay of {_LARGE:,} steps",
            f"{samples.median('large') / _MIB:.1f} MiB at its peak",
            f"of an empty one {samples.median('empty') / _MIB:.1f} MiB",
            above,
            Goal(Better.LOW, 300, 40, " MiB"),
        )
    ]
