"""aion: durable workflows as ordinary async functions, recorded in append-only JSONL files.

This module is the authoring API. A name is loaded when it is first asked for: `aion --version` needs none of them, and
nothing here loads Typer, Rich or filelock.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aion_cli.api.attempts import ActivityInfo, activity_info, heartbeat
    from aion_cli.api.batches import map_activities
    from aion_cli.api.children import ChildHandle, start_child
    from aion_cli.api.definitions import activity, workflow
    from aion_cli.api.messages import query, update, wait_until
    from aion_cli.api.patches import deprecate_patch, patched
    from aion_cli.api.saga import Saga
    from aion_cli.api.secrets import Secret, SecretError
    from aion_cli.api.shell import ShellError, ShellResult, shell
    from aion_cli.api.signals import Signal, send_signal
    from aion_cli.api.telling import log, set_progress, set_tags
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
    "ChildHandle": "aion_cli.api.children",
    "ContinueAsNew": "aion_cli.errors",
    "NonRetryable": "aion_cli.errors",
    "PayloadError": "aion_cli.errors",
    "RetryPolicy": "aion_cli.core.retry",
    "Saga": "aion_cli.api.saga",
    "Secret": "aion_cli.api.secrets",
    "SecretError": "aion_cli.api.secrets",
    "ShellError": "aion_cli.api.shell",
    "ShellResult": "aion_cli.api.shell",
    "Signal": "aion_cli.api.signals",
    "activity": "aion_cli.api.definitions",
    "activity_info": "aion_cli.api.attempts",
    "deprecate_patch": "aion_cli.api.patches",
    "heartbeat": "aion_cli.api.attempts",
    "history_length": "aion_cli.api.time",
    "log": "aion_cli.api.telling",
    "map_activities": "aion_cli.api.batches",
    "now": "aion_cli.api.time",
    "patched": "aion_cli.api.patches",
    "query": "aion_cli.api.messages",
    "randint": "aion_cli.api.time",
    "random": "aion_cli.api.time",
    "send_signal": "aion_cli.api.signals",
    "set_progress": "aion_cli.api.telling",
    "set_tags": "aion_cli.api.telling",
    "shell": "aion_cli.api.shell",
    "sleep_until": "aion_cli.api.time",
    "start_child": "aion_cli.api.children",
    "update": "aion_cli.api.messages",
    "uuid4": "aion_cli.api.time",
    "wait_until": "aion_cli.api.messages",
    "workflow": "aion_cli.api.definitions",
}

__all__ = [
    "ActivityError",
    "ActivityInfo",
    "ActivityInterrupted",
    "ActivityTimeout",
    "AionError",
    "ChildError",
    "ChildHandle",
    "ContinueAsNew",
    "NonRetryable",
    "PayloadError",
    "RetryPolicy",
    "Saga",
    "Secret",
    "SecretError",
    "ShellError",
    "ShellResult",
    "Signal",
    "activity",
    "activity_info",
    "deprecate_patch",
    "heartbeat",
    "history_length",
    "log",
    "map_activities",
    "now",
    "patched",
    "query",
    "randint",
    "random",
    "send_signal",
    "set_progress",
    "set_tags",
    "shell",
    "sleep_until",
    "start_child",
    "update",
    "uuid4",
    "wait_until",
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
