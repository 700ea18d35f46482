"""P15: a signal to an idle owner, from the exit of `aion signal` to the event on disk.

The owner unlinks a message once its event is recorded and synced, so an inbox without messages is the proof. What is on
the disk before its sender has exited counts as 0 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import AION, WORKFLOW_FILE, Bench, BenchmarkError, aion
from benchmarks.table import Better, Goal, Row

_SIGNALS = 50
_LONGEST_S = 10.0
_LOOK_EVERY_S = 0.0002
_ID = "idle"


def to_an_idle_owner(bench: Bench) -> list[Row]:
    """P15."""
    cwd = bench.folder("p15")
    inbox = cwd / "histories" / ".aion" / "inbox" / _ID
    delays: list[float] = []
    with _owner(cwd):
        for number in range(bench.repetitions(_SIGNALS)):
            aion(cwd, "--workflows", str(WORKFLOW_FILE.parent), "signal", _ID, "nudge", str(number))
            delays.append(_wait_until(lambda: not any(inbox.glob("*.json"))))
    p50, p99 = statistics.median(delays) * 1000, statistics.quantiles(delays, n=100)[98] * 1000
    late = sum(delay > 0.001 for delay in delays)
    return [
        Row(
            "P15",
            "signal to an idle owner, p99",
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            "–",
            p99,
            Goal(Better.LOW, 300, 20, " ms"),
            [f"of {len(delays)} signals, {late} were recorded more than 1 ms after `aion signal` had exited."],
        )
    ]


@contextmanager
def _owner(cwd: Path) -> Generator[None]:
    """Keep a run that waits for signals owned by a live process."""
    command = [str(AION), "run", f"{WORKFLOW_FILE}:listen", "--id", _ID]
    bell = cwd / "histories" / ".aion" / "inbox" / _ID / ".bell"
    with (cwd / "owner.txt").open("wb") as log:
        owner = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_until(bell.exists)
        yield
        if owner.poll() is not None:
            raise BenchmarkError(f"the owner ended: {(cwd / 'owner.txt').read_text()}")
    finally:
        owner.terminate()
        owner.wait()


def _wait_until(holds: Callable[[], bool]) -> float:
    """Return how many seconds it took until something holds; 0 if it does at once."""
    if holds():
        return 0.0
    began = time.perf_counter()
    while not holds():
        if time.perf_counter() - began > _LONGEST_S:
            raise BenchmarkError(f"waited {_LONGEST_S:g} s in vain")
        time.sleep(_LOOK_EVERY_S)
    return time.perf_counter() - began
