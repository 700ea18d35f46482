"""P11: killed after 5,000 steps, the time from process start to the first new step, against DBOS.

The step that comes next writes down when it began, and kills its process: so every restart finds the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measure import NOT_INSTALLED, WORKFLOW_FILE, Bench, Finished, aion, has_peers, interleaved, peer
from benchmarks.table import Better, Goal, Row

_STEPS = 5_000
_KILLED = -9


def _seconds_to_the_mark(mark: Path, restart: Callable[[Mapping[str, str]], Finished]) -> float:
    mark.unlink(missing_ok=True)
    began = time.time()
    restart({"AION_BENCH_KILL_AT": str(_STEPS), "AION_BENCH_MARK": str(mark)})
    return float(mark.read_text()) - began


def back_to_work(bench: Bench) -> list[Row]:
    """P11."""
    goal, work = Goal(Better.LOW, 0.25, 0.125, "×"), f"first new step after a kill at {_STEPS:,}"
    cwd = bench.folder("p11")
    mark = cwd / "mark"
    target = f"{WORKFLOW_FILE}:killed_sequence"

    def ours() -> float:
        command = ("run", target, "--id", "killed", "--input", str(2 * _STEPS))
        return _seconds_to_the_mark(mark, lambda env: aion(cwd, *command, env=env, expect=_KILLED))

    def dbos() -> float:
        command = ("dbos_steps.py", cwd, "killed_sequence", str(2 * _STEPS))
        return _seconds_to_the_mark(mark, lambda env: peer(*command, env=env, expect=_KILLED))

    ours()
    if not has_peers():
        alone = interleaved(bench.repetitions(2), {"ours": ours})
        return [Row("P11", work, f"{alone.median('ours'):.2f} s", f"DBOS {NOT_INSTALLED}", None, goal)]
    dbos()
    samples = interleaved(bench.repetitions(2), {"ours": ours, "dbos": dbos})
    return [
        Row(
            "P11",
            work,
            f"{samples.median('ours'):.2f} s",
            f"DBOS on SQLite {samples.median('dbos'):.2f} s",
            samples.ratio("ours", "dbos"),
            goal,
        )
    ]
