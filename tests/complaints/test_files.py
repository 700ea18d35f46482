"""Histories as files: torn tails, two owners, dead owners, payloads that are too large, and long ones."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from aion_cli import activity, workflow
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.ids import RunName
from aion_cli.core.replay import Replay
from aion_cli.runtime.blobs import BLOB_LIMIT, INLINE_LIMIT
from tests.builders import completed, ended, history, replayed, scheduled, started
from tests.cli.support import Project
from tests.runs import Place

WAITS = """
    words = Signal("words", str)

    @workflow
    async def waits() -> str:
        return await words.receive()
"""
NEXT_LINE = '{"type":"SignalReceived","seq":3,"recorded_at":"2026-03-01T09:30:00.000000Z","name":"words","payload":"žlu'


# --- 5: a last line that was not written whole

TORN = {
    "in the middle of a field": NEXT_LINE.encode()[:40],
    "in the middle of a character": NEXT_LINE.encode()[:-1],
    "in zeros that were never written": NEXT_LINE.encode()[:40] + bytes(512),
    "before its line break": NEXT_LINE.encode() + b'"}',
}


@pytest.fixture
def waiting(project: Project) -> Project:
    """A run that waits for a signal."""
    project.write(WAITS)
    assert project.here("run", "waits", "--id", "w1", "--until-blocked").code == 3
    return project


@pytest.mark.complaint(5)
@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
def test_a_torn_last_line_is_set_aside_and_the_next_record_starts_at_its_place(waiting: Project, torn: bytes) -> None:
    """Row 5: the tail is cut as bytes, kept, and told; the sequence goes on where it was."""
    whole = waiting.history("w1").read_bytes()
    waiting.history("w1").write_bytes(whole + torn)
    done = waiting.here("signal", "w1", "words", '"žluťoučký kůň"')
    (kept,) = [path for path in (waiting.histories / ".aion" / "torn").rglob("*") if path.is_file()]
    assert kept.read_bytes() == torn
    remark = f"a torn tail of {len(torn)} bytes (never acknowledged) is now in {kept.relative_to(waiting.root)}"
    assert (done.code, done.stderr) == (0, f"histories/w1.jsonl:2: {remark}\n")
    assert waiting.history("w1").read_bytes().startswith(whole)
    assert [event.seq for event in waiting.events("w1")] == [1, 2]
    assert waiting.here("run", "waits", "--id", "w1", "-q").stdout == '"žluťoučký kůň"\n'
    assert waiting.here("verify", "w1").code == 0


# --- 6, 7: who may write


@pytest.mark.complaint(6)
def test_a_second_run_of_an_id_is_told_which_process_has_it_and_does_nothing(waiting: Project) -> None:
    """Row 6: one owner for the whole life of a run."""
    with waiting.start("run", "waits", "--id", "w1") as owner:
        waiting.until_owned("w1", owner)
        before = waiting.history("w1").read_bytes()
        done = waiting.here("run", "waits", "--id", "w1")
        assert (done.code, done.stdout) == (6, "")
        assert f"w1 is owned by process {owner.pid} on " in done.stderr
        assert waiting.history("w1").read_bytes() == before


@pytest.mark.complaint(7)
def test_the_run_of_a_process_that_was_killed_can_be_gone_on_with_at_once(waiting: Project) -> None:
    """Row 7: the kernel gives a dead owner's lock free; what its lock file says holds nobody up."""
    with waiting.start("run", "waits", "--id", "w1") as owner:
        waiting.until_owned("w1", owner)
        owner.signal(signal.SIGKILL)
        owner.end()
    assert str(owner.pid) in (waiting.histories / ".aion" / "locks" / "w1.lock").read_text()
    assert waiting.here("signal", "w1", "words", '"alive"').code == 0
    assert waiting.here("run", "waits", "--id", "w1", "-q") == (0, '"alive"\n', "")


# --- 15: payloads that are too large


@activity
async def letters(count: int) -> str:
    return "x" * count


@workflow
async def counts_letters(count: int) -> int:
    return len(await letters(count))


@pytest.mark.complaint(15)
def test_a_result_too_long_for_a_line_lies_beside_the_history_and_replays(tmp_path: Path) -> None:
    """Row 15: it is spilled to a blob, before the line that names it."""
    place = Place(tmp_path)
    end = place.run(counts_letters, INLINE_LIMIT + 1)
    assert isinstance(end.closed_by, ev.WorkflowCompleted)
    assert place.folder.history(RunName("order-1")).stat().st_size < INLINE_LIMIT
    assert isinstance(replayed(counts_letters, place.events()).closed_by, ev.WorkflowCompleted)


@pytest.mark.complaint(15)
def test_a_result_over_the_limit_fails_its_activity_and_the_run_is_not_stuck(tmp_path: Path) -> None:
    """Row 15: the size is checked before anything is appended, and trying again would not help."""
    place = Place(tmp_path)
    end = place.run(counts_letters, BLOB_LIMIT)
    assert isinstance(end.closed_by, ev.WorkflowFailed)
    assert "larger than 64 MiB" in end.closed_by.error.message
    assert place.names() == [
        "WorkflowStarted",
        "ActivityScheduled",
        "ActivityStarted",
        "ActivityFailed",
        "WorkflowFailed",
    ]


# --- 16: long histories


@workflow
async def many(count: int) -> int:
    for number in range(count):
        await letters(number)
    return count


def long_history(count: int) -> list[ev.Event]:
    steps = [event for n in range(count) for event in (scheduled(n, "letters", n), completed(n, "x"))]
    return history(started(count), *steps, ended(count))


def calls_of_a_replay(events: Sequence[Any]) -> int:
    """Count the Python calls that a replay takes, which is the same in every run."""
    calls = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call"

    replay = Replay(HistoryCursor(events), many)
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        replay.run()
    finally:
        sys.setprofile(before)
        replay.execution.close()
    return calls


@pytest.mark.complaint(16)
def test_a_history_of_twice_the_length_takes_twice_the_work_to_replay() -> None:
    """Row 16: one pass."""
    calls_of_a_replay(long_history(1))  # what is done once is done by now
    once, twice = calls_of_a_replay(long_history(300)), calls_of_a_replay(long_history(600))
    assert 1.9 < twice / once < 2.1
