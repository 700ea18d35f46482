"""`aion show`: what is recorded of a run, and of those that it continued as. No locks, no code of workflows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from aion_cli.cli import output
from aion_cli.cli.describe import EVENT_WIDTH, EventWords
from aion_cli.cli.output import ExitCode
from aion_cli.cli.requests import ShowRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.table import Cell, Column, Table
from aion_cli.cli.terminal import visible
from aion_cli.core import events as ev
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.reading import HistoryReader, read_history

_RED = "\x1b[31m"
_GREEN = "\x1b[32m"
_CYAN = "\x1b[36m"
_DIM = "\x1b[2m"

_EVENT_PAINT: dict[type[ev.Event], str] = {
    ev.WorkflowCompleted: _GREEN,
    ev.ActivityCompleted: _GREEN,
    ev.ChildWorkflowCompleted: _GREEN,
    ev.WorkflowFailed: _RED,
    ev.ActivityFailed: _RED,
    ev.ChildWorkflowFailed: _RED,
    ev.WorkflowTimedOut: _RED,
    ev.WorkflowTerminated: _RED,
    ev.SignalReceived: _CYAN,
    ev.ActivityStarted: _DIM,
    ev.ActivityHeartbeat: _DIM,
}
_CHUNK = 1 << 20
_SHOW_COLUMNS = (Column("seq", 4, right=True), Column("time (UTC)", 18), Column("event", EVENT_WIDTH), Column("what"))


def show_command(settings: Settings, request: ShowRequest) -> int:
    """Show the events of a run: of an id all histories of the chain, in order, and of anything else one."""
    chain = HistoriesFolder(settings.histories).find_chain(request.run)
    lines: list[msgspec.Raw] = []
    for number, location in enumerate(chain):
        reader = read_history(location.path)
        match settings.output:
            case OutputMode.JSON:
                _exhaust(reader)
                lines += map(msgspec.Raw, _recorded_lines(location, reader))
            case OutputMode.JSONL:
                _write_lines(location, reader)
            case OutputMode.HUMAN:
                if len(chain) > 1:
                    output.write_text(_heading(location, is_first=number == 0))
                _print_events(settings, reader)
        _mention_torn_tail(location, reader)
    if settings.output is OutputMode.JSON:
        output.write_json(lines)
    return ExitCode.OK


def _heading(location: RunLocation, *, is_first: bool) -> str:
    """Name one history of several as it can be asked for alone, and say where it is."""
    name = f"{location.workflow_id}@{location.name.number}"
    return ("" if is_first else "\n") + visible(f"{name}  {location.path}")


def _write_lines(location: RunLocation, reader: HistoryReader) -> None:
    try:
        _exhaust(reader)
    finally:  # the lines above a damaged one are shown as well
        for line in _recorded_lines(location, reader):
            output.write_json_line(line)


def _mention_torn_tail(location: RunLocation, reader: HistoryReader) -> None:
    torn = reader.torn
    if torn is not None:
        output.warn(f"{location.path}:{torn.line} ends in an unfinished line of {torn.size} bytes; ignored")


def _print_events(settings: Settings, events: Iterable[ev.Event]) -> None:
    table = Table(_SHOW_COLUMNS, width=output.stdout_width(), color=output.stdout_takes_color(settings))
    words = EventWords()
    for index, event in enumerate(events):
        if index == 0:
            output.write_text(table.header())
        kind = type(event)
        output.write_text(
            table.row(
                [
                    str(event.seq),
                    f"{event.recorded_at[5:10]} {event.recorded_at[11:23]}",
                    Cell(kind.__name__, _EVENT_PAINT.get(kind, "")),
                    words.what(event),
                ]
            )
        )


def _exhaust(reader: HistoryReader) -> None:
    """Read, and so verify, all of a history; its head is then known."""
    for _ in reader:
        pass


def _recorded_lines(location: RunLocation, reader: HistoryReader) -> Iterator[bytes]:
    """Yield the lines that a reader has verified, byte for byte as they stand in the file, without their newlines."""
    files, rest, offset, size = Files(), b"", 0, reader.head.size
    fd = files.open_read(location.path) if size else -1
    try:
        while offset < size and (chunk := files.read_at(fd, min(_CHUNK, size - offset), offset, location.path)):
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
    finally:
        files.close(fd)
