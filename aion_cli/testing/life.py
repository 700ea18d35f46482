"""The life of a run in a World: own it, replay it, go live; and the children and messages that it asks for.

The counterpart in memory of `runtime.runner` and `runtime.children`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.execution import Execution
from aion_cli.core.ids import RunName, check_workflow_id
from aion_cli.core.replay import Replay
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import Waiting
from aion_cli.errors import NoSuchRunError, UsageError, WrongStateError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.attached import RunningChildren, as_spawned
from aion_cli.runtime.children import definition_of, outcome_for_parent
from aion_cli.runtime.endings import Closed, RunSettings, SuspendReason
from aion_cli.runtime.executor import ChildOutcome, ChildSuspendedError, SendOutcome, SpawnedChild
from aion_cli.runtime.handoff import Identity, Worker
from aion_cli.runtime.lineage import cancelling_message, closing_message, open_children
from aion_cli.runtime.live import LiveRun
from aion_cli.runtime.recorder import Recorder
from aion_cli.runtime.starting import runtime_ref
from aion_cli.testing.fakes import Fakes, FakingExecutor
from aion_cli.testing.ledger import Ledger
from aion_cli.testing.loop import SkippingClock, SkippingLoop
from aion_cli.testing.store import CuttableStore

_WORKER = Worker("world", 1)


class Place(msgspec.Struct):
    """Where runs live. code: workflows by their type. lives: of the runs that are being run, by workflow id.

    on_end: told whenever somebody has stopped running a run.
    """

    loop: SkippingLoop
    ledger: Ledger
    fakes: Fakes
    code: dict[str, WorkflowDefinition[..., Any]]
    activities: ActivityRunner
    settings: RunSettings
    paths: SourcePaths
    lives: dict[str, Life]
    on_end: Callable[[], None]

    def start(
        self,
        definition: WorkflowDefinition[..., Any],
        workflow_id: str,
        input: msgspec.Raw,
        parent: ev.ParentRef | None = None,
    ) -> None:
        """Create a run: its history with a first event."""
        self.code[definition.name] = definition
        started = ev.WorkflowStarted(
            format=ev.FORMAT,
            workflow_id=check_workflow_id(workflow_id),
            run_id=f"r-{workflow_id}",
            workflow_type=definition.name,
            input=input,
            parent=parent,
            definition=ev.DefinitionRef(definition.module, self.paths.shorten(definition.file), ""),
            runtime=runtime_ref(),
        )
        self.ledger.create_history(RunName(workflow_id), [started])


class Life:
    """One owner of one run, until it is closed or suspended. Implements OtherRuns for it.

    waiting: what the run waited for when it was suspended.
    """

    def __init__(self, place: Place, workflow_id: str) -> None:
        assert workflow_id not in place.ledger.owned, f"{workflow_id} would have two owners"
        place.ledger.owned.add(workflow_id)
        place.lives[workflow_id] = self
        self._place = place
        self._ledger = place.ledger
        self.workflow_id = workflow_id
        self.waiting: list[Waiting] = []
        self._live: LiveRun | None = None
        self._stop: SuspendReason | None = None
        self._running: RunningChildren | None = None

    def suspend(self, reason: SuspendReason) -> None:
        """Stop, leaving the run open; see LiveRun.suspend."""
        self._stop = reason
        if self._live is not None:
            self._live.suspend(reason)

    async def run(self) -> ev.Event | None:
        """Run to the end, following the run as it continues as new. Returns its terminal event, None if suspended."""
        ledger, workflow_id = self._ledger, self.workflow_id
        try:
            while True:
                store = ledger.histories[workflow_id][-1]
                end, execution = await self._run_history(store)
                if not isinstance(end, ev.WorkflowContinuedAsNew):
                    return end
                self._continue_as_new(execution, end)
        finally:
            del self._place.lives[workflow_id]
            ledger.owned.discard(workflow_id)
            ledger.drain_unowned(workflow_id)
            self._place.on_end()

    async def _run_history(self, store: CuttableStore) -> tuple[ev.Event | None, Execution]:
        place, ledger = self._place, self._ledger
        reopens = [event for event in store.events if isinstance(event, ev.WorkflowReopened)]
        definition = place.code[store.events[0].workflow_type]
        replay = Replay(HistoryCursor(store.read(), reopens), definition, paths=place.paths)
        try:
            boundary = replay.run(goes_on=True)
            if boundary.closed_by is not None:
                return boundary.closed_by, replay.execution
            number = len(ledger.histories[self.workflow_id])
            mailbox = ledger.mailbox(self.workflow_id)
            self._live = live = LiveRun(
                replay,
                boundary,
                Recorder(store),
                FakingExecutor(place.loop, place.activities, self, mailbox, place.fakes, store.check_attempt),
                mailbox,
                identity=Identity(self.workflow_id, replay.execution.started.run_id, number),
                worker=_WORKER,
                clock=SkippingClock(place.loop),
                known_ids=ledger.known_ids(self.workflow_id),
                attached=self.attached_children(replay.execution.started),
                running=self._running,
                settings=msgspec.structs.replace(place.settings, timeout_s=definition.timeout_s),
                listener=_nobody,
                on_quiet=_quiet,
            )
            outcome = await live.run(suspend_at_once=self._stop)
            self.waiting = live.waiting()
            self._running = live.handed_over
            return outcome.event if isinstance(outcome, Closed) else None, replay.execution
        finally:
            self._live = None
            replay.execution.close()

    def _continue_as_new(self, execution: Execution, continued: ev.WorkflowContinuedAsNew) -> None:
        old = execution.started
        started = msgspec.structs.replace(
            old,
            run_id=continued.new_run_id,
            workflow_type=continued.workflow_type or old.workflow_type,
            input=continued.input,
            continued_from=old.run_id,
            children=open_children(self._ledger.histories[self.workflow_id][-1].events, self._is_open),
        )
        run = RunName(self.workflow_id, len(self._ledger.histories[self.workflow_id]) + 1)
        self._ledger.create_history(run, [started, *execution.unconsumed()])

    async def run_child(self, child: SpawnedChild) -> ChildOutcome:
        """Start or re-attach a child and run it to its end; see OtherRuns."""
        refusal = self._refusal(child)
        if refusal is not None:
            return ev.ChildWorkflowFailed(ordinal=child.event.ordinal, error=refusal)
        self._ensure_exists(child)
        end = await Life(self._place, child.workflow_id).run()
        if end is None:
            raise ChildSuspendedError(f"{child.workflow_id} was suspended")
        return outcome_for_parent(child, end)

    def _refusal(self, child: SpawnedChild) -> Failure | None:
        histories = self._ledger.histories.get(child.workflow_id)
        if histories is None or histories[0].events[0].parent == child.parent:
            return None
        message = f"{child.workflow_id} is the id of a run that this workflow did not start"
        return Failure(kind=ErrorKind.ERROR, type="ChildIdTaken", message=message)

    def _ensure_exists(self, child: SpawnedChild) -> None:
        definition = definition_of(child)
        self._place.code[definition.name] = definition
        if child.workflow_id not in self._ledger.histories:
            self._place.start(definition, child.workflow_id, child.event.input, child.parent)

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None:
        """Ask a child to cancel; see OtherRuns."""
        self._tell(child, cancelling_message(request_id))

    def close_child(self, child: SpawnedChild, request_id: str) -> None:
        """Do to an open child what its parent_close says; see OtherRuns."""
        message = closing_message(child.event.parent_close, request_id)
        if message is not None:
            self._tell(child, message)
        elif self._refusal(child) is None:
            self._ensure_exists(child)

    def _tell(self, child: SpawnedChild, event: ev.Event) -> None:
        if self._refusal(child) is not None:
            return
        self._ensure_exists(child)
        try:
            self._ledger.deliver(child.workflow_id, event)
        except WrongStateError:
            return

    def keep_child(self, child: SpawnedChild) -> None:
        """See that a recorded child has a history; see OtherRuns."""
        if self._refusal(child) is None:
            self._ensure_exists(child)

    def attached_children(self, started: ev.WorkflowStarted) -> list[SpawnedChild]:
        """Describe the open children that a run took over; see OtherRuns."""
        found: list[SpawnedChild] = []
        for position, child in enumerate(started.children):
            if self._is_open(child.workflow_id):
                first = self._ledger.histories[child.workflow_id][0].events[0]
                target = self._place.code[first.workflow_type]
                found.append(as_spawned(child, position, started.workflow_id, first, target))
        return found

    def _is_open(self, workflow_id: str) -> bool:
        return self._ledger.end_of(workflow_id) is None

    def is_child_blocked(self, child: SpawnedChild) -> bool:
        """Say whether only timers and signals can move a child; see OtherRuns."""
        life = self._life_of(child)
        return life is None or life.is_blocked

    @property
    def is_blocked(self) -> bool:
        """Whether only timers and signals can move the run."""
        return self._live is not None and self._live.is_blocked

    def _life_of(self, child: SpawnedChild) -> Life | None:
        """Return who runs a child here; not who runs another run that has its id."""
        return None if self._refusal(child) is not None else self._place.lives.get(child.workflow_id)

    def suspend_child(self, child: SpawnedChild) -> None:
        """Stop a child, leaving it open; see OtherRuns."""
        life = self._life_of(child)
        if life is not None:
            life.suspend(SuspendReason.PARENT)

    def send_signal(self, command: cmd.SendSignal, signal_id: str) -> SendOutcome:
        """Deliver a signal to another run; see OtherRuns."""
        event = ev.SignalReceived(name=command.name, payload=command.payload, signal_id=signal_id)
        try:
            self._ledger.deliver(command.target_workflow_id, event)
        except (NoSuchRunError, WrongStateError, UsageError) as error:
            failure = Failure(kind=ErrorKind.ERROR, type=type(error).__name__, message=str(error))
            return ev.SignalSendFailed(ordinal=command.key.ordinal, error=failure)
        return ev.SignalSent(ordinal=command.key.ordinal)


def _nobody(events: object) -> None:
    """Nobody watches."""


def _quiet() -> None:
    """Nobody waits for the run to be blocked."""
