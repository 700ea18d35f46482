"""Which open runs can move now: what `aion resume --due` asks of each.

A history alone tells of timers, attempts and children. Whether a recorded message moves the code, or a crash came
before what the code asked for next was recorded, only the code tells: then the run is replayed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aion_cli.cli.code import CodeFinder
from aion_cli.cli.interrupts import own_failures
from aion_cli.cli.settings import Settings
from aion_cli.cli.watching import watched
from aion_cli.core import clock
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.cursor import visible_events
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import RunStatus, RunSummary, WaitKind, summarise
from aion_cli.errors import AionError
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.inbox import Inbox, MessageId
from aion_cli.runtime.lineage import open_children
from aion_cli.runtime.reading import read_first_event, read_history
from aion_cli.runtime.waits import closes_at
from aion_cli.runtime.workshop import open_replay

_UNANSWERED = (EventClass.OUTSIDE, EventClass.EXECUTOR)


class _Family:
    """What a run has to do with its children.

    awaited: ids of those whose ends it records. cancel_requests: what those are sent whose await was cancelled, by who
    asked for them; a crash may have come before that was accepted.
    """

    def __init__(self, run: RunSummary, events: Iterable[ev.Event]) -> None:
        self.parent_id = run.workflow_id
        self.awaited = {wait.name for wait in run.waiting if wait.kind is WaitKind.CHILD}
        self.cancel_requests: dict[ev.ParentRef, MessageId] = {}
        askers: dict[int, ev.ParentRef] = {}
        for event in events:
            match event:
                case ev.ChildWorkflowStarted(ordinal=n):
                    askers[n] = ev.ParentRef(run.workflow_id, run.run_id, event.seq)
                case ev.ChildCancelRequested(ordinal=n) if n in askers:
                    self.cancel_requests[askers[n]] = MessageId("WorkflowCancelRequested", f"{run.run_id}/{event.seq}")
                case _:
                    pass


class DueRuns:
    """Tells which runs are due. target: where their code is, if not where it is looked up. now: microseconds."""

    def __init__(self, settings: Settings, folder: HistoriesFolder, target: str | None, now: int) -> None:
        self._folder = folder
        self._code = CodeFinder(settings, target)
        self._paths = SourcePaths(str(Path.cwd()))
        self._now = now

    def is_due(self, location: RunLocation) -> bool:
        """Say whether a run, or a child of it, has messages, or work, or a timer that is due.

        One of which that cannot be told is due: who goes on with it is told why. Raises DamagedHistoryError.
        """
        if Inbox(self._folder, location.workflow_id).names():
            return True
        events = list(read_history(location.path, self._folder.files))
        run = summarise(events)
        if run.status is RunStatus.PAUSED:
            return False
        # One that continued lacks its next history: else that would have been looked at.
        if run.status in (RunStatus.RUNNING, RunStatus.CONTINUED) or self._is_past(run.next_wake_at):
            return True
        family = _Family(run, events)
        reopens = [event for event in events if isinstance(event, ev.WorkflowReopened)]
        children = open_children(visible_events(events, reopens), lambda _: True)
        if any(self._moves_its_parent(child, family) for child in children):
            return True
        try:
            return self._can_go_on(location, events)
        except AionError:
            return True

    def _is_past(self, moment: str | None) -> bool:
        return moment is not None and clock.parse_instant(moment) <= self._now

    def _moves_its_parent(self, child: ev.AttachedChild, family: _Family) -> bool:
        asker = ev.ParentRef(family.parent_id, child.run_id, child.seq)
        if not self._is_open(child, asker):
            return child.workflow_id in family.awaited
        request = family.cancel_requests.get(asker)
        if request is not None and not Inbox(self._folder, child.workflow_id).is_recorded(request):
            return True
        return self.is_due(self._folder.latest(child.workflow_id))

    def _is_open(self, child: ev.AttachedChild, asker: ev.ParentRef) -> bool:
        """Say whether it is open, and no other run that has its id: that may be the parent itself."""
        if not self._folder.is_open(child.workflow_id):
            return False
        return read_first_event(self._folder.runs_of(child.workflow_id)[0].path, self._folder.files).parent == asker

    def _can_go_on(self, location: RunLocation, events: list[ev.Event]) -> bool:
        """Say whether the code asks for more than is recorded, or has no time left."""
        first, last = events[0], events[-1]
        assert isinstance(first, ev.WorkflowStarted)
        definition = self._code.code_of(first)
        if last.b == 0 and event_class(last) not in _UNANSWERED and definition.timeout_s is None:
            return False
        replay = open_replay(location.path, self._folder, definition, self._paths)
        try:
            with watched(replay.execution, self._paths), own_failures(location.workflow_id, self._paths):
                boundary = replay.run()
        finally:
            replay.execution.close()
        if any(not isinstance(command, cmd.LEAVING_NO_EVENT) for command in boundary.unmatched):
            return True
        end = closes_at(boundary, definition.timeout_s)
        return end is not None and end <= self._now
