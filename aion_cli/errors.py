"""Every error that aion raises on purpose.

An error carries typed fields; `str(error)` is its one-line summary. How it is laid out for people is the business of
`aion_cli.cli.render`, and which exit code it means is decided in `aion_cli.cli.output`.

`code` is the stable name of a class of errors: scripts may compare it, so it never changes once released.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple


class AionError(Exception):
    """Base of all errors raised on purpose.

    message: what happened, one sentence without a full stop.
    where: places, each "file:line" with an optional remark, outermost first.
    hint: what to do about it; empty if there is nothing to advise.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, where: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = tuple(where)
        self.hint = hint


class UsageError(AionError):
    """The caller asked for something that cannot be: a bad option, id, name or input."""

    code = "usage"


class PayloadError(UsageError):
    """A value does not fit its type, or cannot be recorded as JSON.

    path: JSON path of the offending part, "$" for the whole value.
    """

    code = "payload"

    def __init__(self, message: str, *, path: str = "$", where: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.path = path


class WorkflowCodeError(UsageError):
    """A workflow file cannot be imported, or does not define what was asked for.

    trace: the user's own traceback, trimmed to their frames; empty if there is none.
    """

    code = "workflow-code"

    def __init__(self, message: str, *, trace: str = "", where: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.trace = trace


class NoSuchRunError(AionError):
    """There is no run of that name."""

    code = "no-such-run"

    def __init__(self, run: str, *, hint: str = "") -> None:
        super().__init__(f"there is no run {run}", hint=hint)
        self.run = run


class WrongStateError(AionError):
    """The run exists, but is in a state in which this cannot be done."""

    code = "wrong-state"


class OwnedElsewhereError(AionError):
    """Another live process owns the run.

    pid, host, since: as its lock file names them; pid 0 and empty strings if the lock file could not be read.
    """

    code = "owned-elsewhere"

    def __init__(self, workflow_id: str, *, pid: int, host: str, role: str, since: str) -> None:
        owner = f"process {pid} on {host}" if pid else "another process"
        started = f" since {since}" if since else ""
        super().__init__(
            f"{workflow_id} is owned by {owner} ({role or 'role unknown'}){started}",
            hint="wait until it ends, or stop it; its lock is free as soon as it is gone",
        )
        self.workflow_id = workflow_id
        self.pid = pid
        self.host = host
        self.role = role
        self.since = since


class DurabilityError(AionError):
    """Base of what can go wrong between a run and its history."""

    code = "durability"


class Step(NamedTuple):
    """One command, as recorded or as asked for, in the fields that are compared.

    kind: "activity", "timer", "child workflow" … name: of the activity, workflow, signal or marker; may be empty.
    key: what tells it from others of its kind. input: what it was given (compact JSON, or an instant); None if nothing.
    """

    kind: str
    name: str = ""
    key: str = ""
    input: str | None = None

    def __str__(self) -> str:
        name = f' "{self.name}"' if self.name else ""
        key = f" ({self.key})" if self.key else ""
        given = f" with {self.input}" if self.input is not None else ""
        return f"{self.kind}{name}{key}{given}"


class NonDeterminismError(DurabilityError):
    """The code no longer does what its history recorded.

    workflow_id: the run it happened in.
    seq: sequence number (and line) of the event where the two part.
    recorded: what the history holds there.
    requested: what the code asked for, or None if it asked for nothing.
    source: "file:line" in the workflow that asked, or where the code ended or waits.
    last_match: seq of the last event that code and history agreed on.
    code_changed: whether the workflow's file is another one than the run was started with; None if nobody can tell.
    """

    code = "non-determinism"

    def __init__(
        self,
        *,
        workflow_id: str,
        seq: int,
        recorded: Step,
        requested: Step | None,
        source: str,
        last_match: int,
        code_changed: bool | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(f"{workflow_id} no longer matches its history", hint=hint)
        self.workflow_id = workflow_id
        self.seq = seq
        self.recorded = recorded
        self.requested = requested
        self.source = source
        self.last_match = last_match
        self.code_changed = code_changed


class HistoryShapeError(DurabilityError):
    """Events or commands do not fit together in a way that no code and no crash can explain."""

    code = "history-shape"


class SequenceConflictError(DurabilityError):
    """Another writer moved the head of the history."""

    code = "sequence-conflict"

    def __init__(self, *, expected_seq: int, found_seq: int) -> None:
        super().__init__(
            f"the history ends at event {found_seq}, this writer expected {expected_seq}",
            hint="something else wrote to the history; run `aion verify` on it",
        )
        self.expected_seq = expected_seq
        self.found_seq = found_seq


class StoreError(DurabilityError):
    """Storage refused: no space, an I/O error, a read-only place, a file that changed under a live run."""

    code = "storage"


class DamagedHistoryError(StoreError):
    """The bytes of a history are not what was written.

    path, line: where; line counts from 1.
    reason: what does not hold there.
    """

    code = "damaged"

    def __init__(self, *, path: str, line: int, reason: str, hint: str = "") -> None:
        super().__init__(
            f"the history is damaged: {reason}",
            where=(f"{path}:{line}",),
            hint=hint or "restore the file from a copy; nothing was changed",
        )
        self.path = path
        self.line = line
        self.reason = reason


class UnsupportedFormatError(StoreError):
    """The history was written by a newer version of aion, or by something else."""

    code = "unsupported-format"


class WorkflowFailure(AionError):  # noqa: N818 - not an error of aion, but of what it ran
    """Base of what workflow code sees when something it awaited failed.

    type: `__qualname__` of the exception class that was raised.
    details: what the failing side attached, as plain JSON values.
    attempts: how many attempts were made.
    cause: the failure behind this one, in the same shape, or None.
    origin: the author's frames where it failed, one a line, as recorded; empty if there are none.
    """

    code = "failure"

    def __init__(
        self,
        message: str,
        *,
        type: str = "",
        details: Any = None,
        attempts: int = 0,
        cause: WorkflowFailure | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.details = details
        self.attempts = attempts
        self.cause = cause
        self.origin = ""
        if cause is not None:
            self.__cause__ = cause


class ActivityError(WorkflowFailure):
    """An activity failed for good."""

    code = "activity-failed"


class ActivityTimeout(ActivityError):  # noqa: N818 - the name authors write, fixed by the authoring API
    """An activity ran out of time: one attempt, all attempts together, or its heartbeat."""

    code = "activity-timeout"


class ActivityInterrupted(ActivityError):  # noqa: N818 - the name authors write, fixed by the authoring API
    """An at-most-once activity was started, and a crash hid what became of it."""

    code = "activity-interrupted"


class ChildError(WorkflowFailure):
    """A child workflow failed, was cancelled, terminated or timed out."""

    code = "child-failed"


class NonRetryable(Exception):  # noqa: N818 - the name authors write, fixed by the authoring API
    """Raise this in an activity to end its retries.

    details: any JSON value; reaches the workflow as `ActivityError.details`.
    """

    def __init__(self, message: str = "", *, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


class ContinueAsNew(BaseException):
    """Raise this in a workflow to go on as a new run with a fresh history.

    A BaseException, so that `except Exception` in workflow code lets it pass.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args)
        self.args_for_next = args
        self.kwargs_for_next = kwargs
