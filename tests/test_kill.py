"""kill -9 at any moment, then the same `aion run` line: the right result, nothing recorded done twice, a clean replay.

Real processes on real files. Moments are random by a seed: so long after so many lines have appeared in the histories.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aion_cli.core import events as ev
from aion_cli.runtime.reading import read_history

PROJECT = Path(__file__).parent.parent
ANSWERS_AFTER_S = 0.03
KILLS = 7
LONGEST_WAIT_S = 0.6
"""For lines that do not come: a run that waits for its approval writes none."""

ORDER = ("order_saga", "--id", "killed", "-p", "sku=A1", "-p", "cents:=1250")
STEPS = {step: f"echo {step} | tee -a steps; sleep {ANSWERS_AFTER_S}" for step in ("lint", "tests", "build", "publish")}
RELEASE = ("release", "--id", "killed", "-p", "tools=true", *(f"-p{step}={line}" for step, line in STEPS.items()))


class Activity(NamedTuple):
    """One activity of any of the runs, with the types of its events in order, its schedule left out."""

    run_id: str
    scheduled: ev.ActivityScheduled
    events: list[ev.Event]

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return f"{self.run_id}/{self.scheduled.seq}"

    @property
    def attempts(self) -> list[int]:
        """Numbers of the attempts that are recorded as started."""
        return [event.attempt for event in self.events if isinstance(event, ev.ActivityStarted)]


class Victim:
    """A run whose process is killed again and again, in a folder of its own."""

    def __init__(self, folder: Path, line: Sequence[str], approval: object, seed: int) -> None:
        self.folder = folder
        self.kills = 0
        self._line = ("run", *line)
        self._approval = json.dumps(approval)
        self._histories = folder / "histories"
        self._random = random.Random(seed)

    def is_killed(self) -> None:
        """Let the line run up to a random moment, and kill its process; again and again. In between it is approved."""
        approved_before = self._random.randrange(1, KILLS)
        for number in range(KILLS):
            if number == approved_before:
                self.approve()
            process = subprocess.Popen(
                self._command(*self._line),
                cwd=self.folder,
                env=environ(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._until_a_moment(process)
            process.kill()
            self.kills += process.wait() == -9

    def _until_a_moment(self, process: subprocess.Popen[bytes]) -> None:
        wanted = self._lines() + self._random.randrange(6)
        give_up_at = time.monotonic() + LONGEST_WAIT_S
        while self._lines() < wanted and process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.001)
        time.sleep(self._random.uniform(0, 1.5 * ANSWERS_AFTER_S))

    def _lines(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self._histories.glob("*.jsonl"))

    def approve(self) -> None:
        """Approve, under an id: it may be said again. There need be no run yet, if all kills came very early."""
        done = self.aion("signal", "killed", "approval", self._approval, "--id", "the-approval")
        assert done.returncode in (0, 7), done.stderr

    def goes_on_to_its_approval(self) -> None:
        """Let the line run until it waits, if it has not got that far, and make sure that it is approved."""
        done = self.aion(*self._line, "--until-blocked")
        assert done.returncode in (0, 3), done.stderr
        self.approve()

    def result(self) -> Any:
        """Type the line once more, let it come to its end, and return what it printed."""
        done = self.aion(*self._line)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def aion(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run aion to its end."""
        return subprocess.run(
            self._command(*args),
            cwd=self.folder,
            env=environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def _command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "aion_cli", "--workflows", str(PROJECT / "workflows"), *args]

    def activities(self) -> list[Activity]:
        """All activities that the histories know of, those of children too."""
        found: list[Activity] = []
        for path in sorted(self._histories.glob("*.jsonl")):
            first, *events = read_history(path)
            assert isinstance(first, ev.WorkflowStarted)
            of_activities = [event for event in events if isinstance(event, ACTIVITY_EVENTS)]
            by_activity = sorted(of_activities, key=lambda event: event.activity_id)
            for _, group in groupby(by_activity, key=lambda event: event.activity_id):
                scheduled, *others = group
                assert isinstance(scheduled, ev.ActivityScheduled)
                found.append(Activity(first.run_id, scheduled, list(others)))
        return found


ACTIVITY_EVENTS = (ev.ActivityScheduled, ev.ActivityStarted, ev.ActivityCompleted, ev.ActivityFailed)


def environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AION_")}
    return kept | {"PYTHONPATH": str(PROJECT)}


def require_one_outcome_and_nothing_after_it(activities: Iterable[Activity]) -> None:
    for activity in activities:
        kinds = [type(event) for event in activity.events]
        assert set(kinds[:-1]) == {ev.ActivityStarted}, activity
        assert kinds[-1] in (ev.ActivityCompleted, ev.ActivityFailed), activity
        assert activity.attempts == list(range(1, len(kinds))), activity


def require_clean_replay(victim: Victim) -> None:
    done = victim.aion("replay", "histories", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {verdict["verdict"] for verdict in json.loads(done.stdout)} == {"clean"}


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "shop" / "ledger.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("seed", range(5))
def test_an_order_survives_kills_at_any_moment(tmp_path: Path, seed: int) -> None:
    sold_out = seed % 3 == 2
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "slow").write_text(str(ANSWERS_AFTER_S))
    (shop / "sold-out").write_text("A1" if sold_out else "")
    victim = Victim(tmp_path, ORDER, approval=True, seed=seed)
    victim.is_killed()
    assert victim.kills > 0
    victim.goes_on_to_its_approval()
    result = victim.result()

    requests = ledger(tmp_path)
    first = {entry["request"]: line for line, entry in reversed(list(enumerate(requests, start=1)))}
    receipt = f"receipt-{first['charge']}"
    if sold_out:
        assert result == {"status": "refunded", "receipt": receipt, "reason": "A1 is sold out"}
        assert set(first) == {"charge", f"refund {receipt}"}
    else:
        assert result == {"status": "shipped", "receipt": receipt, "tracking": f"parcel-{first['book']}"}
        assert set(first) == {"charge", "pick", "book"}

    activities = victim.activities()
    require_one_outcome_and_nothing_after_it(activities)
    recorded = {(activity.key, attempt) for activity in activities for attempt in activity.attempts}
    made = Counter((entry["key"], entry["attempt"]) for entry in requests)
    assert set(made) <= recorded, "an attempt had its effect and is not recorded"
    assert set(made.values()) == {1}, "an attempt was made twice"
    assert len({entry["key"] for entry in requests}) == len(first), "the same was asked under two keys"
    require_clean_replay(victim)

    assert victim.result() == result
    assert ledger(tmp_path) == requests, "a closed run did something"


@pytest.mark.parametrize("seed", range(3))
def test_a_release_survives_kills_at_any_moment(tmp_path: Path, seed: int) -> None:
    victim = Victim(tmp_path, RELEASE, approval={"by": "Ada", "approved": True}, seed=seed)
    victim.is_killed()
    assert victim.kills > 0
    victim.goes_on_to_its_approval()
    result = victim.result()
    assert result == {"status": "released", "approved_by": "Ada", "printed": "publish"}

    activities = victim.activities()
    require_one_outcome_and_nothing_after_it(activities)
    attempts = {json.loads(bytes(one.scheduled.input))["command"]: len(one.attempts) for one in activities}
    made = Counter((tmp_path / "steps").read_text().split())
    assert set(made) == set(STEPS)
    for step, line in STEPS.items():
        assert 1 <= made[step] <= attempts[line], "a step was made more often than it is recorded as started"
    require_clean_replay(victim)

    assert victim.result() == result
    assert Counter((tmp_path / "steps").read_text().split()) == made, "a closed run did something"
