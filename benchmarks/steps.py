"""P4 to P7 and P13: live steps, against the disk and against DBOS.

A rate is taken from the history that a whole `aion run` wrote, from its first event to its last, its plain progress
going to a file. Durability is what a user gets who asks for nothing: every step is on the disk before the next begins.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

from benchmarks.histories import run_workflow, seconds_recorded
from benchmarks.limits import appends_per_second
from benchmarks.measure import NOT_INSTALLED, Bench, has_peers, interleaved, peer
from benchmarks.table import Better, Goal, Row

_STEPS = 700
_FAN = 10_000


def _rate_of(bench: Bench, folder: str, workflow: str, steps: int) -> Callable[[], float]:
    cwd, numbers = bench.folder(folder), itertools.count()

    def rate() -> float:
        return steps / seconds_recorded(run_workflow(cwd, workflow, steps, f"run-{next(numbers)}"))

    return rate


def _against_disk(bench: Bench, id_: str, work: str, workflow: str, steps: int, goal: Goal) -> Row:
    ours = _rate_of(bench, id_.lower(), workflow, steps)
    raw = bench.folder(f"{id_.lower()}-raw") / "appended"
    repetitions = bench.repetitions(2 if steps > _STEPS else 5)
    samples = interleaved(repetitions, {"limit": lambda: appends_per_second(raw, _STEPS), "ours": ours})
    return Row(
        id_,
        work,
        f"{samples.median('ours'):,.0f} steps/s",
        f"append+fdatasync {samples.median('limit'):,.0f}/s",
        samples.ratio("ours", "limit"),
        goal,
        samples.unrest("ours", "limit"),
    )


def async_steps(bench: Bench) -> list[Row]:
    """P4."""
    goal = Goal(Better.HIGH, 0.45, 0.75)
    return [_against_disk(bench, "P4", "sequential async steps", "sequence", _STEPS, goal)]


def sync_steps(bench: Bench) -> list[Row]:
    """P5."""
    goal = Goal(Better.HIGH, 0.30, 0.55)
    return [_against_disk(bench, "P5", "sequential sync steps, in threads", "sequence_in_threads", _STEPS, goal)]


def fan_out(bench: Bench) -> list[Row]:
    """P7."""
    goal = Goal(Better.HIGH, 1.5, 5)
    return [_against_disk(bench, "P7", f"{_FAN:,} async activities at once", "fan_out", _FAN, goal)]


def against_dbos(bench: Bench) -> list[Row]:
    """P6: DBOS twice, with sync and with async steps; the faster one counts."""
    goal, work = Goal(Better.HIGH, 5, 9, "×"), "sequential async steps"
    if not has_peers():
        return [Row("P6", work, "–", f"DBOS {NOT_INSTALLED}", None, goal)]
    cwd, said = bench.folder("p6-dbos"), {"durability": ""}

    def dbos(kind: str) -> float:
        for old in cwd.glob("dbos.sqlite*"):
            old.unlink()
        answer = json.loads(peer("dbos_steps.py", cwd, kind, str(_STEPS)).stdout)
        said["durability"] = answer["durability"]
        return float(answer["steps_per_s"])

    samples = interleaved(
        bench.repetitions(2),
        {
            "ours": _rate_of(bench, "p6", "sequence", _STEPS),
            "sync": lambda: dbos("sequence"),
            "async": lambda: dbos("sequence_async"),
        },
    )
    best = max(("sync", "async"), key=samples.median)
    return [
        Row(
            "P6",
            work,
            f"{samples.median('ours'):,.0f} steps/s, fdatasync a step",
            f"DBOS {samples.median(best):,.0f}/s, SQLite {said['durability']}",
            samples.ratio("ours", best),
            goal,
            [
                f"DBOS with {best} steps, its faster kind here; both commit every step to the disk.",
                *samples.unrest("ours", best),
            ],
        )
    ]


def bytes_a_step(bench: Bench) -> list[Row]:
    """P13."""
    history = run_workflow(bench.folder("p13"), "sequence", _STEPS, "run")
    size = history.stat().st_size / _STEPS
    return [
        Row("P13", "bytes a step, small payloads", f"{size:.0f} B", "–", size, Goal(Better.LOW, 900, 600, " B")),
    ]
