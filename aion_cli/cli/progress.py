"""Progress on stderr while a run goes on: a line an activity in flight on a terminal, plain lines elsewhere.

Both are fed with events that are on disk already, so what is shown has happened. Rich is loaded on a terminal alone.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from aion_cli.cli import output
from aion_cli.cli.settings import Settings
from aion_cli.cli.terminal import visible
from aion_cli.core import events as ev

_Key = tuple[str, int]


class ProgressView(Protocol):
    """Shows what happens in the runs of one process."""

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_view(settings: Settings) -> ProgressView:
    """Choose how to show progress: nothing with `--quiet`, live lines on a terminal, plain lines elsewhere."""
    if settings.quiet:
        return _Nothing()
    try:
        is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (ValueError, AttributeError):
        is_terminal = False
    return _LiveLines(settings) if is_terminal else _PlainLines(settings)


class _Nothing:
    """Shows nothing."""

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        del workflow_id, events

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Names:
    """Remembers what the events of a run call by number alone."""

    def __init__(self) -> None:
        self._activities: dict[_Key, str] = {}
        self._children: dict[_Key, str] = {}

    def sentence(self, workflow_id: str, event: ev.Event) -> str | None:
        """Say what an event means, or None for one that is of no interest to somebody who watches."""
        match event:
            case ev.ActivityScheduled(activity_id=n, activity_type=name):
                self._activities[workflow_id, n] = name
                return None
            case ev.ActivityStarted(activity_id=n, attempt=attempt):
                return f"{self.activity(workflow_id, n)} started" + (f", attempt {attempt}" if attempt > 1 else "")
            case ev.ActivityCompleted(activity_id=n):
                return f"{self.activity(workflow_id, n)} completed"
            case ev.ActivityFailed(activity_id=n, error=error, next_attempt_at=due):
                then = f"; next attempt at {due}" if due else ""
                return f"{self.activity(workflow_id, n)} failed: {error.type}: {error.message}{then}"
            case ev.ActivityCancelled(activity_id=n):
                return f"{self.activity(workflow_id, n)} cancelled"
            case ev.TimerStarted(fire_at=fire_at):
                return f"timer set for {fire_at}"
            case ev.SignalReceived(name=name):
                return f"signal {name} received"
            case ev.ChildWorkflowStarted(ordinal=n, child_workflow_id=child_id):
                self._children[workflow_id, n] = child_id
                return f"child {child_id} started"
            case ev.ChildWorkflowCompleted(ordinal=n):
                return f"child {self._children.get((workflow_id, n), n)} completed"
            case ev.ChildWorkflowFailed(ordinal=n, error=error):
                return f"child {self._children.get((workflow_id, n), n)} failed: {error.type}: {error.message}"
            case ev.WorkflowStarted(workflow_type=name):
                return f"{name} started"
            case ev.WorkflowCompleted():
                return "completed"
            case _:
                return None

    def activity(self, workflow_id: str, number: int) -> str:
        """Return an activity's name with its number."""
        return f"{self._activities.get((workflow_id, number), 'activity')} ({number})"


class _PlainLines:
    """One line an event that somebody who watches may care about."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = _Names()

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        sentences = [self._names.sentence(workflow_id, event) for event in events]
        lines = [f"{workflow_id}  {sentence}" for sentence in sentences if sentence is not None]
        if lines:
            output.say(self._settings, "\n".join(lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _LiveLines:
    """A line with a spinner, the attempt and the elapsed time for each activity in flight; what is over stays above."""

    def __init__(self, settings: Settings) -> None:
        progress: Any = importlib.import_module("rich.progress")
        console: Any = importlib.import_module("rich.console")
        self._text: Any = importlib.import_module("rich.text").Text
        self._console: Any = console.Console(stderr=True, no_color=not settings.color, highlight=False, markup=False)
        self._display: Any = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,
        )
        self._names = _Names()
        self._lines: dict[_Key, Any] = {}

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        for event in events:
            sentence = self._names.sentence(workflow_id, event)
            self._follow(workflow_id, event)
            if sentence is not None and not isinstance(event, ev.ActivityStarted):
                self._console.print(self._text(visible(f"{workflow_id}  {sentence}")))

    def _follow(self, workflow_id: str, event: ev.Event) -> None:
        match event:
            case ev.ActivityStarted(activity_id=n, attempt=attempt):
                self._end((workflow_id, n))
                again = f", attempt {attempt}" if attempt > 1 else ""
                shown = visible(f"{workflow_id}  {self._names.activity(workflow_id, n)}{again}")
                self._lines[workflow_id, n] = self._display.add_task(shown, total=None)
            case (
                ev.ActivityCompleted(activity_id=n)
                | ev.ActivityFailed(activity_id=n)
                | ev.ActivityCancelled(activity_id=n)
            ):
                self._end((workflow_id, n))
            case _:
                pass

    def _end(self, key: _Key) -> None:
        line = self._lines.pop(key, None)
        if line is not None:
            self._display.remove_task(line)

    def __enter__(self) -> Self:
        self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.stop()
