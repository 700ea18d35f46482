"""The Typer app: every command and option that there is to type, and nothing that acts.

A command's module is imported when the command is called, and so are Rich, msgspec and the engine: `aion --version` and
`aion --help` load Typer and nothing else of weight. What an option is called and says stands in `cli.options`.
"""

# No `from __future__ import annotations`: Typer would have to evaluate each annotation again.
import importlib
import os
import sys
from typing import Annotated

import typer

from aion_cli.cli import options as opt
from aion_cli.cli.as_typed import AsTypedCommand, AsTypedGroup
from aion_cli.cli.requests import (
    Durability,
    IfExists,
    ListRequest,
    RepairRequest,
    ReplayRequest,
    RunRequest,
    ShowRequest,
    SignalRequest,
    VerifyRequest,
)
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.version import VERSION

MORE = "Global options (aion --help) go before or after the command."

app = typer.Typer(
    name="aion",
    cls=AsTypedGroup,
    help="Durable workflows from the command line: a run is a file that you can kill, resume, replay and share.",
    epilog="aion COMMAND --help explains a command.",
    rich_markup_mode=None,  # plain help: half the time, and the same in a pipe
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"aion {VERSION}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    histories: opt.Histories = "histories",
    workflows: opt.Workflows = "workflows",
    output: opt.Output = "human",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
    no_color: opt.NoColor = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Read the global options into the Settings that commands get. (The app's own help text is given above.)"""
    ctx.obj = Settings(
        histories=opt.parse_folder("--histories", histories),
        workflows=opt.parse_folder("--workflows", workflows),
        output=opt.parse_choice("--output", output, OutputMode),
        quiet=quiet,
        verbose=verbose,
        color=not no_color and not os.environ.get("NO_COLOR"),
    )


@app.command("run", cls=AsTypedCommand, epilog=MORE)
def run(
    ctx: typer.Context,
    target: opt.Target,
    workflow_id: opt.WorkflowId = None,
    input: opt.Input = None,
    parameters: opt.Parameters = None,
    if_exists: opt.IfExistsThen = "resume",
    until_blocked: opt.UntilBlocked = False,
    max_wait: opt.MaxWait = None,
    durability: opt.DurabilityOf = "full",
    max_concurrency: opt.MaxConcurrency = None,
    tags: opt.Tags = None,
    grace: opt.Grace = "10",
    audit: opt.Audit = False,
    dry_run: opt.DryRun = False,
) -> int:
    """Start a run, or go on with it where it stopped.

    Stdout gets the result, as JSON, and nothing else. A run that is closed prints its recorded outcome again and does
    nothing, so the same line is safe to repeat.
    """
    request = RunRequest(
        target=target,
        workflow_id=workflow_id,
        input=input,
        parameters=tuple(parameters or ()),
        if_exists=opt.parse_choice("--if-exists", if_exists, IfExists),
        until_blocked=until_blocked,
        max_wait_s=None if max_wait is None else opt.parse_seconds("--max-wait", max_wait),
        durability=opt.parse_choice("--durability", durability, Durability),
        max_concurrency=None if max_concurrency is None else opt.parse_count("--max-concurrency", max_concurrency),
        tags=opt.parse_tags(tags or ()),
        grace_s=opt.parse_seconds("--grace", grace),
        audit=audit,
        dry_run=dry_run,
    )
    return call(ctx, "run", "run_command", request)


@app.command("replay", cls=AsTypedCommand, epilog=MORE)
def replay(
    ctx: typer.Context,
    runs: opt.RunNames,
    workflow: opt.WorkflowOf = None,
    to: opt.ToSeq = None,
    expect_head: opt.ExpectHead = None,
    step: opt.Step = False,
    hash_seeds: opt.HashSeeds = None,
    junit: opt.JUnit = None,
    github: opt.GitHub = False,
    show_replay_output: opt.ShowReplayOutput = False,
) -> int:
    """Audit histories against today's code.

    Nothing is touched, no lock is taken, and only --junit writes a file. Stdout gets one line a history: clean
    (closed), open (clean so far), diverged, damaged, missing, or not replayed where there is no code for it. With
    -o json it is one array, with -o jsonl one object a line.

    Exit code: 5 if a file is damaged or lacks the head of --expect-head, else 4 if code and history part, else 7 if
    there is no such run, else 0.
    """
    request = ReplayRequest(
        runs=tuple(runs),
        workflow=workflow,
        to_seq=None if to is None else opt.parse_count("--to", to),
        expect_head=None if expect_head is None else opt.parse_digest("--expect-head", expect_head),
        step=step,
        hash_seeds=0 if hash_seeds is None else opt.parse_count("--hash-seeds", hash_seeds, most=opt.MOST_SEEDS),
        junit=junit,
        github=github,
        show_output=show_replay_output,
    )
    return call(ctx, "replay", "replay_command", request)


@app.command("signal", cls=AsTypedCommand, epilog=MORE)
def signal(
    ctx: typer.Context,
    run: opt.RunName,
    name: opt.SignalName,
    payload: opt.SignalPayload = None,
    signal_id: opt.MessageKey = None,
    force: opt.Force = False,
    wait: opt.WaitForIt = False,
    start: opt.StartTarget = None,
    input: opt.StartInput = None,
    parameters: opt.StartParameters = None,
) -> int:
    """Deliver a message to a run.

    When this exits 0, the message is on disk: it is not lost, whether or not anybody works on the run now.

    With --start, a run that is not there is started first, under the id RUN: its history is made, and none of its code
    runs here. The next `aion run` or `aion resume` runs it, and finds the signal. A run that is there already is only
    signalled, whatever its input was. With --id, the same line can be repeated, and typed in many places at once: there
    is one run, and it gets the signal once.
    """
    request = SignalRequest(
        run=run,
        name=name,
        payload=payload,
        signal_id=signal_id,
        force=force,
        wait=wait,
        start=start,
        input=input,
        parameters=tuple(parameters or ()),
    )
    return call(ctx, "signal", "signal_command", request)


@app.command("list", cls=AsTypedCommand, epilog=MORE)
def list_runs(
    ctx: typer.Context,
    statuses: opt.Statuses = None,
    tags: opt.WithTags = None,
    recorded_only: opt.RecordedOnly = False,
) -> int:
    """List runs, their status and what they wait for.

    Waits for signals, conditions and futures are in no history: open runs are replayed for them, with today's code.
    """
    request = ListRequest(frozenset(statuses or ()), opt.parse_tags(tags or ()), recorded_only)
    return call(ctx, "inspect", "list_command", request)


@app.command("verify", cls=AsTypedCommand, epilog=MORE)
def verify(
    ctx: typer.Context,
    runs: opt.VerifyNames,
    expect_head: opt.ExpectHead = None,
) -> int:
    """Check the integrity of histories, without any code.

    Prints the head digest of each: keep it elsewhere, and --expect-head notices lines that vanished from the end.
    """
    digest = None if expect_head is None else opt.parse_digest("--expect-head", expect_head)
    return call(ctx, "verify", "verify_command", VerifyRequest(tuple(runs), digest))


@app.command("repair", cls=AsTypedCommand, epilog=MORE)
def repair(ctx: typer.Context, file: opt.RepairFile) -> int:
    """Set a torn tail aside: what a crash left in mid-write, which was never acknowledged.

    Does nothing else, and says so. Any other damage is exit 5, and is left as it is.
    """
    return call(ctx, "verify", "repair_command", RepairRequest(file))


@app.command("show", cls=AsTypedCommand, epilog=MORE)
def show(ctx: typer.Context, run: opt.RunName) -> int:
    """Show the events of a run, and of those that it continued as.

    An id means all of its histories, each under its name; id@number means one. -o jsonl prints the events as they stand
    in the files, one a line, and -o json as one array: each WorkflowStarted begins another history.
    """
    return call(ctx, "show", "show_command", ShowRequest(run))


def call(ctx: typer.Context, module: str, function: str, request: object) -> int:
    """Import a command's module and run it, with stdout kept for its result."""
    output = importlib.import_module("aion_cli.cli.output")
    command = getattr(importlib.import_module(f"aion_cli.cli.{module}"), function)
    interrupts = importlib.import_module("aion_cli.cli.interrupts")
    with output.stdout_for_results(), interrupts.listening():
        try:
            return int(command(ctx.obj, request))
        except KeyboardInterrupt:
            output.warn("interrupted")
            return int(output.ExitCode.SIGINT)
