"""RunEnd: how a run stands when a process lets go of it, or finds it closed."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus, Waiting, WaitKind
from aion_cli.runtime.endings import Suspended, SuspendReason
from aion_cli.runtime.files import Files, only_refusals_of_disk
from aion_cli.runtime.reading import read_history, read_last_event

_STATUS: dict[type[Any], RunStatus] = {
    ev.WorkflowCompleted: RunStatus.COMPLETED,
    ev.WorkflowFailed: RunStatus.FAILED,
    ev.WorkflowCancelled: RunStatus.CANCELLED,
    ev.WorkflowTerminated: RunStatus.TERMINATED,
    ev.WorkflowTimedOut: RunStatus.TIMED_OUT,
    ev.WorkflowContinuedAsNew: RunStatus.CONTINUED,
}
_BUSY = (WaitKind.ACTIVITY, WaitKind.SEND)


class RunEnd(msgspec.Struct, frozen=True):
    """closed_by: the terminal event, if the run is closed. reason: why it was suspended, if it is open."""

    workflow_id: str
    run_id: str
    status: RunStatus
    closed_by: ev.Event | None = None
    reason: SuspendReason | None = None
    waiting: list[Waiting] = []

    @property
    def next_wake_at(self) -> str | None:
        """The first instant at which the run moves by itself, or None."""
        return min((wait.deadline for wait in self.waiting if wait.deadline is not None), default=None)


def ended(started: ev.WorkflowStarted, event: ev.Event) -> RunEnd:
    """Describe a closed run."""
    return RunEnd(started.workflow_id, started.run_id, _STATUS[type(event)], closed_by=event)


def suspended(started: ev.WorkflowStarted, outcome: Suspended, waiting: list[Waiting]) -> RunEnd:
    """Describe an open run."""
    if outcome.reason is SuspendReason.PAUSED:
        status = RunStatus.PAUSED
    elif any(wait.kind in _BUSY for wait in waiting):
        status = RunStatus.RUNNING
    else:
        status = RunStatus.WAITING
    return RunEnd(started.workflow_id, started.run_id, status, reason=outcome.reason, waiting=waiting)


def recorded_end(path: Path, files: Files) -> RunEnd | None:
    """Read how a run ended, without any code. None if it is open, or between two histories."""
    last = read_last_event(path, files)
    if not isinstance(last, ev.TERMINAL_EVENTS) or isinstance(last, ev.WorkflowContinuedAsNew):
        return None
    events = iter(read_history(path, files))
    first = next(events)
    (last,) = deque(events, maxlen=1)
    return ended(first, last)


def settled_end(path: Path, files: Files) -> RunEnd | None:
    """Read how a run ended, as recorded_end does, for somebody who is told of it: it is on the disk on return."""
    end = recorded_end(path, files)
    if end is not None:
        settle(path, files)
    return end


def settle(path: Path, files: Files) -> None:
    """Bring a history to the disk as far as it was read, before anybody outside is told what it says.

    Its owner may have been killed between its write and its sync, or be about to sync.
    """
    fd = files.open_read(path)
    try:
        with only_refusals_of_disk():
            files.sync(fd, path)
        with only_refusals_of_disk():
            files.sync_directory(path.parent)
    finally:
        files.close(fd)
