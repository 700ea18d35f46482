"""`python -m aion_cli`, and the entry point of the `aion` command."""

import sys

from aion_cli.cli.entry import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
