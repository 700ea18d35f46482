"""Progress on stderr while runs go on: a line an activity in flight on a terminal, plain lines elsewhere.

Both are fed with events that are on disk already, so what is shown has happened. Rich is loaded on a terminal alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from aion_cli.api.step_output import step_output
from aion_cli.cli import output
from aion_cli.cli.late import late
from aion_cli.cli.sentences import Sentences
from aion_cli.cli.settings import Settings
from aion_cli.cli.step_lines import SEPARATOR, StepNames
from aion_cli.cli.terminal import visible, visible_print
from aion_cli.core import events as ev
from aion_cli.core.status import Waiting, WaitKind


class ProgressView(Protocol):
    """Shows what happens in the runs of one process."""

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        """Take note of what has just happened."""
        ...

    def on_replayed(self, workflow_id: str, event: ev.Event) -> None:
        """Take note of an event of the past, which later ones may refer to."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_view(settings: Settings) -> ProgressView:
    """Choose how to show progress: nothing with `--quiet`, live lines on a terminal, plain lines elsewhere."""
    if settings.quiet:
        return _Nothing()
    if not _is_terminal():
        return _PlainLines()
    view: ProgressView = late("screen").LiveLines(settings)
    return view


class MessageWaits:
    """Says which messages a run waits for, once for each wait: waiting for somebody must not look like hanging."""

    def __init__(self, settings: Settings, workflow_id: str) -> None:
        self._settings = settings
        self._workflow_id = workflow_id
        self._said: set[tuple[object, ...]] = set()

    def on_quiet(self, runner: Waiter) -> None:
        """Look at what a run waits for, of which only signals and timers are left."""
        waits = runner.awaited_messages()
        for wait in waits:
            if _key(wait) not in self._said:
                place = f" ({wait.where})" if wait.where else ""
                output.say(self._settings, f"{self._workflow_id}  waits for {_awaited(wait)}{place}")
        self._said = {_key(wait) for wait in waits}


def _key(wait: Waiting) -> tuple[object, ...]:
    """Return what tells a wait from others. Nothing knows since when a future is awaited."""
    since = "" if wait.kind is WaitKind.FUTURE else wait.since
    return wait.kind, wait.name, wait.where, since


def _awaited(wait: Waiting) -> str:
    match wait.kind:
        case WaitKind.CONDITION:
            return "a condition"
        case WaitKind.FUTURE:
            return f"what only its own code can set, in {wait.name}"
        case _:
            return f"signal {wait.name}"


class Waiter(Protocol):
    """A run that can say what it waits for that leaves no event."""

    def awaited_messages(self) -> list[Waiting]: ...


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (ValueError, AttributeError):  # it is closed, or there is none
        return False


class _Nothing:
    """Shows nothing."""

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        del workflow_id, events

    def on_replayed(self, workflow_id: str, event: ev.Event) -> None:
        del workflow_id, event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _PlainLines:
    """A line for each event that somebody who watches may care about, and for each that a shell step prints."""

    def __init__(self) -> None:
        self._sentences = Sentences()
        self._steps = StepNames(self._sentences)

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        # One write for what one commit brings: this is on the way of every step.
        sentences = [self._sentences.say(workflow_id, event) for event in events]
        lines = [visible(f"{workflow_id}  {sentence}") for sentence in sentences if sentence is not None]
        if lines:
            output.write_stderr("\n".join(lines))

    def on_replayed(self, workflow_id: str, event: ev.Event) -> None:
        self._sentences.learn(workflow_id, event)

    def on_printed(self, workflow_id: str, ordinal: int, lines: list[str]) -> None:
        name = visible(self._steps.name(workflow_id, ordinal))
        output.write_stderr("\n".join(f"{name}{SEPARATOR}{visible_print(line, color=False)}" for line in lines))

    def __enter__(self) -> Self:
        step_output.watcher = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        step_output.watcher = None
