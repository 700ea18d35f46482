"""Many processes at one run: nothing acknowledged is lost, nothing is there twice, and one at a time works.

Full size with AION_TORTURE=1: 64 senders of 1,000 signals each, and the latency figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.journal import read_history
from tests.contention.crowd import OWNED_ELSEWHERE, RUN
from tests.faults.tally import SIGNALS, TORTURE, Tally
from tests.storage import create, started

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return Tally(request.node.user_properties)


def crowd(scene: str, root: Path, *numbers: int, timeout_s: float = 120) -> dict[str, Any]:
    """Play a scene in a process of its own; a deadlock in it is a timeout here."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.contention.crowd", scene, str(root), *map(str, numbers)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def signals_in(folder: HistoriesFolder) -> list[ev.SignalReceived]:
    """The recorded signals, in order; their history has no gaps, and their inbox is empty."""
    events = list(read_history(folder.latest(RUN).path))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert Inbox(folder, RUN).names() == []
    return [event for event in events if isinstance(event, ev.SignalReceived)]


def test_sixty_four_senders_and_their_signals_are_each_recorded_once_and_in_order(tmp_path: Path, tally: Tally) -> None:
    senders, messages = 64, 1_000 if TORTURE else 12
    folder = HistoriesFolder(tmp_path / "histories")
    create(folder.history(RunName(RUN)), [started()]).close()
    played = crowd("signallers", tmp_path, senders, messages, 7, timeout_s=3_600 if TORTURE else 120)
    found = signals_in(folder)
    by_sender = {f"s{n}": [msgspec.json.decode(e.payload) for e in found if e.name == f"s{n}"] for n in range(senders)}
    assert by_sender == {f"s{n}": list(range(messages)) for n in range(senders)}
    assert played["owners"] >= 1
    assert played["killed_senders"] > 5
    tally.add(SIGNALS, len(found))
    tally.say(
        f"G8: meanwhile {played['owners']} owners came and went, {played['killed_senders']} senders were killed and "
        "repeated themselves"
    )


def test_of_thirty_two_that_run_one_id_exactly_one_works_and_the_others_are_told(tmp_path: Path, tally: Tally) -> None:
    played = crowd("race", tmp_path, 32)
    assert Counter(played["losers"]) == {OWNED_ELSEWHERE: 31}
    assert (played["winner"], played["winner_worked"]) == (0, True)
    tally.say("G10: of 32 that ran one id at once, exactly 1 worked")


@pytest.mark.alone
@pytest.mark.parametrize("fork", [0, 1], ids=["alone", "while-a-forked-child-lives"])
def test_a_killed_owner_is_succeeded_at_once(tmp_path: Path, fork: int, tally: Tally) -> None:
    played = crowd("succession", tmp_path, fork)
    assert (played["successor"], played["workers"]) == (0, True)
    tally.say(f"G10: its successor worked {played['took_s']:.2f} s after the kill{', a fork alive' if fork else ''}")
    if TORTURE:
        assert played["took_s"] < 1


def test_an_owner_that_is_killed_anywhere_in_draining_records_each_signal_once(tmp_path: Path, tally: Tally) -> None:
    played = crowd("kill-drain", tmp_path, 1)
    assert played["wrong"] == []
    assert played["killed"] > 40
    tally.say(f"G8: an owner killed at each of {played['killed']} steps of draining: each signal recorded once")


def test_a_signaller_that_is_killed_anywhere_loses_nothing_acknowledged_and_may_repeat_itself(
    tmp_path: Path, tally: Tally
) -> None:
    played = crowd("kill-send", tmp_path, 1)
    assert played["wrong"] == []
    assert played["killed"] > 60
    tally.say(f"G8: a signaller killed at each of {played['killed']} steps, and repeated: its signal recorded once")


@pytest.mark.alone
@pytest.mark.parametrize("bell", [1, 0], ids=["with-the-doorbell", "without-it"])
def test_a_signal_reaches_an_idle_owner_with_and_without_the_doorbell(tmp_path: Path, bell: int, tally: Tally) -> None:
    played = crowd("latency", tmp_path, (1_000 if bell else 200) if TORTURE else 5, bell)
    if TORTURE:
        how = "with" if bell else "without"
        tally.say(
            f"G9: signal to an idle owner {how} the doorbell: p50 {played['p50_ms']:.1f}, p99 {played['p99_ms']:.1f} ms"
        )
        assert played["p99_ms"] < (20 if bell else 300)
