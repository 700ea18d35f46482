"""Reopening a closed run: from where, and by whom; design.md, "Reopening"."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.events import Failure
from aion_cli.errors import WrongStateError
from aion_cli.runtime.delivery import Notice, drain_unowned, report_torn_tail
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox, drain
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.reading import visible_history
from aion_cli.runtime.recorder import Recorder
from aion_cli.runtime.wall import Clock, instant

_FINAL = (ev.WorkflowCompleted, ev.WorkflowContinuedAsNew)


class TakenBack(msgspec.Struct, frozen=True):
    """An activity that is done, and no longer so for the code: it asks for it anew, or not at all.

    seq: of its ActivityCompleted. ordinal: as of its ActivityScheduled.
    """

    seq: int
    name: str
    ordinal: int


class Reopened(msgspec.Struct, frozen=True):
    """What a reopen did. superseded_from: the first event that is hidden. taken_back: in the order of their ends."""

    superseded_from: int
    taken_back: list[TakenBack]


def reopen(
    folder: HistoriesFolder, workflow_id: str, *, from_seq: int | None, reason: str, clock: Clock, notice: Notice
) -> Reopened:
    """Append WorkflowReopened to a run that failed, was cancelled, terminated or timed out.

    from_seq: the first event that is superseded; None: the terminal event, or after a cancellation its request.
    Raises WrongStateError for a run that is open, completed or continued, and for an event that cannot be one to reopen
    from; OwnedElsewhereError, NoSuchRunError.
    """
    with take(folder, workflow_id, Role.REOPEN):
        location = folder.latest(workflow_id)
        folder.require_own(location)
        candidates, done = _Candidates(), _DoneActivities()
        for event in visible_history(location.path, folder.files):
            candidates.observe(event)
            done.observe(event)
        superseded_from = candidates.choose(workflow_id, from_seq)
        store = JsonlStore.open_to_write(location.path, folder.files)
        try:
            report_torn_tail(store, notice)
            recorder, inbox = Recorder(store), Inbox(folder, workflow_id)
            # What a power cut brought back would be done to the run once more when it is open.
            drain(inbox, recorder, inbox.recorded_ids(), instant(clock), closed=True)
            inbox.settle()
            event = ev.WorkflowReopened(superseded_from=superseded_from, reason=reason)
            recorder.append([event], instant(clock))
        finally:
            store.close()
    # Whoever sent something since then found it open, and owned.
    drain_unowned(folder, workflow_id, role=Role.REOPEN, clock=clock, notice=notice)
    return Reopened(superseded_from, done.asked_after(superseded_from))


class FailureBehind(msgspec.Struct, frozen=True):
    """What a run failed with: the failure of an activity or a child. seq: of its event. child: its id, or empty."""

    seq: int
    child: str = ""


def failure_behind(folder: HistoriesFolder, run_id: str, workflow_id: str) -> FailureBehind | None:
    """Find what a failed run has to be reopened from for its cause to be tried again. One pass.

    None if its own code raised the error, or the run is not the last one of its workflow id in this folder.
    Raises NoSuchRunError, and what reading does.
    """
    path = folder.latest(workflow_id).path
    children: dict[int, str] = {}
    failures: list[tuple[ev.ActivityFailed | ev.ChildWorkflowFailed, FailureBehind]] = []
    for event in visible_history(path, folder.files):
        match event:
            case ev.WorkflowStarted() if event.run_id != run_id:
                return None
            case ev.ChildWorkflowStarted():
                children[event.ordinal] = event.child_workflow_id
            case ev.ActivityFailed(next_attempt_at=None):
                failures.append((event, FailureBehind(event.seq)))
            case ev.ChildWorkflowFailed():
                failures.append((event, FailureBehind(event.seq, children.get(event.ordinal, ""))))
            case ev.WorkflowFailed():
                told = set(_told_by(event.error))
                return next((found for failed, found in reversed(failures) if _told(failed.error) in told), None)
            case _:
                pass
    return None


def _told(failure: Failure) -> tuple[str, str]:
    return failure.type, failure.message


def _told_by(failure: Failure | None) -> Iterator[tuple[str, str]]:
    """What a failure says, and its causes."""
    while failure is not None:
        yield _told(failure)
        failure = failure.cause


class _DoneActivities:
    """The activities that are done in what is visible of a history."""

    def __init__(self) -> None:
        self._asked: dict[int, ev.ActivityScheduled] = {}
        self._done: list[tuple[int, ev.ActivityScheduled]] = []

    def observe(self, event: ev.Event) -> None:
        match event:
            case ev.ActivityScheduled():
                self._asked[event.activity_id] = event
            case ev.ActivityCompleted():
                self._done.append((event.seq, self._asked[event.activity_id]))
            case _:
                pass

    def asked_after(self, seq: int) -> list[TakenBack]:
        """Return those that were asked for after an event."""
        return [
            TakenBack(completed, asked.activity_type, asked.activity_id)
            for completed, asked in self._done
            if asked.seq > seq
        ]


class _Candidates:
    """The events of a history that a reopen may start from. What an earlier one superseded is not among them."""

    def __init__(self) -> None:
        self._last: ev.Event | None = None
        self._cancel_request: int | None = None
        self._allowed: set[int] = set()

    def observe(self, event: ev.Event) -> None:
        self._last = event
        match event:
            case ev.WorkflowReopened():
                self._cancel_request = None
            case ev.WorkflowCancelRequested():
                if self._cancel_request is None:
                    self._cancel_request = event.seq
                self._allowed.add(event.seq)
            case ev.ActivityFailed(next_attempt_at=None) | ev.ChildWorkflowFailed():
                self._allowed.add(event.seq)
            case _ if isinstance(event, ev.TERMINAL_EVENTS):
                self._allowed.add(event.seq)
            case _:
                pass

    def choose(self, workflow_id: str, from_seq: int | None) -> int:
        last = self._last
        if last is None or not isinstance(last, ev.TERMINAL_EVENTS):
            raise WrongStateError(f"{workflow_id} is open", hint=f"go on with it: aion resume {workflow_id}")
        if isinstance(last, _FINAL):
            done = "completed" if isinstance(last, ev.WorkflowCompleted) else "continued as a new run"
            raise WrongStateError(f"{workflow_id} has {done}, and cannot be reopened", hint="start a new run")
        if from_seq is None:
            if isinstance(last, ev.WorkflowCancelled) and self._cancel_request is not None:
                return self._cancel_request
            return last.seq
        if from_seq not in self._allowed:
            raise WrongStateError(
                f"{workflow_id} cannot be reopened from event {from_seq}",
                hint="name a terminal event, a cancel request, or the failure of an activity or a child",
            )
        return from_seq
