"""`aion result` and `aion query`: what a run came to, and what it answers when it is only looked at."""

from __future__ import annotations

import time
from pathlib import Path

from aion_cli.cli import output
from aion_cli.cli.code import code_of
from aion_cli.cli.ends import report_end, report_failure
from aion_cli.cli.inputs import read_document
from aion_cli.cli.operating_requests import QueryRequest, ResultRequest
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import Settings
from aion_cli.cli.telling import connect_output
from aion_cli.cli.waiting import open_end
from aion_cli.core.failures import failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.errors import AionError
from aion_cli.runtime.asking import ask
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.outcome import RunEnd, settled_end
from aion_cli.runtime.reading import read_first_event

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
            end = open_end(settings, location, folder, SuspendReason.INTERRUPTED)
            return report_end(end, settings, f"aion result {end.workflow_id} --wait")
    if end is None:
        end = open_end(settings, location, folder)
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


def query_command(settings: Settings, request: QueryRequest) -> int:
    """Answer a query by replaying; prints the answer."""
    folder = HistoriesFolder(settings.histories)
    location = folder.find(request.run)
    definition = code_of(settings, read_first_event(location.path, folder.files), request.workflow)
    connect_output()
    args = None if request.args is None else read_document(request.args, "ARGS")
    paths = SourcePaths(str(Path.cwd()))
    try:
        answer = ask(location.path, folder, definition, paths, request.name, args, output.warn)
    except AionError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the author's code raises is its answer
        report_failure(settings, location.workflow_id, "query", request.name, failure_of(error, paths))
        return ExitCode.WORKFLOW_FAILED
    output.write_json(answer)
    return ExitCode.OK
