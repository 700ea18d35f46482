"""aion: durable workflows as ordinary async functions, recorded in append-only JSONL files.

This module is the authoring API. A name is loaded when it is first asked for: `aion --version` needs none of them, and
nothing here loads Typer, Rich or filelock.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aion_cli.api.attempts import ActivityInfo, activity_info
    from aion_cli.api.definitions import activity, workflow
    from aion_cli.api.secrets import Secret, SecretError
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

_HOMES = {
    "ActivityError": "aion_cli.errors",
    "ActivityInfo": "aion_cli.api.attempts",
    "ActivityInterrupted": "aion_cli.errors",
    "ActivityTimeout": "aion_cli.errors",
    "AionError": "aion_cli.errors",
    "ChildError": "aion_cli.errors",
    "ContinueAsNew": "aion_cli.errors",
    "NonRetryable": "aion_cli.errors",
    "PayloadError": "aion_cli.errors",
    "RetryPolicy": "aion_cli.core.retry",
    "Secret": "aion_cli.api.secrets",
    "SecretError": "aion_cli.api.secrets",
    "ShellError": "aion_cli.api.shell",
    "ShellResult": "aion_cli.api.shell",
    "Signal": "aion_cli.api.signals",
    "activity": "aion_cli.api.definitions",
    "activity_info": "aion_cli.api.attempts",
    "history_length": "aion_cli.api.time",
    "now": "aion_cli.api.time",
    "randint": "aion_cli.api.time",
    "random": "aion_cli.api.time",
    "send_signal": "aion_cli.api.signals",
    "shell": "aion_cli.api.shell",
    "sleep_until": "aion_cli.api.time",
    "uuid4": "aion_cli.api.time",
    "workflow": "aion_cli.api.definitions",
}

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
    "Secret",
    "SecretError",
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


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
