"""Record golden histories: real runs of workflows/, by a process that calls itself ci.example.

    .venv/bin/python scripts/make_golden.py                  those that are missing
    .venv/bin/python scripts/make_golden.py order-late       this one, if it is missing

A golden that is there is left alone: delete it to record it anew, and see histories/README.md for when that is right.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.delivery import deliver
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.handoff import Worker
from aion_cli.runtime.live import RunSettings, SuspendReason
from aion_cli.runtime.loader import load_target
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.runner import Runner
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop

PROJECT = Path(__file__).resolve().parents[1]
GOLDEN = PROJECT / "histories" / "golden"
ORDER = {"sku": "A1", "cents": 1250}
STEPS = {"tools": "echo tools", "lint": "echo lint", "tests": "sleep 0.2; echo tests", "build": "echo build"}
YES = {"by": "Ada", "approved": True}
NO = {"by": "Grace", "approved": False}
ANSWERS_AFTER_S = "0.2"

Seen = Callable[[Runner, ev.Event], None]


def say(sentence: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{sentence}\n")


class Stage:
    """One workflow id in an empty folder, run and signalled by this process. The current directory is that folder."""

    def __init__(self, workflow: str, workflow_id: str) -> None:
        self.definition: WorkflowDefinition[..., Any] = load_target(workflow, PROJECT / "workflows", PROJECT)
        self.workflow_id = workflow_id
        self.shop = Path("shop")
        self.shop.mkdir()
        (self.shop / "slow").write_text(ANSWERS_AFTER_S)
        self._folder = HistoriesFolder(Path("recorded"))
        self._clock = WallClock()

    def run(self, input: object, *, to_the_end: bool = False, seen: Seen = lambda runner, event: None) -> None:
        """Run to the end, or until only a timer or a signal can move it. seen: is told of every recorded event."""
        paths = SourcePaths(str(PROJECT))

        def listener(workflow_id: str, events: Sequence[ev.Event]) -> None:
            for event in events:
                say(f"{workflow_id}  {type(event).__name__}")
                seen(runner, event)

        workshop = Workshop(
            folder=self._folder,
            clock=self._clock,
            paths=paths,
            activities=ActivityRunner(paths),
            listener=listener,
            notice=say,
            settings=RunSettings(stop_when_blocked=not to_the_end),
            worker=Worker("ci.example", 4242),
        )
        raw = self.definition.signature.complete_input(msgspec.json.encode(input))
        started = workshop.first_event(self.definition, self.workflow_id, raw)
        runner = LocalRuns(workshop).runner(self.workflow_id)
        asyncio.run(runner.run(self.definition, started))

    def approve(self, payload: object) -> None:
        """Send the approval that both workflows wait for."""
        raw = msgspec.Raw(msgspec.json.encode(payload))
        self._deliver(
            ev.SignalReceived(name="approval", payload=raw, signal_id=f"{self.workflow_id}/approval"), Role.SIGNAL
        )

    def cancel(self) -> None:
        """Ask the run to cancel."""
        self._deliver(
            ev.WorkflowCancelRequested(request_id=f"{self.workflow_id}/cancel", reason="changed my mind"), Role.CANCEL
        )

    def _deliver(self, message: ev.Event, role: Role) -> None:
        deliver(self._folder, self.workflow_id, message, chosen_id=True, role=role, clock=self._clock, notice=say)

    def keep(self) -> None:
        """Put the histories, those of children too, among the goldens."""
        for history in self._folder.runs():
            shutil.copy(history.path, GOLDEN)


def approved(stage: Stage, input: dict[str, Any], answer: object) -> None:
    """It waits for an answer, which comes while nobody works on it."""
    stage.run(input)
    stage.approve(answer)
    stage.run(input)


def approved_early(stage: Stage) -> None:
    """The approval is there before anybody waits for it."""

    def seen(runner: Runner, event: ev.Event) -> None:
        if isinstance(event, ev.ActivityStarted) and event.activity_id == 0:
            stage.approve(True)

    stage.run(ORDER, to_the_end=True, seen=seen)


def late(stage: Stage) -> None:
    """Nobody answers in time."""
    stage.run({**ORDER, "approve_within_s": 0.5}, to_the_end=True)


def cancelled(stage: Stage) -> None:
    """Somebody cancels it while it waits."""
    stage.run(ORDER)
    stage.cancel()
    stage.run(ORDER)


def sold_out(stage: Stage) -> None:
    """The child fails, and the parent compensates."""
    (stage.shop / "sold-out").write_text("A1\n")
    approved(stage, ORDER, True)


def carrier_closed(stage: Stage) -> None:
    """An activity fails twice, and is tried again."""
    closed = stage.shop / "carrier-closed"
    closed.touch()

    def seen(runner: Runner, event: ev.Event) -> None:
        if isinstance(event, ev.ActivityFailed) and event.attempt == 2:
            closed.unlink()

    stage.run(ORDER)
    stage.approve(True)
    stage.run(ORDER, seen=seen)


def interrupted(stage: Stage, input: dict[str, Any], answer: object, activity_id: int) -> None:
    """The process stops in the middle of an activity; the next one makes another attempt of it."""

    def seen(runner: Runner, event: ev.Event) -> None:
        if isinstance(event, ev.ActivityStarted) and event.activity_id == activity_id:
            runner.suspend(SuspendReason.INTERRUPTED)  # before it begins, so it has no outcome

    stage.run(input, seen=seen)
    approved(stage, input, answer)


RELEASE = {**STEPS, "publish": "echo published"}
GOLDENS: dict[str, tuple[str, Callable[[Stage], None]]] = {
    "order-approved": ("order_saga", lambda stage: approved(stage, ORDER, True)),
    "order-approved-early": ("order_saga", approved_early),
    "order-refused": ("order_saga", lambda stage: approved(stage, ORDER, False)),
    "order-late": ("order_saga", late),
    "order-cancelled": ("order_saga", cancelled),
    "order-sold-out": ("order_saga", sold_out),
    "order-retried": ("order_saga", carrier_closed),
    "order-interrupted": ("order_saga", lambda stage: interrupted(stage, ORDER, True, 0)),
    "release-approved": ("release", lambda stage: approved(stage, RELEASE, YES)),
    "release-refused": ("release", lambda stage: approved(stage, RELEASE, NO)),
    "release-failed": ("release", lambda stage: stage.run({**RELEASE, "lint": "echo 'E501 too long'; exit 1"})),
    "release-interrupted": ("release", lambda stage: interrupted(stage, RELEASE, YES, 2)),
}


def record(name: str) -> None:
    """Record one golden, unless it is there."""
    if (GOLDEN / f"{name}.jsonl").exists():
        return
    workflow, play = GOLDENS[name]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        stage = Stage(workflow, name)
        play(stage)
        stage.keep()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    unknown = set(sys.argv[1:]) - set(GOLDENS)
    if unknown:
        sys.exit(f"there is no golden {', '.join(sorted(unknown))}; there are {', '.join(GOLDENS)}")
    for wanted in sys.argv[1:] or GOLDENS:
        record(wanted)
