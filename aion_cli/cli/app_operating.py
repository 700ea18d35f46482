"""The commands that ask a run and operate it: signatures only, registered on the app of `cli.app`."""

# No `from __future__ import annotations`: Typer would have to evaluate each annotation again.
from typing import Annotated

import typer

from aion_cli.cli import options as opt
from aion_cli.cli.app import MORE, app, call
from aion_cli.cli.as_typed import AsTypedCommand
from aion_cli.cli.operating_requests import (
    OperateRequest,
    QueryRequest,
    ReopenRequest,
    ResultRequest,
    ResumeRequest,
    UpdateRequest,
)

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; recorded with it.")]
Target = Annotated[
    str | None, typer.Option("--workflow", metavar="TARGET", help="The code, where it can't be found by itself.")
]
Grace = Annotated[str, typer.Option("--grace", metavar="SECONDS", help="How long a stopping activity is waited for.")]


@app.command("cancel", cls=AsTypedCommand, epilog=MORE)
def cancel(
    ctx: typer.Context,
    run: opt.RunName,
    reason: Reason = "",
    request_id: opt.MessageKey = None,
) -> int:
    """Ask a run to cancel: its code gets a cancellation at its next await, and may clean up.

    When this exits 0 the request is on disk. `aion result RUN --wait` waits for what it comes to.
    """
    return call(ctx, "operate", "cancel_command", OperateRequest(run, reason, request_id))


@app.command("terminate", cls=AsTypedCommand, epilog=MORE)
def terminate(ctx: typer.Context, run: opt.RunName, reason: Reason = "") -> int:
    """Close a run whatever its code is doing; nothing of it runs any more, cleanup included."""
    return call(ctx, "operate", "terminate_command", OperateRequest(run, reason))


@app.command("pause", cls=AsTypedCommand, epilog=MORE)
def pause(ctx: typer.Context, run: opt.RunName, reason: Reason = "") -> int:
    """Let nothing new begin in a run; what is under way ends, and what arrives is recorded."""
    return call(ctx, "operate", "pause_command", OperateRequest(run, reason))


@app.command("unpause", cls=AsTypedCommand, epilog=MORE)
def unpause(ctx: typer.Context, run: opt.RunName, reason: Reason = "") -> int:
    """Let a paused run go on; a live owner does so at once, else `aion run` or `aion resume` does."""
    return call(ctx, "operate", "unpause_command", OperateRequest(run, reason))


@app.command("reopen", cls=AsTypedCommand, epilog=MORE)
def reopen(
    ctx: typer.Context,
    run: opt.RunName,
    from_seq: Annotated[
        str | None,
        typer.Option("--from", metavar="SEQ", help="Supersede from this event: a failure, a cancel request, the end."),
    ] = None,
    reason: Reason = "",
) -> int:
    """Open a run again that failed, or was cancelled, terminated or timed out, to go on after a fix.

    By default from its end, or from the cancel request. --from SEQ goes back to the failure of an activity, which is
    then tried again, or of a child, which has to be reopened first.

    What was asked for after that event is taken back. Activities among it that are done, as the compensations after a
    cancellation are, stay done in the world: stderr names them, since the code asks for them anew or not at all.
    """
    seq = None if from_seq is None else opt.parse_count("--from", from_seq)
    return call(ctx, "operate", "reopen_command", ReopenRequest(run, seq, reason))


@app.command("result", cls=AsTypedCommand, epilog=MORE)
def result(
    ctx: typer.Context,
    run: opt.RunName,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run is closed; another process works on it.")
    ] = False,
) -> int:
    """Print what a run came to, with the exit code of `aion run`; 3 while it is open.

    A run that continued as new is followed to the last one, whichever is named.
    """
    return call(ctx, "ask", "result_command", ResultRequest(run, wait))


@app.command("query", cls=AsTypedCommand, epilog=MORE)
def query(
    ctx: typer.Context,
    run: opt.RunName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A query that the workflow declares.")],
    args: Annotated[
        str | None, typer.Argument(metavar="[ARGS]", help="JSON, @FILE, or - for stdin.", show_default=False)
    ] = None,
    workflow: Target = None,
) -> int:
    """Ask a run something, read-only: answered by replaying its history, whether it is open or closed."""
    return call(ctx, "ask", "query_command", QueryRequest(run, name, args, workflow))


@app.command("update", cls=AsTypedCommand, epilog=MORE)
def update(
    ctx: typer.Context,
    run: opt.RunName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An update that the workflow declares.")],
    args: Annotated[
        str | None, typer.Argument(metavar="[ARGS]", help="JSON, @FILE, or - for stdin.", show_default=False)
    ] = None,
    update_id: Annotated[
        str | None, typer.Option("--id", metavar="KEY", help="Your own key: the same one is answered only once.")
    ] = None,
    workflow: Target = None,
    grace: Grace = "10",
) -> int:
    """Have a run do something and answer: validated, durable once accepted, and waited for.

    Prints the answer. Under an id that was answered before it prints that answer again, of a closed run as well, and
    does nothing: the same line, with the id, gets the answer after an interruption.

    Exit 1 if the workflow's handler raised, 2 if the update was rejected, 8 if the run closes without an answer. If
    nobody owns the run, this process does until it is answered.
    """
    request = UpdateRequest(run, name, args, update_id, workflow, opt.parse_seconds("--grace", grace))
    return call(ctx, "update", "update_command", request)


@app.command("resume", cls=AsTypedCommand, epilog=MORE)
def resume(
    ctx: typer.Context,
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Ids of runs.")] = None,
    all_runs: Annotated[bool, typer.Option("--all", help="All open runs.")] = False,
    due: Annotated[bool, typer.Option("--due", help="All open runs that can move now.")] = False,
    workflow: Target = None,
    max_wait: Annotated[
        str | None, typer.Option("--max-wait", metavar="DURATION", help="Leave each run after this long: 60s, 5m.")
    ] = None,
    max_concurrency: Annotated[
        str | None, typer.Option("--max-concurrency", metavar="N", help="At most N activities at once.")
    ] = None,
    grace: Grace = "10",
) -> int:
    """Go on with open runs until only timers and signals can move them: the line for cron.

    Prints one JSON line a run, or with -o json one array. A run that another process owns is skipped, a child is left
    to its open parent. An activity that waits for its next attempt is not waited for.

    Exit code: of those of all runs the first of 10, 5, 4, 1, else the first other one that is not 0, else 0.
    """
    request = ResumeRequest(
        runs=tuple(runs or ()),
        all=all_runs,
        due=due,
        workflow=workflow,
        max_wait_s=None if max_wait is None else opt.parse_seconds("--max-wait", max_wait),
        max_concurrency=None if max_concurrency is None else opt.parse_count("--max-concurrency", max_concurrency),
        grace_s=opt.parse_seconds("--grace", grace),
    )
    return call(ctx, "resume", "resume_command", request)


__all__ = ["app"]
