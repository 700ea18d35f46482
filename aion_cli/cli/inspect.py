"""`aion list`: what runs there are. No locks, and nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from aion_cli.cli import output, render
from aion_cli.cli.describe import age_words, waiting_words
from aion_cli.cli.late import late
from aion_cli.cli.output import ExitCode
from aion_cli.cli.requests import ListRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.table import Cell, Column, Table, fitting
from aion_cli.core.status import RunStatus, RunSummary, Waiting, summarise
from aion_cli.errors import AionError, NoSuchRunError, UsageError
from aion_cli.runtime.codec import AS_STORED, CodecError
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.reading import read_history

_RED = "\x1b[31m"
_GREEN = "\x1b[32m"
_YELLOW = "\x1b[33m"
_CYAN = "\x1b[36m"
_DIM = "\x1b[2m"
_LAST_COLUMN_IN_A_PIPE = 160
_DIVERGED = "diverged from its code"

_STATUS_PAINT: dict[RunStatus, str] = {
    RunStatus.RUNNING: _CYAN,
    RunStatus.WAITING: _YELLOW,
    RunStatus.PAUSED: _YELLOW,
    RunStatus.COMPLETED: _GREEN,
    RunStatus.CONTINUED: _GREEN,
    RunStatus.CANCELLED: _DIM,
    RunStatus.FAILED: _RED,
    RunStatus.TERMINATED: _RED,
    RunStatus.TIMED_OUT: _RED,
}


class ListedRun(msgspec.Struct):
    """A run as `aion list -o json` shows it."""

    workflow_id: str
    run_id: str
    workflow_type: str
    status: RunStatus
    tags: dict[str, str]
    since: str
    waiting: list[Waiting]


class Listing:
    """Reads all runs of a folder; one that cannot be read is reported and hides no other.

    exit_code: OK, or that of the first run that could not be read.
    """

    def __init__(self, settings: Settings, request: ListRequest) -> None:
        self._settings = settings
        self._statuses = _statuses(request)
        self._tags = request.tags
        self._recorded_only = request.recorded_only
        self._waits: Any = None
        self.exit_code = ExitCode.OK

    def __iter__(self) -> Iterator[tuple[RunLocation, RunSummary]]:
        """Yield the runs that the request asks for, by workflow id and number."""
        for location in HistoriesFolder(self._settings.histories).runs():
            try:
                run = _summary(location)
            except NoSuchRunError:
                continue  # an empty file, or one whose first line was never finished
            except AionError as error:
                self._report(error)
                continue
            if (not self._statuses or run.status in self._statuses) and self._tags.items() <= run.tags.items():
                yield location, self._in_full(location, run)

    def _in_full(self, location: RunLocation, run: RunSummary) -> RunSummary:
        if not run.status.is_open or self._recorded_only:
            return run
        if self._waits is None:
            self._waits = late("waiting").WaitFinder(self._settings)
        full: RunSummary = self._waits.in_full(location, run)
        return full

    def has_diverged(self, location: RunLocation) -> bool:
        """Say whether the code of a run that was yielded no longer matches its history."""
        return self._waits is not None and self._waits.has_diverged(location)

    def _report(self, error: AionError) -> None:
        color = output.stderr_takes_color(self._settings)
        output.write_stderr(render.error_text(error, self._settings, color=color))
        if self.exit_code is ExitCode.OK:
            self.exit_code = output.exit_code_of(error)


def list_command(settings: Settings, request: ListRequest) -> int:
    """List the runs of the histories folder."""
    listing = Listing(settings, request)
    match settings.output:
        case OutputMode.JSON:
            output.write_json([_listed(run) for _, run in listing])
        case OutputMode.JSONL:
            for _, run in listing:
                output.write_json_line(msgspec.json.encode(_listed(run)))
        case OutputMode.HUMAN:
            _print_runs(settings, listing, narrowed=bool(request.statuses or request.tags))
    return listing.exit_code


def _summary(location: RunLocation) -> RunSummary:
    """Sum a run up; without the key of its payloads, with them as they are stored."""
    try:
        return summarise(read_history(location.path))
    except CodecError:
        return summarise(read_history(location.path, codec=AS_STORED))


def _listed(run: RunSummary) -> ListedRun:
    return ListedRun(run.workflow_id, run.run_id, run.workflow_type, run.status, run.tags, run.since, run.waiting)


def _statuses(request: ListRequest) -> frozenset[RunStatus]:
    try:
        return frozenset(RunStatus(status) for status in request.statuses)
    except ValueError:
        unknown = ", ".join(sorted(repr(status) for status in request.statuses if status not in list(RunStatus)))
        raise UsageError(f"there is no status {unknown}", hint=f"there are {', '.join(RunStatus)}") from None


def _print_runs(settings: Settings, listing: Listing, *, narrowed: bool) -> None:
    runs = list(listing)
    if not runs:
        what = "no such runs" if narrowed else "no runs"
        output.say(settings, f"{what} in {settings.histories}")
        return
    now = time.time_ns() // 1000
    rows = [
        (
            location.name.stem,
            run.workflow_type,
            run.status,
            age_words(run.since, now),
            _last_column(run, now, diverged=listing.has_diverged(location)),
        )
        for location, run in runs
    ]
    table = Table(
        [
            fitting("run", [row[0] for row in rows]),
            fitting("workflow", [row[1] for row in rows]),
            fitting("status", [row[2] for row in rows]),
            fitting("for", [row[3] for row in rows], right=True),
            Column("waits for, or ended with", most=_LAST_COLUMN_IN_A_PIPE),
        ],
        width=output.stdout_width(),
        color=output.stdout_takes_color(settings),
    )
    output.write_text(table.header())
    for name, workflow, status, age, last in rows:
        output.write_text(table.row([name, workflow, Cell(status, _STATUS_PAINT[status]), age, last]))


def _last_column(run: RunSummary, now_micros: int, *, diverged: bool) -> str:
    """What a run waits for, or, once it is closed, what came of it."""
    if run.status.is_open:
        progress = f"{run.progress.done} of {run.progress.total}  {run.progress.text}" if run.progress else ""
        parts = (_DIVERGED if diverged else "", progress.strip(), waiting_words(run.waiting, now_micros))
        return ", ".join(part for part in parts if part)
    if run.error is not None:
        return f"{run.error.type}: {run.error.message}" if run.error.message else run.error.type
    if run.result is not None:
        return bytes(run.result).decode("utf-8", "replace")
    return run.reason
