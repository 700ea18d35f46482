"""The agent: what it does by itself, what it asks for, and what its model is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from aion_cli import NonRetryable
from aion_cli.testing import crash_everywhere, run_workflow
from tests.cli.support import Done, Project
from tests.workflows.attempts import WORKFLOWS
from workflows import agent as example
from workflows.agent import (
    Answer,
    Approval,
    Call,
    DeleteFile,
    ListFiles,
    Plan,
    ReadFile,
    StandIn,
    Task,
    TooManyTurnsError,
    Turn,
    WriteFile,
    agent,
    approval,
    think,
    use,
)

NOTES = {"empty.md": "", "garden.md": "Water the roses.\n", "shopping.md": "Buy milk.\n"}
TASK = Task("tidy up")
DELETION = 5
INDEX = "- garden.md: Water the roses.\n- shopping.md: Buy milk.\n"
TIDY = Answer("3 notes read, index.md written")


def yes(turn: int) -> tuple[Any, Approval]:
    return approval, Approval(turn, approved=True, by="Ada")


def no(turn: int) -> tuple[Any, Approval]:
    return approval, Approval(turn, approved=False, by="Grace")


class Thinker(Protocol):
    def next(self, turns: Sequence[Turn]) -> Plan | Call | Answer: ...


class Rehearsal:
    """Tools that touch nothing, and a model that is overheard. turns: what it was told last; calls: what was done."""

    def __init__(self, model: Thinker | None = None) -> None:
        self.turns: Sequence[Turn] = []
        self.calls: list[Call] = []
        self._model = model or StandIn()
        self.does = {think: self._think, use: self._use}

    def _think(self, goal: str, turns: list[Turn]) -> Plan | Call | Answer:
        del goal
        self.turns = turns
        return self._model.next(turns)

    def _use(self, workspace: str, call: Call) -> str:
        del workspace
        self.calls.append(call)
        match call:
            case ListFiles():
                return "\n".join(NOTES)
            case ReadFile():
                return NOTES[call.name]
            case _:
                return "done"


class Scripted:
    """A model that replies with what it is given, one after the other, and goes on with the last."""

    def __init__(self, *replies: Plan | Call | Answer) -> None:
        self._replies = replies

    def next(self, turns: Sequence[Turn]) -> Plan | Call | Answer:
        return self._replies[min(len(turns), len(self._replies) - 1)]


def test_notes_are_read_the_empty_one_is_deleted_and_an_index_written() -> None:
    rehearsal = Rehearsal()
    assert run_workflow(agent, TASK, activities=rehearsal.does, signals=[yes(DELETION)]) == TIDY
    assert rehearsal.turns[0] == Turn(Plan(["read every note", "delete the empty ones", "write an index"]), "go ahead")
    assert rehearsal.calls == [
        ListFiles(),
        *(ReadFile(name) for name in NOTES),
        DeleteFile("empty.md"),
        WriteFile("index.md", INDEX),
    ]


def test_what_a_person_refuses_is_not_done_and_the_model_is_told_so() -> None:
    rehearsal = Rehearsal()
    assert run_workflow(agent, TASK, activities=rehearsal.does, signals=[no(DELETION)]) == TIDY
    assert DeleteFile("empty.md") not in rehearsal.calls
    assert rehearsal.turns[DELETION] == Turn(DeleteFile("empty.md"), "Grace refused it", failed=True)


@pytest.mark.parametrize("signals", [[], [yes(DELETION - 1), yes(DELETION + 1)]], ids=["nothing", "about other turns"])
def test_what_nobody_approves_in_time_is_not_done(signals: list[tuple[Any, Approval]]) -> None:
    rehearsal = Rehearsal()
    assert run_workflow(agent, TASK, activities=rehearsal.does, signals=signals) == TIDY
    assert DeleteFile("empty.md") not in rehearsal.calls
    assert rehearsal.turns[DELETION].outcome == "nobody approved of it in time"


@pytest.mark.parametrize("history_limit", [1, 15, 40])
def test_further_runs_know_what_earlier_ones_did(history_limit: int) -> None:
    rehearsal = Rehearsal()
    task = Task("tidy up", history_limit=history_limit)
    assert run_workflow(agent, task, activities=rehearsal.does, signals=[yes(DELETION)]) == TIDY
    assert rehearsal.calls.count(DeleteFile("empty.md")) == 1
    assert [type(turn.reply) for turn in rehearsal.turns].count(Plan) == 1


@pytest.mark.parametrize("history_limit", [15, 500])
def test_a_crash_changes_nothing(history_limit: int) -> None:
    task = Task("tidy up", history_limit=history_limit)
    for signals in ([yes(DELETION)], []):
        assert crash_everywhere(agent, task, activities=Rehearsal().does, signals=signals) == TIDY


def test_a_call_that_fails_is_for_the_model_to_deal_with(tmp_path: Path) -> None:
    model = Scripted(ReadFile("nothing.md"), ReadFile("../secret.md"), Answer("gave up"))
    rehearsal = Rehearsal(model)
    task = Task("read", workspace=str(tmp_path))
    assert run_workflow(agent, task, activities={think: rehearsal.does[think]}) == Answer("gave up")
    assert [turn.failed for turn in rehearsal.turns] == [True, True]
    assert rehearsal.turns[0].outcome.startswith("FileNotFoundError: ")
    assert rehearsal.turns[1].outcome == "NonRetryable: '../secret.md' is no file of the workspace"


def test_a_model_that_comes_to_no_end_is_stopped() -> None:
    rehearsal = Rehearsal(Scripted(ListFiles()))
    with pytest.raises(TooManyTurnsError, match="no answer after 7 turns"):
        run_workflow(agent, Task("loop", max_turns=7), activities=rehearsal.does)
    assert len(rehearsal.calls) == 7


class Stammering:
    """A model that makes sense at the third attempt."""

    def __init__(self) -> None:
        self._replies = [b"Sure! Here is", b'{"reply": "format_disk"}', b'{"reply": "answer", "text": "sorry"}']

    def reply(self, goal: str, turns: Sequence[Turn]) -> bytes:
        del goal, turns
        return self._replies.pop(0)


def test_a_reply_that_is_none_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "MODEL", Stammering())
    assert run_workflow(agent, Task("reply")) == Answer("sorry")


def test_tools_work_on_the_files_of_the_workspace(tmp_path: Path) -> None:
    def used(call: Call) -> str:
        return use.fn(str(tmp_path), call)

    assert [used(WriteFile("a.md", "one")), used(WriteFile("a.md", "two"))] == ["written", "written"]
    assert [used(ListFiles()), used(ReadFile("a.md"))] == ["a.md", "two"]
    assert [used(DeleteFile("a.md")), used(DeleteFile("a.md"))] == ["deleted", "deleted"]
    assert used(ListFiles()) == ""


@pytest.mark.parametrize("name", ["", ".", "..", "../a.md", "deep/a.md", "a.md/", "/a.md"])
def test_nothing_outside_of_the_workspace_is_touched(tmp_path: Path, name: str) -> None:
    for call in (ReadFile(name), WriteFile(name, "text"), DeleteFile(name)):
        with pytest.raises(NonRetryable, match="no file of the workspace"):
            use.fn(str(tmp_path), call)


def typed(folder: Path, *words: str) -> Done:
    return Project(folder).aion("--workflows", WORKFLOWS, *words)


def test_the_agent_waits_for_a_person_and_goes_on(tmp_path: Path) -> None:
    notes = tmp_path / "playground" / "notes"
    notes.mkdir(parents=True)
    for name, text in NOTES.items():
        (notes / name).write_text(text)
    run = ["run", "agent", "--id", "tidy-1", "-p", "goal=tidy up", "-p", "history_limit:=15"]
    assert typed(tmp_path, *run, "--until-blocked").code == 3
    asks = [{"turn": DELETION, "call": {"reply": "delete_file", "name": "empty.md"}}]
    assert typed(tmp_path, "query", "tidy-1", "asks").document == asks
    word = json.dumps({"turn": DELETION, "approved": True, "by": "Ada"})
    assert typed(tmp_path, "signal", "tidy-1", "approval", word).code == 0
    done = typed(tmp_path, *run)
    assert (done.code, done.document["text"]) == (0, TIDY.text)
    assert typed(tmp_path, "query", "tidy-1@2", "asks").document == []
    assert sorted(path.name for path in notes.iterdir()) == ["garden.md", "index.md", "shopping.md"]
    assert (notes / "index.md").read_text() == INDEX
    assert (tmp_path / "histories" / "tidy-1@3.jsonl").exists()
