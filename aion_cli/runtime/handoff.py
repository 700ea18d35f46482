"""resolve_or_execute_live: the one place where a command crosses the resume-live boundary.

A command is first put to the Resolver. What history answers is returned, and nothing else happens. On ResumeLive the
command's event is staged, made durable, and only then the executor is called; what comes back arrives as an event of
its own. Each command is one coroutine, its life on one page: the pump of `runtime.live` steps many of them, so that
everything one activation staged shares one write and one sync.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.correlation import CorrelationKey
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.resolver import Resolver
from aion_cli.errors import HistoryShapeError
from aion_cli.runtime.executor import ActivityRequest, AttemptHeldError, LiveExecutor, SpawnedChild

E = TypeVar("E", bound=ev.Event)


class HandoffOutcome:
    """Result of resolve_or_execute_live."""

    class Resolved(msgspec.Struct, frozen=True):
        """The command has its answer: from history, or from the world and now in history."""

        resolution: cmd.Resolution

    class WorkflowCompleted(msgspec.Struct, frozen=True):
        """The run is closed by this terminal event."""

        event: ev.Event


class Worker(msgspec.Struct, frozen=True):
    """Which process makes an attempt."""

    host: str
    pid: int


class Identity(msgspec.Struct, frozen=True):
    """Which run this is. number: 1, or how often it continued as new plus 1."""

    workflow_id: str
    run_id: str
    number: int

    def stable_id(self, seq: int) -> str:
        """Return what a command is known by outside: the same for all its attempts, also after a crash."""
        return f"{self.run_id}/{seq}"


class Seam(Protocol):
    """What a command needs to cross: the resolver, the executor, and the way into the history."""

    @property
    def resolver(self) -> Resolver: ...

    @property
    def executor(self) -> LiveExecutor: ...

    @property
    def identity(self) -> Identity: ...

    @property
    def worker(self) -> Worker: ...

    @property
    def may_start(self) -> bool:
        """Whether a live effect may begin as soon as it is recorded; not while the run stops, ends or is paused."""
        ...

    @property
    def next_seq(self) -> int:
        """Seq that the next staged event gets."""
        ...

    def stage(self, event: E) -> E:
        """Stamp an event and hold it for the next write."""
        ...

    async def durable(self) -> None:
        """Return when everything staged so far is on disk, and live effects may begin."""
        ...

    async def admission(self) -> None:
        """Return when a further attempt may begin: not while the run is paused, and never once it stops."""
        ...

    async def arrive(self, event: E) -> E:
        """Record what the world answered and apply it to the code; returns it stamped, on disk.

        Raises asyncio.CancelledError if nobody waits for it any more, and AttemptHeldError if it is the beginning of an
        attempt that may not begin by now: then it is not recorded.
        """
        ...

    def note(self, event: ev.Event) -> None:
        """Have an event about a command that is still awaited written with whatever is written next."""
        ...

    async def close(self, event: ev.Event) -> ev.Event:
        """Append the terminal event, with no message left behind; returns it stamped, on disk."""
        ...

    def withdraw(self, key: CorrelationKey) -> None:
        """Stop what runs for a key, a child excepted. What still comes of it is not recorded."""
        ...

    def child(self, command: cmd.SpawnChild, event: ev.Event) -> SpawnedChild:
        """Take note of a recorded child."""
        ...

    def child_of(self, key: CorrelationKey) -> SpawnedChild:
        """Return a child that was taken note of."""
        ...


async def resolve_or_execute_live(
    command: cmd.AnyCommand, key: CorrelationKey, seam: Seam
) -> HandoffOutcome.Resolved | HandoffOutcome.WorkflowCompleted:
    """Answer a command from history, or record it, do it, and record what came of it.

    Raises HistoryShapeError for a key of the wrong kind and for an executor that returns a failure which is not final,
    NonDeterminismError if history holds another command, SequenceConflictError and StoreError as the store raised them,
    and whatever the executor itself raises: then the command stays without outcome, to be taken up by the next run.
    """
    cmd.require_key_kind(command, key)
    answer = seam.resolver.resolve(command)
    if isinstance(answer, cmd.Recorded):
        return HandoffOutcome.Resolved(answer.resolution)
    match command:
        case cmd.CompleteWorkflow(outcome=outcome):
            event = cmd.completion_event(outcome, new_run_id=_next_run_id(seam.identity))
            return HandoffOutcome.WorkflowCompleted(await seam.close(event))
        case cmd.RunActivity():
            event = await _run_activity(command, answer, seam)
        case cmd.StartTimer():
            event = await _run_timer(command, answer, seam)
        case cmd.SendSignal():
            event = await _send(command, answer, seam)
        case cmd.SpawnChild():
            event = await _run_child(command, answer, seam)
        case _:
            event = await _record_only(command, seam)
    return HandoffOutcome.Resolved(cmd.Resolution(event))


def _next_run_id(identity: Identity) -> str:
    """The id of the run that this one may continue as; derived, so that a crash in between makes no second one."""
    stem = identity.run_id.partition("@")[0]
    return f"{stem}@{identity.number + 1}"


async def _run_activity(command: cmd.RunActivity, boundary: cmd.ResumeLive, seam: Seam) -> ev.Event:
    executor, ordinal = seam.executor, command.key.ordinal
    scheduled = boundary.begun or seam.stage(_event_of(command))
    if _was_interrupted(command, boundary):
        await seam.durable()
        return await seam.arrive(_interrupted(ordinal, boundary.attempts))
    attempt = boundary.attempts + 1
    started = (
        seam.may_start and boundary.next_attempt_at is None and executor.try_reserve(command, scheduled.recorded_at)
    )
    if started:
        seam.stage(_started(ordinal, attempt, seam.worker))
    try:
        await seam.durable()
    except BaseException:
        if started:
            executor.give_back(command)
        raise
    request = ActivityRequest(
        command=command,
        workflow_id=seam.identity.workflow_id,
        run_id=seam.identity.run_id,
        stable_id=seam.identity.stable_id(scheduled.seq),
        scheduled_at=scheduled.recorded_at,
        attempt=attempt,
        failures=boundary.failures,
        started=started,
        due=boundary.next_attempt_at,
        heartbeat=boundary.heartbeat,
    )
    outcome = await executor.run_activity(request, _AttemptLog(ordinal, seam))
    if isinstance(outcome, ev.ActivityFailed) and outcome.next_attempt_at is not None:
        raise HistoryShapeError(
            f"the executor returned a failure of activity {command.activity_type!r} ({ordinal}) that is to be tried "
            "again as its final outcome"
        )
    return await seam.arrive(outcome)


def _was_interrupted(command: cmd.RunActivity, boundary: cmd.ResumeLive) -> bool:
    """An at-most-once activity whose last attempt has no recorded end: nobody knows whether it took effect."""
    if not boundary.attempts or boundary.next_attempt_at is not None:
        return False
    return bool(getattr(getattr(command.target, "settings", None), "at_most_once", False))


def _interrupted(ordinal: int, attempt: int) -> ev.ActivityFailed:
    failure = Failure(
        kind=ErrorKind.INTERRUPTED,
        type="ActivityInterrupted",
        message=f"attempt {attempt} was started and what became of it was not recorded",
    )
    return ev.ActivityFailed(activity_id=ordinal, attempt=attempt, error=failure)


def _started(ordinal: int, attempt: int, worker: Worker) -> ev.ActivityStarted:
    return ev.ActivityStarted(activity_id=ordinal, attempt=attempt, host=worker.host, pid=worker.pid)


class _AttemptLog:
    """Records the attempts of one activity."""

    def __init__(self, ordinal: int, seam: Seam) -> None:
        self._ordinal = ordinal
        self._seam = seam

    @property
    def may_begin(self) -> bool:
        return self._seam.may_start

    async def admission(self) -> None:
        await self._seam.admission()

    async def started(self, attempt: int) -> bool:
        try:
            await self._seam.arrive(_started(self._ordinal, attempt, self._seam.worker))
        except AttemptHeldError:
            return False
        return True

    def heartbeat(self, attempt: int, details: msgspec.Raw) -> None:
        self._seam.note(ev.ActivityHeartbeat(activity_id=self._ordinal, attempt=attempt, details=details))

    async def failed(self, attempt: int, error: Failure, next_attempt_at: str) -> None:
        await self._seam.arrive(
            ev.ActivityFailed(activity_id=self._ordinal, attempt=attempt, error=error, next_attempt_at=next_attempt_at)
        )


async def _run_timer(command: cmd.StartTimer, boundary: cmd.ResumeLive, seam: Seam) -> ev.Event:
    if boundary.begun is None:
        seam.stage(_event_of(command))
    await seam.durable()
    await seam.executor.start_timer(command)
    return await seam.arrive(ev.TimerFired(timer_id=command.key.timer_id))


async def _send(command: cmd.SendSignal, boundary: cmd.ResumeLive, seam: Seam) -> ev.Event:
    requested = boundary.begun or seam.stage(_event_of(command))
    await seam.durable()
    outcome = await seam.executor.send_signal(command, seam.identity.stable_id(requested.seq))
    return await seam.arrive(outcome)


async def _run_child(command: cmd.SpawnChild, boundary: cmd.ResumeLive, seam: Seam) -> ev.Event:
    event = boundary.begun or seam.stage(_event_of(command, child_id=_child_id(seam.identity, seam.next_seq)))
    child = seam.child(command, event)
    await seam.durable()
    return await seam.arrive(await seam.executor.spawn_child(child))


def _child_id(identity: Identity, seq: int) -> str:
    """The default id of a child: from the workflow's id, the run's number, and the command's seq."""
    return f"{identity.workflow_id}.{identity.number}-{seq}"


async def _record_only(command: cmd.AnyCommand, seam: Seam) -> ev.Event:
    """Commands that begin nothing: withdrawals, markers, answers, and waits, which leave no event."""
    if isinstance(command, cmd.AwaitSignal):
        seam.executor.await_signal(command)
        return ev.Event()
    if isinstance(command, cmd.AwaitChild):
        return ev.Event()
    event = seam.stage(_event_of(command))
    await seam.durable()
    if isinstance(command, cmd.CancelActivity | cmd.CancelTimer | cmd.CancelChild):
        seam.withdraw(command.key)
    if isinstance(command, cmd.CancelChild):
        seam.executor.cancel_child(seam.child_of(command.key), seam.identity.stable_id(event.seq))
    return event


def _event_of(command: cmd.AnyCommand, child_id: str = "") -> ev.Event:
    event = cmd.command_event(command, child_id=child_id)
    assert event is not None
    return event
