"""`aion run`: start a run, or go on with it, and print what it came to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import output
from aion_cli.cli.again import command_line
from aion_cli.cli.chosen import ChosenRun, choose_run
from aion_cli.cli.code import code_of
from aion_cli.cli.driving import drive
from aion_cli.cli.ends import report_end, say_interrupted
from aion_cli.cli.late import late
from aion_cli.cli.progress import MessageWaits, ProgressView, progress_view
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
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Listener, PastListener, Workshop


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

    shop = _workshop(settings, request, cwd, listen, None if settings.quiet else view.on_replayed)
    run = choose_run(request, shop, definition)
    go_on = command_line(settings, "run", request.target, "--id", run.workflow_id)
    if run.end is not None:
        end = run.end
    else:
        if request.workflow_id != run.workflow_id:
            output.say(settings, f"run {run.workflow_id}")
        end = _run(settings, request, shop, definition, run, view, go_on)
    if request.audit and end.reason not in (SuspendReason.INTERRUPTED, SuspendReason.TERMINATED):
        late("proof").audit_runs(settings, shop.folder, request.target, end.workflow_id, seen)
    return report_end(end, settings, go_on)


def _workshop(
    settings: Settings, request: RunRequest, cwd: Path, listener: Listener, past_listener: PastListener | None = None
) -> Workshop:
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
        past_listener=past_listener,
        find_code=lambda first: code_of(settings, first, None),
    )


def _nobody(workflow_id: str, events: Sequence[ev.Event]) -> None:
    """Nobody listens."""
    del workflow_id, events


def _run(
    settings: Settings,
    request: RunRequest,
    shop: Workshop,
    definition: WorkflowDefinition[..., Any],
    run: ChosenRun,
    view: ProgressView,
    go_on: str,
) -> RunEnd:
    """Run until the end, a signal to this process, or the longest wait."""
    started = shop.first_event(definition, run.workflow_id, run.input or msgspec.Raw(b"null"), tags=request.tags)
    waits = MessageWaits(settings, run.workflow_id)
    runner = LocalRuns(shop).runner(run.workflow_id, on_quiet=None if request.until_blocked else waits.on_quiet)

    def last_words() -> None:
        with contextlib.suppress(Exception):
            view.__exit__(None, None, None)
        say_interrupted(run.workflow_id, go_on)

    with view:
        return drive(
            runner.run(definition, started),
            runner,
            grace_s=request.grace_s,
            last_words=last_words,
            max_wait_s=request.max_wait_s,
        )
