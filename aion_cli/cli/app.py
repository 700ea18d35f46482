"""The Typer app: every command and option that there is to type, and nothing that acts.

A command's module is imported when the command is called, and so are Rich, msgspec and the engine: `aion --version` and
`aion --help` load Typer and nothing else of weight. Options are declared as text and parsed by the functions at the
end, so that a wrong one is one of our errors, with our exit code.
"""

# No `from __future__ import annotations`: Typer would have to evaluate each annotation again.
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from aion_cli.cli.as_typed import AsTypedCommand, AsTypedGroup
from aion_cli.cli.durations import parse_duration
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
from aion_cli.errors import UsageError
from aion_cli.version import VERSION

E = TypeVar("E", OutputMode, IfExists, Durability)

_MOST_SEEDS = 1000
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

RunName = Annotated[str, typer.Argument(metavar="RUN", help="An id (order-42), id@number, or a path to a .jsonl file.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"aion {VERSION}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    histories: Annotated[
        str, typer.Option("--histories", metavar="DIR", envvar="AION_HISTORIES", help="Where runs are kept.")
    ] = "histories",
    workflows: Annotated[
        str, typer.Option("--workflows", metavar="DIR", envvar="AION_WORKFLOWS", help="Where workflows are looked up.")
    ] = "workflows",
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="human|json|jsonl", help="What stdout carries.")
    ] = "human",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; warnings and errors stay.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More detail on stderr.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Read the global options into the Settings that commands get. (The app's own help text is given above.)"""
    ctx.obj = Settings(
        histories=_folder("--histories", histories),
        workflows=_folder("--workflows", workflows),
        output=_choice("--output", output, OutputMode),
        quiet=quiet,
        verbose=verbose,
        color=not no_color and not os.environ.get("NO_COLOR"),
    )


@app.command("run", cls=AsTypedCommand, epilog=MORE)
def run(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="name, file.py, file.py:name or package.module:name")],
    workflow_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The run's id; without it, a fresh one.")
    ] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="JSON", help="The input: JSON, @FILE, or - for stdin.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="KEY=TEXT", help="One field of the input; KEY:=JSON for other than text. Repeat."),
    ] = None,
    if_exists: Annotated[
        str,
        typer.Option("--if-exists", metavar="resume|fail|new", help="What to do when the id has a run already."),
    ] = "resume",
    until_blocked: Annotated[
        bool, typer.Option("--until-blocked", help="Stop (exit 3) when only timers or signals can move the run.")
    ] = False,
    max_wait: Annotated[
        str | None,
        typer.Option("--max-wait", metavar="DURATION", help="Stop (exit 3) after this long: 60s, 5m, 1h30m."),
    ] = None,
    durability: Annotated[
        str, typer.Option("--durability", metavar="full|process", help="Survive power loss, or only kill -9 (faster).")
    ] = "full",
    max_concurrency: Annotated[
        str | None, typer.Option("--max-concurrency", metavar="N", help="At most N activities at once.")
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag to find the run by. Repeat.")
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="SECONDS", help="How long a cancelled activity is waited for.")
    ] = "10",
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Replay it at the end under other hash seeds; exit 4 if a replay diverges."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check target, id and input, print what would be done, and do nothing.")
    ] = False,
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
        if_exists=_choice("--if-exists", if_exists, IfExists),
        until_blocked=until_blocked,
        max_wait_s=None if max_wait is None else parse_seconds("--max-wait", max_wait),
        durability=_choice("--durability", durability, Durability),
        max_concurrency=None if max_concurrency is None else parse_count("--max-concurrency", max_concurrency),
        tags=_tags(tags or ()),
        grace_s=parse_seconds("--grace", grace),
        audit=audit,
        dry_run=dry_run,
    )
    return call(ctx, "run", "run_command", request)


@app.command("replay", cls=AsTypedCommand, epilog=MORE)
def replay(
    ctx: typer.Context,
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Ids, .jsonl files, globs, or folders with all that is in them."),
    ],
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", metavar="TARGET", help="The code, if it can't be found; of a file.py, the recorded workflow."
        ),
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="SEQ", help="Replay up to this event.")] = None,
    expect_head: Annotated[
        str | None, typer.Option("--expect-head", metavar="DIGEST", help="The digest that the last line must have.")
    ] = None,
    step: Annotated[
        bool, typer.Option("--step", help="Print each event with the command of the code that it was matched with.")
    ] = False,
    hash_seeds: Annotated[
        str | None,
        typer.Option("--hash-seeds", metavar="N", help="Repeat it in fresh processes under N PYTHONHASHSEEDs, 1 to N."),
    ] = None,
    junit: Annotated[
        str | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report, one test case a history.")
    ] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Print GitHub annotations (::error file=…,line=…) on stderr.")
    ] = False,
    show_replay_output: Annotated[
        bool, typer.Option("--show-replay-output", help="Let workflow code print and log again; to stderr.")
    ] = False,
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
        to_seq=None if to is None else parse_count("--to", to),
        expect_head=None if expect_head is None else _digest("--expect-head", expect_head),
        step=step,
        hash_seeds=0 if hash_seeds is None else parse_count("--hash-seeds", hash_seeds, most=_MOST_SEEDS),
        junit=junit,
        github=github,
        show_output=show_replay_output,
    )
    return call(ctx, "replay", "replay_command", request)


@app.command("signal", cls=AsTypedCommand, epilog=MORE)
def signal(
    ctx: typer.Context,
    run: RunName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A signal that the workflow declares.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="[PAYLOAD]", help="JSON, @FILE, or - for stdin.", show_default=False)
    ] = None,
    signal_id: Annotated[
        str | None, typer.Option("--id", metavar="KEY", help="Your own key: the same one is delivered only once.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Send a name that the workflow does not declare.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the signal is in the history.")] = False,
    start: Annotated[
        str | None, typer.Option("--start", metavar="TARGET", help="Start a run of TARGET first if there is none.")
    ] = None,
    input: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="With --start, the run's input: JSON, @FILE, or - for stdin."),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "-p", metavar="KEY=TEXT", help="With --start, one field of it; KEY:=JSON for other than text. Repeat."
        ),
    ] = None,
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
    statuses: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS", help="Only runs in this status. Repeat.")
    ] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only runs with this tag. Repeat.")
    ] = None,
) -> int:
    """List runs, their status and what they wait for."""
    return call(ctx, "inspect", "list_command", ListRequest(frozenset(statuses or ()), _tags(tags or ())))


@app.command("verify", cls=AsTypedCommand, epilog=MORE)
def verify(
    ctx: typer.Context,
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids or .jsonl files.")],
    expect_head: Annotated[
        str | None, typer.Option("--expect-head", metavar="DIGEST", help="The digest that the last line must have.")
    ] = None,
) -> int:
    """Check the integrity of histories, without any code.

    Prints the head digest of each: keep it elsewhere, and --expect-head notices lines that vanished from the end.
    """
    digest = None if expect_head is None else _digest("--expect-head", expect_head)
    return call(ctx, "verify", "verify_command", VerifyRequest(tuple(runs), digest))


@app.command("repair", cls=AsTypedCommand, epilog=MORE)
def repair(
    ctx: typer.Context, file: Annotated[str, typer.Argument(metavar="FILE", help="A .jsonl file, or an id.")]
) -> int:
    """Set a torn tail aside: what a crash left in mid-write, which was never acknowledged.

    Does nothing else, and says so. Any other damage is exit 5, and is left as it is.
    """
    return call(ctx, "verify", "repair_command", RepairRequest(file))


@app.command("show", cls=AsTypedCommand, epilog=MORE)
def show(ctx: typer.Context, run: RunName) -> int:
    """Show the events of a run.

    -o jsonl prints them as they stand in the file, one a line; -o json prints them as one array.
    """
    return call(ctx, "inspect", "show_command", ShowRequest(run))


def call(ctx: typer.Context, module: str, function: str, request: object) -> int:
    """Import a command's module and run it, with stdout kept for its result."""
    output = importlib.import_module("aion_cli.cli.output")
    command = getattr(importlib.import_module(f"aion_cli.cli.{module}"), function)
    with output.stdout_for_results():
        try:
            return int(command(ctx.obj, request))
        except KeyboardInterrupt:
            output.warn("interrupted")
            return int(output.ExitCode.SIGINT)


def _choice(option: str, text: str, choices: type[E]) -> E:
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(choices)
        raise UsageError(f"{option} {text!r} is none of {known}") from None


def _folder(option: str, text: str) -> Path:
    if not text or "\0" in text:
        raise UsageError(f"{option} must name a folder")
    return Path(text)


def parse_seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def parse_count(option: str, text: str, most: int = 10**18 - 1) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or not 0 < int(text) <= most:
        limit = "on" if most >= 10**18 - 1 else f"to {most}"
        raise UsageError(f"{option} must be a whole number from 1 {limit}, and is {text!r}")
    return int(text)


def _digest(option: str, text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise UsageError(
            f"{option} must be 32 hexadecimal digits, and is {text!r}",
            hint="it is the head that `aion replay` prints: the last line's digest",
        )
    return text.lower()


def _tags(texts: Sequence[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"--tag {text!r} is not of the form KEY=VALUE")
        tags[key] = value
    return tags
