"""What happens in runs, in a sentence each, for somebody who watches. Untrusted text is in them as it stands."""

from __future__ import annotations

import msgspec

from aion_cli.core import events as ev

_SHELL = "shell"
_LONGEST_COMMAND = 40

Key = tuple[str, int]
"""(workflow id, number of an activity or a child)."""

_NAMING = frozenset(
    {
        ev.ActivityScheduled,
        ev.ActivityCompleted,
        ev.ActivityFailed,
        ev.ActivityCancelled,
        ev.ChildWorkflowStarted,
        ev.ChildWorkflowCompleted,
        ev.ChildWorkflowFailed,
        ev.ChildWorkflowCancelled,
    }
)


class Sentences:
    """Puts events into words. It sees all events of a run in order, since later ones name things by number alone."""

    def __init__(self) -> None:
        self._activities: dict[Key, str] = {}
        self._children: dict[Key, str] = {}

    def learn(self, workflow_id: str, event: ev.Event) -> None:
        """Take note of what an event gives a name to, and forget what is over."""
        if type(event) not in _NAMING:
            return
        match event:
            case ev.ActivityScheduled(activity_id=n):
                self._activities[workflow_id, n] = _step_name(event)
            case ev.ChildWorkflowStarted(ordinal=n, child_workflow_id=child_id):
                self._children[workflow_id, n] = child_id
            case (
                ev.ActivityCompleted(activity_id=n)
                | ev.ActivityFailed(activity_id=n, next_attempt_at=None)
                | ev.ActivityCancelled(activity_id=n)
            ):
                self._activities.pop((workflow_id, n), None)
            case (
                ev.ChildWorkflowCompleted(ordinal=n)
                | ev.ChildWorkflowFailed(ordinal=n)
                | ev.ChildWorkflowCancelled(ordinal=n)
            ):
                self._children.pop((workflow_id, n), None)
            case _:
                pass

    def activity(self, key: Key, longest: int | None = None) -> str:
        """Return an activity's name with its number. longest: cut the name to so many characters."""
        name = self._activities.get(key, "activity")
        return f"{name if longest is None else _cut(name, longest)} ({key[1]})"

    def say(self, workflow_id: str, event: ev.Event) -> str | None:
        """Say what an event means, and learn from it. None for one that is of no interest."""
        said = None
        if not isinstance(event, ev.ActivityScheduled):
            said = self._activity_says(workflow_id, event) or self._child_says(workflow_id, event) or _run_says(event)
        self.learn(workflow_id, event)
        return said

    def _activity_says(self, workflow_id: str, event: ev.Event) -> str | None:
        match event:
            case ev.ActivityStarted(activity_id=n, attempt=attempt):
                return f"{self.activity((workflow_id, n))} started" + (f", attempt {attempt}" if attempt > 1 else "")
            case ev.ActivityCompleted(activity_id=n):
                return f"{self.activity((workflow_id, n))} completed"
            case ev.ActivityFailed(activity_id=n, next_attempt_at=due):
                then = f"; attempt {event.attempt + 1} at {due}" if due else ""
                return f"{self.activity((workflow_id, n))} failed: {_failure(event.error)}{then}"
            case ev.ActivityCancelled(activity_id=n):
                return f"{self.activity((workflow_id, n))} cancelled"
            case _:
                return None

    def _child_says(self, workflow_id: str, event: ev.Event) -> str | None:
        match event:
            case ev.ChildWorkflowStarted(child_workflow_id=child_id):
                return f"child {child_id} started"
            case ev.ChildWorkflowCompleted(ordinal=n):
                return f"child {self._child(workflow_id, n)} completed"
            case ev.ChildWorkflowFailed(ordinal=n, error=error):
                return f"child {self._child(workflow_id, n)} failed: {_failure(error)}"
            case ev.ChildWorkflowCancelled(ordinal=n):
                return f"child {self._child(workflow_id, n)} cancelled"
            case _:
                return None

    def _child(self, workflow_id: str, number: int) -> str:
        return self._children.get((workflow_id, number), str(number))


def _run_says(event: ev.Event) -> str | None:
    match event:
        case ev.WorkflowStarted(workflow_type=name):
            return f"{name} started"
        case ev.TimerStarted(fire_at=fire_at):
            return f"timer set for {fire_at}"
        case ev.SignalReceived(name=name):
            return f"signal {name} received"
        case ev.SignalSent():
            return "signal sent"
        case ev.SignalSendFailed(error=error):
            return f"signal not sent: {_failure(error)}"
        case ev.WorkflowCancelRequested(reason=reason):
            return "cancel requested" + (f": {reason}" if reason else "")
        case ev.WorkflowPaused(reason=reason):
            return "paused" + (f": {reason}" if reason else "")
        case ev.ProgressSet(done=done, total=total, text=text):
            return f"{done} of {total}  {text}".rstrip()
        case _:
            return _ENDS.get(type(event))


_ENDS: dict[type[ev.Event], str] = {
    ev.WorkflowResumed: "unpaused",
    ev.WorkflowCompleted: "completed",
    ev.WorkflowFailed: "failed",
    ev.WorkflowCancelled: "cancelled",
    ev.WorkflowTerminated: "terminated",
    ev.WorkflowTimedOut: "timed out",
    ev.WorkflowContinuedAsNew: "continued as a new run",
}


class _ShellInput(msgspec.Struct):
    command: str


def _step_name(event: ev.ActivityScheduled) -> str:
    """Return what to call an activity: a shell step by its command, in one short line."""
    if event.activity_type != _SHELL:
        return event.activity_type
    try:
        command = " ".join(msgspec.json.decode(event.input, type=_ShellInput).command.split())
    except msgspec.MsgspecError:  # it is beside the history, encrypted, or of another version
        return event.activity_type
    return _cut(command, _LONGEST_COMMAND)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _failure(error: ev.Failure) -> str:
    return f"{error.type}: {error.message}" if error.message else error.type
