"""`aion resume`: go on with open runs, as a cron line does; one JSON line a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from aion_cli.cli import output, render
from aion_cli.cli.again import command_line
from aion_cli.cli.code import code_of
from aion_cli.cli.driving import drive
from aion_cli.cli.due import DueRuns
from aion_cli.cli.ends import end_document, say_interrupted
from aion_cli.cli.operating_requests import ResumeRequest
from aion_cli.cli.output import ExitCode
from aion_cli.cli.progress import progress_view
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.telling import connect_output
from aion_cli.core import events as ev
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import RunStatus
from aion_cli.errors import AionError, OwnedElsewhereError, UsageError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.lineage import open_children
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.reading import read_first_event, visible_history
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop

_FIRST_APPLIES = (ExitCode.STORAGE, ExitCode.DAMAGED, ExitCode.NON_DETERMINISM, ExitCode.WORKFLOW_FAILED)
"""Of several codes; if it is none of these, the first that is not 0."""
_STOPPED = {SuspendReason.INTERRUPTED: ExitCode.SIGINT, SuspendReason.TERMINATED: ExitCode.SIGTERM}


def resume_command(settings: Settings, request: ResumeRequest) -> int:
    """Go on with each run until only timers and signals can move it; prints a line for each, or one array of all.

    Returns the first of 10, 5, 4, 1 that applies, else the first other one, else 0.
    """
    if not request.runs and not request.all and not request.due:
        raise UsageError("no run is named", hint="name runs, or give --all or --due")
    folder = HistoriesFolder(settings.histories)
    chosen = _chosen(settings, folder, request)
    codes: list[int] = []
    with _Documents(settings) as documents:
        for location in chosen:
            code = _resume(settings, request, folder, location, documents)
            codes.append(code)
            if code in (ExitCode.SIGINT, ExitCode.SIGTERM):
                return code
    applying = [code for code in _FIRST_APPLIES if code in codes]
    return next(iter([*applying, *filter(None, codes)]), ExitCode.OK)


class _Documents:
    """What stdout gets: a line as soon as there is something to say of a run; with -o json one array at the end."""

    def __init__(self, settings: Settings) -> None:
        self._array: list[object] | None = [] if settings.output is OutputMode.JSON else None

    def add(self, document: object) -> None:
        if self._array is None:
            output.write_json_line(msgspec.json.encode(document))
        else:
            self._array.append(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._array is not None:
            output.write_json(self._array)


def _chosen(settings: Settings, folder: HistoriesFolder, request: ResumeRequest) -> list[RunLocation]:
    """Return the open runs that are meant. Those that an open parent goes on with are left to it."""
    if request.runs:
        return [folder.find(run) for run in request.runs]
    due = DueRuns(settings, folder, request.workflow, WallClock().micros()) if request.due else None
    latest = {location.workflow_id: location for location in folder.runs()}
    parents = _Parents(folder)
    return [location for location in latest.values() if _is_to_resume(folder, location, parents, due)]


class _Parents:
    """Knows which runs an open parent goes on with: none whose end it has recorded, or whose start a reopen hid."""

    def __init__(self, folder: HistoriesFolder) -> None:
        self._folder = folder
        self._children: dict[str, frozenset[ev.ParentRef]] = {}

    def go_on_with(self, run: ev.WorkflowStarted) -> bool:
        """Say so of a run. Raises AionError if the history of its parent cannot be read."""
        if run.parent is None or not self._folder.is_open(run.parent.workflow_id):
            return False
        known = self._children.get(run.parent.workflow_id)
        if known is None:
            known = self._children[run.parent.workflow_id] = frozenset(self._children_of(run.parent.workflow_id))
        return run.parent in known

    def _children_of(self, parent_id: str) -> Iterator[ev.ParentRef]:
        path, files = self._folder.latest(parent_id).path, self._folder.files
        events = visible_history(path, files)
        for child in open_children(events, lambda _: True):
            yield ev.ParentRef(parent_id, child.run_id, child.seq)


def _is_to_resume(folder: HistoriesFolder, location: RunLocation, parents: _Parents, due: DueRuns | None) -> bool:
    try:
        if not folder.is_open(location.workflow_id):
            return False
        started = read_first_event(location.path, folder.files)
        if parents.go_on_with(started):
            return False
        return due is None or due.is_due(location)
    except AionError:
        # `_resume` meets the same trouble and reports it.
        return True


def _resume(
    settings: Settings,
    request: ResumeRequest,
    folder: HistoriesFolder,
    location: RunLocation,
    documents: _Documents,
) -> int:
    """Go on with one run, and say what came of it."""
    try:
        end = _run(settings, request, folder, location)
    except OwnedElsewhereError as error:
        documents.add({"run": location.workflow_id, "skipped": error.message})
        return ExitCode.OK
    except AionError as error:
        output.write_stderr(render.error_text(error, settings, color=output.stderr_takes_color(settings)))
        documents.add({"run": location.workflow_id, "error": render.error_document(error, settings)})
        return output.exit_code_of(error)
    documents.add(end_document(end))
    if end.reason in _STOPPED:
        say_interrupted(end.workflow_id, _go_on(settings, end.workflow_id))
        return _STOPPED[end.reason]
    return ExitCode.WORKFLOW_FAILED if end.status is RunStatus.FAILED else ExitCode.OK


def _run(settings: Settings, request: ResumeRequest, folder: HistoriesFolder, location: RunLocation) -> RunEnd:
    folder.require_own(location)
    started = read_first_event(location.path, folder.files)
    definition = code_of(settings, started, request.workflow)
    connect_output()
    paths = SourcePaths(str(Path.cwd()))
    with progress_view(settings) as view:
        shop = Workshop(
            folder=folder,
            clock=WallClock(),
            paths=paths,
            activities=ActivityRunner(paths, max_concurrency=request.max_concurrency, grace_s=request.grace_s),
            listener=view.on_events,
            notice=output.warn,
            settings=RunSettings(grace_s=request.grace_s, stop_when_blocked=True),
            past_listener=None if settings.quiet else view.on_replayed,
            find_code=lambda first: code_of(settings, first, None),
        )
        runner = LocalRuns(shop).runner(started.workflow_id)
        return drive(
            runner.run(definition, started),
            runner,
            grace_s=request.grace_s,
            last_words=lambda: say_interrupted(started.workflow_id, _go_on(settings, started.workflow_id)),
            max_wait_s=request.max_wait_s,
        )


def _go_on(settings: Settings, workflow_id: str) -> str:
    return command_line(settings, "resume", workflow_id)
