"""What workflow code prints and logs: on stderr when it happens, not again when it is replayed."""

from __future__ import annotations

import logging
import sys

from aion_cli.cli.output import mute_while
from aion_cli.core.execution import is_replaying

_API = "aion_cli.api.telling"


class _StderrLines(logging.Handler):
    """Writes to whatever stderr is at the moment, so that live progress and masking see it."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{record.levelname.lower()}: {self.format(record)}\n")


def _never() -> bool:
    return False


def connect_output(*, show_replay: bool = False) -> None:
    """Send the log of workflows to stderr, and hold back what a replay repeats unless show_replay."""
    mute_while(_never if show_replay else is_replaying)
    # Only code that imported `log` can have used it, and then the logging module is loaded already.
    api = sys.modules.get(_API)
    if api is not None:
        logger: logging.Logger = api.log
        if not logger.handlers:
            logger.addHandler(_StderrLines())
            logger.propagate = False
        if show_replay:
            logger.filters.clear()
