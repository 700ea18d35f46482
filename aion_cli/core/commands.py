"""Commands: what workflow code asks of the world, and what the Resolver answers.

What belongs here: the fields of each command, the key it must carry, the event that records it, and its description in
words for a divergence. What does not: whether history satisfies a command (`core.resolver`), doing it (`runtime`).

`source` is "file:line" in the workflow, for messages only. `target` is the definition that runs (an activity or a child
workflow); it is opaque here and never compared: a history knows it by its registered name alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.correlation import CorrelationKey
from aion_cli.errors import HistoryShapeError


class Command(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all commands."""

    source: str = ""


class RunActivity(Command, frozen=True, kw_only=True):
    key: key.Activity
    activity_type: str
    input: msgspec.Raw
    options: dict[str, Any] = {}
    target: Any = None


class CancelActivity(Command, frozen=True, kw_only=True):
    key: key.Activity


class StartTimer(Command, frozen=True, kw_only=True):
    """fire_at: an instant, see core.clock."""

    key: key.Timer
    fire_at: str


class CancelTimer(Command, frozen=True, kw_only=True):
    key: key.Timer


class AwaitSignal(Command, frozen=True, kw_only=True):
    key: key.Signal


class ChildName:
    """The workflow id of a child, for commands that follow its own: empty until it is chosen, or recorded."""

    __slots__ = ("workflow_id",)

    def __init__(self, workflow_id: str = "") -> None:
        self.workflow_id = workflow_id


class SendSignal(Command, frozen=True, kw_only=True):
    """to: a workflow id, or a child of the run. target: the kind of signal, if it is one that an author declared."""

    key: key.Send
    to: str | ChildName
    name: str
    payload: msgspec.Raw
    target: object = None

    @property
    def target_workflow_id(self) -> str:
        """The run that it is sent to; of a child, once the command that asked for it is recorded."""
        return self.to if isinstance(self.to, str) else self.to.workflow_id


class SpawnChild(Command, frozen=True, kw_only=True):
    """workflow_id: the id that the author chose, or empty: then it is made from the command's sequence number.

    known_as: where commands that follow look for the id.
    """

    key: key.Child
    workflow_type: str
    input: msgspec.Raw
    workflow_id: str = ""
    parent_close: ev.ParentClose = ev.ParentClose.CANCEL
    target: Any = None
    known_as: ChildName | None = None

    def recorded_as(self, event: ev.ChildWorkflowStarted) -> None:
        """Take note of the id under which the child is recorded."""
        if self.known_as is not None:
            self.known_as.workflow_id = event.child_workflow_id


class AwaitChild(Command, frozen=True, kw_only=True):
    key: key.Child


class CancelChild(Command, frozen=True, kw_only=True):
    key: key.Child


class RecordMarker(Command, frozen=True, kw_only=True):
    key: key.Marker
    value: msgspec.Raw


class AnswerUpdate(Command, frozen=True, kw_only=True):
    """Exactly one of result and error is set. target: the handler that answers, if it is one."""

    key: key.Update
    result: msgspec.Raw | None = None
    error: ev.Failure | None = None
    target: object = None


class Completed(msgspec.Struct, frozen=True, gc=False):
    result: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, gc=False):
    error: ev.Failure


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    reason: str = ""
    notes: tuple[str, ...] = ()


class Continued(msgspec.Struct, frozen=True, gc=False):
    """workflow_type: None if the next run is of the same type."""

    input: msgspec.Raw
    workflow_type: str | None = None


Outcome = Completed | Failed | Cancelled | Continued


class CompleteWorkflow(Command, frozen=True, kw_only=True):
    """target: the workflow, which may read a recorded end with today's types."""

    outcome: Outcome
    key: key.Main = key.Main()
    target: Any = None


AnyCommand = (
    RunActivity
    | CancelActivity
    | StartTimer
    | CancelTimer
    | AwaitSignal
    | SendSignal
    | SpawnChild
    | AwaitChild
    | CancelChild
    | RecordMarker
    | AnswerUpdate
    | CompleteWorkflow
)


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Something that code waits for. since: when it was asked for. deadline: when a timer fires, else None."""

    command: AnyCommand
    since: str
    deadline: str | None = None


BEGINNING = (RunActivity, StartTimer, SpawnChild, SendSignal)
"""Commands that begin something in the world, which answers later."""

LEAVING_NO_EVENT = (AwaitSignal, AwaitChild)
"""Commands that history holds no event of."""

_KEY_KINDS: dict[type[Command], type[Any]] = {
    RunActivity: key.Activity,
    CancelActivity: key.Activity,
    StartTimer: key.Timer,
    CancelTimer: key.Timer,
    AwaitSignal: key.Signal,
    SendSignal: key.Send,
    SpawnChild: key.Child,
    AwaitChild: key.Child,
    CancelChild: key.Child,
    RecordMarker: key.Marker,
    AnswerUpdate: key.Update,
    CompleteWorkflow: key.Main,
}


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """What history says became of a command: the event that answered it."""

    event: ev.Event


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """History satisfies the command."""

    resolution: Resolution


class ResumeLive(msgspec.Struct, frozen=True, gc=False):
    """History cannot satisfy the command: the world has to.

    begun: the event that recorded the command, if history got that far (half-done work).
    attempts: the highest attempt of an activity that was started; 0 if none.
    failures: how many attempts have a recorded failure.
    next_attempt_at: when the next attempt is due, if history ends in a backoff.
    heartbeat: last recorded heartbeat details of the activity, if any.
    withdrawn_by: the event that asked for the cancellation of a child which has not ended, if there is one.
    """

    begun: ev.Event | None = None
    attempts: int = 0
    failures: int = 0
    next_attempt_at: str | None = None
    heartbeat: msgspec.Raw | None = None
    withdrawn_by: ev.Event | None = None


ResolveOutcome = Recorded | ResumeLive


def require_key_kind(command: AnyCommand, found: CorrelationKey) -> None:
    """Raise HistoryShapeError, naming both, if a command is paired with a key of another kind."""
    expected = _KEY_KINDS[type(command)]
    if type(found) is not expected:
        raise HistoryShapeError(
            f"{type(command).__name__} takes a key of kind {expected.__name__}, not {type(found).__name__}: {found}"
        )


def completion_event(outcome: Outcome, new_run_id: str = "") -> ev.Event:
    """Return the terminal event that records how main ended, unstamped."""
    match outcome:
        case Completed(result=result):
            return ev.WorkflowCompleted(result=result)
        case Failed(error=error):
            return ev.WorkflowFailed(error=error)
        case Cancelled(reason=reason, notes=notes):
            return ev.WorkflowCancelled(reason=reason, notes=list(notes))
        case Continued(input=input, workflow_type=workflow_type):
            return ev.WorkflowContinuedAsNew(input=input, workflow_type=workflow_type, new_run_id=new_run_id)


def command_event(command: AnyCommand, *, child_id: str = "", new_run_id: str = "") -> ev.Event | None:
    """Return the event that records a command, unstamped, or None for one that leaves no event of its own.

    child_id, new_run_id: ids that the runtime makes; history does not compare them.
    """
    match command:
        case RunActivity(key=k, activity_type=activity_type, input=input, options=options):
            return ev.ActivityScheduled(
                activity_id=k.ordinal, activity_type=activity_type, input=input, options=options
            )
        case CancelActivity(key=k):
            return ev.ActivityCancelled(activity_id=k.ordinal)
        case StartTimer(key=k, fire_at=fire_at):
            return ev.TimerStarted(timer_id=k.timer_id, fire_at=fire_at)
        case CancelTimer(key=k):
            return ev.TimerCancelled(timer_id=k.timer_id)
        case SendSignal(key=k, name=name, payload=payload):
            target = command.target_workflow_id
            return ev.SignalSendRequested(ordinal=k.ordinal, target_workflow_id=target, name=name, payload=payload)
        case SpawnChild(key=k, workflow_type=workflow_type, input=input, parent_close=parent_close):
            return ev.ChildWorkflowStarted(
                ordinal=k.ordinal,
                child_workflow_id=command.workflow_id or child_id,
                workflow_type=workflow_type,
                input=input,
                parent_close=parent_close,
            )
        case CancelChild(key=k):
            return ev.ChildCancelRequested(ordinal=k.ordinal)
        case RecordMarker(key=k, value=value):
            return ev.MarkerRecorded(kind=k.kind, name=k.name, value=value)
        case AnswerUpdate(key=k, error=ev.Failure() as error):
            return ev.UpdateFailed(update_id=k.update_id, error=error)
        case AnswerUpdate(key=k, result=result):
            return ev.UpdateCompleted(update_id=k.update_id, result=result or msgspec.Raw(b"null"))
        case CompleteWorkflow(outcome=outcome):
            return completion_event(outcome, new_run_id)
        case AwaitSignal() | AwaitChild():
            return None
