"""`aion run`: start a run, or go on with it, and print what it came to."""

from __future__ import annotations

import asyncio
import shlex
import signal
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import output
from aion_cli.cli.ends import report_end
from aion_cli.cli.inputs import complete_input
from aion_cli.cli.progress import ProgressView, progress_view
from aion_cli.cli.requests import IfExists, RunRequest
from aion_cli.cli.settings import Settings
from aion_cli.cli.telling import connect_output
from aion_cli.core.ids import check_workflow_id
from aion_cli.core.source import SourcePaths
from aion_cli.errors import NoSuchRunError, WrongStateError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.journal import Durability
from aion_cli.runtime.loader import load_target
from aion_cli.runtime.outcome import RunEnd, recorded_end
from aion_cli.runtime.runner import Runner, require_same_run
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop, fresh_workflow_id

_STOPS = {
    signal.SIGINT: SuspendReason.INTERRUPTED,
    signal.SIGTERM: SuspendReason.TERMINATED,
    signal.SIGHUP: SuspendReason.TERMINATED,
}


def run_command(settings: Settings, request: RunRequest) -> int:
    """Start a run or go on with it; returns the exit code."""
    cwd = Path.cwd()
    definition = load_target(request.target, settings.workflows, cwd)
    connect_output()
    if request.workflow_id is not None:
        check_workflow_id(request.workflow_id)
    with progress_view(settings) as view:
        shop = _workshop(settings, request, cwd, view)
        end = _run(settings, request, shop, definition)
    return report_end(end, settings, _go_on(settings, request, end.workflow_id))


def _workshop(settings: Settings, request: RunRequest, cwd: Path, view: ProgressView) -> Workshop:
    paths = SourcePaths(str(cwd))
    return Workshop(
        folder=HistoriesFolder(settings.histories),
        clock=WallClock(),
        paths=paths,
        activities=ActivityRunner(paths, max_concurrency=request.max_concurrency, grace_s=request.grace_s),
        listener=view.on_events,
        notice=output.warn,
        durability=Durability(request.durability.value),
        settings=RunSettings(grace_s=request.grace_s, stop_when_blocked=request.until_blocked),
    )


def _run(settings: Settings, request: RunRequest, shop: Workshop, definition: WorkflowDefinition[..., Any]) -> RunEnd:
    given = request.input is not None or bool(request.parameters)
    workflow_id, exists = _choose_id(request, shop, definition)
    input: msgspec.Raw | None = None
    if given or not exists:
        input = complete_input(definition.signature, request.input, request.parameters)
    if exists:
        location = shop.folder.latest(workflow_id)
        require_same_run(shop, location, definition, input)
        end = recorded_end(location.path, shop.folder.files)
        if end is not None:
            return end
    else:
        shop.folder.require_new(workflow_id)
    if request.workflow_id != workflow_id:
        output.say(settings, f"run {workflow_id}")
    started = shop.first_event(definition, workflow_id, input or msgspec.Raw(b"null"), tags=request.tags)
    runner = LocalRuns(shop).runner(workflow_id)
    return asyncio.run(_drive(runner, definition, started, request.max_wait_s))


def _choose_id(request: RunRequest, shop: Workshop, definition: WorkflowDefinition[..., Any]) -> tuple[str, bool]:
    """Return the id to run under, and whether there is a run of it."""
    if request.workflow_id is None:
        return fresh_workflow_id(definition.name, shop.clock), False
    if not _exists(shop, request.workflow_id):
        return request.workflow_id, False
    match request.if_exists:
        case IfExists.RESUME:
            return request.workflow_id, True
        case IfExists.FAIL:
            raise WrongStateError(
                f"there is a run {request.workflow_id} already", hint="leave --if-exists out to go on with it"
            )
        case IfExists.NEW:
            number = 2
            while _exists(shop, f"{request.workflow_id}-{number}"):
                number += 1
            return check_workflow_id(f"{request.workflow_id}-{number}"), False


def _exists(shop: Workshop, workflow_id: str) -> bool:
    try:
        shop.folder.latest(workflow_id)
    except NoSuchRunError:
        return False
    return True


async def _drive(
    runner: Runner, definition: WorkflowDefinition[..., Any], started: Any, max_wait_s: float | None
) -> RunEnd:
    """Run until the end, a signal to this process, or the longest wait."""
    loop = asyncio.get_running_loop()
    for number, reason in _STOPS.items():
        loop.add_signal_handler(number, runner.suspend, reason)
    if max_wait_s is not None:
        loop.call_later(max_wait_s, runner.suspend, SuspendReason.MAX_WAIT)
    return await runner.run(definition, started)


def _go_on(settings: Settings, request: RunRequest, workflow_id: str) -> str:
    words = ["aion"]
    if settings.histories != Path("histories"):
        words += ["--histories", str(settings.histories)]
    if settings.workflows != Path("workflows"):
        words += ["--workflows", str(settings.workflows)]
    return shlex.join([*words, "run", request.target, "--id", workflow_id])
