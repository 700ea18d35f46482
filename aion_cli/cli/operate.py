"""`aion cancel`, `terminate`, `pause`, `unpause` and `reopen`: they change the course of a run."""

from __future__ import annotations

import secrets

from aion_cli.cli import output
from aion_cli.cli.operating_requests import OperateRequest, ReopenRequest
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.core import events as ev
from aion_cli.errors import WrongStateError
from aion_cli.runtime.delivery import deliver
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import AlreadyKnown
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.reading import read_first_event
from aion_cli.runtime.reopening import TakenBack, reopen
from aion_cli.runtime.wall import WallClock

_MOST_NAMED = 10


def cancel_command(settings: Settings, request: OperateRequest) -> int:
    """Ask the run to cancel; it is delivered at its next await."""
    request_id = request.request_id or secrets.token_hex(16)
    event = ev.WorkflowCancelRequested(request_id=request_id, reason=request.reason)
    return _tell(settings, request, event, Role.CANCEL, chosen=request.request_id is not None)


def terminate_command(settings: Settings, request: OperateRequest) -> int:
    """Close the run whatever its code is doing; no cleanup runs."""
    return _tell(settings, request, ev.WorkflowTerminated(reason=request.reason), Role.TERMINATE)


def pause_command(settings: Settings, request: OperateRequest) -> int:
    """Let nothing new begin in the run; what arrives is recorded."""
    return _tell(settings, request, ev.WorkflowPaused(reason=request.reason), Role.PAUSE)


def unpause_command(settings: Settings, request: OperateRequest) -> int:
    """Let a paused run go on."""
    return _tell(settings, request, ev.WorkflowResumed(reason=request.reason), Role.UNPAUSE)


def _workflow_id(folder: HistoriesFolder, run: str) -> str:
    """Return the workflow id of the run that is named. Raises WrongStateError for one that another has continued."""
    location = folder.find(run)
    folder.require_own(location)
    latest = folder.latest(location.workflow_id)
    if location.name != latest.name:
        raise WrongStateError(
            f"{run} has continued as a new run",
            hint=f"the latest one is {latest.name.stem}",
        )
    return read_first_event(location.path, folder.files).workflow_id


def _tell(settings: Settings, request: OperateRequest, event: ev.Event, role: Role, *, chosen: bool = False) -> int:
    folder = HistoriesFolder(settings.histories)
    workflow_id = _workflow_id(folder, request.run)
    outcome = deliver(folder, workflow_id, event, chosen_id=chosen, role=role, clock=WallClock(), notice=output.warn)
    repeated = " (it had been before)" if isinstance(outcome, AlreadyKnown) else ""
    output.say(settings, f"{workflow_id}: {role} accepted{repeated}")
    if settings.output is not OutputMode.HUMAN:
        output.write_json({"run": workflow_id, "accepted": role, "repeated": isinstance(outcome, AlreadyKnown)})
    return ExitCode.OK


def reopen_command(settings: Settings, request: ReopenRequest) -> int:
    """Open a run that failed or was stopped, so that `aion run` or `aion resume` goes on with it."""
    folder = HistoriesFolder(settings.histories)
    workflow_id = _workflow_id(folder, request.run)
    reopened = reopen(
        folder,
        workflow_id,
        from_seq=request.from_seq,
        reason=request.reason,
        clock=WallClock(),
        notice=output.warn,
    )
    first = reopened.superseded_from
    if reopened.taken_back:
        output.warn(
            f"warning: what was done after event {first} is taken back: {_named(reopened.taken_back)}; the code will "
            "ask for it anew or not at all, so see that the world fits what the run goes on with"
        )
    output.say(settings, f"{workflow_id} is open again, from event {first}; go on: aion resume {workflow_id}")
    if settings.output is not OutputMode.HUMAN:
        output.write_json({"run": workflow_id, "superseded_from": first, "taken_back": reopened.taken_back})
    return ExitCode.OK


def _named(activities: list[TakenBack]) -> str:
    named = [f"{each.name} ({each.ordinal}) at event {each.seq}" for each in activities[:_MOST_NAMED]]
    if len(activities) > _MOST_NAMED:
        named.append(f"{len(activities) - _MOST_NAMED} more")
    return ", ".join(named)
