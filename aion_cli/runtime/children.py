"""Other runs, as seen from one: children that run in this process, and messages to runs anywhere.

A child is recorded by its parent before it exists. Its own history names the parent's command exactly, so a history
that happens to have the same id is never taken for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.status import RunStatus, summarise
from aion_cli.errors import (
    AionError,
    HistoryShapeError,
    NoSuchRunError,
    OwnedElsewhereError,
    UsageError,
    WorkflowCodeError,
    WrongStateError,
)
from aion_cli.runtime.attached import as_spawned
from aion_cli.runtime.delivery import deliver
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.executor import ChildOutcome, ChildSuspendedError, SendOutcome, SpawnedChild
from aion_cli.runtime.lineage import cancelling_message, closing_message
from aion_cli.runtime.ownership import BRIEF_ROLES, Role
from aion_cli.runtime.reading import read_first_event, read_history
from aion_cli.runtime.runner import ForeignRunError, Runner
from aion_cli.runtime.starting import make_history
from aion_cli.runtime.workshop import Workshop

_WATCH_EVERY_S = 0.25
_LOOK_AGAIN_S = 0.02


class LocalRuns:
    """The runs of this process, by workflow id. Implements OtherRuns for all of them."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._runners: dict[str, Runner] = {}
        self._children: dict[ev.ParentRef, Runner] = {}  # by who asked: another run may have a child's id
        self._told: set[ev.ParentRef] = set()  # of the end of their parent
        self._code: dict[str, WorkflowDefinition[..., Any]] = {}

    def runner(
        self, workflow_id: str, *, parent_id: str | None = None, on_quiet: Callable[[Runner], None] | None = None
    ) -> Runner:
        """Make a runner for a workflow id.

        parent_id: whose child it is: who is to look again when this one is blocked, and suspends it if both are.
        on_quiet: told whenever only timers and signals can move it.
        """

        def tell() -> None:
            parent = self._runners.get(parent_id or "")
            if parent is not None:
                parent.check_quiet()
            if on_quiet is not None:
                on_quiet(runner)

        if parent_id is None:
            runner = Runner(self._shop, self, on_quiet=tell)
        else:
            settings = msgspec.structs.replace(self._shop.settings, stop_when_blocked=False)
            runner = Runner(self._shop, self, settings=settings, on_quiet=tell, owner_wait_s=0.0)
        self._runners[workflow_id] = runner
        return runner

    async def run_child(self, child: SpawnedChild) -> ChildOutcome:
        """Start or re-attach a child and run it to its end; watch it if another process owns it."""
        refusal = self._refusal(child)
        if refusal is not None:
            return ev.ChildWorkflowFailed(ordinal=child.event.ordinal, error=refusal)
        definition = definition_of(child)
        runner = self.runner(child.workflow_id, parent_id=child.parent.workflow_id)
        self._children[child.parent] = runner
        try:
            while True:
                try:
                    end = await runner.run(definition, self._first_event(child))
                except OwnedElsewhereError as owned:
                    if self._is_left(child, runner):
                        raise ChildSuspendedError(f"{child.workflow_id} goes on in another process") from None
                    await self._until_worth_a_look(runner, owned.role)
                    continue
                except ForeignRunError:
                    return ev.ChildWorkflowFailed(ordinal=child.event.ordinal, error=_taken(child.workflow_id))
                if end.closed_by is not None:
                    return outcome_for_parent(child, end.closed_by)
                if end.reason is not SuspendReason.PAUSED or not await self._until_resumed(child, runner):
                    raise ChildSuspendedError(f"{child.workflow_id} was suspended")
        finally:
            self._runners.pop(child.workflow_id, None)
            self._children.pop(child.parent, None)
            self._told.discard(child.parent)

    async def _until_worth_a_look(self, runner: Runner, owner_role: str) -> None:
        """Wait a while for another owner of a child, in which this one counts as blocked if that owner is to stay."""
        # Who has not said yet what it is has just begun; who only delivers something is soon done.
        if not owner_role or owner_role in BRIEF_ROLES:
            await asyncio.sleep(_LOOK_AGAIN_S)
        else:
            runner.park()
            await asyncio.sleep(_WATCH_EVERY_S)

    def _is_left(self, child: SpawnedChild, runner: Runner) -> bool:
        """Say whether nobody here waits for what becomes of a child that cannot be run now."""
        return runner.is_stopping or child.parent in self._told

    async def _until_resumed(self, child: SpawnedChild, runner: Runner) -> bool:
        """Watch a child that is paused until it no longer is. False if nobody waits for that any more."""
        folder, seen = self._shop.folder, None
        runner.park()
        while not self._is_left(child, runner):
            path = folder.latest(child.workflow_id).path
            found = folder.files.look(path)
            if found != seen and summarise(read_history(path, folder.files)).status is not RunStatus.PAUSED:
                return True
            seen = found
            await asyncio.sleep(_WATCH_EVERY_S)
        return False

    def _first_event(self, child: SpawnedChild) -> ev.WorkflowStarted:
        return self._shop.first_event(definition_of(child), child.workflow_id, child.event.input, parent=child.parent)

    def _refusal(self, child: SpawnedChild) -> Failure | None:
        """Say why a child cannot have its id, if it cannot."""
        folder = self._shop.folder
        try:
            first = folder.runs_of(child.workflow_id)
            if not first:
                folder.require_new(child.workflow_id)
                return None
            found = read_first_event(first[0].path, folder.files)
        except UsageError as error:
            message = "; ".join(filter(None, [error.message, error.hint]))
            return Failure(kind=ErrorKind.ERROR, type="ChildIdRefused", message=message)
        if found.workflow_id == child.workflow_id and found.parent == child.parent:
            return None
        return _taken(child.workflow_id)

    def keep_child(self, child: SpawnedChild) -> None:
        """See that a recorded child has a history; see LiveExecutor."""
        if isinstance(child.command.target, WorkflowDefinition):
            self._code[child.command.workflow_type] = definition_of(child)
        self._ensure_exists(child)

    def attached_children(self, started: ev.WorkflowStarted) -> list[SpawnedChild]:
        """Describe the open children that a run took over; see OtherRuns."""
        folder = self._shop.folder
        found: list[SpawnedChild] = []
        for position, child in enumerate(started.children):
            target: WorkflowDefinition[..., Any] | None = None
            try:
                if not folder.is_open(child.workflow_id):
                    continue
                first = read_first_event(folder.latest(child.workflow_id).path, folder.files)
            except AionError as error:
                self._stays(child.workflow_id, started.workflow_id, error)
                continue
            try:
                target = self._code_of(first)
            except AionError as error:  # it can be told of its parent's end all the same
                self._stays(child.workflow_id, started.workflow_id, error)
            found.append(as_spawned(child, position, started.workflow_id, first, target))
        return found

    def _stays(self, child_id: str, parent_id: str, error: AionError) -> None:
        self._shop.notice(f"{child_id}, a child of {parent_id}, stays where it is: {error}")

    def _code_of(self, first: ev.WorkflowStarted) -> WorkflowDefinition[..., Any]:
        known = self._code.get(first.workflow_type)
        if known is None and self._shop.find_code is not None:
            known = self._shop.find_code(first)
        if known is None:
            raise WorkflowCodeError(f"there is no code for {first.workflow_type}")
        return known

    def is_child_blocked(self, child: SpawnedChild) -> bool:
        """Say whether only timers and signals can move a child here; so it is with one that another process owns."""
        runner = self._children.get(child.parent)
        return runner is None or runner.is_blocked

    def suspend_child(self, child: SpawnedChild) -> None:
        """Stop a child that runs here, leaving it open."""
        runner = self._children.get(child.parent)
        if runner is not None:
            runner.suspend(SuspendReason.PARENT)

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None:
        """Ask a child to cancel; one that has ended meanwhile is left alone."""
        self._tell(child, cancelling_message(request_id))

    def close_child(self, child: SpawnedChild, request_id: str) -> None:
        """Do to an open child what its parent_close says."""
        message = closing_message(child.event.parent_close, request_id)
        if message is None:
            self._ensure_exists(child)
        else:
            self._told.add(child.parent)
            self._tell(child, message)

    def _tell(self, child: SpawnedChild, event: ev.Event) -> None:
        if self._refusal(child) is not None:
            return
        self._ensure_exists(child)
        try:
            self._deliver(child.workflow_id, event)
        except WrongStateError:
            return

    def _ensure_exists(self, child: SpawnedChild) -> None:
        """A recorded child is started, even if its parent ends in the same breath."""
        shop = self._shop
        if self._refusal(child) is None and not shop.folder.runs_of(child.workflow_id):
            make_history(shop.folder, self._first_event(child), clock=shop.clock, durability=shop.durability)

    def send_signal(self, command: cmd.SendSignal, signal_id: str) -> SendOutcome:
        """Deliver a signal to any run under an id that makes repeating it harmless."""
        event = ev.SignalReceived(name=command.name, payload=command.payload, signal_id=signal_id)
        try:
            self._deliver(command.target_workflow_id, event)
        except (NoSuchRunError, WrongStateError, UsageError) as error:
            failure = Failure(kind=ErrorKind.ERROR, type=type(error).__name__, message=str(error))
            return ev.SignalSendFailed(ordinal=command.key.ordinal, error=failure)
        return ev.SignalSent(ordinal=command.key.ordinal)

    def _deliver(self, workflow_id: str, event: ev.Event) -> None:
        shop = self._shop
        deliver(shop.folder, workflow_id, event, chosen_id=True, role=Role.SIGNAL, clock=shop.clock, notice=shop.notice)


def _taken(workflow_id: str) -> Failure:
    message = f"{workflow_id} is the id of a run that this workflow did not start"
    return Failure(kind=ErrorKind.ERROR, type="ChildIdTaken", message=message)


def definition_of(child: SpawnedChild) -> WorkflowDefinition[..., Any]:
    """Return the code of a child. Raises HistoryShapeError if its command brings none."""
    target: Any = child.command.target
    if not isinstance(target, WorkflowDefinition):
        raise HistoryShapeError(f"child workflow {child.command.workflow_type!r} has no definition to run")
    return cast("WorkflowDefinition[..., Any]", target)


def outcome_for_parent(child: SpawnedChild, event: ev.Event) -> ChildOutcome:
    """Translate how a child ended into what its parent records."""
    ordinal = child.event.ordinal
    match event:
        case ev.WorkflowCompleted(result=result):
            return ev.ChildWorkflowCompleted(ordinal=ordinal, result=result)
        case ev.WorkflowCancelled():
            return ev.ChildWorkflowCancelled(ordinal=ordinal)
        case ev.WorkflowFailed(error=error):
            return ev.ChildWorkflowFailed(ordinal=ordinal, error=error)
        case ev.WorkflowTerminated(reason=reason):
            failure = Failure(kind=ErrorKind.TERMINATED, type="WorkflowTerminated", message=reason or "terminated")
            return ev.ChildWorkflowFailed(ordinal=ordinal, error=failure)
        case ev.WorkflowTimedOut(timeout_s=timeout_s):
            failure = Failure(
                kind=ErrorKind.TIMEOUT, type="WorkflowTimedOut", message=f"took longer than {timeout_s:g} s"
            )
            return ev.ChildWorkflowFailed(ordinal=ordinal, error=failure)
        case _:
            raise HistoryShapeError(f"{child.workflow_id} ended with {type(event).__name__}")
