"""`aion signal`: deliver a message to a run; when this exits 0, it is on disk."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.api.signals import signals_of
from aion_cli.cli import output
from aion_cli.cli.code import code_of
from aion_cli.cli.inputs import read_document
from aion_cli.cli.requests import SignalRequest
from aion_cli.cli.settings import Settings
from aion_cli.core import events as ev
from aion_cli.core import payload
from aion_cli.errors import PayloadError, UsageError, WorkflowCodeError
from aion_cli.runtime.delivery import deliver, drain_unowned
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox, message_id
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.reading import read_first_event
from aion_cli.runtime.wall import WallClock

_LOOK_EVERY_S = 0.05


def signal_command(settings: Settings, request: SignalRequest) -> int:
    """Check the message, have it accepted, and hand it on; returns the exit code."""
    folder = HistoriesFolder(settings.histories)
    location = folder.find(request.run)
    folder.require_own(location)
    started = read_first_event(location.path, folder.files)
    raw = payload.NULL if request.payload is None else read_document(request.payload, "PAYLOAD")
    definition = _code(settings, started)
    event = ev.SignalReceived(
        name=request.name,
        payload=_checked(definition, request, raw),
        signal_id=request.signal_id or secrets.token_hex(16),
    )
    clock = WallClock()
    chosen = request.signal_id is not None
    deliver(folder, started.workflow_id, event, chosen_id=chosen, role=Role.SIGNAL, clock=clock, notice=output.warn)
    if request.wait:
        _wait(folder, started.workflow_id, event)
    return output.ExitCode.OK


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
