"""What a run is doing, folded from its events: status is projected, never stored.

What belongs here: the status, what the run waits for, its tags, progress and outcome. What does not: ages, which need a
clock, and waits for signals, which leave no event of their own (`core.replay` knows them).

`StatusFold` takes events one by one and remembers of each command only where it began and where it ended. That is what
a `WorkflowReopened` needs: it hides commands from some event on, and may open an earlier one again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import msgspec

from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.errors import HistoryShapeError


class RunStatus(enum.StrEnum):
    """What becomes of a run next, or what became of it.

    running: an activity or a message to another run is under way, or would be if somebody worked on the run.
    waiting: only timers, signals, children or people can move it; the next attempt at an activity is a timer here.
    """

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    CONTINUED = "continued"

    @property
    def is_open(self) -> bool:
        """Whether the run can still go on by itself."""
        return self in (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PAUSED)


class WaitKind(enum.StrEnum):
    """What sort of thing a run waits for.

    RETRY is an activity between two attempts, CONDITION a `wait_until`, FUTURE what only the run's own code can set (an
    Event, a Lock, a Queue …), TIMEOUT the end of the time of the whole run.
    """

    ACTIVITY = "activity"
    RETRY = "retry"
    TIMER = "timer"
    CHILD = "child"
    SEND = "send"
    SIGNAL = "signal"
    CONDITION = "condition"
    FUTURE = "future"
    TIMEOUT = "timeout"


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """One thing that a run waits for.

    name: of the activity or signal, id of the child or of the run that is signalled, number of the timer, the task that
    waits for a future, or empty. since: when it was asked for; of a future, when the run last moved. deadline: when it
    ends by itself, or None. where: "file:line", or None if not known.
    """

    kind: WaitKind
    name: str
    since: str
    deadline: str | None = None
    where: str | None = None


class Progress(msgspec.Struct, frozen=True, gc=False):
    """What the workflow last said with `set_progress`."""

    done: int
    total: int
    text: str


class RunSummary(msgspec.Struct, frozen=True):
    """A run at a glance, as of its last event.

    since: when it got into its status. waiting: in the order in which it was asked for; empty once the run is closed.
    result, error, reason: of the terminal event, where it has one. last_seq, last_at: of the last event.
    """

    workflow_id: str
    run_id: str
    workflow_type: str
    status: RunStatus
    tags: dict[str, str]
    started_at: str
    since: str
    waiting: list[Waiting]
    last_seq: int
    last_at: str
    result: msgspec.Raw | None = None
    error: ev.Failure | None = None
    reason: str = ""
    progress: Progress | None = None

    @property
    def next_wake_at(self) -> str | None:
        """The first instant at which the run moves by itself, or None."""
        return min((wait.deadline for wait in self.waiting if wait.deadline is not None), default=None)


class _Ask(msgspec.Struct):
    """A command that takes time. ended_seq: 0 while it is awaited. ended_by_code: the code itself cancelled it."""

    seq: int
    kind: WaitKind
    name: str
    since: str
    deadline: str | None = None
    ended_seq: int = 0
    ended_by_code: bool = False


_CLOSING: dict[type[ev.Event], RunStatus] = {
    ev.WorkflowCompleted: RunStatus.COMPLETED,
    ev.WorkflowFailed: RunStatus.FAILED,
    ev.WorkflowCancelled: RunStatus.CANCELLED,
    ev.WorkflowTerminated: RunStatus.TERMINATED,
    ev.WorkflowTimedOut: RunStatus.TIMED_OUT,
    ev.WorkflowContinuedAsNew: RunStatus.CONTINUED,
}


class StatusFold:
    """Takes the events of one run in their order, and says at any moment what they add up to."""

    def __init__(self) -> None:
        self._start: ev.WorkflowStarted | None = None
        self._last: ev.Event | None = None
        self._end: Any = None
        self._paused = False
        self._asks: dict[key.CorrelationKey, _Ask] = {}
        self._busy = 0
        self._tags: dict[str, str] = {}
        self._progress: Progress | None = None
        self._status = RunStatus.WAITING
        self._since = ""

    def apply(self, event: Any) -> None:
        """Take the next event, a member of `ev.AnyEvent`. Raises HistoryShapeError if the first is not the start."""
        if self._start is None and type(event) is not ev.WorkflowStarted:
            raise HistoryShapeError(f"a history begins with WorkflowStarted, and this one with {type(event).__name__}")
        self._last = event
        take = self._TAKES.get(cast(type[ev.Event], type(event)))
        if take is not None:
            take(self, event)
        if event.b == 0:  # inside a batch a step has ended and the next has not begun, which is no state of its own
            self._settle(event.recorded_at)

    def summary(self) -> RunSummary:
        """Return what the events so far add up to. Raises HistoryShapeError if there were none."""
        start, last, end = self._start, self._last, self._end
        if start is None or last is None:
            raise HistoryShapeError("a history without events has no status")
        status = self._now()
        return RunSummary(
            workflow_id=start.workflow_id,
            run_id=start.run_id,
            workflow_type=start.workflow_type,
            status=status,
            tags=dict(self._tags),
            started_at=start.recorded_at,
            since=self._since if status is self._status else last.recorded_at,
            waiting=self._waiting() if status.is_open else [],
            last_seq=last.seq,
            last_at=last.recorded_at,
            result=getattr(end, "result", None),
            error=getattr(end, "error", None),
            reason=getattr(end, "reason", ""),
            progress=self._progress,
        )

    def _now(self) -> RunStatus:
        if self._end is not None:
            return _CLOSING[type(self._end)]
        if self._paused:
            return RunStatus.PAUSED
        return RunStatus.RUNNING if self._busy else RunStatus.WAITING

    def _settle(self, moment: str) -> None:
        status = self._now()
        if status is not self._status or not self._since:
            self._status, self._since = status, moment

    def _waiting(self) -> list[Waiting]:
        return [
            Waiting(ask.kind, ask.name, ask.since, ask.deadline)
            for ask in sorted(self._asks.values(), key=lambda ask: ask.seq)
            if not ask.ended_seq
        ]

    def _begin(self, event: ev.WorkflowStarted) -> None:
        self._start = event
        self._tags = dict(event.tags)

    def _close(self, event: ev.Event) -> None:
        self._end = event

    def _pause(self, event: ev.Event) -> None:
        self._paused = type(event) is ev.WorkflowPaused

    def _set_tags(self, event: ev.TagsSet) -> None:
        self._tags |= event.tags

    def _set_progress(self, event: ev.ProgressSet) -> None:
        self._progress = Progress(event.done, event.total, event.text)

    def _ask_activity(self, event: ev.ActivityScheduled) -> None:
        self._ask(key.Activity(event.activity_id), event, WaitKind.ACTIVITY, event.activity_type)

    def _ask_timer(self, event: ev.TimerStarted) -> None:
        self._ask(key.Timer(event.timer_id), event, WaitKind.TIMER, str(event.timer_id), event.fire_at)

    def _ask_child(self, event: ev.ChildWorkflowStarted) -> None:
        self._ask(key.Child(event.ordinal), event, WaitKind.CHILD, event.child_workflow_id)

    def _ask_send(self, event: ev.SignalSendRequested) -> None:
        self._ask(key.Send(event.ordinal), event, WaitKind.SEND, event.target_workflow_id)

    def _ask(
        self, of: key.CorrelationKey, event: ev.Event, kind: WaitKind, name: str, deadline: str | None = None
    ) -> None:
        self._asks[of] = ask = _Ask(event.seq, kind, name, event.recorded_at, deadline)
        self._busy += _keeps_busy(ask)

    def _attempt(self, event: ev.ActivityStarted) -> None:
        self._turn(event.activity_id, WaitKind.ACTIVITY, None)

    def _fail(self, event: ev.ActivityFailed) -> None:
        if event.next_attempt_at is None:
            self._answer(event)
        else:
            self._turn(event.activity_id, WaitKind.RETRY, event.next_attempt_at)

    def _turn(self, activity_id: int, kind: WaitKind, deadline: str | None) -> None:
        ask = self._asks.get(key.Activity(activity_id))
        if ask is not None and not ask.ended_seq:
            self._busy -= _keeps_busy(ask)
            ask.kind, ask.deadline = kind, deadline
            self._busy += _keeps_busy(ask)

    def _answer(self, event: ev.Event) -> None:
        of = key.key_of(event)
        ask = None if of is None else self._asks.get(of)
        if ask is not None and not ask.ended_seq:
            self._busy -= _keeps_busy(ask)
            ask.ended_seq = event.seq
            ask.ended_by_code = ev.event_class(event) is ev.EventClass.COMMAND

    def _reopen(self, event: ev.WorkflowReopened) -> None:
        """Forget commands from `superseded_from` on; open again what that event, or a hidden cancellation, ended."""
        first = event.superseded_from
        self._end = None
        self._asks = {of: ask for of, ask in self._asks.items() if ask.seq < first}
        for ask in self._asks.values():
            if ask.ended_seq == first or (ask.ended_by_code and ask.ended_seq > first):
                ask.ended_seq = 0
        self._busy = sum(_keeps_busy(ask) for ask in self._asks.values() if not ask.ended_seq)

    _TAKES: ClassVar[dict[type[ev.Event], Callable[[StatusFold, Any], None]]] = {
        ev.WorkflowStarted: _begin,
        ev.WorkflowReopened: _reopen,
        ev.WorkflowPaused: _pause,
        ev.WorkflowResumed: _pause,
        ev.ActivityScheduled: _ask_activity,
        ev.ActivityStarted: _attempt,
        ev.ActivityCompleted: _answer,
        ev.ActivityFailed: _fail,
        ev.ActivityCancelled: _answer,
        ev.TimerStarted: _ask_timer,
        ev.TimerFired: _answer,
        ev.TimerCancelled: _answer,
        ev.ChildWorkflowStarted: _ask_child,
        ev.ChildWorkflowCompleted: _answer,
        ev.ChildWorkflowFailed: _answer,
        ev.ChildWorkflowCancelled: _answer,
        ev.ChildCancelRequested: _answer,
        ev.SignalSendRequested: _ask_send,
        ev.SignalSent: _answer,
        ev.SignalSendFailed: _answer,
        ev.TagsSet: _set_tags,
        ev.ProgressSet: _set_progress,
        **dict.fromkeys(_CLOSING, _close),
    }


def summarise(events: Iterable[Any]) -> RunSummary:
    """Fold the events of one run. Raises HistoryShapeError if there are none, or the first is not the start."""
    fold = StatusFold()
    for event in events:
        fold.apply(event)
    return fold.summary()


def _keeps_busy(ask: _Ask) -> bool:
    """Say whether somebody who works on the run has something to do for this now, or soon."""
    return ask.kind in (WaitKind.ACTIVITY, WaitKind.SEND)
