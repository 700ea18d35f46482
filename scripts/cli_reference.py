"""Write docs/cli.md from the app: `python scripts/cli_reference.py > docs/cli.md`. A test fails when it is stale."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import typer.main

from aion_cli.cli.app_operating import app

_INTRODUCTION = """# The command line

Written by `scripts/cli_reference.py` from the program itself.

Stdout carries the result and nothing else; progress, warnings and errors go to stderr. The exit code is the same in
every output mode:

| code | meaning |
|---|---|
| 0 | completed; replay clean (also of an open run); message accepted |
| 1 | the workflow failed; for `update`: its handler raised |
| 2 | usage: a bad option, id, name or input, code that cannot be imported, an update that was rejected |
| 3 | suspended: open and waiting; stdout says for what, and `next_wake_at` |
| 4 | non-determinism: the code no longer matches the history |
| 5 | the history is damaged, of an unsupported format, or does not have the expected head |
| 6 | owned by another live process, which is named |
| 7 | no such run |
| 8 | wrong state for this |
| 9 | cancelled, terminated or timed out |
| 10 | storage failed; nothing acknowledged is lost |
| 70 | a fault of aion itself |
| 130 / 143 | interrupted by SIGINT / SIGTERM; the run stays open |
| 141 | whoever read stdout is gone |
"""
_TYPERS_OWN = ("install_completion", "show_completion", "help")


def reference() -> str:
    """Return the text of docs/cli.md. Only what the app declares is used, so Typer's layout does not matter."""
    group: Any = typer.main.get_command(app)
    parts = [_INTRODUCTION, "## Options of all commands\n", _options(group)]
    for name, command in sorted(group.commands.items()):
        parts += [f"## aion {name}\n", inspect.cleandoc(command.help) + "\n", _options(command)]
    return "\n".join(parts)


def _options(command: Any) -> str:
    rows = ["| | |", "|---|---|"]
    rows += [_row(param) for param in command.params if param.name not in _TYPERS_OWN]
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def _row(param: Any) -> str:
    if param.param_type_name == "argument":
        shown = f"`{param.metavar}`"
    else:
        value = "" if param.is_flag else f" {param.metavar}"
        shown = ", ".join(f"`{name}{value}`" for name in param.opts)
    return f"| {_cell(shown)} | {_cell(param.help or '')} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
