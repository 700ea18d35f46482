"""`aion result`, `aion query` and `aion update`: what a run came to, and what it answers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import output, render
from aion_cli.cli.code import code_of
from aion_cli.cli.ends import report_end
from aion_cli.cli.inputs import read_document
from aion_cli.cli.operating_requests import QueryRequest, ResultRequest, UpdateRequest
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.telling import connect_output
from aion_cli.cli.waiting import WaitFinder
from aion_cli.core import events as ev
from aion_cli.core.failures import failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import summarise
from aion_cli.errors import AionError, OwnedElsewhereError, PayloadError, UsageError, WrongStateError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.asking import ask, replayed
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.masked_output import secrets_kept_from_output
from aion_cli.runtime.outcome import RunEnd, recorded_end, settle, settled_end
from aion_cli.runtime.reading import read_first_event, read_history
from aion_cli.runtime.runner import Runner
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop

_LOOK_EVERY_S = 0.1


def result_command(settings: Settings, request: ResultRequest) -> int:
    """Print how a run, or what it continued as, ended, with its exit code; 3 if it is open, unless told to wait."""
    folder = HistoriesFolder(settings.histories)
    location, end = _recorded(folder, request.run)
    if end is None and request.wait:
        try:
            output.say(settings, f"{location.workflow_id} is open; waiting for its end")
            while end is None:
                time.sleep(_LOOK_EVERY_S)
                location, end = _recorded(folder, request.run)
        except KeyboardInterrupt:
            end = _open_end(settings, location, folder, SuspendReason.INTERRUPTED)
            return report_end(end, settings, f"aion result {end.workflow_id} --wait")
    if end is None:
        end = _open_end(settings, location, folder)
    return report_end(end, settings, f"aion resume {end.workflow_id}")


def _recorded(folder: HistoriesFolder, run: str) -> tuple[RunLocation, RunEnd | None]:
    location = _end_of_chain(folder, folder.find(run))
    return location, settled_end(location.path, folder.files)


def _end_of_chain(folder: HistoriesFolder, location: RunLocation) -> RunLocation:
    """Follow a run to the last one that it has continued as so far."""
    following: RunLocation | None = location
    while following is not None:
        location, following = following, folder.following(following)
    return location


def _open_end(
    settings: Settings, location: RunLocation, folder: HistoriesFolder, reason: SuspendReason | None = None
) -> RunEnd:
    summary = WaitFinder(settings).in_full(location, summarise(read_history(location.path, folder.files)))
    return RunEnd(
        summary.workflow_id,
        summary.run_id,
        summary.status,
        reason=reason,
        waiting=summary.waiting,
    )


def query_command(settings: Settings, request: QueryRequest) -> int:
    """Answer a query by replaying; prints the answer."""
    folder = HistoriesFolder(settings.histories)
    location = folder.find(request.run)
    definition = code_of(settings, read_first_event(location.path, folder.files), request.workflow)
    connect_output()
    args = None if request.args is None else read_document(request.args, "ARGS")
    paths = SourcePaths(str(Path.cwd()))
    try:
        answer = ask(location.path, folder, definition, paths, request.name, args)
    except AionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the author's code raises is its answer
        _report_failure(settings, location.workflow_id, "query", request.name, failure_of(error, paths))
        return ExitCode.WORKFLOW_FAILED
    output.write_json(answer)
    return ExitCode.OK


def update_command(settings: Settings, request: UpdateRequest) -> int:
    """Have the workflow answer a request, and print its answer; own the run meanwhile if nobody does."""
    folder = HistoriesFolder(settings.histories)
    location = folder.find(request.run)
    folder.require_own(location)
    started = read_first_event(location.path, folder.files)
    definition = code_of(settings, started, request.workflow)
    connect_output()
    event = ev.UpdateRequested(
        update_id=request.update_id or secrets.token_hex(16),
        name=request.name,
        args=_checked_args(settings, request, folder, location, definition),
    )
    inbox = Inbox(folder, started.workflow_id)
    inbox.accept(event, chosen_id=request.update_id is not None)
    inbox.ring()
    answer = asyncio.run(_await_answer(settings, request, folder, definition, started, event.update_id))
    return _report(settings, started.workflow_id, request.name, answer)


def _checked_args(
    settings: Settings,
    request: UpdateRequest,
    folder: HistoriesFolder,
    location: RunLocation,
    definition: WorkflowDefinition[..., Any],
) -> msgspec.Raw:
    """Check the name and the arguments against what the code declares by now. Raises UsageError, WrongStateError."""
    del settings
    if recorded_end(location.path, folder.files) is not None:
        raise WrongStateError(f"{location.workflow_id} is closed, and takes no updates")
    args = None if request.args is None else read_document(request.args, "ARGS")
    replay = replayed(location.path, folder, definition, SourcePaths(str(Path.cwd())))
    try:
        handler: Any = replay.execution.handlers.update(request.name)
        if handler is None:
            known = ", ".join(replay.execution.handlers.update_names) or "none"
            raise UsageError(f"{definition.name} declares no update {request.name!r}", hint=f"it declares: {known}")
        return handler.complete_input(args)
    except PayloadError as error:
        error.where = (*error.where, f"update {request.name} of {definition.name}")
        raise
    finally:
        replay.execution.close()


async def _await_answer(
    settings: Settings,
    request: UpdateRequest,
    folder: HistoriesFolder,
    definition: WorkflowDefinition[..., Any],
    started: ev.WorkflowStarted,
    update_id: str,
) -> ev.Event | RunEnd | None:
    """Return the answer once it is recorded; how the run is if it is paused, None if it closed without an answer."""
    while True:
        answer, closed = _find_answer(folder, started.workflow_id, update_id)
        if answer is not None or closed:
            return answer
        try:
            end = await _own_until_answered(settings, request, folder, definition, started, update_id)
            if end.reason is SuspendReason.PAUSED:
                return end
        except OwnedElsewhereError:
            await asyncio.sleep(_LOOK_EVERY_S)


def _find_answer(folder: HistoriesFolder, workflow_id: str, update_id: str) -> tuple[ev.Event | None, bool]:
    """Look through all runs of the workflow id, since an unanswered update moves on as it continues as new."""
    for run in folder.runs_of(workflow_id):
        for event in read_history(run.path, folder.files):
            if isinstance(event, ev.UpdateCompleted | ev.UpdateFailed) and event.update_id == update_id:
                settle(run.path, folder.files)
                return event, False
    latest = folder.latest(workflow_id)
    return None, recorded_end(latest.path, folder.files) is not None


async def _own_until_answered(
    settings: Settings,
    request: UpdateRequest,
    folder: HistoriesFolder,
    definition: WorkflowDefinition[..., Any],
    started: ev.WorkflowStarted,
    update_id: str,
) -> RunEnd:
    paths = SourcePaths(str(Path.cwd()))
    runners: list[Runner] = []

    def on_events(workflow_id: str, events: Sequence[ev.Event]) -> None:
        del workflow_id
        answered = any(
            isinstance(event, ev.UpdateCompleted | ev.UpdateFailed) and event.update_id == update_id for event in events
        )
        if answered:
            for runner in runners:
                runner.suspend(SuspendReason.BLOCKED)

    shop = Workshop(
        folder=folder,
        clock=WallClock(),
        paths=paths,
        activities=ActivityRunner(paths, grace_s=request.grace_s),
        listener=on_events,
        notice=output.warn,
        settings=RunSettings(grace_s=request.grace_s),
        find_code=lambda first: code_of(settings, first, None),
    )
    runners.append(LocalRuns(shop).runner(started.workflow_id))
    with secrets_kept_from_output():
        return await runners[0].run(definition, started)


def _report(settings: Settings, workflow_id: str, update: str, answer: ev.Event | RunEnd | None) -> int:
    match answer:
        case RunEnd():
            return report_end(answer, settings, f"aion resume {workflow_id}")
        case ev.UpdateCompleted(result=result):
            output.write_json(result)
            return ExitCode.OK
        case ev.UpdateFailed(error=error):
            _report_failure(settings, workflow_id, "update", update, error)
            return ExitCode.USAGE if error.kind is ev.ErrorKind.REJECTED else ExitCode.WORKFLOW_FAILED
        case _:
            raise WrongStateError(f"{workflow_id} was closed before it answered")


def _report_failure(settings: Settings, workflow_id: str, kind: str, name: str, failure: ev.Failure) -> None:
    """Tell what the author's code raised when it was asked. kind: query or update."""
    color = output.stderr_takes_color(settings)
    output.write_stderr(render.failure_text(f"{kind} {name} of {workflow_id}", failure, kind=kind, color=color))
    if settings.output is not OutputMode.HUMAN:
        output.write_json({"run": workflow_id, "error": failure})
