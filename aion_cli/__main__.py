"""`python -m aion_cli`, and the entry point of the `aion` command."""

import gc
import importlib
import os
import sys

from aion_cli.version import VERSION

_ALLOCATIONS_BETWEEN_COLLECTIONS = 10_000

# How each standard stream is opened if the process was started without it. Stdout only to be read: a result that nobody
# can get is an error.
_IN_PLACE_OF_STREAMS = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)


def main() -> int:
    """Run `aion` with the process's arguments, and return its exit code."""
    _fill_in_streams()
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


def _fill_in_streams() -> None:
    """Let no file that is opened later get the number of a standard stream that is closed."""
    for number, flags in enumerate(_IN_PLACE_OF_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]  # it is, if the process was started without it
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - for as long as the process lives


if __name__ == "__main__":
    sys.exit(main())
