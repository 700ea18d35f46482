"""Histories to measure with: made by real runs of `aion`, and what they say about the time that those took."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aion_cli.core.clock import parse_instant
from benchmarks.measure import WORKFLOW_FILE, aion


class _Line(msgspec.Struct):
    recorded_at: str


def run_workflow(cwd: Path, name: str, steps: int, workflow_id: str, *options: str) -> Path:
    """Run a workflow of benchmarks/workflows to its end, and return its history."""
    target = f"{WORKFLOW_FILE}:{name}"
    aion(cwd, "run", target, "--id", workflow_id, "--input", str(steps), *options)
    return cwd / "histories" / f"{workflow_id}.jsonl"


def seconds_recorded(history: Path) -> float:
    """Return the time from the first event to the last: a run without the start and the end of its process."""
    lines = history.read_bytes().splitlines()
    first, last = (parse_instant(msgspec.json.decode(line, type=_Line).recorded_at) for line in (lines[0], lines[-1]))
    return (last - first) / 1_000_000
