"""What the global options say, as one value that every command gets."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import NamedTuple


class OutputMode(enum.StrEnum):
    """What stdout carries: text for people, one JSON document, or one JSON object a line."""

    HUMAN = "human"
    JSON = "json"
    JSONL = "jsonl"


class Settings(NamedTuple):
    """The global options, resolved.

    histories, workflows: as the user wrote them, so that messages name paths the user recognises.
    quiet: no progress on stderr; warnings and errors stay.
    verbose: more on stderr, tracebacks of our own code included.
    color: False if `--no-color` or `NO_COLOR` forbids colour; where it is allowed, only terminals get it.
    """

    histories: Path
    workflows: Path
    output: OutputMode = OutputMode.HUMAN
    quiet: bool = False
    verbose: bool = False
    color: bool = True
