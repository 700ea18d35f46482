"""How the end of a run becomes stdout, stderr and an exit code; the same for every command that has one."""

from __future__ import annotations

from typing import Any

from aion_cli.cli import output, render
from aion_cli.cli.again import command_line
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus
from aion_cli.errors import AionError
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.reopening import failure_behind

_BY_STATUS = {
    RunStatus.COMPLETED: ExitCode.OK,
    RunStatus.FAILED: ExitCode.WORKFLOW_FAILED,
    RunStatus.CANCELLED: ExitCode.CLOSED_FROM_OUTSIDE,
    RunStatus.TERMINATED: ExitCode.CLOSED_FROM_OUTSIDE,
    RunStatus.TIMED_OUT: ExitCode.CLOSED_FROM_OUTSIDE,
}
_BY_REASON = {
    SuspendReason.INTERRUPTED: ExitCode.SIGINT,
    SuspendReason.TERMINATED: ExitCode.SIGTERM,
}


def report_end(end: RunEnd, settings: Settings, go_on: str) -> int:
    """Print how a run ended and return the exit code. go_on: the command line that goes on with it while it is open."""
    code = print_end(end, settings)
    _explain(end, code, settings, go_on)
    return code


def print_end(end: RunEnd, settings: Settings) -> ExitCode:
    """Write to stdout what it gets of a run's end, and return the exit code. Nothing goes to stderr."""
    code = _code(end)
    if settings.output is not OutputMode.HUMAN:
        output.write_json(end_document(end))
    elif isinstance(end.closed_by, ev.WorkflowCompleted):
        output.write_json(end.closed_by.result)
    elif code is ExitCode.SUSPENDED:
        output.write_json(end_document(end))
    return code


def say_interrupted(workflow_id: str, go_on: str) -> None:
    """Say how to go on with a run that was left open because this process was told to end."""
    output.warn(f"{workflow_id} was interrupted and is open; go on with: {go_on}")


def _code(end: RunEnd) -> ExitCode:
    if end.reason is not None:
        return _BY_REASON.get(end.reason, ExitCode.SUSPENDED)
    return _BY_STATUS.get(end.status, ExitCode.SUSPENDED)


def end_document(end: RunEnd) -> dict[str, Any]:
    """Return {run, run_id, status, result | error | waiting, next_wake_at}."""
    document: dict[str, Any] = {"run": end.workflow_id, "run_id": end.run_id, "status": end.status}
    match end.closed_by:
        case ev.WorkflowCompleted(result=result):
            document["result"] = result
        case ev.WorkflowFailed(error=error):
            document["error"] = error
        case ev.WorkflowCancelled(reason=reason, notes=notes):
            document["error"] = {"kind": end.status, "type": "", "message": reason, "notes": notes}
        case ev.WorkflowTerminated(reason=reason):
            document["error"] = {"kind": end.status, "type": "", "message": reason}
        case ev.WorkflowTimedOut(timeout_s=timeout_s):
            document["error"] = {"kind": "timeout", "type": "", "message": f"took longer than {timeout_s:g} s"}
        case _:
            document["waiting"] = end.waiting
    document["next_wake_at"] = end.next_wake_at
    return document


def _explain(end: RunEnd, code: ExitCode, settings: Settings, go_on: str) -> None:
    match end.closed_by:
        case ev.WorkflowFailed(error=error):
            color = output.stderr_takes_color(settings)
            hint = _after_a_failure(end, settings)
            output.write_stderr(render.failure_text(end.workflow_id, error, hint=hint, color=color))
        case ev.WorkflowCancelled(reason=reason, notes=notes):
            output.warn(_closed_for(end, reason))
            for note in notes:
                output.warn(f"  note: {note}")
        case ev.WorkflowTerminated(reason=reason):
            output.warn(_closed_for(end, reason))
        case ev.WorkflowTimedOut(timeout_s=timeout_s):
            output.warn(f"{end.workflow_id} took longer than {timeout_s:g} s")
        case None if end.status is RunStatus.PAUSED:
            output.say(
                settings, f"{end.workflow_id} is open (paused); let it go on with: aion unpause {end.workflow_id}"
            )
        case None if code is ExitCode.SUSPENDED:
            output.say(settings, f"{end.workflow_id} is open ({end.status}); go on with: {go_on}")
        case None:
            say_interrupted(end.workflow_id, go_on)
        case _:
            pass


def _closed_for(end: RunEnd, reason: str) -> str:
    return f"{end.workflow_id} is {end.status}" + (f": {reason}" if reason else "")


def _after_a_failure(end: RunEnd, settings: Settings) -> str:
    """Say how to go on with a failed run. Empty where it cannot be told, or is not to be done: outside the folder."""
    run = end.workflow_id
    try:
        behind = failure_behind(HistoriesFolder(settings.histories), end.run_id, run)
    except AionError:
        return ""
    resume = command_line(settings, "resume", run)
    if behind is None:
        return f"once its code is mended: {command_line(settings, 'reopen', run)} && {resume}"
    again = f"{command_line(settings, 'reopen', run, '--from', str(behind.seq))} && {resume}"
    if not behind.child:
        return f"to try the activity again: {again}"
    how = command_line(settings, "result", behind.child)
    return f"reopen {behind.child} first ({how} says how), then: {again}"


def report_failure(settings: Settings, workflow_id: str, kind: str, name: str, failure: ev.Failure) -> None:
    """Tell what the author's code raised when it was asked. kind: query or update."""
    color = output.stderr_takes_color(settings)
    output.write_stderr(render.failure_text(f"{kind} {name} of {workflow_id}", failure, kind=kind, color=color))
    if settings.output is not OutputMode.HUMAN:
        output.write_json({"run": workflow_id, "error": failure})
