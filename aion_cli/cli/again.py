"""Command lines to type next, for hints: with the folders that this one was given."""

from __future__ import annotations

import shlex
from pathlib import Path

from aion_cli.cli.settings import Settings


def command_line(settings: Settings, *words: str) -> str:
    """Return an `aion` command line, quoted for a shell."""
    line = ["aion"]
    if settings.histories != Path("histories"):
        line += ["--histories", str(settings.histories)]
    if settings.workflows != Path("workflows"):
        line += ["--workflows", str(settings.workflows)]
    return shlex.join([*line, *words])
