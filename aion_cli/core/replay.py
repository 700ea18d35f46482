"""Replay: drive an execution over its history, to the resume-live boundary or the end.

Events are applied strictly in order. After each, the commands that the code emitted are matched at once, in order, with
the next command events; passing a command event that nobody asked for is a divergence, and so is an answer that stands
before the event of an emitted command. Nothing here can touch the world: what history cannot satisfy is handed back.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.execution import Execution, Program
from aion_cli.core.pending import UndecodableResultError
from aion_cli.core.resolver import Resolver, awaited_step
from aion_cli.core.source import SourcePaths
from aion_cli.errors import HistoryShapeError, NonDeterminismError, PayloadError, Step

Observer = Callable[[ev.Event, cmd.AnyCommand | None], None]
"""Told of every event as it is passed, and of the command it was matched with, if any."""

_CHANGING_THE_RUN = frozenset(
    {ev.WorkflowPaused, ev.WorkflowResumed, ev.WorkflowReopened, ev.TagsSet, ev.ProgressSet, *ev.TERMINAL_EVENTS}
)


class Boundary(msgspec.Struct, gc=False):
    """Where history ends.

    unmatched: commands that the code emitted and history does not hold, in order: the resume-live point.
    closed_by: the terminal event, if the run is closed. paused: it was paused and not resumed.
    last_seq, recorded_at: of the last event. events: how many were passed.
    opened_at: when the run started, or was last reopened. reopened: seq of that reopening, 0 if there was none.
    tags, progress: as last recorded.
    """

    unmatched: list[cmd.AnyCommand]
    closed_by: ev.Event | None
    paused: bool
    last_seq: int
    recorded_at: str
    events: int
    opened_at: str
    tags: dict[str, str]
    reopened: int = 0
    progress: tuple[int, int, str] | None = None


class Replay:
    """One pass of one program over one history."""

    def __init__(
        self, cursor: HistoryCursor, program: Program, *, paths: SourcePaths | None = None, code_digest: str = ""
    ) -> None:
        """code_digest: of the file that the program is in today, if there is one; only to explain a divergence.

        Raises HistoryShapeError if the history does not begin with WorkflowStarted.
        """
        started = cursor.peek()
        if not isinstance(started, ev.WorkflowStarted):
            found = "nothing" if started is None else type(started).__name__
            raise HistoryShapeError(f"a history begins with WorkflowStarted, this one with {found}")
        self.execution = Execution(started, program, paths=paths, ahead=cursor)
        recorded = started.definition.digest
        code_changed = recorded != code_digest if recorded and code_digest else None
        self.resolver = Resolver(started.workflow_id, cursor, code_changed=code_changed)
        self._cursor = cursor
        self._matched: dict[int, cmd.AnyCommand] = {}
        self._at = Boundary(
            unmatched=[],
            closed_by=None,
            paused=False,
            last_seq=0,
            recorded_at=started.recorded_at,
            events=0,
            opened_at=started.recorded_at,
            tags=dict(started.tags),
        )

    def run(self, observer: Observer | None = None, *, goes_on: bool = False) -> Boundary:
        """Pass all events. Raises NonDeterminismError where code and history part, HistoryShapeError for nonsense.

        goes_on: the run goes live afterwards. Then what the code prints and logs as the last event is applied is not
        held back: that step is new, or a crash cut it off.
        """
        at, last = self._at, self.execution.started
        with self.execution.stepping_often():
            while (event := self._cursor.advance()) is not None:
                last = event
                at.events += 1
                self.execution.replaying = not goes_on or self._cursor.peek() is not None
                self._pass(event)
                command = self._matched.pop(event.seq, None)
                if observer is not None:
                    observer(event, command)
        at.last_seq, at.recorded_at = last.seq, last.recorded_at
        self.execution.replaying = not goes_on
        return at

    def _pass(self, event: ev.Event) -> None:
        self._note(event)
        match event_class(event):
            case EventClass.COMMAND:
                if self._cursor.skipped_command:
                    raise self._not_asked_for(event)
            case EventClass.EXECUTOR:
                self.resolver.observe_outcome(event)
                self._apply(event)
            case EventClass.PROGRESS:
                self.resolver.observe_progress(event)
            case EventClass.OUTSIDE:
                self._apply(event)
            case EventClass.NOTE:
                pass

    def _note(self, event: ev.Event) -> None:
        at = self._at
        if at.closed_by is not None and not isinstance(event, ev.WorkflowReopened):
            raise HistoryShapeError(
                f"event {event.seq} ({type(event).__name__}) stands after the run was closed at {at.closed_by.seq}"
            )
        if type(event) in _CHANGING_THE_RUN:
            self._note_change(event)

    def _note_change(self, event: ev.Event) -> None:
        at = self._at
        match event:
            case ev.WorkflowPaused():
                at.paused = True
            case ev.WorkflowResumed():
                at.paused = False
            case ev.TagsSet(tags=tags):
                at.tags.update(tags)
            case ev.ProgressSet(done=done, total=total, text=text):
                at.progress = (done, total, text)
            case ev.WorkflowReopened():
                at.closed_by = None
                at.opened_at = event.recorded_at
                at.reopened = event.seq
            case _:
                at.closed_by = event

    def apply(self, event: ev.Event) -> list[cmd.AnyCommand]:
        """Apply an event to the code, and hand out the commands that come of it.

        Raises NonDeterminismError if what the event holds does not fit the types of today's code.
        """
        try:
            self.execution.apply(event)
        except UndecodableResultError as error:
            raise self._does_not_fit(event, error.command, error.error) from error
        except PayloadError as error:
            raise self._does_not_fit(event, None, error) from error
        return self.execution.take_commands()

    def _apply(self, event: ev.Event) -> None:
        for command in self.apply(event):
            if not isinstance(command, cmd.LEAVING_NO_EVENT):
                self._match(command)

    def _match(self, command: cmd.AnyCommand) -> None:
        recorded = self.resolver.match(command)
        if recorded is None:
            self._at.unmatched.append(command)
        else:
            self._matched[recorded.seq] = command

    def _not_asked_for(self, event: ev.Event) -> NonDeterminismError:
        """The code yielded without asking for what comes next: name what it waits for instead, if anything."""
        waits, conditions = self.execution.waits(), self.execution.conditions.waiting()
        divergence = self.resolver.divergence(event, None, self.execution.where())
        if waits:
            command = waits[-1].command
            divergence.source = command.source or divergence.source
            divergence.requested = self.resolver.named(awaited_step(command), command.key)
        elif conditions:
            divergence.source = conditions[-1].where or divergence.source
            divergence.requested = Step("wait for condition")
        return divergence

    def _does_not_fit(
        self, event: ev.Event, command: cmd.AnyCommand | None, error: PayloadError
    ) -> NonDeterminismError:
        divergence = self.resolver.divergence(event, command, command.source if command else self.execution.where())
        if command is None:
            divergence.requested = Step("input of another type")
        divergence.hint = f"what is recorded does not fit the types of today's code: {error.message} at {error.path}"
        return divergence
