"""Histories that fit on one screen: `history(started(), scheduled(0, "charge"), completed(0, "r1"))`.

Values are plain Python; `history` numbers the events and stamps them one second apart, from `at(0)` on. `when` gives an
event an instant of its own, from which the following ones go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.replay import Boundary, Replay
from aion_cli.errors import NonDeterminismError

E = TypeVar("E", bound=ev.Event)
AnyWorkflow = WorkflowDefinition[..., Any]

_ZERO = clock.parse_instant("2026-03-01T09:30:00.000000Z")
_SECOND = 1_000_000


def at(seconds: float) -> str:
    """The instant so many seconds after the first event of a history."""
    return clock.format_instant(_ZERO + round(seconds * _SECOND))


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def when(seconds: float, event: E) -> E:
    return msgspec.structs.replace(event, recorded_at=at(seconds))


def history(*events: ev.Event) -> list[ev.Event]:
    """Number events from 1, and stamp those that have no instant a second after the one before."""
    stamped: list[ev.Event] = []
    micros = _ZERO - _SECOND
    for seq, event in enumerate(events, start=1):
        micros = clock.parse_instant(event.recorded_at) if event.recorded_at else micros + _SECOND
        stamped.append(msgspec.structs.replace(event, seq=seq, recorded_at=clock.format_instant(micros)))
    return stamped


def started(input: object = None, workflow_id: str = "order-1", **fields: Any) -> ev.WorkflowStarted:
    return ev.WorkflowStarted(
        format=ev.FORMAT,
        workflow_id=workflow_id,
        run_id=fields.pop("run_id", "r1"),
        workflow_type=fields.pop("workflow_type", "order"),
        input=raw(input),
        definition=ev.DefinitionRef("order", "order.py", "sha256:0"),
        runtime=ev.RuntimeRef("0", "3"),
        **fields,
    )


def scheduled(n: int, activity_type: str, input: object = None) -> ev.ActivityScheduled:
    return ev.ActivityScheduled(activity_id=n, activity_type=activity_type, input=raw(input))


def attempted(n: int, attempt: int = 1) -> ev.ActivityStarted:
    return ev.ActivityStarted(activity_id=n, attempt=attempt, host="h1", pid=1)


def completed(n: int, result: object = None) -> ev.ActivityCompleted:
    return ev.ActivityCompleted(activity_id=n, attempt=1, result=raw(result))


def failure(type: str = "ValueError", message: str = "broken", kind: ErrorKind = ErrorKind.ERROR) -> Failure:
    return Failure(kind=kind, type=type, message=message)


def failed(n: int, error: Failure | None = None, *, attempt: int = 1, again_at: str | None = None) -> ev.ActivityFailed:
    return ev.ActivityFailed(activity_id=n, attempt=attempt, error=error or failure(), next_attempt_at=again_at)


def activity_cancelled(n: int) -> ev.ActivityCancelled:
    return ev.ActivityCancelled(activity_id=n)


def timer(n: int, fire_at: str) -> ev.TimerStarted:
    return ev.TimerStarted(timer_id=n, fire_at=fire_at)


def fired(n: int) -> ev.TimerFired:
    return ev.TimerFired(timer_id=n)


def timer_cancelled(n: int) -> ev.TimerCancelled:
    return ev.TimerCancelled(timer_id=n)


def signal(name: str, payload: object = None, signal_id: str = "s1") -> ev.SignalReceived:
    return ev.SignalReceived(name=name, payload=raw(payload), signal_id=signal_id)


def child(n: int, workflow_type: str, input: object = None, workflow_id: str = "") -> ev.ChildWorkflowStarted:
    return ev.ChildWorkflowStarted(
        ordinal=n, child_workflow_id=workflow_id or f"child-{n}", workflow_type=workflow_type, input=raw(input)
    )


def child_completed(n: int, result: object = None) -> ev.ChildWorkflowCompleted:
    return ev.ChildWorkflowCompleted(ordinal=n, result=raw(result))


def child_failed(n: int, error: Failure | None = None) -> ev.ChildWorkflowFailed:
    return ev.ChildWorkflowFailed(ordinal=n, error=error or failure())


def send(n: int, target: str, name: str, payload: object = None) -> ev.SignalSendRequested:
    return ev.SignalSendRequested(ordinal=n, target_workflow_id=target, name=name, payload=raw(payload))


def sent(n: int) -> ev.SignalSent:
    return ev.SignalSent(ordinal=n)


def cancel_requested(request_id: str = "c1", reason: str = "") -> ev.WorkflowCancelRequested:
    return ev.WorkflowCancelRequested(request_id=request_id, reason=reason)


def reopened(superseded_from: int) -> ev.WorkflowReopened:
    return ev.WorkflowReopened(superseded_from=superseded_from)


def ended(result: object = None) -> ev.WorkflowCompleted:
    return ev.WorkflowCompleted(result=raw(result))


def ended_in(error: Failure | None = None) -> ev.WorkflowFailed:
    return ev.WorkflowFailed(error=error or failure())


def replay_of(workflow: AnyWorkflow, events: Sequence[ev.Event]) -> Replay:
    """A replay of events that was not run yet."""
    reopens = [event for event in events if isinstance(event, ev.WorkflowReopened)]
    return Replay(HistoryCursor(events, reopens), workflow)


def replayed(workflow: AnyWorkflow, events: Sequence[ev.Event]) -> Boundary:
    """Replay events, and return where they end. The execution is closed."""
    replay = replay_of(workflow, events)
    try:
        return replay.run()
    finally:
        replay.execution.close()


def divergence(workflow: AnyWorkflow, events: Sequence[ev.Event]) -> NonDeterminismError:
    """Replay events that the workflow must not match, and return what is said about it."""
    with pytest.raises(NonDeterminismError) as caught:
        replayed(workflow, events)
    return caught.value


def line_of(fn: Callable[..., Any], offset: int) -> str:
    """The "file:line" so many lines below the first line (decorator or `def`) of a function's source."""
    return f"{fn.__code__.co_filename}:{fn.__code__.co_firstlineno + offset}"
