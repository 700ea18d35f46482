"""Live progress on a terminal, with Rich: a line with a spinner for each activity in flight, and above it what is over.

One thread draws. Whoever has news leaves it and goes on, so that a slow terminal slows nothing but itself. The cursor
is never hidden: a process that is killed could not show it again.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from aion_cli.api.masking import masks
from aion_cli.api.step_output import step_output
from aion_cli.cli.inflight import PLAIN_SPINNER, SPINNER, InFlight, Now
from aion_cli.cli.relay import OutputRelay
from aion_cli.cli.sentences import Sentences
from aion_cli.cli.settings import Settings
from aion_cli.cli.step_lines import SEPARATOR, Burst, StepNames
from aion_cli.cli.terminal import visible, visible_print
from aion_cli.core import events as ev

_TICK_S = 0.125
_PAUSE_S = 0.03
_MOST_PENDING = 10_000
_USUAL_SIZE = (80, 24)


class LiveLines:
    """Shows progress on a terminal. Between enter and exit, all that the process prints is shown above the lines."""

    def __init__(self, settings: Settings) -> None:
        self._color = settings.color
        self._sentences = Sentences()
        self._flights = InFlight(self._sentences)
        self._steps = StepNames(self._sentences)
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._pending: list[Text | Burst] = []
        self._stopping = False

    def __enter__(self) -> Self:
        self._relay = OutputRelay(self._take_printed)
        terminal = os.fdopen(os.dup(self._relay.terminal), "w", encoding="utf-8", errors="replace")
        self._console = _Screen(file=terminal, no_color=not self._color, highlight=False, markup=False, emoji=False)
        self._live = Live(
            _FlightLines(self._flights),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        with _gone_terminal_ignored():
            self._live.start()
        self._thread = threading.Thread(target=self._keep_drawing, name="aion-progress", daemon=True)
        self._thread.start()
        step_output.watcher = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closing.acquire(blocking=False):  # who has to end the process may be another thread, and be first
            self._close()

    def _close(self) -> None:
        step_output.watcher = None
        self._stopping = True
        self._wake()
        self._thread.join()
        self._draw()
        with _gone_terminal_ignored():
            self._live.stop()
        with _gone_terminal_ignored():
            self._console.file.close()
        os.close(self._woken)
        os.close(self._waker)
        self._relay.close()
        with _gone_terminal_ignored():
            for line in self._texts(self._pending):
                os.write(2, f"{line.plain}\n".encode())

    def on_events(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        """Have it shown what has just happened, below all that was printed before it."""
        if self._stopping:  # the process has to end, and its terminal was given back
            return
        now = _now()
        with self._lock:
            if len(self._pending) < _MOST_PENDING:  # else the printers wait, as they would for the terminal
                self._relay.drain()
            for event in events:
                self._flights.follow(workflow_id, event, now)
                sentence = self._sentences.say(workflow_id, event)
                if sentence is not None and not isinstance(event, ev.ActivityStarted):
                    self._pending.append(Text(visible(f"{workflow_id}  {sentence}")))
        self._wake()

    def on_replayed(self, workflow_id: str, event: ev.Event) -> None:
        """Take note of an event of the past, which later ones may refer to."""
        with self._lock:
            self._flights.recall(workflow_id, event)
            self._sentences.learn(workflow_id, event)

    def on_printed(self, workflow_id: str, ordinal: int, lines: list[str]) -> None:
        """Have it shown what a step has printed, below all that was printed before it; of too much, the last lines."""
        if self._stopping:
            return
        with self._lock:
            if len(self._pending) < _MOST_PENDING:
                self._relay.drain()
            name = self._steps.name(workflow_id, ordinal)
            last = self._pending[-1] if self._pending else None
            if not isinstance(last, Burst) or last.name != name:
                last = Burst(name)
                self._pending.append(last)
            last.add(lines)
        self._wake()

    def _take_printed(self, line: str) -> None:
        self._pending.append(_printed(masks.mask_text(line), color=self._color))

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has more than enough to wake it
            os.write(self._waker, b"x")

    def _keep_drawing(self) -> None:
        while not self._stopping:
            tick_s = _TICK_S if self._flights else None
            ready, _, _ = select.select([self._relay, self._woken], [], [], tick_s)
            if self._woken in ready:
                os.read(self._woken, 4096)
            self._draw()
            time.sleep(_PAUSE_S)  # what comes meanwhile shares the next drawing

    def _draw(self) -> None:
        with self._lock:
            self._relay.drain()
            pending, self._pending = self._pending, []
        lines = self._texts(pending)
        with _gone_terminal_ignored():
            columns, rows = os.get_terminal_size(self._console.file.fileno())
            self._console.size = (columns or _USUAL_SIZE[0], rows or _USUAL_SIZE[1])  # a pseudo-terminal may have none
            if lines:
                self._console.print(*lines, sep="\n", soft_wrap=True)  # draws what is in flight below it as well
            else:
                self._live.refresh()

    def _texts(self, pending: Sequence[Text | Burst]) -> list[Text]:
        texts: list[Text] = []
        for each in pending:
            if isinstance(each, Text):
                texts.append(each)
                continue
            name = Text.assemble((visible(each.name) + SEPARATOR, "dim" if self._color else ""))
            texts += [name + _printed(line, color=self._color) for line in each.lines]
        return texts


class _Screen(Console):
    """A console that leaves the cursor alone."""

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        del show
        return False


class _FlightLines:
    """What is in flight at the moment it is drawn."""

    def __init__(self, flights: InFlight) -> None:
        self._flights = flights

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        spinner = PLAIN_SPINNER if options.ascii_only else SPINNER
        # One line less than there are, so that what scrolls by above it can be seen.
        lines = self._flights.lines(_now(), options.size.width, options.size.height - 1, spinner)
        if lines:
            yield Text("\n".join(lines), no_wrap=True, overflow="crop")


def _printed(line: str, *, color: bool) -> Text:
    """Return a printed line as a terminal would show it; of its control sequences, colours alone are left."""
    text = Text.from_ansi(visible_print(line, color=color))
    text.expand_tabs(8)
    return text


def _now() -> Now:
    return Now(time.monotonic(), time.time_ns() // 1000)


def _gone_terminal_ignored() -> contextlib.AbstractContextManager[None]:
    """A terminal that is gone is no error: the run goes on without it."""
    return contextlib.suppress(OSError, ValueError)
