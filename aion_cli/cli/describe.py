"""Events and waits in a few words, for people. Untrusted text stays as it is: the table makes it visible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

import msgspec

from aion_cli.cli.durations import format_duration
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.clock import parse_instant
from aion_cli.core.status import Waiting, WaitKind

EVENT_WIDTH = max(len(kind.__name__) for kind in get_args(ev.AnyEvent))
"""Of the longest name of an event."""


class EventWords:
    """Says what each event of one history is about. Feed it all events in order: later ones are named by earlier."""

    def __init__(self) -> None:
        self._names: dict[key.CorrelationKey, str] = {}

    def what(self, event: Any) -> str:
        """Return what an event, a member of `ev.AnyEvent`, is about, in one line."""
        words = _WORDS.get(cast(type[ev.Event], type(event)))
        about = words(event) if words is not None else ""
        of = key.key_of(event)
        if of is None or isinstance(of, key.Main | key.Marker | key.Update):
            return about
        name = self._name(of, event)
        return f"{name}  {about}" if about else name

    def _name(self, of: key.CorrelationKey, event: ev.Event) -> str:
        match event:
            case ev.ActivityScheduled(activity_type=name, activity_id=n):
                self._names[of] = f"{name} ({n})"
            case ev.ChildWorkflowStarted(workflow_type=name, child_workflow_id=child):
                self._names[of] = f"{name} {child}"
            case ev.SignalSendRequested(name=name, target_workflow_id=target):
                self._names[of] = f"{name} to {target}"
            case ev.TimerStarted(timer_id=n):
                self._names[of] = f"timer ({n})"
            case _:
                pass
        return self._names.get(of, "?")


def waiting_words(waits: list[Waiting], now_micros: int) -> str:
    """Say what a run waits for: the first in full, of more than two only the number."""
    shown = [_wait_words(wait, now_micros) for wait in waits[:2]]
    if len(waits) > 2:
        shown.append(f"{len(waits) - 2} more")
    return ", ".join(shown)


def age_words(since: str, now_micros: int) -> str:
    """Say how long ago an instant was."""
    return format_duration(max(0, now_micros - parse_instant(since)) // 1_000_000)


def _wait_words(wait: Waiting, now_micros: int) -> str:
    match wait.kind:
        case WaitKind.TIMER:
            name = "timer"
        case WaitKind.TIMEOUT:
            name = "timeout of the run"
        case WaitKind.CONDITION:
            name = f"condition at {wait.where}" if wait.where else "condition"
        case WaitKind.FUTURE:
            name = f"future at {wait.where}" if wait.where else f"future in {wait.name}"
        case _:
            name = f"{wait.kind} {wait.name}"
    if wait.deadline is None:
        return name
    left_s = (parse_instant(wait.deadline) - now_micros) / 1_000_000
    if left_s < 0:
        return f"{name}, due since {format_duration(-left_s)}"
    return f"{name} in {format_duration(left_s)}"


def _json(raw: msgspec.Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _failure(error: ev.Failure) -> str:
    summary = f"{error.type}: {error.message}" if error.message else error.type
    return summary if error.kind in (ev.ErrorKind.ERROR, ev.ErrorKind.NON_RETRYABLE) else f"{error.kind}  {summary}"


def _failed_attempt(event: ev.ActivityFailed) -> str:
    again = f"; next attempt at {event.next_attempt_at}" if event.next_attempt_at else ""
    return f"attempt {event.attempt}  {_failure(event.error)}{again}"


def _tags(tags: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in tags.items())


def _progress(event: ev.ProgressSet) -> str:
    return f"{event.done} of {event.total}  {event.text}".rstrip()


_WORDS: dict[type[ev.Event], Callable[[Any], str]] = {
    ev.WorkflowStarted: lambda e: f"{e.workflow_type}  {_json(e.input)}",
    ev.WorkflowCompleted: lambda e: _json(e.result),
    ev.WorkflowFailed: lambda e: _failure(e.error),
    ev.WorkflowCancelled: lambda e: "  ".join([e.reason, *e.notes]).strip(),
    ev.WorkflowTerminated: lambda e: e.reason,
    ev.WorkflowTimedOut: lambda e: f"after {format_duration(e.timeout_s)}",
    ev.WorkflowContinuedAsNew: lambda e: f"as {e.new_run_id}  {_json(e.input)}",
    ev.WorkflowCancelRequested: lambda e: e.reason,
    ev.WorkflowReopened: lambda e: f"from event {e.superseded_from} on  {e.reason}".rstrip(),
    ev.WorkflowPaused: lambda e: e.reason,
    ev.WorkflowResumed: lambda e: e.reason,
    ev.ActivityScheduled: lambda e: _json(e.input),
    ev.ActivityStarted: lambda e: f"attempt {e.attempt}, process {e.pid} on {e.host}",
    ev.ActivityHeartbeat: lambda e: _json(e.details),
    ev.ActivityCompleted: lambda e: _json(e.result),
    ev.ActivityFailed: _failed_attempt,
    ev.TimerStarted: lambda e: f"until {e.fire_at}",
    ev.SignalReceived: lambda e: f"{e.name}  {_json(e.payload)}",
    ev.SignalSendRequested: lambda e: _json(e.payload),
    ev.SignalSendFailed: lambda e: _failure(e.error),
    ev.UpdateRequested: lambda e: f"{e.name}  {_json(e.args)}",
    ev.UpdateCompleted: lambda e: _json(e.result),
    ev.UpdateFailed: lambda e: _failure(e.error),
    ev.ChildWorkflowStarted: lambda e: _json(e.input),
    ev.ChildWorkflowCompleted: lambda e: _json(e.result),
    ev.ChildWorkflowFailed: lambda e: _failure(e.error),
    ev.MarkerRecorded: lambda e: f"{e.kind} {e.name}  {_json(e.value)}",
    ev.TagsSet: lambda e: _tags(e.tags),
    ev.ProgressSet: _progress,
}
