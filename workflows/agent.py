"""An agent: a model plans, calls tools one by one, and asks a person before it does what can't be undone.

    mkdir -p playground/notes && cd playground/notes && echo 'Buy milk' > shopping.md && touch empty.md && cd ../..
    aion run agent --id tidy-1 -p goal='tidy up my notes' --until-blocked
    aion query tidy-1 asks
    aion signal tidy-1 approval '{"turn": 4, "approved": true, "by": "Ada"}'
    aion run agent --id tidy-1
    cat playground/notes/index.md

Its model is a stand-in: a few rules that tidy up notes whatever the goal is, so that this runs without a network and
comes out the same each time. To use a real one, write a class with the method of `Model`, and make it MODEL. Replies
are types: one that does not fit them fails in `think`, before anything is done with it, and is asked for again.

After a crash, a reply that is recorded is not asked for again, and a call that is done is not made again. After
`history_limit` events the run continues as a new one, and takes the turns along.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol, assert_never

import msgspec

from aion_cli import (
    ActivityError,
    ContinueAsNew,
    NonRetryable,
    RetryPolicy,
    Signal,
    activity,
    history_length,
    query,
    set_progress,
    workflow,
)


class Plan(msgspec.Struct, frozen=True, tag="plan", tag_field="reply"):
    """What the model is about to do; it can be read with `aion query RUN turns`."""

    steps: list[str]


class ListFiles(msgspec.Struct, frozen=True, tag="list_files", tag_field="reply"):
    """The names of the files in the workspace, one a line."""


class ReadFile(msgspec.Struct, frozen=True, tag="read_file", tag_field="reply"):
    """The text of a file."""

    name: str


class WriteFile(msgspec.Struct, frozen=True, tag="write_file", tag_field="reply"):
    """Make a file, or replace what it holds."""

    name: str
    text: str


class DeleteFile(msgspec.Struct, frozen=True, tag="delete_file", tag_field="reply"):
    """Delete a file. A person has to approve of it."""

    name: str


class Answer(msgspec.Struct, frozen=True, tag="answer", tag_field="reply"):
    """The model is done."""

    text: str


Call = ListFiles | ReadFile | WriteFile | DeleteFile
DANGEROUS = (DeleteFile,)


class Turn(msgspec.Struct, frozen=True):
    """What the model replied, and what it is told about it."""

    reply: Plan | Call
    outcome: str
    failed: bool = False


class Task(msgspec.Struct, frozen=True):
    """What is to be done, where, and within which bounds. turns: what has happened in runs before this one."""

    goal: str
    workspace: str = "playground/notes"
    max_turns: int = 100
    approve_within_s: float = 86_400.0
    history_limit: int = 500
    turns: list[Turn] = []


class Approval(msgspec.Struct, frozen=True):
    """A person's word on one call. turn: which, since a yes to one must not be taken for a yes to another."""

    turn: int
    approved: bool
    by: str


class Question(msgspec.Struct, frozen=True):
    """A call that waits for a person."""

    turn: int
    call: Call


class TooManyTurnsError(Exception):
    """The model did not come to an end."""


class Model(Protocol):
    """What replies to a goal and to what has happened so far, with the JSON of a Plan, a Call or an Answer."""

    def reply(self, goal: str, turns: Sequence[Turn]) -> bytes: ...


class StandIn:
    """No model but rules: read every note, delete the empty ones, write an index of the others."""

    def reply(self, goal: str, turns: Sequence[Turn]) -> bytes:
        """Return the JSON of the next thing to do."""
        del goal
        return msgspec.json.encode(self.next(turns))

    def next(self, turns: Sequence[Turn]) -> Plan | Call | Answer:
        """Return the first thing that has not been done yet."""
        outcomes = {turn.reply: turn for turn in turns if not isinstance(turn.reply, Plan)}
        if not turns:
            return Plan(["read every note", "delete the empty ones", "write an index"])
        if ListFiles() not in outcomes:
            return ListFiles()
        names = [name for name in outcomes[ListFiles()].outcome.splitlines() if name != "index.md"]
        texts = {name: outcomes[ReadFile(name)].outcome.strip() for name in names if ReadFile(name) in outcomes}
        wanted: list[Call] = [ReadFile(name) for name in names]
        wanted += [DeleteFile(name) for name, text in texts.items() if not text]
        wanted.append(
            WriteFile("index.md", "".join(f"- {name}: {text[:60]}\n" for name, text in texts.items() if text))
        )
        missing = [call for call in wanted if call not in outcomes]
        return missing[0] if missing else Answer(f"{len(names)} notes read, index.md written")


MODEL: Model = StandIn()


@activity(retry=RetryPolicy(max_attempts=5), timeout=timedelta(minutes=2))
def think(goal: str, turns: list[Turn]) -> Plan | Call | Answer:
    """Ask the model what to do next."""
    return msgspec.json.decode(MODEL.reply(goal, turns), type=Plan | Call | Answer)


@activity(timeout=timedelta(minutes=1))
def use(workspace: str, call: Call) -> str:
    """Do what the model asked for. Each of the tools bears being repeated, since a crash can hide that it was used."""
    match call:
        case ListFiles():
            return "\n".join(sorted(path.name for path in Path(workspace).iterdir() if path.is_file()))
        case ReadFile():
            return inside(workspace, call.name).read_text("utf-8")
        case WriteFile():
            file = inside(workspace, call.name)
            draft = file.with_suffix(".part")
            draft.write_text(call.text, "utf-8")
            draft.replace(file)
            return "written"
        case DeleteFile():
            inside(workspace, call.name).unlink(missing_ok=True)
            return "deleted"
        case _:
            assert_never(call)


def inside(workspace: str, name: str) -> Path:
    """Return the path of a file of the workspace. A model may ask for any name; no other gets through."""
    if name != Path(name).name or name in ("", ".."):
        raise NonRetryable(f"{name!r} is no file of the workspace")
    return Path(workspace, name)


approval = Signal("approval", Approval)


@workflow
async def agent(task: Task) -> Answer:
    """Ask the model and do what it says, until it answers."""
    turns = list(task.turns)
    asked: list[Question] = []
    query("turns", lambda: turns)
    query("asks", lambda: asked)
    while len(turns) < task.max_turns:
        reply = await think(task.goal, turns)
        match reply:
            case Answer():
                return reply
            case Plan():
                turns.append(Turn(reply, "go ahead"))
            case _:
                turns.append(await called(task, Question(len(turns), reply), asked))
        set_progress(len(turns), task.max_turns, type(reply).__name__)
        if history_length() > task.history_limit:
            raise ContinueAsNew(msgspec.structs.replace(task, turns=turns))
    raise TooManyTurnsError(f"no answer after {task.max_turns} turns")


async def called(task: Task, question: Question, asked: list[Question]) -> Turn:
    """Make a call, if it may be made. What goes wrong is for the model to know, and no reason to end."""
    if isinstance(question.call, DANGEROUS):
        asked.append(question)
        refusal = await refused(question.turn, task.approve_within_s)
        asked.clear()
        if refusal is not None:
            return Turn(question.call, refusal, failed=True)
    try:
        return Turn(question.call, await use(task.workspace, question.call))
    except ActivityError as error:
        return Turn(question.call, f"{error.type}: {error.message}", failed=True)


async def refused(turn: int, within_s: float) -> str | None:
    """Wait for a person's word on a turn; returns why it is a no, or None for a yes."""
    try:
        async with asyncio.timeout(within_s):
            while (word := await approval.receive()).turn != turn:
                pass  # about another call than the one that is asked for
    except TimeoutError:
        return "nobody approved of it in time"
    return None if word.approved else f"{word.by} refused it"
