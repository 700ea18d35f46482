"""`python -m aion_cli`, and the entry point of the `aion` command."""

import gc
import importlib
import sys

from aion_cli.version import VERSION

_ALLOCATIONS_BETWEEN_COLLECTIONS = 10_000


def main() -> int:
    """Run `aion` with the process's arguments, and return its exit code."""
    if sys.argv[1:] == ["--version"]:  # the one command that must not wait for Typer
        sys.stdout.write(f"aion {VERSION}\n")
        return 0
    # Thousands of activities in flight are no garbage; by default a fan-out spends half its time on looking for it.
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
    code = int(importlib.import_module("aion_cli.cli.entry").main())
    leaving = sys.modules.get("aion_cli.cli.leaving")  # only what runs workflows has loaded it
    if leaving is not None:
        leaving.departure.end(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
