"""`aion signal`: deliver a message to a run; when this exits 0, it is on disk."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.api.signals import signals_of
from aion_cli.cli import output
from aion_cli.cli.again import command_line
from aion_cli.cli.code import code_of
from aion_cli.cli.inputs import complete_input, read_document
from aion_cli.cli.requests import SignalRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.core import events as ev
from aion_cli.core import payload
from aion_cli.core.ids import check_workflow_id
from aion_cli.core.source import SourcePaths
from aion_cli.errors import PayloadError, UsageError, WorkflowCodeError, WrongStateError
from aion_cli.runtime.delivery import deliver, drain_unowned
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import AlreadyKnown, Inbox, message_id
from aion_cli.runtime.loader import load_target
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.reading import read_first_event
from aion_cli.runtime.starting import first_event, start_unowned
from aion_cli.runtime.wall import Clock, WallClock

_LOOK_EVERY_S = 0.05
_LONGEST_WAIT_S = 5.0


def signal_command(settings: Settings, request: SignalRequest) -> int:
    """Check the message, have it accepted, and hand it on; returns the exit code."""
    folder, clock = HistoriesFolder(settings.histories), WallClock()
    started: ev.WorkflowStarted | None = None
    if request.start is None:
        if request.input is not None or request.parameters:
            raise UsageError("--input and -p are the input of a run that --start starts", hint="add --start TARGET")
        workflow_id, definition = _found(settings, folder, request.run)
    else:
        workflow_id = check_workflow_id(request.run)
        definition = load_target(request.start, settings.workflows, Path.cwd())
        started = _first_event(request, workflow_id, definition, clock)
    raw = payload.NULL if request.payload is None else read_document(request.payload, "PAYLOAD")
    signal_id = request.signal_id or secrets.token_hex(16)
    event = ev.SignalReceived(name=request.name, payload=_checked(definition, request, raw), signal_id=signal_id)
    fresh = started is not None and _start(settings, request, folder, started, clock)
    chosen = request.signal_id is not None
    outcome = deliver(folder, workflow_id, event, chosen_id=chosen, role=Role.SIGNAL, clock=clock, notice=output.warn)
    if request.wait:
        _wait(folder, workflow_id, event)
    if settings.output is not OutputMode.HUMAN:
        output.write_json(Accepted(workflow_id, signal_id, isinstance(outcome, AlreadyKnown), fresh))
    return output.ExitCode.OK


class Accepted(msgspec.Struct, frozen=True):
    """What a script gets. repeated: it was accepted before, under this id. started: there was no run before."""

    run: str
    signal_id: str
    repeated: bool
    started: bool


def _found(settings: Settings, folder: HistoriesFolder, run: str) -> tuple[str, WorkflowDefinition[..., Any] | None]:
    """Return the workflow id of a run that is there, and its code, if that can be found."""
    location = folder.find(run)
    folder.require_own(location)
    started = read_first_event(location.path, folder.files)
    return started.workflow_id, _code(settings, started)


def _first_event(
    request: SignalRequest, workflow_id: str, definition: WorkflowDefinition[..., Any], clock: Clock
) -> ev.WorkflowStarted:
    """Make the first event of the run that --start may have to start; its input is refused here if it does not fit."""
    if request.input == request.payload == "-":
        raise UsageError("PAYLOAD and --input cannot both be read from stdin", hint="put one of them in a file: @FILE")
    input = complete_input(definition.signature, request.input, request.parameters)
    return first_event(definition, workflow_id, input, clock=clock, paths=SourcePaths(str(Path.cwd())))


def _start(
    settings: Settings, request: SignalRequest, folder: HistoriesFolder, started: ev.WorkflowStarted, clock: Clock
) -> bool:
    """Make the run if there is none. Its code runs when somebody goes on with it. Returns whether it was made."""
    workflow_id = started.workflow_id
    if start_unowned(folder, started, role=Role.SIGNAL, clock=clock, wait_s=_LONGEST_WAIT_S):
        go_on = command_line(settings, "run", str(request.start), "--id", workflow_id)
        output.say(settings, f"{workflow_id} is started, and none of its code has run; go on with: {go_on}")
        return True
    location = folder.latest(workflow_id)
    folder.require_own(location)
    found = read_first_event(location.path, folder.files)
    if found.workflow_type != started.workflow_type:
        raise WrongStateError(
            f"{workflow_id} is a run of {found.workflow_type}, not of {started.workflow_type}",
            hint="leave --start out to signal that run, or name another one",
        )
    return False


def _code(settings: Settings, started: ev.WorkflowStarted) -> WorkflowDefinition[..., Any] | None:
    try:
        return code_of(settings, started, None)
    except WorkflowCodeError as error:
        output.warn(f"the name of the signal is not checked: {error.message}")
        return None


def _checked(definition: WorkflowDefinition[..., Any] | None, request: SignalRequest, raw: msgspec.Raw) -> msgspec.Raw:
    """Return the payload to record, checked against the declared type where the code is known."""
    if definition is None:
        return payload.adopt(bytes(raw), Any)
    declared = signals_of(definition)
    signal = declared.get(request.name)
    if signal is not None:
        try:
            return payload.adopt(bytes(raw), signal.type)
        except PayloadError as error:
            if request.force:
                return payload.adopt(bytes(raw), Any)
            error.where = (f"signal {request.name} of {definition.name}",)
            if request.payload is None:
                error.hint = f"give it a payload: aion signal {request.run} {request.name} JSON"
            raise
    if request.force:
        return payload.adopt(bytes(raw), Any)
    names = ", ".join(sorted(declared)) or "none"
    raise UsageError(
        f"{definition.name} declares no signal {request.name!r}",
        where=(f"{definition.file}:{definition.line}",),
        hint=f"it declares: {names}; --force sends it anyway",
    )


def _wait(folder: HistoriesFolder, workflow_id: str, event: ev.SignalReceived) -> None:
    """Return when the message is in the history: recorded by its owner, or by this process if the owner is gone."""
    inbox = Inbox(folder, workflow_id)
    wanted = message_id(event)
    assert wanted is not None
    while not inbox.is_recorded(wanted):
        drain_unowned(folder, workflow_id, role=Role.SIGNAL, clock=WallClock(), notice=output.warn)
        time.sleep(_LOOK_EVERY_S)
