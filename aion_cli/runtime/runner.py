"""The life of a run: own it, read it, replay it, go live, and let go of it, following it as it continues as new.

What belongs here: finding or making the history, the owner lock, what an id that has a run already means. What does
not: the boundary (`runtime.handoff`), the pump (`runtime.live`), children (`runtime.children`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core import payload
from aion_cli.core.execution import Execution
from aion_cli.core.ids import RunName
from aion_cli.core.replay import Boundary, Replay
from aion_cli.core.status import Waiting, WaitKind, summarise
from aion_cli.errors import (
    AionError,
    NonDeterminismError,
    NoSuchRunError,
    OwnedElsewhereError,
    PayloadError,
    SequenceConflictError,
    StoreError,
    WrongStateError,
)
from aion_cli.runtime.attached import RunningChildren
from aion_cli.runtime.delivery import drain_unowned, report_torn_tail
from aion_cli.runtime.endings import Closed, RunSettings, SuspendReason
from aion_cli.runtime.executor import InProcessExecutor, OtherRuns
from aion_cli.runtime.folder import RunLocation
from aion_cli.runtime.handoff import Identity
from aion_cli.runtime.inbox import Inbox, MessageId, message_id
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.leftovers import sweep
from aion_cli.runtime.lineage import open_children
from aion_cli.runtime.live import LiveRun
from aion_cli.runtime.mailbox import InboxMailbox
from aion_cli.runtime.outcome import RunEnd, ended, suspended
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.reading import read_first_event, read_history, visible_history
from aion_cli.runtime.recorder import Recorder, stamped_from_start
from aion_cli.runtime.waits import with_retries
from aion_cli.runtime.wall import instant
from aion_cli.runtime.watchdog import Watchdog
from aion_cli.runtime.workshop import PastListener, Workshop

BRIEF_OWNER_WAIT_S = 5.0


class ForeignRunError(AionError):
    """The history under a child's id is not that child's."""

    code = "foreign-run"


class Runner:
    """Runs one workflow id to its end or suspension.

    settings: how it behaves, if not as all runs of the shop do. on_quiet: told whenever only timers and signals can
    move it. owner_wait_s: how long an owner is waited for that owns the run only briefly; the loop stands still.
    """

    def __init__(
        self,
        shop: Workshop,
        others: OtherRuns,
        *,
        settings: RunSettings | None = None,
        on_quiet: Callable[[], None],
        role: Role = Role.RUN,
        owner_wait_s: float = BRIEF_OWNER_WAIT_S,
    ) -> None:
        self._shop = shop
        self._others = others
        self._settings = settings or shop.settings
        self._on_quiet = on_quiet
        self._role = role
        self._owner_wait_s = owner_wait_s
        self._live: LiveRun | None = None
        self._stop: SuspendReason | None = None
        self._parked = False
        self._running: RunningChildren | None = None

    def suspend(self, reason: SuspendReason) -> None:
        """Stop what runs, or what is about to; see LiveRun.suspend."""
        self._stop = reason
        if self._live is not None:
            self._live.suspend(reason)

    @property
    def is_live(self) -> bool:
        """Whether it works on the loop now; before that, `suspend` only leaves a note."""
        return self._live is not None

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop is not None

    @property
    def is_blocked(self) -> bool:
        """Whether only timers and signals can move the run."""
        return self._parked if self._live is None else self._live.is_blocked

    def park(self) -> None:
        """Count as blocked until it runs again."""
        self._parked = True
        self._on_quiet()

    def awaited_messages(self) -> list[Waiting]:
        """Say what the code waits for that leaves no event; nothing while it is not live."""
        return [] if self._live is None else self._live.awaited_messages()

    def check_quiet(self) -> None:
        """Look again whether the run is blocked."""
        if self._live is not None:
            self._live.check_quiet()

    async def run(self, definition: WorkflowDefinition[..., Any], started: ev.WorkflowStarted) -> RunEnd:
        """Start a run, or go on with the one that has this id; a closed one is left as it is, and its end returned.

        started: the first event, unstamped, for a history that is not there yet. If it names a parent, a history that
        is there has to name the same.
        Raises ForeignRunError if it does not, OwnedElsewhereError, NonDeterminismError (only accepted messages were
        appended), DamagedHistoryError …
        """
        shop, workflow_id = self._shop, started.workflow_id
        self._parked = False
        self._running = None
        try:
            with take(shop.folder, workflow_id, self._role, wait_s=self._owner_wait_s):
                sweep(shop.folder, workflow_id, shop.clock.micros())
                end = await self._follow(definition, self._find_or_create(started))
        except (OwnedElsewhereError, StoreError, SequenceConflictError):
            raise  # not ours, or nothing more is written to it by this process
        except (Exception, asyncio.CancelledError):
            # The run stays open, and whoever sent it something meanwhile found it owned.
            with suppress(AionError):  # what it ended with says more; the message is safe in the inbox
                self._drain(workflow_id)
            raise
        if end.closed_by is None:
            self._drain(workflow_id)
        return end

    def _drain(self, workflow_id: str) -> None:
        """Record what came as this process let go of an open run."""
        shop = self._shop
        drain_unowned(shop.folder, workflow_id, role=self._role, clock=shop.clock, notice=shop.notice)

    def _find_or_create(self, started: ev.WorkflowStarted) -> RunLocation:
        folder = self._shop.folder
        while True:
            runs = folder.runs_of(started.workflow_id)
            if not runs:
                return self._create(RunName(started.workflow_id, 1), [started])
            location = runs[-1]
            try:
                found = read_first_event(location.path, folder.files)
                if started.parent is not None and found.parent != started.parent:
                    raise ForeignRunError(
                        f"{started.workflow_id} is the id of a run that {started.parent} did not start"
                    )
                return location
            except NoSuchRunError:
                self._set_beginning_aside(location)

    def _set_beginning_aside(self, location: RunLocation) -> None:
        """Make room where a history has no whole line: nothing in it was ever acknowledged."""
        shop = self._shop
        try:
            JsonlStore.open_to_write(location.path, shop.folder.files, shop.durability).close()
        except NoSuchRunError:
            kept = location.path.parent / ".aion" / "torn"
            shop.notice(f"{location.path}: it ended within its first line (never acknowledged), and is now in {kept}")

    def _create(self, name: RunName, events: Sequence[ev.Event]) -> RunLocation:
        shop = self._shop
        location = shop.folder.location(name)
        stamped = stamped_from_start(events, instant(shop.clock))
        JsonlStore.create(location.path, stamped, shop.folder.files, shop.durability).close()
        shop.listener(name.workflow_id, stamped)
        return location

    async def _follow(self, definition: WorkflowDefinition[..., Any], location: RunLocation) -> RunEnd:
        """Run a history, and then the ones it continues as."""
        while True:
            end, execution = await self._run_history(definition, location)
            if not isinstance(end.closed_by, ev.WorkflowContinuedAsNew):
                return end
            first = self._shop.first_event(
                definition,
                location.workflow_id,
                end.closed_by.input,
                tags=dict(execution.tags),
                parent=execution.started.parent,
            )
            first = msgspec.structs.replace(first, children=self._open_children(location))
            location = self._continue_as_new(location, execution, end.closed_by, first)

    def _open_children(self, location: RunLocation) -> list[ev.AttachedChild]:
        folder = self._shop.folder

        def may_be_open(workflow_id: str) -> bool:
            try:
                return folder.is_open(workflow_id)
            except AionError:
                return True

        return open_children(visible_history(location.path, folder.files), may_be_open)

    def _continue_as_new(
        self,
        location: RunLocation,
        execution: Execution,
        continued: ev.WorkflowContinuedAsNew,
        first: ev.WorkflowStarted,
    ) -> RunLocation:
        """Create the next history in one batch: its start, then what the old one did not consume."""
        old = execution.started
        started = msgspec.structs.replace(
            first,
            run_id=continued.new_run_id,
            workflow_type=continued.workflow_type or old.workflow_type,
            continued_from=old.run_id,
        )
        name = RunName(location.workflow_id, location.name.number + 1)
        return self._create(name, [started, *execution.unconsumed()])

    async def _run_history(
        self, definition: WorkflowDefinition[..., Any], location: RunLocation
    ) -> tuple[RunEnd, Execution]:
        shop = self._shop
        store = JsonlStore.open_to_write(location.path, shop.folder.files, shop.durability)
        try:
            report_torn_tail(store, shop.notice)
            known = _KnownMessages(location.workflow_id, shop.past_listener)
            replay = shop.open_replay(location, definition)
            replay.execution.on_lost_error = lambda text: shop.notice(f"{location.workflow_id}: {text}")
            try:
                # The first step of the code that is new is the last one of the replay.
                with Watchdog(replay.execution, shop.paths, shop.notice, shop.watchdog_s):
                    boundary = replay.run(known.observe, goes_on=True)
                    if boundary.closed_by is not None:
                        return ended(replay.execution.started, boundary.closed_by), replay.execution
                    end = await self._go_live(definition, location, store, replay, boundary, known.ids)
                return end, replay.execution
            except NonDeterminismError as error:
                error.where = error.where or (str(location.path),)
                raise
            finally:
                replay.execution.close()
                for name in replay.execution.resisting:
                    shop.notice(f"{location.workflow_id}: {name} swallowed its end and was left where it waited")
        finally:
            store.close()

    async def _go_live(
        self,
        definition: WorkflowDefinition[..., Any],
        location: RunLocation,
        store: JsonlStore,
        replay: Replay,
        boundary: Boundary,
        known_ids: set[MessageId],
    ) -> RunEnd:
        shop, started = self._shop, replay.execution.started
        inbox = Inbox(shop.folder, started.workflow_id)
        mailbox = InboxMailbox(inbox, store.settle)
        live = LiveRun(
            replay,
            boundary,
            Recorder(store),
            InProcessExecutor(shop.activities, self._others, shop.clock, mailbox.look),
            mailbox,
            identity=Identity(started.workflow_id, started.run_id, location.name.number),
            worker=shop.worker,
            clock=shop.clock,
            known_ids=known_ids | inbox.recorded_ids(),
            attached=self._others.attached_children(started),
            running=self._running,
            settings=msgspec.structs.replace(self._settings, timeout_s=definition.timeout_s),
            listener=lambda events: shop.listener(started.workflow_id, events),
            on_quiet=self._on_quiet,
        )
        self._live = live
        try:
            outcome = await live.run(suspend_at_once=self._stop)
        finally:
            self._live = None
            self._running = live.handed_over
        if isinstance(outcome, Closed):
            return ended(started, outcome.event)
        return suspended(started, outcome, self._waits(live.waiting(), location))

    def _waits(self, waiting: list[Waiting], location: RunLocation) -> list[Waiting]:
        if not any(wait.kind is WaitKind.ACTIVITY for wait in waiting):
            return waiting
        return with_retries(waiting, summarise(read_history(location.path, self._shop.folder.files)).waiting)


class _KnownMessages:
    """The ids of the messages that a history holds, collected as it is replayed, while a listener is told of it."""

    def __init__(self, workflow_id: str, listener: PastListener | None) -> None:
        self.ids: set[MessageId] = set()
        self._workflow_id = workflow_id
        self._listener = listener

    def observe(self, event: ev.Event, command: cmd.AnyCommand | None) -> None:
        """Take note of a message among the events."""
        del command
        found = message_id(event)
        if found is not None:
            self.ids.add(found)
        if self._listener is not None:
            self._listener(self._workflow_id, event)


def require_same_run(
    shop: Workshop, location: RunLocation, definition: WorkflowDefinition[..., Any], input: msgspec.Raw | None
) -> None:
    """Raise WrongStateError unless an existing run is of this workflow and was first started with this input.

    input: complete and validated, or None if none was given: then it is not compared.
    """
    files = shop.folder.files
    shop.folder.require_own(location)
    latest = read_first_event(location.path, files)
    if latest.workflow_type != definition.name:
        raise WrongStateError(
            f"{latest.workflow_id} is a run of {latest.workflow_type}, not of {definition.name}",
            hint="give this run another id, or name the workflow that it is a run of",
        )
    first = shop.folder.location(RunName(location.name.workflow_id, 1))
    recorded = next(iter(read_history(first.path, files))).input
    if input is not None and not _same_input(recorded, input, definition):
        raise WrongStateError(
            f"{latest.workflow_id} was started with another input",
            where=(f"{first.path}:1",),
            hint="leave the input out to go on with it, or give the new run another id (--if-exists new)",
        )


def _same_input(recorded: msgspec.Raw, new: msgspec.Raw, definition: WorkflowDefinition[..., Any]) -> bool:
    if payload.equal(recorded, new):
        return True
    try:
        return payload.equal(definition.reencode_input(recorded), new)
    except PayloadError:
        return False
