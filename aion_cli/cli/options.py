"""Every option and argument that there is to type, as a named type, and the functions that parse their text.

Options are declared as text and parsed here, so that a wrong one is one of our errors, with our exit code.
"""

# No `from __future__ import annotations`: Typer would have to evaluate each annotation again.
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from aion_cli.cli.durations import parse_duration
from aion_cli.errors import UsageError

E = TypeVar("E", bound=StrEnum)

MOST_SEEDS = 1000

RunName = Annotated[str, typer.Argument(metavar="RUN", help="An id (order-42), id@number, or a path to a .jsonl file.")]
Histories = Annotated[
    str, typer.Option("--histories", metavar="DIR", envvar="AION_HISTORIES", help="Where runs are kept.")
]
Workflows = Annotated[
    str, typer.Option("--workflows", metavar="DIR", envvar="AION_WORKFLOWS", help="Where workflows are looked up.")
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="human|json|jsonl", help="What stdout carries.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; warnings and errors stay.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="More detail on stderr.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="name, file.py, file.py:name or package.module:name")]
WorkflowId = Annotated[str | None, typer.Option("--id", metavar="ID", help="The run's id; without it, a fresh one.")]
Input = Annotated[str | None, typer.Option("--input", metavar="JSON", help="The input: JSON, @FILE, or - for stdin.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="KEY=TEXT", help="One field of the input; KEY:=JSON for other than text. Repeat."),
]
IfExistsThen = Annotated[
    str,
    typer.Option("--if-exists", metavar="resume|fail|new", help="What to do when the id has a run already."),
]
UntilBlocked = Annotated[
    bool, typer.Option("--until-blocked", help="Stop (exit 3) when only timers or signals can move the run.")
]
MaxWait = Annotated[
    str | None,
    typer.Option("--max-wait", metavar="DURATION", help="Stop (exit 3) after this long: 60s, 5m, 1h30m."),
]
DurabilityOf = Annotated[
    str, typer.Option("--durability", metavar="full|process", help="Survive power loss, or only kill -9 (faster).")
]
MaxConcurrency = Annotated[
    str | None, typer.Option("--max-concurrency", metavar="N", help="At most N activities at once.")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag to find the run by. Repeat.")]
Grace = Annotated[str, typer.Option("--grace", metavar="SECONDS", help="How long a cancelled activity is waited for.")]
Audit = Annotated[
    bool,
    typer.Option("--audit", help="Replay it at the end under other hash seeds; exit 4 if a replay diverges."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check target, id and input, print what would be done, and do nothing.")
]
RunNames = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Ids, .jsonl files, globs, or folders with all that is in them."),
]
WorkflowOf = Annotated[
    str | None,
    typer.Option(
        "--workflow", metavar="TARGET", help="The code, if it can't be found; of a file.py, the recorded workflow."
    ),
]
ToSeq = Annotated[str | None, typer.Option("--to", metavar="SEQ", help="Replay up to this event.")]
ExpectHead = Annotated[
    str | None, typer.Option("--expect-head", metavar="DIGEST", help="The digest that the last line must have.")
]
Step = Annotated[
    bool, typer.Option("--step", help="Print each event with the command of the code that it was matched with.")
]
HashSeeds = Annotated[
    str | None,
    typer.Option("--hash-seeds", metavar="N", help="Repeat it in fresh processes under N PYTHONHASHSEEDs, 1 to N."),
]
JUnit = Annotated[
    str | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report, one test case a history.")
]
GitHub = Annotated[bool, typer.Option("--github", help="Print GitHub annotations (::error file=…,line=…) on stderr.")]
ShowReplayOutput = Annotated[
    bool, typer.Option("--show-replay-output", help="Let workflow code print and log again; to stderr.")
]
SignalName = Annotated[str, typer.Argument(metavar="NAME", help="A signal that the workflow declares.")]
SignalPayload = Annotated[
    str | None, typer.Argument(metavar="[PAYLOAD]", help="JSON, @FILE, or - for stdin.", show_default=False)
]
MessageKey = Annotated[
    str | None, typer.Option("--id", metavar="KEY", help="Your own key: the same one is delivered only once.")
]
Force = Annotated[bool, typer.Option("--force", help="Send a name that the workflow does not declare.")]
WaitForIt = Annotated[bool, typer.Option("--wait", help="Return when the signal is in the history.")]
StartTarget = Annotated[
    str | None, typer.Option("--start", metavar="TARGET", help="Start a run of TARGET first if there is none.")
]
StartInput = Annotated[
    str | None,
    typer.Option("--input", metavar="JSON", help="With --start, the run's input: JSON, @FILE, or - for stdin."),
]
StartParameters = Annotated[
    list[str] | None,
    typer.Option(
        "-p", metavar="KEY=TEXT", help="With --start, one field of it; KEY:=JSON for other than text. Repeat."
    ),
]
Statuses = Annotated[
    list[str] | None, typer.Option("--status", metavar="STATUS", help="Only runs in this status. Repeat.")
]
WithTags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Only runs with this tag. Repeat.")
]
RecordedOnly = Annotated[
    bool, typer.Option("--recorded", help="Tell what the histories tell, and replay nothing: faster.")
]
VerifyNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids or .jsonl files.")]
RepairFile = Annotated[str, typer.Argument(metavar="FILE", help="A .jsonl file, or an id.")]


def parse_choice(option: str, text: str, choices: type[E]) -> E:
    """Return the member that the text names. Raises UsageError."""
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(choices)
        raise UsageError(f"{option} {text!r} is none of {known}") from None


def parse_folder(option: str, text: str) -> Path:
    """Return the path of a folder, which need not exist. Raises UsageError."""
    if not text or "\0" in text:
        raise UsageError(f"{option} must name a folder")
    return Path(text)


def parse_seconds(option: str, text: str) -> float:
    """Return a duration such as 90, 60s or 1h30m in seconds. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def parse_count(option: str, text: str, most: int = 10**18 - 1) -> int:
    """Return a whole number from 1 to most. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or not 0 < int(text) <= most:
        limit = "on" if most >= 10**18 - 1 else f"to {most}"
        raise UsageError(f"{option} must be a whole number from 1 {limit}, and is {text!r}")
    return int(text)


def parse_digest(option: str, text: str) -> str:
    """Return a head digest in lower case. Raises UsageError."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise UsageError(
            f"{option} must be 32 hexadecimal digits, and is {text!r}",
            hint="it is the head that `aion replay` prints: the last line's digest",
        )
    return text.lower()


def parse_tags(texts: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a mapping; of one key, the last counts. Raises UsageError."""
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"--tag {text!r} is not of the form KEY=VALUE")
        tags[key] = value
    return tags
