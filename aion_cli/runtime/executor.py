"""LiveExecutor: what touches the world. It is called only after the Resolver said ResumeLive.

The protocol is the seam that tests fake. The in-process implementation runs activities in threads and on the process's
event loop, makes their attempts, waits for timers by the wall clock, delivers signals to other runs, and runs children.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, cast

import msgspec

from aion_cli.api.attempts import ActivityInfo
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.core import clock, payload
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.retry import next_delay_s
from aion_cli.errors import AionError, HistoryShapeError
from aion_cli.runtime.activities import ActivityRunner, Attempt, CancelFlag, Limit
from aion_cli.runtime.heartbeats import Pulse
from aion_cli.runtime.wall import Clock

_MICROSECONDS = 1_000_000
_NEVER = sys.maxsize

ActivityOutcome = ev.ActivityCompleted | ev.ActivityFailed
SendOutcome = ev.SignalSent | ev.SignalSendFailed
ChildOutcome = ev.ChildWorkflowCompleted | ev.ChildWorkflowFailed | ev.ChildWorkflowCancelled


class ActivityRequest(msgspec.Struct, frozen=True):
    """One activity to run to its final outcome.

    scheduled_at: when it was first scheduled. attempt: the one to make next, from 1. failures: recorded so far.
    started: that attempt's ActivityStarted is recorded and room for it is reserved. due: when it may begin, None: now.
    heartbeat: the last details that an earlier attempt recorded.
    """

    command: cmd.RunActivity
    workflow_id: str
    run_id: str
    stable_id: str
    scheduled_at: str
    attempt: int
    failures: int
    started: bool
    due: str | None = None
    heartbeat: msgspec.Raw | None = None


class SpawnedChild(msgspec.Struct, frozen=True):
    """A recorded child. event: its ChildWorkflowStarted, stamped. parent: which command of which run asked for it."""

    command: cmd.SpawnChild
    event: ev.ChildWorkflowStarted
    parent: ev.ParentRef

    @property
    def workflow_id(self) -> str:
        """The child's id."""
        return self.event.child_workflow_id


class ChildSuspendedError(AionError):
    """A child stopped while it is open, because its parent stops: it has no outcome to record."""

    code = "child-suspended"


class AttemptHeldError(AionError):
    """An attempt may not begin, because the run was paused or told to stop meanwhile."""

    code = "attempt-held"


class AttemptLog(Protocol):
    """How an executor gets facts about attempts recorded; each is on disk when the call returns."""

    @property
    def may_begin(self) -> bool:
        """Whether a further attempt may begin now."""
        ...

    async def admission(self) -> None:
        """Return when a further attempt may begin: not while the run is paused, and never once it stops."""
        ...

    async def started(self, attempt: int) -> bool:
        """Record that an attempt begins. False if it may not by now: it was not recorded."""
        ...

    async def failed(self, attempt: int, error: Failure, next_attempt_at: str) -> None: ...

    def heartbeat(self, attempt: int, details: msgspec.Raw) -> None:
        """Have the details of a heartbeat written with whatever is written next."""
        ...


class LiveExecutor(Protocol):
    """Touches the world. Outcomes are events without seq and time; the Recorder stamps them when they are applied."""

    def try_reserve(self, command: cmd.RunActivity, scheduled_at: str) -> bool:
        """Take room for an attempt if there is any now, and time, so that it can be recorded as started at once."""
        ...

    def give_back(self, command: cmd.RunActivity) -> None:
        """Give back room that was reserved for an attempt that does not begin."""
        ...

    def is_resting(self, stable_id: str) -> bool:
        """Say whether an activity is between two attempts, and the next one is not due or may not begin."""
        ...

    async def run_activity(self, request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        """Run an activity with its retries. A returned failure is final: it has no next_attempt_at."""
        ...

    async def start_timer(self, command: cmd.StartTimer) -> None:
        """Return when the timer is due; at once if it is overdue."""
        ...

    def await_signal(self, command: cmd.AwaitSignal) -> None:
        """Take note that code waits for a signal which history does not hold."""
        ...

    def send_signal(self, command: cmd.SendSignal, signal_id: str) -> Coroutine[Any, Any, SendOutcome]:
        """Deliver a signal to another run under an id that makes repeating it harmless."""
        ...

    def spawn_child(self, child: SpawnedChild) -> Coroutine[Any, Any, ChildOutcome]:
        """Start or re-attach a recorded child, and run it to its end. Raises ChildSuspendedError if it is stopped."""
        ...

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None:
        """Ask a child to cancel; the request is accepted on return."""
        ...

    def close_child(self, child: SpawnedChild, request_id: str) -> None:
        """Do to an open child what its parent_close says; the message is accepted on return."""
        ...

    def keep_child(self, child: SpawnedChild) -> None:
        """See that a recorded child has a history, since its parent is about to continue as a new run."""
        ...

    def is_child_blocked(self, child: SpawnedChild) -> bool:
        """Say whether only timers and signals can move a child that runs here."""
        ...

    def suspend_child(self, child: SpawnedChild) -> None:
        """Stop a child that runs here, leaving it open."""
        ...


class OtherRuns(Protocol):
    """How an executor reaches runs beside its own."""

    def run_child(self, child: SpawnedChild) -> Coroutine[Any, Any, ChildOutcome]: ...

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None: ...

    def close_child(self, child: SpawnedChild, request_id: str) -> None: ...

    def keep_child(self, child: SpawnedChild) -> None: ...

    def attached_children(self, started: ev.WorkflowStarted) -> list[SpawnedChild]:
        """Describe the open children that a run took over. One without code is reported, and has none."""
        ...

    def is_child_blocked(self, child: SpawnedChild) -> bool: ...

    def suspend_child(self, child: SpawnedChild) -> None: ...

    def send_signal(self, command: cmd.SendSignal, signal_id: str) -> SendOutcome: ...


class _Course(msgspec.Struct):
    """An activity in the course of its attempts.

    heard: newest heartbeat details. rests_until: when the next attempt is due, in microseconds since the epoch; never,
    while it may not begin.
    """

    log: AttemptLog
    heard: msgspec.Raw | None
    rests_until: int = 0


class InProcessExecutor:
    """Runs everything in this process. look_at_inbox: called when code begins to wait for a signal."""

    def __init__(
        self, activities: ActivityRunner, others: OtherRuns, clock_: Clock, look_at_inbox: Callable[[], None]
    ) -> None:
        self._activities = activities
        self._others = others
        self._clock = clock_
        self._look_at_inbox = look_at_inbox
        self._courses: dict[str, _Course] = {}

    def try_reserve(self, command: cmd.RunActivity, scheduled_at: str) -> bool:
        """Take room for an attempt if there is any now; see LiveExecutor."""
        definition = _definition(command)
        return not self._is_out_of_time(definition, scheduled_at) and self._activities.try_reserve(definition)

    def give_back(self, command: cmd.RunActivity) -> None:
        """Give back room that was reserved; see LiveExecutor."""
        self._activities.give_back(_definition(command))

    def is_resting(self, stable_id: str) -> bool:
        """Say whether an activity is between two attempts; see LiveExecutor."""
        course = self._courses.get(stable_id)
        return course is not None and course.rests_until > self._clock.micros()

    async def run_activity(self, request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        """Run an activity with its retries; see LiveExecutor."""
        self._courses[request.stable_id] = _Course(log, request.heartbeat)
        try:
            return await self._run_attempts(request, log)
        finally:
            del self._courses[request.stable_id]

    async def _run_attempts(self, request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        definition = _definition(request.command)
        attempt, failures, started, due = request.attempt, request.failures, request.started, request.due
        while True:
            if due is not None:
                wakes_at = self._wakes_at(definition, request, due)
                await self._rest(request.stable_id, wakes_at, self._clock.until(wakes_at))
            limit = self._limit(definition, request)
            if not started and not _is_over(limit):
                started = await self._begin(definition, request, attempt, log)
                limit = self._limit(definition, request)  # again, since waiting for room took time
            if _is_over(limit):
                if started:
                    self._activities.give_back(definition)
                return _failed(request, attempt if started else attempt - 1, _out_of_time(definition))
            outcome = await self._attempt(definition, request, attempt, limit)
            if not isinstance(outcome, Failure):
                return ev.ActivityCompleted(activity_id=request.command.key.ordinal, attempt=attempt, result=outcome)
            failures += 1
            due = self._next_attempt_at(definition, request, outcome, failures)
            if due is None:
                return _failed(request, attempt, outcome)
            await log.failed(attempt, outcome, due)
            attempt += 1
            started = False

    async def _rest(self, stable_id: str, until_micros: int, over: Awaitable[None]) -> None:
        course = self._courses[stable_id]
        course.rests_until = until_micros
        try:
            await over
        finally:
            course.rests_until = 0

    async def _attempt(
        self, definition: ActivityDefinition[..., Any], request: ActivityRequest, attempt: int, limit: Limit | None
    ) -> msgspec.Raw | Failure:
        course = self._courses[request.stable_id]

        def report(details: msgspec.Raw) -> None:
            course.heard = details
            course.log.heartbeat(attempt, details)

        stop, pulse = CancelFlag(), Pulse(report)
        outcome = await self._activities.attempt(
            Attempt(
                definition=definition,
                input=request.command.input,
                info=ActivityInfo(
                    workflow_id=request.workflow_id,
                    run_id=request.run_id,
                    ordinal=request.command.key.ordinal,
                    attempt=attempt,
                    idempotency_key=request.stable_id,
                    cancel_requested=stop.is_set,
                    heartbeat_details=None if course.heard is None else payload.decode(course.heard),
                    report=pulse.beat,
                ),
                limit=limit,
                heartbeat_s=definition.settings.heartbeat_timeout_s,
                stop=stop,
                pulse=pulse,
            )
        )
        if isinstance(outcome, Failure):
            pulse.conclude()  # so that the next attempt knows, also if a crash comes before it
        return outcome

    async def _begin(
        self, definition: ActivityDefinition[..., Any], request: ActivityRequest, attempt: int, log: AttemptLog
    ) -> bool:
        """Wait for leave and room, and have an attempt recorded as begun. False if time runs out before."""
        while True:
            await self._rest(request.stable_id, _NEVER, log.admission())
            await self._activities.reserve(definition)
            begun = over = False
            try:
                over = self._is_out_of_time(definition, request.scheduled_at)
                begun = not over and log.may_begin and await log.started(attempt)
            finally:
                if not begun:  # paused meanwhile, perhaps: others may use the room now
                    self._activities.give_back(definition)
            if begun or over:
                return begun

    def _wakes_at(self, definition: ActivityDefinition[..., Any], request: ActivityRequest, due: str) -> int:
        """When the wait for the next attempt is over: if time runs out before that attempt is due, then already."""
        wakes_at = clock.parse_instant(due)
        total_s = definition.settings.total_timeout_s
        if total_s is None:
            return wakes_at
        return min(wakes_at, clock.parse_instant(request.scheduled_at) + round(total_s * _MICROSECONDS))

    def _elapsed_s(self, scheduled_at: str) -> float:
        # Not below 0: a clock that was set back gives nobody more time than there is.
        return max(0, self._clock.micros() - clock.parse_instant(scheduled_at)) / _MICROSECONDS

    def _is_out_of_time(self, definition: ActivityDefinition[..., Any], scheduled_at: str) -> bool:
        total_s = definition.settings.total_timeout_s
        return total_s is not None and self._elapsed_s(scheduled_at) >= total_s

    def _limit(self, definition: ActivityDefinition[..., Any], request: ActivityRequest) -> Limit | None:
        """Return the nearer of the limits of one attempt and of what is left for all of them."""
        settings = definition.settings
        if settings.timeout_s is None and settings.total_timeout_s is None:
            return None
        limits: list[Limit] = []
        if settings.timeout_s is not None:
            limits.append(Limit(settings.timeout_s, ErrorKind.TIMEOUT))
        if settings.total_timeout_s is not None:
            limits.append(
                Limit(settings.total_timeout_s - self._elapsed_s(request.scheduled_at), ErrorKind.TOTAL_TIMEOUT)
            )
        return min(limits, key=lambda limit: limit.seconds, default=None)

    def _next_attempt_at(
        self, definition: ActivityDefinition[..., Any], request: ActivityRequest, failure: Failure, failures: int
    ) -> str | None:
        delay_s = next_delay_s(
            definition.settings.retry,
            failure,
            failures=failures,
            elapsed_s=self._elapsed_s(request.scheduled_at),
            stable_id=request.stable_id,
        )
        if delay_s is None:
            return None
        return clock.format_instant(self._clock.micros() + round(delay_s * _MICROSECONDS))

    async def start_timer(self, command: cmd.StartTimer) -> None:
        """Return when the timer is due; see LiveExecutor."""
        await self._clock.until(clock.parse_instant(command.fire_at))

    def await_signal(self, command: cmd.AwaitSignal) -> None:
        """Look at the inbox at once, rather than when its next turn comes."""
        del command
        self._look_at_inbox()

    async def send_signal(self, command: cmd.SendSignal, signal_id: str) -> SendOutcome:
        """Deliver a signal to another run; see LiveExecutor."""
        return self._others.send_signal(command, signal_id)

    def spawn_child(self, child: SpawnedChild) -> Coroutine[Any, Any, ChildOutcome]:
        """Run a child to its end; see LiveExecutor."""
        return self._others.run_child(child)

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None:
        """Ask a child to cancel; see LiveExecutor."""
        self._others.cancel_child(child, request_id)

    def close_child(self, child: SpawnedChild, request_id: str) -> None:
        """Do to an open child what its parent_close says; see LiveExecutor."""
        self._others.close_child(child, request_id)

    def keep_child(self, child: SpawnedChild) -> None:
        """See that a recorded child has a history; see LiveExecutor."""
        self._others.keep_child(child)

    def is_child_blocked(self, child: SpawnedChild) -> bool:
        """Say whether only timers and signals can move a child; see LiveExecutor."""
        return self._others.is_child_blocked(child)

    def suspend_child(self, child: SpawnedChild) -> None:
        """Stop a child that runs here; see LiveExecutor."""
        self._others.suspend_child(child)


def _definition(command: cmd.RunActivity) -> ActivityDefinition[..., Any]:
    target: Any = command.target
    if not isinstance(target, ActivityDefinition):
        raise HistoryShapeError(f"activity {command.activity_type!r} has no definition to run")
    return cast("ActivityDefinition[..., Any]", target)


def _is_over(limit: Limit | None) -> bool:
    return limit is not None and limit.seconds <= 0


def _failed(request: ActivityRequest, attempt: int, failure: Failure) -> ev.ActivityFailed:
    return ev.ActivityFailed(activity_id=request.command.key.ordinal, attempt=attempt, error=failure)


def _out_of_time(definition: ActivityDefinition[..., Any]) -> Failure:
    return Failure(
        kind=ErrorKind.TOTAL_TIMEOUT,
        type="TimeoutError",
        message=f"all attempts together took longer than {definition.settings.total_timeout_s:g} s",
    )
