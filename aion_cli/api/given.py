"""Plain arguments of the authoring API: texts and numbers that an event holds as they are given.

They are refused where they are given, in the author's code. An event that cannot be written would end the process
instead, and what was to be written in the same batch would be lost with it: the outcome of an activity, for one, which
would then run again, each time.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from aion_cli.core.plain import type_name
from aion_cli.errors import UsageError

MOST_OF_A_TEXT = 256 << 10
"""Bytes of JSON. Masking may make three of one, and a line has to hold that."""

MOST_OF_A_NAME = 1_000
"""Bytes of JSON."""

_SHOWN = 60
_WHOLE_NUMBERS = range(-(1 << 63), 1 << 63)


def text(what: str, value: object, *, most: int = MOST_OF_A_TEXT) -> str:
    """Return a text that an event can hold. what: names it in messages. most: bytes of JSON that it may take.

    Raises UsageError for anything else than a str, for lone surrogates, and for one that is too long.
    """
    if not isinstance(value, str):
        raise UsageError(f"{what} is {shown(value)}, it must be a text")
    exact = str.__str__(value)
    require_size(what, exact, most)
    return exact


def require_size(what: str, value: object, most: int) -> None:
    """Raise UsageError for texts, or a mapping of them, that hold lone surrogates or more JSON than most bytes."""
    try:
        size = len(msgspec.json.encode(value))
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise UsageError(
            f"{what} holds half a character (the lone surrogate {half}), which UTF-8 cannot hold",
            hint="make the text with errors='replace'",
        ) from None
    if size > most:
        raise UsageError(
            f"{what} takes {size:,} bytes, and may take {most:,}", hint="keep long texts in results or in files"
        )


def whole_number(what: str, value: object) -> int:
    """Return an int that an event can hold. what: names it in messages. Raises UsageError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{what} is {shown(value)}, it must be a whole number (int)")
    if value not in _WHOLE_NUMBERS:
        raise UsageError(f"{what} is an int of more than 64 bits")
    return int(value)


def shown(value: Any) -> str:
    """Say in a few words what was given, whatever it is; of its own code, only that of aion's definitions is run."""
    kind = cast("Any", type(value))
    if value is None or kind in (bool, float):
        return repr(value)
    if kind in (str, bytes):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}… ({len(value):,} long)"
    if kind is int and value in _WHOLE_NUMBERS:
        return str(value)
    if kind.__module__.startswith("aion_cli.") and isinstance(name := getattr(value, "name", None), str):
        return f"the {_NOUNS.get(kind.__name__, kind.__name__)} {name}"
    if hasattr(kind, "__get__") and isinstance(name := getattr(value, "__name__", None), str):
        return f"the function {name}"
    name = type_name(kind)
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


_NOUNS = {"ActivityDefinition": "activity", "WorkflowDefinition": "workflow", "Signal": "signal"}
