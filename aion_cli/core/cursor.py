"""HistoryCursor: an ordered, single-pass view of a recorded run.

Two readers share it. The replay driver takes events strictly in order (`advance`). The Resolver takes command events as
the code asks for them (`take_command`), looking ahead no further than the next one. A command event may be looked ahead
to over outside events (a signaller can append between a command's emission and its event), never over an executor
event: there the code asked for more than it did when the history was written.

Events that a reopen superseded are filtered out before either reader sees them. The whole history is never held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from aion_cli.core import correlation
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind, EventClass, event_class
from aion_cli.errors import HistoryShapeError


class HistoryCursor:
    """Consumes the events of one run, each exactly once by each reader.

    events: stamped, in file order, of one file (a run segment). reopens: every WorkflowReopened among them.
    """

    def __init__(self, events: Iterable[ev.Event], reopens: Sequence[ev.WorkflowReopened] = ()) -> None:
        self._source = visible_events(events, reopens)
        self._reopens = list(reopens)
        self._ahead: deque[ev.Event] = deque()
        self._barriers: deque[ev.Event] = deque()
        self.last_match = 0
        self.skipped_command = False

    def advance(self) -> ev.Event | None:
        """Take the next event in order, or None at the end of history.

        Afterwards `skipped_command` says whether it is a command event that no command was matched with.
        """
        if not self._ahead:
            event = next(self._source, None)
            self.skipped_command = event is not None and event_class(event) is EventClass.COMMAND
            return event
        event = self._ahead.popleft()
        self.skipped_command = False
        if self._barriers and self._barriers[0] is event:
            self._barriers.popleft()
            self.skipped_command = event_class(event) is EventClass.COMMAND
        return event

    def peek(self) -> ev.Event | None:
        """Return the event that `advance` would take."""
        if not self._ahead and not self._pull():
            return None
        return self._ahead[0]

    def take_command(self) -> ev.Event | None:
        """Take the next command event that no command was matched with yet, or None if history holds no further one.

        Returns an executor event, without taking it, if one stands before the next command event: that history
        answered something before it recorded this command.
        """
        found = self.next_command()
        if found is not None and event_class(found) is EventClass.COMMAND:
            self._barriers.popleft()
            self.last_match = found.seq
        return found

    def next_command(self) -> ev.Event | None:
        """Return what `take_command` would return, and take nothing."""
        while not self._barriers:
            if not self._pull():
                return None
        return self._barriers[0]

    def marker_ahead(self, marker: correlation.Marker, emitted: int) -> bool | None:
        """Look for a marker among the next command events, past as many as were emitted and not matched yet.

        Returns True if it is there, False if history holds other commands there, None if it holds no further one.
        """
        commands = [event for event in self._barriers if event_class(event) is EventClass.COMMAND]
        while len(commands) <= emitted and self._pull():
            newest = self._ahead[-1]
            if event_class(newest) is EventClass.COMMAND:
                commands.append(newest)
        if any(correlation.key_of(event) == marker for event in commands[: emitted + 1]):
            return True
        return False if len(commands) > emitted else None

    def _pull(self) -> bool:
        event = next(self._source, None)
        if event is None:
            return False
        self._ahead.append(event)
        kind = event_class(event)
        if kind is EventClass.COMMAND or (kind is EventClass.EXECUTOR and not self._counts_as_outside(event)):
            self._barriers.append(event)
        return True

    def _counts_as_outside(self, event: ev.Event) -> bool:
        """In what a reopen superseded, answers that stay visible stand where no code waited for them."""
        if not self._reopens:
            return False
        return any(reopen.superseded_from <= event.seq < reopen.seq for reopen in self._reopens)


def visible_events(events: Iterable[ev.Event], reopens: Sequence[ev.WorkflowReopened]) -> Iterator[ev.Event]:
    """Leave out what reopens superseded; design.md, "Reopening".

    Hidden of [S, reopen): command events, everything that belongs to those commands, the event S itself, terminal
    events, and, if S is a cancel request, all cancel requests. If S is the failure of an activity, it is passed on as
    that of an attempt that is to be followed by another one.
    """
    if not reopens:
        return iter(events)
    return _without_superseded(events, reopens)


def _without_superseded(events: Iterable[ev.Event], reopens: Sequence[ev.WorkflowReopened]) -> Iterator[ev.Event]:
    windows = [_Superseded(reopen) for reopen in reopens]
    for event in events:
        # All of them are asked: each has to see every event to know which commands it hides.
        hiding = [window for window in windows if window.hides(event)]
        if not hiding:
            yield event
        elif isinstance(event, ev.ActivityFailed) and all(window.first == event.seq for window in hiding):
            yield from _as_an_attempt(event)


def _as_an_attempt(failure: ev.ActivityFailed) -> Iterator[ev.ActivityFailed]:
    """A failure that a reopen begins at was none for the code; its attempt is known to be over, and another one is due.

    Of one that was interrupted that is not known.
    """
    if failure.error.kind is not ErrorKind.INTERRUPTED:
        yield msgspec.structs.replace(failure, next_attempt_at=failure.recorded_at)


class _Superseded:
    """The events that one reopen hides."""

    def __init__(self, reopen: ev.WorkflowReopened) -> None:
        if not 0 < reopen.superseded_from < reopen.seq:
            raise HistoryShapeError(
                f"event {reopen.seq} reopens from event {reopen.superseded_from}, which does not come before it"
            )
        self.first = reopen.superseded_from
        self._end = reopen.seq
        self._keys: set[correlation.CorrelationKey] = set()
        self._from_cancel_request = False

    def hides(self, event: ev.Event) -> bool:
        if not self.first <= event.seq < self._end:
            return False
        if event.seq == self.first:
            self._from_cancel_request = isinstance(event, ev.WorkflowCancelRequested)
            self._remember(event)
            return True
        if isinstance(event, ev.TERMINAL_EVENTS):
            return True
        if event_class(event) is EventClass.COMMAND:
            self._remember(event)
            return True
        if isinstance(event, ev.WorkflowCancelRequested):
            return self._from_cancel_request
        return correlation.key_of(event) in self._keys

    def _remember(self, event: ev.Event) -> None:
        key = correlation.key_of(event)
        if event_class(event) is EventClass.COMMAND and key is not None:
            self._keys.add(key)
