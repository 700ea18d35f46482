"""`aion replay --step`: every event as it is passed, with the command that it was matched with.

    seq  event                    asked by          at                        what
      2  ActivityScheduled        RunActivity       workflows/order.py:41     charge (0)  {"sku":"A1"}

What history does not hold any more comes last: commands that a live run would cross with, and signals it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from aion_cli.cli.audit import Standing
from aion_cli.cli.describe import EVENT_WIDTH, EventWords
from aion_cli.cli.table import Cell, Column, Table
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.resolver import requested_step

_COLUMNS = (
    Column("seq", 4, right=True),
    Column("event", EVENT_WIDTH),
    Column("asked by", 16),
    Column("at", 24),
    Column("what"),
)
_DIM = "\x1b[2m"
_YELLOW = "\x1b[33m"


class Step(msgspec.Struct):
    """An event and its command, as a script gets it. Either may be null; at: "file:line" that asked."""

    run: str
    seq: int | None
    event: str | None
    command: str | None
    at: str | None
    what: str


class StepRows:
    """Writes the steps of one history as a table, while they are passed."""

    def __init__(self, write: Callable[[str], None], *, width: int | None, color: bool) -> None:
        self._table = Table(_COLUMNS, width=width, color=color)
        self._write = write
        self._words = EventWords()

    def observe(self, event: ev.Event, command: cmd.AnyCommand | None) -> None:
        """Write the row of one event."""
        if event.seq == 1:
            self._write(self._table.header())
        asked = "" if command is None else type(command).__name__
        at = "" if command is None else command.source
        name = Cell(type(event).__name__, "" if command else _DIM)
        self._write(self._table.row([str(event.seq), name, asked, at, self._words.what(event)]))

    def end(self, standing: Standing | None) -> None:
        """Write what history does not answer."""
        for command in _unanswered(standing):
            row = ["", Cell("not recorded", _YELLOW), type(command).__name__, command.source]
            self._write(self._table.row([*row, str(requested_step(command))]))


class StepObjects:
    """Hands the steps of one history out as JSON objects, while they are passed."""

    def __init__(self, write: Callable[[bytes], None], run: str) -> None:
        self._write = write
        self._run = run
        self._words = EventWords()

    def observe(self, event: ev.Event, command: cmd.AnyCommand | None) -> None:
        """Hand out the object of one event."""
        self._put(event.seq, type(event).__name__, command, self._words.what(event))

    def end(self, standing: Standing | None) -> None:
        """Hand out what history does not answer."""
        for command in _unanswered(standing):
            self._put(None, None, command, str(requested_step(command)))

    def _put(self, seq: int | None, event: str | None, command: Any, what: str) -> None:
        name = None if command is None else type(command).__name__
        at = None if command is None else command.source
        self._write(msgspec.json.encode(Step(self._run, seq, event, name, at, what)))


def _unanswered(standing: Standing | None) -> list[cmd.AnyCommand]:
    """Return the commands that history does not record, and the signals that the code waits for."""
    if standing is None or standing.boundary.closed_by is not None:
        return []
    signals = [wait.command for wait in standing.waits if isinstance(wait.command, cmd.AwaitSignal)]
    return [*standing.boundary.unmatched, *signals]
