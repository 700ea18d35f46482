"""The recorded facts: one tagged Struct an event, one event a line of a history.

What belongs here: the fields of each event, their defaults, and the class an event is of (what the code asked, what the
world answered, what came from outside). What does not: matching, status, bytes on disk (`core.lines`).

An event is made without `seq` and `recorded_at`; the Recorder stamps both. Payload fields hold the recorded JSON as it
stands (`msgspec.Raw`), so nothing is decoded that nobody looks at. Fields that hold their default are left out of the
line, payload fields never are (they have no default). New fields get defaults; nothing is ever renamed.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

FORMAT = 1
"""Version of the file format that this aion writes, and the highest that it reads."""


class ErrorKind(enum.StrEnum):
    """What sort of failure a recorded error is."""

    ERROR = "error"
    NON_RETRYABLE = "non_retryable"
    TIMEOUT = "timeout"
    TOTAL_TIMEOUT = "total_timeout"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    TERMINATED = "terminated"
    CHILD = "child"


class ParentClose(enum.StrEnum):
    """What becomes of an open child when its parent closes."""

    CANCEL = "cancel"
    TERMINATE = "terminate"
    ABANDON = "abandon"


class EventClass(enum.Enum):
    """Who causes an event; design.md, section 3."""

    COMMAND = "command"
    EXECUTOR = "executor"
    PROGRESS = "progress"
    OUTSIDE = "outside"
    NOTE = "note"


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A failure as data: never pickled, the same on every replay.

    type: `__qualname__` of the exception class. details: a JSON value. traceback: trimmed to the user's frames.
    """

    kind: ErrorKind
    type: str
    message: str
    details: Any = None
    traceback: str = ""
    notes: list[str] = []
    cause: Failure | None = None


class ParentRef(msgspec.Struct, frozen=True, gc=False):
    """Which command of which run asked for this child."""

    workflow_id: str
    run_id: str
    seq: int


class AttachedChild(msgspec.Struct, frozen=True, gc=False):
    """An open child of a run before this one: which command of which run, of the same workflow id, asked for it."""

    workflow_id: str
    run_id: str
    seq: int
    parent_close: ParentClose = ParentClose.CANCEL


class DefinitionRef(msgspec.Struct, frozen=True, gc=False):
    """The code a run was started with. digest: "sha256:" + hex of the file's bytes; empty if there is no file."""

    module: str
    file: str
    digest: str


class RuntimeRef(msgspec.Struct, frozen=True, gc=False):
    """Versions that wrote the first line."""

    aion: str
    python: str


class Event(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="type"):
    """Base of all events.

    seq: 1, 2, 3 … without gaps, also the line number. recorded_at: RFC 3339 UTC with microseconds and `Z`.
    b: how many lines of the same batch still follow.
    """

    seq: int = 0
    recorded_at: str = ""
    b: int = 0


class WorkflowStarted(Event, frozen=True, kw_only=True, tag=True):
    format: int
    workflow_id: str
    run_id: str
    workflow_type: str
    input: msgspec.Raw
    definition: DefinitionRef
    runtime: RuntimeRef
    parent: ParentRef | None = None
    continued_from: str | None = None
    codec: str | None = None
    rehashed: bool = False
    tags: dict[str, str] = {}
    children: list[AttachedChild] = []


class WorkflowCompleted(Event, frozen=True, kw_only=True, tag=True):
    result: msgspec.Raw


class WorkflowFailed(Event, frozen=True, kw_only=True, tag=True):
    error: Failure


class WorkflowCancelled(Event, frozen=True, kw_only=True, tag=True):
    """notes: of the cancellation as it left the code, such as what failed while it cleaned up."""

    reason: str = ""
    notes: list[str] = []


class WorkflowTerminated(Event, frozen=True, kw_only=True, tag=True):
    reason: str = ""


class WorkflowTimedOut(Event, frozen=True, kw_only=True, tag=True):
    timeout_s: float


class WorkflowContinuedAsNew(Event, frozen=True, kw_only=True, tag=True):
    input: msgspec.Raw
    new_run_id: str
    workflow_type: str | None = None


class WorkflowCancelRequested(Event, frozen=True, kw_only=True, tag=True):
    request_id: str
    reason: str = ""


class WorkflowReopened(Event, frozen=True, kw_only=True, tag=True):
    superseded_from: int
    reason: str = ""


class WorkflowPaused(Event, frozen=True, kw_only=True, tag=True):
    reason: str = ""


class WorkflowResumed(Event, frozen=True, kw_only=True, tag=True):
    reason: str = ""


class ActivityScheduled(Event, frozen=True, kw_only=True, tag=True):
    activity_id: int
    activity_type: str
    input: msgspec.Raw
    options: dict[str, Any] = {}


class ActivityStarted(Event, frozen=True, kw_only=True, tag=True):
    activity_id: int
    attempt: int
    host: str
    pid: int


class ActivityHeartbeat(Event, frozen=True, kw_only=True, tag=True):
    activity_id: int
    attempt: int
    details: msgspec.Raw


class ActivityCompleted(Event, frozen=True, kw_only=True, tag=True):
    activity_id: int
    attempt: int
    result: msgspec.Raw


class ActivityFailed(Event, frozen=True, kw_only=True, tag=True):
    activity_id: int
    attempt: int
    error: Failure
    next_attempt_at: str | None = None


class ActivityCancelled(Event, frozen=True, kw_only=True, tag=True):
    activity_id: int


class TimerStarted(Event, frozen=True, kw_only=True, tag=True):
    timer_id: int
    fire_at: str


class TimerFired(Event, frozen=True, kw_only=True, tag=True):
    timer_id: int


class TimerCancelled(Event, frozen=True, kw_only=True, tag=True):
    timer_id: int


class SignalReceived(Event, frozen=True, kw_only=True, tag=True):
    name: str
    payload: msgspec.Raw
    signal_id: str


class SignalSendRequested(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int
    target_workflow_id: str
    name: str
    payload: msgspec.Raw


class SignalSent(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int


class SignalSendFailed(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int
    error: Failure


class UpdateRequested(Event, frozen=True, kw_only=True, tag=True):
    update_id: str
    name: str
    args: msgspec.Raw


class UpdateCompleted(Event, frozen=True, kw_only=True, tag=True):
    update_id: str
    result: msgspec.Raw


class UpdateFailed(Event, frozen=True, kw_only=True, tag=True):
    update_id: str
    error: Failure


class ChildWorkflowStarted(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int
    child_workflow_id: str
    workflow_type: str
    input: msgspec.Raw
    parent_close: ParentClose = ParentClose.CANCEL


class ChildCancelRequested(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int


class ChildWorkflowCompleted(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int
    result: msgspec.Raw


class ChildWorkflowFailed(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int
    error: Failure


class ChildWorkflowCancelled(Event, frozen=True, kw_only=True, tag=True):
    ordinal: int


class MarkerRecorded(Event, frozen=True, kw_only=True, tag=True):
    kind: str
    name: str
    value: msgspec.Raw


class TagsSet(Event, frozen=True, kw_only=True, tag=True):
    tags: dict[str, str]


class ProgressSet(Event, frozen=True, kw_only=True, tag=True):
    done: int
    total: int
    text: str = ""


AnyEvent = (
    WorkflowStarted
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowCancelled
    | WorkflowTerminated
    | WorkflowTimedOut
    | WorkflowContinuedAsNew
    | WorkflowCancelRequested
    | WorkflowReopened
    | WorkflowPaused
    | WorkflowResumed
    | ActivityScheduled
    | ActivityStarted
    | ActivityHeartbeat
    | ActivityCompleted
    | ActivityFailed
    | ActivityCancelled
    | TimerStarted
    | TimerFired
    | TimerCancelled
    | SignalReceived
    | SignalSendRequested
    | SignalSent
    | SignalSendFailed
    | UpdateRequested
    | UpdateCompleted
    | UpdateFailed
    | ChildWorkflowStarted
    | ChildCancelRequested
    | ChildWorkflowCompleted
    | ChildWorkflowFailed
    | ChildWorkflowCancelled
    | MarkerRecorded
    | TagsSet
    | ProgressSet
)
"""The closed union that a line of a history decodes to."""

_CLASSES: dict[type[Event], EventClass] = {
    ActivityScheduled: EventClass.COMMAND,
    ActivityCancelled: EventClass.COMMAND,
    TimerStarted: EventClass.COMMAND,
    TimerCancelled: EventClass.COMMAND,
    ChildWorkflowStarted: EventClass.COMMAND,
    ChildCancelRequested: EventClass.COMMAND,
    SignalSendRequested: EventClass.COMMAND,
    UpdateCompleted: EventClass.COMMAND,
    UpdateFailed: EventClass.COMMAND,
    MarkerRecorded: EventClass.COMMAND,
    WorkflowCompleted: EventClass.COMMAND,
    WorkflowFailed: EventClass.COMMAND,
    WorkflowCancelled: EventClass.COMMAND,
    WorkflowContinuedAsNew: EventClass.COMMAND,
    ActivityCompleted: EventClass.EXECUTOR,
    ActivityFailed: EventClass.EXECUTOR,
    TimerFired: EventClass.EXECUTOR,
    ChildWorkflowCompleted: EventClass.EXECUTOR,
    ChildWorkflowFailed: EventClass.EXECUTOR,
    ChildWorkflowCancelled: EventClass.EXECUTOR,
    SignalSent: EventClass.EXECUTOR,
    SignalSendFailed: EventClass.EXECUTOR,
    ActivityStarted: EventClass.PROGRESS,
    ActivityHeartbeat: EventClass.PROGRESS,
    WorkflowStarted: EventClass.OUTSIDE,
    SignalReceived: EventClass.OUTSIDE,
    UpdateRequested: EventClass.OUTSIDE,
    WorkflowCancelRequested: EventClass.OUTSIDE,
    WorkflowPaused: EventClass.OUTSIDE,
    WorkflowResumed: EventClass.OUTSIDE,
    WorkflowReopened: EventClass.OUTSIDE,
    WorkflowTerminated: EventClass.OUTSIDE,
    WorkflowTimedOut: EventClass.OUTSIDE,
    TagsSet: EventClass.NOTE,
    ProgressSet: EventClass.NOTE,
}

TERMINAL_EVENTS = (
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowCancelled,
    WorkflowTerminated,
    WorkflowTimedOut,
    WorkflowContinuedAsNew,
)
"""After one of these only `WorkflowReopened` may follow."""

PAYLOAD_FIELDS = ("input", "result", "payload", "args", "value", "details")
"""Names of the event fields that hold user data as raw JSON."""


def event_class(event: Event) -> EventClass:
    """Say who caused an event. A failed attempt that will be tried again is PROGRESS, a final one EXECUTOR."""
    if type(event) is ActivityFailed and event.next_attempt_at is not None:
        return EventClass.PROGRESS
    return _CLASSES[type(event)]
