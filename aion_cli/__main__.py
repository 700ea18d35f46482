"""`python -m aion_cli`, and the entry point of the `aion` command."""

import importlib
import sys

from aion_cli.version import VERSION


def main() -> int:
    """Run `aion` with the process's arguments, and return its exit code."""
    if sys.argv[1:] == ["--version"]:  # the one command that must not wait for Typer
        sys.stdout.write(f"aion {VERSION}\n")
        return 0
    return int(importlib.import_module("aion_cli.cli.entry").main())


if __name__ == "__main__":
    sys.exit(main())
