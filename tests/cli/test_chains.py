"""A run that continued as new is one run for those who ask: `show`, `list` and `result` over several histories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.audited import damage
from tests.cli.support import Project

LOOPS = """
    from aion_cli import ContinueAsNew

    go = Signal("go", int)

    @workflow
    async def loops(n: int) -> int:
        if n < 3:
            raise ContinueAsNew(n + 1)
        return n + await go.receive()
"""


@pytest.fixture
def loops(project: Project) -> Project:
    """A run that has continued as new twice, and waits; and one that has a similar name."""
    project.write(LOOPS)
    assert project.here("run", "loops", "--id", "l", "--input", "1", "--until-blocked").code == 3
    assert project.here("run", "loops", "--id", "l-2", "--input", "3", "--until-blocked").code == 3
    return project


def lines_of(project: Project, *names: str) -> list[str]:
    return [line for name in names for line in project.history(name).read_text().splitlines()]


def test_an_id_shows_the_whole_chain_and_a_number_one_history(loops: Project) -> None:
    shown = loops.here("show", "l")
    assert (shown.code, shown.stderr) == (0, "")
    parts = shown.stdout.split("\n\n")
    heads = ["l@1  histories/l.jsonl", "l@2  histories/l@2.jsonl", "l@3  histories/l@3.jsonl"]
    assert [part.splitlines()[0] for part in parts] == heads
    for number, part in enumerate(parts, start=1):
        one = loops.here("show", f"l@{number}").stdout
        assert part.rstrip("\n").splitlines()[1:] == one.splitlines()
    assert loops.here("show", "histories/l.jsonl").stdout == loops.here("show", "l@1").stdout


def test_a_run_of_one_history_has_no_heading(loops: Project) -> None:
    assert loops.here("show", "l-2").stdout.split()[0] == "seq"


def test_for_scripts_the_events_of_a_chain_come_in_order_as_they_stand_in_the_files(loops: Project) -> None:
    whole = lines_of(loops, "l", "l@2", "l@3")
    assert loops.here("show", "l", "-o", "jsonl").stdout.splitlines() == whole
    assert loops.here("show", "l", "-o", "json").document == [json.loads(line) for line in whole]
    assert loops.here("show", "l@2", "-o", "jsonl").stdout.splitlines() == lines_of(loops, "l@2")
    run_ids = [event["run_id"] for event in map(json.loads, whole) if event["type"] == "WorkflowStarted"]
    assert len(set(run_ids)) == 3


def test_damage_in_a_chain_is_told_after_all_that_stands_above_it(loops: Project) -> None:
    damage(loops.history("l@2"), line=2)
    done = loops.here("show", "l", "-o", "jsonl")
    assert done.code == 5
    assert "histories/l@2.jsonl:2" in done.stderr
    assert done.stdout.splitlines()[:-1] == [*lines_of(loops, "l"), lines_of(loops, "l@2")[0]]
    assert json.loads(done.stdout.splitlines()[-1])["code"] == "damaged"
    assert loops.here("show", "l@3").code == 0


def test_the_result_is_that_of_the_end_of_the_chain_whichever_history_is_named(loops: Project) -> None:
    for named in ("l", "l@1", "l@2", "l@3", "histories/l.jsonl"):
        waiting = loops.here("result", named)
        assert (waiting.code, waiting.document["status"], waiting.document["run_id"][-2:]) == (3, "waiting", "@3")
    assert loops.here("signal", "l", "go", "4").code == 0
    assert loops.here("run", "loops", "--id", "l").code == 0
    for named in ("l", "l@1", "l@2", "l@3", "histories/l.jsonl"):
        assert loops.here("result", named, "--wait") == (0, "7\n", "")


def test_between_two_histories_a_run_is_open(loops: Project) -> None:
    Path(loops.history("l@3")).unlink()
    done = loops.here("result", "l")
    assert (done.code, done.document["status"]) == (3, "continued")
    assert [line.split()[0] for line in loops.here("show", "l").stdout.split("\n\n")] == ["l@1", "l@2"]


def test_the_list_has_a_row_for_each_history(loops: Project) -> None:
    rows = [line.split()[:3] for line in loops.here("list").stdout.splitlines()[1:]]
    assert rows == [
        ["l", "loops", "continued"],
        ["l@2", "loops", "continued"],
        ["l@3", "loops", "waiting"],
        ["l-2", "loops", "waiting"],
    ]
