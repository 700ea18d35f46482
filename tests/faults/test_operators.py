"""What an operator asked last is what counts, whatever a power cut brings back of what was asked before.

Pausing, resuming and terminating have no ids: a message that comes back looks like a new one.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import pytest

from aion_cli.core import events as ev
from aion_cli.errors import WrongStateError
from aion_cli.runtime.delivery import deliver, drain_unowned
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.journal import read_history
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.reopening import reopen
from aion_cli.runtime.wall import WallClock
from tests.faults.crashes import disks_after
from tests.faults.disk import CHANGING, Disk, Step
from tests.faults.model import ROOT, ModelMachine
from tests.faults.promises import LOST, BrokenPromise
from tests.faults.scenes import RUN
from tests.faults.tally import STATES, Tally
from tests.storage import create, started

MOST = 64
COMMANDS = (
    ["leave pause", "leave unpause", "drain"],
    ["leave pause", "leave unpause", "drain", "leave pause", "drain", "unpause"],
    ["pause", "unpause", "pause"],
    ["leave pause", "leave unpause", "leave pause", "leave unpause", "drain"],
    ["terminate", "reopen", "pause"],
    ["leave pause", "leave terminate", "drain", "reopen"],
    ["leave pause", "leave unpause", "leave terminate", "drain", "reopen", "pause", "unpause"],
)
ASKED: dict[str, type[ev.Event]] = {
    "pause": ev.WorkflowPaused,
    "unpause": ev.WorkflowResumed,
    "terminate": ev.WorkflowTerminated,
    "reopen": ev.WorkflowReopened,
}


class Crash(NamedTuple):
    """A disk that a power cut left. asked: what was acknowledged last. next: what was being done."""

    disk: Disk
    asked: str
    next: str


def quiet(sentence: str) -> None:
    del sentence


def do(folder: HistoriesFolder, what: str) -> None:
    """What a command does. A message that begins with "leave" goes to a run that somebody owns."""
    kind = what.removeprefix("leave ")
    if what == "drain":
        drain_unowned(folder, RUN, role=Role.RUN, clock=WallClock(), notice=quiet)
    elif what == "reopen":
        reopen(folder, RUN, from_seq=None, reason="", clock=WallClock(), notice=quiet)
    elif kind != what:
        Inbox(folder, RUN).accept(ASKED[kind](), chosen_id=False)
    else:
        deliver(folder, RUN, ASKED[kind](), chosen_id=False, role=Role.PAUSE, clock=WallClock(), notice=quiet)


def crashes_of(commands: list[str]) -> list[Crash]:
    """Give commands one after the other; returns all disks that a power cut may leave meanwhile."""
    found: list[Crash] = []
    disk = Disk()
    machine = ModelMachine(disk)
    create(ROOT / f"{RUN}.jsonl", [started(RUN)], files=Files(machine.calls())).close()
    asked = current = ""

    def look(step: Step) -> None:
        if step.name in CHANGING:
            found.extend(Crash(each, asked, current) for each in disks_after(disk, random.Random(0), MOST))

    machine.watch = look
    for current in commands:
        do(HistoriesFolder(ROOT, Files(machine.calls())), current)
        asked = asked if current == "drain" else current.removeprefix("leave ")
    look(Step("write", ""))
    return found


def refused_or_done(folder: HistoriesFolder, what: str) -> bool:
    """Give a command once more after a power cut; returns whether it was done."""
    try:
        do(folder, what)
    except WrongStateError:
        return False
    return True


def last_asked(folder: HistoriesFolder) -> str:
    """What the history says was asked last, once all that was accepted is in it."""
    do(folder, "drain")
    events: list[Any] = list(read_history(folder.latest(RUN).path, folder.files))
    said = [name for event in events for name, kind in ASKED.items() if type(event) is kind]
    return said[-1] if said else ""


@pytest.mark.parametrize("commands", COMMANDS)
def test_what_was_asked_last_holds_after_a_power_cut(model: None, commands: list[str], tally: Tally) -> None:
    crashes = crashes_of(commands)
    assert crashes
    for crash in crashes:
        folder = HistoriesFolder(ROOT, Files(ModelMachine(crash.disk).calls()))
        done = refused_or_done(folder, crash.next)
        asked = crash.asked if crash.next == "drain" else crash.next.removeprefix("leave ")
        found = last_asked(folder)
        if found != asked and (done or found != crash.asked):
            raise BrokenPromise(LOST, f"{crash.asked} was acknowledged last, then {crash.next}; found {found}")
    tally.add(STATES, len(crashes))
