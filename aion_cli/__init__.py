"""aion: durable workflows as ordinary async functions, recorded in append-only JSONL files.

This module is the authoring API. Importing it loads neither Typer, Rich nor filelock.
"""

from aion_cli.api.attempts import ActivityInfo, activity_info
from aion_cli.api.definitions import activity, workflow
from aion_cli.api.shell import ShellError, ShellResult, shell
from aion_cli.api.signals import Signal, send_signal
from aion_cli.api.time import history_length, now, randint, random, sleep_until, uuid4
from aion_cli.core.retry import RetryPolicy
from aion_cli.errors import (
    ActivityError,
    ActivityInterrupted,
    ActivityTimeout,
    AionError,
    ChildError,
    ContinueAsNew,
    NonRetryable,
    PayloadError,
)

__all__ = [
    "ActivityError",
    "ActivityInfo",
    "ActivityInterrupted",
    "ActivityTimeout",
    "AionError",
    "ChildError",
    "ContinueAsNew",
    "NonRetryable",
    "PayloadError",
    "RetryPolicy",
    "ShellError",
    "ShellResult",
    "Signal",
    "activity",
    "activity_info",
    "history_length",
    "now",
    "randint",
    "random",
    "send_signal",
    "shell",
    "sleep_until",
    "uuid4",
    "workflow",
]
