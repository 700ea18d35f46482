"""The least that a Typer app with aion's global options can do: what `aion` is held against as a process.

`__main__` is kept apart so that this module is compiled once, as an installed one is.
"""

# No `from __future__ import annotations`: Typer would have to evaluate each annotation again.
import sys
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


def print_version(wanted: bool) -> None:
    """Print a version, and end."""
    if wanted:
        sys.stdout.write("minimal 1.0\n")
        raise typer.Exit


@app.callback()
def root(
    histories: Annotated[str, typer.Option("--histories", envvar="AION_HISTORIES")] = "histories",
    workflows: Annotated[str, typer.Option("--workflows", envvar="AION_WORKFLOWS")] = "workflows",
    output: Annotated[str, typer.Option("--output", "-o")] = "human",
    quiet: Annotated[bool, typer.Option("--quiet", "-q")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
    no_color: Annotated[bool, typer.Option("--no-color")] = False,
    version: Annotated[bool, typer.Option("--version", callback=print_version, is_eager=True)] = False,
) -> None:
    """Take the global options."""


@app.command()
def run(target: Annotated[str, typer.Argument()], input: Annotated[str | None, typer.Option("--input")] = None) -> None:
    """Take a parameter and an option."""
    sys.stdout.write(f"{target} {input}\n")


@app.command()
def signal(run: Annotated[str, typer.Argument()], name: Annotated[str, typer.Argument()]) -> None:
    """Take two parameters; there is a second command so that Typer makes a group, as aion is one."""
    sys.stdout.write(f"{run} {name}\n")
