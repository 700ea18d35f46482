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
from datetime import UTC, datetime, timedelta
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
        self._messages = 0

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
        """Send the approval that some workflows wait for."""
        self.signal("approval", payload)

    def signal(self, name: str, payload: object = None) -> None:
        """Send a signal."""
        self._messages += 1
        signal_id = f"{self.workflow_id}/{name}" + (f"-{self._messages}" if self._messages > 1 else "")
        raw = msgspec.Raw(msgspec.json.encode(payload))
        self._deliver(ev.SignalReceived(name=name, payload=raw, signal_id=signal_id), Role.SIGNAL)

    def update(self, name: str, args: object) -> None:
        """Ask for an update; it is answered by the next run."""
        raw = msgspec.Raw(msgspec.json.encode(args))
        self._deliver(ev.UpdateRequested(name=name, args=raw, update_id=f"{self.workflow_id}/{name}"), Role.UPDATE)

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


def when(kind: type[ev.Event], do: Callable[[], None], **fields: object) -> Seen:
    """Return a listener that does something once: at the first event of this kind with these fields."""
    waiting = [do]

    def seen(runner: Runner, event: ev.Event) -> None:
        del runner
        if waiting and isinstance(event, kind) and all(getattr(event, name) == fields[name] for name in fields):
            waiting.pop()()

    return seen


def put(path: str, text: str = "") -> None:
    """Write a file of the current directory."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def decided(stage: Stage) -> None:
    """The approver agrees while nobody works on the claim."""
    stage.run(CLAIM)
    stage.signal("decision", {"by": "approver@example.org", "approved": True})
    stage.run(CLAIM)


def reminded(stage: Stage) -> None:
    """The approver refuses, after a reminder."""
    no = {"by": "approver@example.org", "approved": False, "remark": "take the bus"}
    seen = when(ev.ActivityCompleted, lambda: stage.signal("decision", no), activity_id=1)
    stage.run({**CLAIM, "remind_every_s": 0.5}, to_the_end=True, seen=seen)


def unanswered(stage: Stage) -> None:
    """The approver says nothing to the question and two reminders."""
    stage.run({**CLAIM, "remind_every_s": 0.3, "reminders": 2}, to_the_end=True)


def handed_over(stage: Stage) -> None:
    """Another approver is asked, and what the first one says counts no more."""
    stage.run(CLAIM)
    stage.update("hand_over", "deputy@example.org")
    stage.run(CLAIM)
    stage.signal("decision", {"by": "approver@example.org", "approved": False})
    stage.signal("decision", {"by": "deputy@example.org", "approved": True})
    stage.run(CLAIM)


def logs() -> None:
    """Put files there to be compressed."""
    for number in range(1, 6):
        put(f"playground/logs/day-{number}.log", f"line of day {number}\n" * 1_000)


def compressed(stage: Stage) -> None:
    """Five files, two at a time."""
    logs()
    stage.run({"limit": 2})


def compressed_but_one(stage: Stage) -> None:
    """A file is gone when its turn comes."""
    logs()
    gone = Path("playground/logs/day-2.log")
    stage.run({"limit": 2}, seen=when(ev.ActivityCompleted, gone.unlink, activity_id=0))


def compressed_at_last(stage: Stage) -> None:
    """Something is in the way of a file, and is gone at its second attempt."""
    logs()
    obstacle = Path("playground/packed/day-2.log.gz")
    obstacle.mkdir(parents=True)
    stage.run({"limit": 2}, seen=when(ev.ActivityFailed, obstacle.rmdir))


def compressed_by_two(stage: Stage) -> None:
    """The process stops while it compresses two files; the next one makes another attempt."""
    logs()

    def seen(runner: Runner, event: ev.Event) -> None:
        if isinstance(event, ev.ActivityStarted) and event.activity_id == 2:
            runner.suspend(SuspendReason.INTERRUPTED)

    stage.run({"limit": 2}, seen=seen)
    stage.run({"limit": 2})


def notes() -> None:
    """Put notes there to be tidied up; the one to be deleted is asked for in turn 5."""
    put("playground/notes/empty.md")
    put("playground/notes/garden.md", "Water the roses.\n")
    put("playground/notes/shopping.md", "Buy milk.\n")


def asked(stage: Stage, *, approved: bool) -> None:
    """The agent asks a person, who answers while nobody works on it; another answer was to no question."""
    notes()
    stage.run(TASK)
    stage.approve({"turn": 4, "approved": not approved, "by": "Grace"})
    stage.approve({"turn": 5, "approved": approved, "by": "Ada"})
    stage.run(TASK)


def asked_in_vain(stage: Stage) -> None:
    """Nobody answers the agent in time."""
    notes()
    stage.run({**TASK, "approve_within_s": 0.5}, to_the_end=True)


def continued(stage: Stage) -> None:
    """The agent goes on in further runs; the approval is there before the run that asks for it."""
    notes()
    task = {**TASK, "history_limit": 15}
    early = when(ev.ActivityStarted, lambda: stage.approve({"turn": 5, "approved": True, "by": "Ada"}))
    stage.run(task, to_the_end=True, seen=early)


def two_nights(stage: Stage) -> None:
    """Two backups; the first archive goes when the second is there."""
    put("playground/documents/letter.txt", "Dear reader\n")
    stage.run({"at": clock_in(2.5), "keep": 1, "nights": 2}, to_the_end=True)


def bad_night(stage: Stage) -> None:
    """There is nothing to back up in the first night, and there is in the second."""
    arrives = when(ev.TimerStarted, lambda: put("playground/documents/letter.txt", "Dear reader\n"))
    stage.run({"at": clock_in(14), "nights": 2}, to_the_end=True, seen=arrives)


def clock_in(seconds: float) -> str:
    """Return what the clock will show in so many seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).timetz().isoformat()


def loaded(stage: Stage) -> None:
    """Two files are loaded, and somebody says stop."""
    put("playground/drop/attic.csv", ATTIC)
    put("playground/drop/roof.csv", ROOF)
    stage.run({})
    stage.signal("stop")
    stage.run({})


def bad_file(stage: Stage) -> None:
    """One of two files is refused."""
    put("playground/drop/attic.csv", ATTIC.replace("21", "warm"))
    put("playground/drop/roof.csv", ROOF)
    stage.run({})
    stage.signal("stop")
    stage.run({})


def loaded_in_further_runs(stage: Stage) -> None:
    """A file comes after the first run, and the word to stop after that."""
    put("playground/drop/attic.csv", ATTIC)
    comes = when(ev.WorkflowContinuedAsNew, lambda: put("playground/drop/roof.csv", ROOF))
    stops = when(ev.ActivityCompleted, lambda: stage.signal("stop"), activity_id=2, result=msgspec.Raw(b"2"))

    def seen(runner: Runner, event: ev.Event) -> None:
        comes(runner, event)
        stops(runner, event)

    stage.run({"poll_s": 0.4, "history_limit": 10}, to_the_end=True, seen=seen)


def loaded_by_two(stage: Stage) -> None:
    """The process stops as it begins to load a file; the next one makes another attempt."""
    put("playground/drop/attic.csv", ATTIC)

    def seen(runner: Runner, event: ev.Event) -> None:
        if isinstance(event, ev.ActivityStarted) and event.activity_id == 2:
            runner.suspend(SuspendReason.INTERRUPTED)

    stage.run({}, seen=seen)
    stage.run({})
    stage.signal("stop")
    stage.run({})


CLAIM = {"claimant": "ada@example.org", "what": "train to the fair", "cents": 12_900}
TASK = {"goal": "tidy up my notes"}
ATTIC = "sensor,at,value\nattic,2030-01-01T00:00:00Z,21\n"
ROOF = "sensor,at,value\nroof,2030-01-01T00:00:00Z,3.5\nroof,2030-01-01T01:00:00Z,3\n"
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
    "expense-approved": ("expense_approval", decided),
    "expense-reminded": ("expense_approval", reminded),
    "expense-unanswered": ("expense_approval", unanswered),
    "expense-handed-over": ("expense_approval", handed_over),
    "compress-all": ("compress_folder", compressed),
    "compress-left-out": ("compress_folder", compressed_but_one),
    "compress-retried": ("compress_folder", compressed_at_last),
    "compress-interrupted": ("compress_folder", compressed_by_two),
    "agent-approved": ("agent", lambda stage: asked(stage, approved=True)),
    "agent-refused": ("agent", lambda stage: asked(stage, approved=False)),
    "agent-unanswered": ("agent", asked_in_vain),
    "agent-continued": ("agent", continued),
    "backup-two-nights": ("nightly_backup", two_nights),
    "backup-bad-night": ("nightly_backup", bad_night),
    "ingest-loaded": ("ingest", loaded),
    "ingest-bad-file": ("ingest", bad_file),
    "ingest-continued": ("ingest", loaded_in_further_runs),
    "ingest-interrupted": ("ingest", loaded_by_two),
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
