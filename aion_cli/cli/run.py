"""`aion run`: start a run, or go on with it, and print what it came to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import output
from aion_cli.cli.again import command_line
from aion_cli.cli.chosen import ChosenRun, choose_run
from aion_cli.cli.ends import report_end
from aion_cli.cli.late import late
from aion_cli.cli.progress import progress_view
from aion_cli.cli.requests import RunRequest
from aion_cli.cli.settings import Settings
from aion_cli.cli.telling import connect_output
from aion_cli.core import events as ev
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.journal import Durability
from aion_cli.runtime.loader import load_target
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.runner import Runner
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Listener, Workshop

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
    if request.dry_run:
        shop = _workshop(settings, request, cwd, _nobody)
        run = choose_run(request, shop, definition)
        return late("plan").show_plan(settings, shop, definition, run, named=request.workflow_id is not None)
    view, seen = progress_view(settings), dict[str, None]()

    def listen(workflow_id: str, events: Sequence[ev.Event]) -> None:
        seen[workflow_id] = None
        view.on_events(workflow_id, events)

    shop = _workshop(settings, request, cwd, listen)
    run = choose_run(request, shop, definition)
    if run.end is not None:
        end = run.end
    else:
        if request.workflow_id != run.workflow_id:
            output.say(settings, f"run {run.workflow_id}")
        with view:
            end = _run(request, shop, definition, run)
    if request.audit and end.reason not in _STOPS.values():
        late("proof").audit_runs(settings, shop.folder, request.target, end.workflow_id, seen)
    return report_end(end, settings, command_line(settings, "run", request.target, "--id", end.workflow_id))


def _workshop(settings: Settings, request: RunRequest, cwd: Path, listener: Listener) -> Workshop:
    paths = SourcePaths(str(cwd))
    return Workshop(
        folder=HistoriesFolder(settings.histories),
        clock=WallClock(),
        paths=paths,
        activities=ActivityRunner(paths, max_concurrency=request.max_concurrency, grace_s=request.grace_s),
        listener=listener,
        notice=output.warn,
        durability=Durability(request.durability.value),
        settings=RunSettings(grace_s=request.grace_s, stop_when_blocked=request.until_blocked),
    )


def _nobody(workflow_id: str, events: Sequence[ev.Event]) -> None:
    """Nobody listens."""
    del workflow_id, events


def _run(request: RunRequest, shop: Workshop, definition: WorkflowDefinition[..., Any], run: ChosenRun) -> RunEnd:
    started = shop.first_event(definition, run.workflow_id, run.input or msgspec.Raw(b"null"), tags=request.tags)
    runner = LocalRuns(shop).runner(run.workflow_id)
    return asyncio.run(_drive(runner, definition, started, request.max_wait_s))


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
