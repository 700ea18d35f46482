"""Which open runs can move now: what `aion resume --due` asks of each.

A history alone tells of timers, attempts and children. Whether a recorded message moves the code, or a crash came
before what the code asked for next was recorded, only the code tells: then the run is replayed.
"""

from __future__ import annotations

from pathlib import Path

from aion_cli.cli.code import CodeFinder
from aion_cli.cli.settings import Settings
from aion_cli.core import clock
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import RunStatus, summarise
from aion_cli.errors import AionError
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.lineage import open_children
from aion_cli.runtime.reading import read_history
from aion_cli.runtime.waits import closes_at
from aion_cli.runtime.workshop import open_replay

_UNANSWERED = (EventClass.OUTSIDE, EventClass.EXECUTOR)


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
        if run.status is RunStatus.RUNNING or self._is_past(run.next_wake_at):
            return True
        if any(self._moves_its_parent(child, run.run_id) for child in open_children(events, lambda _: True)):
            return True
        try:
            return self._can_go_on(location, events)
        except AionError:
            return True

    def _is_past(self, moment: str | None) -> bool:
        return moment is not None and clock.parse_instant(moment) <= self._now

    def _moves_its_parent(self, child: ev.AttachedChild, run_id: str) -> bool:
        """run_id: the parent's, which records the ends of children of its own, but of those before it."""
        if self._folder.is_open(child.workflow_id):
            return self.is_due(self._folder.latest(child.workflow_id))
        return child.run_id == run_id

    def _can_go_on(self, location: RunLocation, events: list[ev.Event]) -> bool:
        """Say whether the code asks for more than is recorded, or has no time left."""
        first, last = events[0], events[-1]
        assert isinstance(first, ev.WorkflowStarted)
        definition = self._code.code_of(first)
        if last.b == 0 and event_class(last) not in _UNANSWERED and definition.timeout_s is None:
            return False
        replay = open_replay(location.path, self._folder, definition, self._paths)
        try:
            boundary = replay.run()
        finally:
            replay.execution.close()
        if any(not isinstance(command, cmd.LEAVING_NO_EVENT) for command in boundary.unmatched):
            return True
        end = closes_at(boundary, definition.timeout_s)
        return end is not None and end <= self._now
