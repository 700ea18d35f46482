"""`aion run --dry-run`: what a run would do first, found out by replaying its history, or the first event of one.

Nothing is written, no lock is taken, and no activity runs. The workflow's own code runs up to where it waits.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import output
from aion_cli.cli.audit import Standing, placed, standing_of
from aion_cli.cli.chosen import ChosenRun
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.table import Column, Table
from aion_cli.cli.terminal import visible
from aion_cli.core import commands as cmd
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.ids import RunName
from aion_cli.core.resolver import requested_step
from aion_cli.core.status import RunStatus
from aion_cli.errors import AionError
from aion_cli.runtime.loader import digest_of
from aion_cli.runtime.reading import find_reopens, read_history
from aion_cli.runtime.recorder import stamped_from_start
from aion_cli.runtime.wall import instant
from aion_cli.runtime.workshop import Workshop


class Action(enum.StrEnum):
    """What `aion run` would do. NOTHING: the run is closed, and its recorded outcome would be printed."""

    START = "start"
    RESUME = "resume"
    NOTHING = "nothing"


class Next(msgspec.Struct, frozen=True):
    """What would be begun, or is waited for. recorded: it was begun before, and has no outcome."""

    command: str
    what: str
    at: str
    deadline: str | None
    recorded: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What `aion run` would do, as a script gets it.

    run, history: null where a fresh id would be made. status: of a closed run.
    """

    action: Action
    run: str | None
    history: str | None
    workflow: str
    at: str
    input: msgspec.Raw
    events: int = 0
    status: RunStatus | None = None
    next: list[Next] = []


def show_plan(
    settings: Settings, shop: Workshop, definition: WorkflowDefinition[..., Any], run: ChosenRun, *, named: bool
) -> int:
    """Print what would be done. named: the id was given, not made up.

    Raises NonDeterminismError and DamagedHistoryError where going on with the run would.
    """
    plan = _plan(shop, definition, run, named=named)
    if settings.output is OutputMode.HUMAN:
        _print(plan)
    else:
        output.write_json(plan)
    return ExitCode.OK


def _plan(shop: Workshop, definition: WorkflowDefinition[..., Any], run: ChosenRun, *, named: bool) -> Plan:
    location = run.location or shop.folder.location(RunName(run.workflow_id))
    plan = Plan(
        action=Action.START,
        run=run.workflow_id if named else None,
        history=str(location.path) if named else None,
        workflow=definition.name,
        at=f"{shop.paths.shorten(definition.file)}:{definition.line}",
        input=run.input or msgspec.Raw(b"null"),
    )
    if run.location is None:
        started = shop.first_event(definition, run.workflow_id, plan.input)
        cursor = HistoryCursor(stamped_from_start([started], instant(shop.clock)))
        return replace(plan, next=_next(standing_of(cursor, definition, shop.paths)))
    path, files = run.location.path, shop.folder.files
    try:
        started = next(iter(read_history(path, files)))
        if run.end is not None:
            return replace(plan, action=Action.NOTHING, input=started.input, status=run.end.status)
        cursor = HistoryCursor(read_history(path, files), find_reopens(path, files))
        standing = standing_of(cursor, definition, shop.paths, code_digest=digest_of(Path(definition.file)))
    except AionError as error:
        raise placed(error, path) from None
    return replace(
        plan, action=Action.RESUME, input=started.input, events=standing.boundary.last_seq, next=_next(standing)
    )


def _next(standing: Standing) -> list[Next]:
    unmatched = standing.boundary.unmatched
    # A command that is not recorded yet is waited for as well, and the end of a run is not.
    begun = [wait for wait in standing.waits if not any(wait.command is command for command in unmatched)]
    deadlines = {id(wait.command): wait.deadline for wait in standing.waits}
    return [_described(wait.command, wait.deadline, recorded=True) for wait in begun] + [
        _described(command, deadlines.get(id(command)), recorded=False) for command in unmatched
    ]


def _described(command: cmd.AnyCommand, deadline: str | None, *, recorded: bool) -> Next:
    return Next(type(command).__name__, str(requested_step(command)), command.source, deadline, recorded)


_SENTENCES = {
    Action.START: "would start",
    Action.RESUME: "would go on with",
    Action.NOTHING: "would do nothing with",
}


def _print(plan: Plan) -> None:
    output.write_text(f"{_SENTENCES[plan.action]} {visible(plan.run or 'a run with a fresh id')}")
    rows = [("workflow", f"{plan.workflow}  {plan.at}"), ("input", bytes(plan.input).decode("utf-8", "replace"))]
    if plan.history is not None:
        rows.append(("history", plan.history + (f", {plan.events} events" if plan.events else "")))
    if plan.status is not None:
        rows.append(("status", f"{plan.status}: its recorded outcome would be printed"))
    rows += [(_label(each), f"{each.what.removeprefix('wait for ')}  {each.at}") for each in plan.next]
    table = Table([Column(""), Column("", 9), Column("")], width=output.stdout_width(), color=False)
    for label, text in rows:
        output.write_text(table.row(["", label, text]))


def _label(step: Next) -> str:
    if not step.recorded:
        return "then"
    return "again" if step.command == cmd.RunActivity.__name__ else "waits for"
