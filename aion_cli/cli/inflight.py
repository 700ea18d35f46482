"""Which activities are under way, or between two attempts: a line each, for a terminal. No terminal is touched here."""

from __future__ import annotations

from typing import NamedTuple

from aion_cli.cli.durations import format_duration
from aion_cli.cli.sentences import Key, Sentences
from aion_cli.cli.terminal import shortened, visible
from aion_cli.core import events as ev
from aion_cli.core.clock import parse_instant

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"
_FRAMES_PER_S = 8
_TIME_WIDTH = 9


class Now(NamedTuple):
    """The present, on two clocks: monotonic seconds, and microseconds since the epoch."""

    monotonic_s: float
    micros: int


class _Flight(NamedTuple):
    """An attempt that began at since_s, or, if due is set, one that begins at that instant."""

    attempt: int
    since_s: float = 0.0
    due: str | None = None


class InFlight:
    """Follows the activities of all runs of a process. names: knows what they are called."""

    def __init__(self, names: Sentences) -> None:
        self._names = names
        self._flights: dict[Key, tuple[str, _Flight]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def follow(self, workflow_id: str, event: ev.Event, now: Now) -> None:
        """Take note of an event that has just happened. To be called before names forgets what is over."""
        if isinstance(event, ev.ActivityStarted):
            self._set((workflow_id, event.activity_id), _Flight(event.attempt, since_s=now.monotonic_s))
        else:
            self.recall(workflow_id, event)

    def recall(self, workflow_id: str, event: ev.Event) -> None:
        """Take note of an event of the past: an attempt that began then is not under way, one that is due will be."""
        match event:
            case ev.ActivityFailed(activity_id=n, next_attempt_at=str(due)):
                self._set((workflow_id, n), _Flight(event.attempt + 1, due=due))
            case (
                ev.ActivityStarted(activity_id=n)
                | ev.ActivityCompleted(activity_id=n)
                | ev.ActivityFailed(activity_id=n)
                | ev.ActivityCancelled(activity_id=n)
            ):
                self._flights.pop((workflow_id, n), None)
            case _ if isinstance(event, ev.TERMINAL_EVENTS):
                for key in [key for key in self._flights if key[0] == workflow_id]:
                    del self._flights[key]
            case _:
                pass

    def _set(self, key: Key, flight: _Flight) -> None:
        # The place in the list is that of the first attempt, so that lines do not jump.
        self._flights[key] = (self._names.activity(key), flight)

    def lines(self, now: Now, width: int, height: int, spinner: str = SPINNER) -> list[str]:
        """Return the lines to show, safe for a terminal, none longer than width, no more than height of them."""
        room = max(1, height)
        flights = list(self._flights.items())
        shown = flights if len(flights) <= room else flights[: room - 1]
        frame = spinner[int(now.monotonic_s * _FRAMES_PER_S) % len(spinner)]
        lines = [_line(key, name, flight, now, frame) for key, (name, flight) in shown]
        if len(shown) < len(flights):
            lines.append(f"{len(flights) - len(shown)} more")
        return [shortened(visible(line), width) for line in lines]


def _line(key: Key, name: str, flight: _Flight, now: Now, frame: str) -> str:
    """Times come first and the run's id last, so that they stand below each other and a narrow terminal cuts the id."""
    attempt = f", attempt {flight.attempt}" if flight.attempt > 1 else ""
    if flight.due is None:
        time = _whole_seconds(now.monotonic_s - flight.since_s)
        return f"{frame} {time:>{_TIME_WIDTH}}  {name}{attempt}  {key[0]}"
    time = f"in {_whole_seconds((parse_instant(flight.due) - now.micros) / 1_000_000)}"
    return f"- {time:>{_TIME_WIDTH}}  {name}{attempt} at {flight.due[11:19]}Z  {key[0]}"


def _whole_seconds(seconds: float) -> str:
    return format_duration(seconds) if seconds >= 1 else "0s"
