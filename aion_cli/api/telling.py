"""What a run says about itself while it goes on: tags, progress, and log lines."""

from __future__ import annotations

import logging
import sys

from aion_cli.core.execution import current, is_replaying
from aion_cli.errors import UsageError


def set_tags(**tags: str) -> None:
    """Set tags of the run; those that are not named stay. They show in `aion list`, which can select by them."""
    for name, value in tags.items():
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
            raise UsageError(f"tag {name} is a {type(value).__name__}, and must be a string")
    current().tags.update(tags)


def set_progress(done: int, total: int, text: str = "") -> None:
    """Say how far the run is; shown by `run`, `list` and `supervise`."""
    current().progress = (done, total, text)


class SilentInReplay(logging.Filter):
    """Drops what workflow code logs while it is replayed: it was logged when it happened."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not is_replaying()


class _StderrLines(logging.Handler):
    """Writes to whatever stderr is at the moment, so that live progress and masking see it.

    A program that has set up logging of its own gets the records there instead.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            sys.stderr.write(f"{record.levelname.lower()}: {self.format(record)}\n")


log = logging.getLogger("aion.workflow")
"""A logger for workflows and activities: INFO and above on stderr, silent while replaying."""
log.addFilter(SilentInReplay())
log.addHandler(_StderrLines())
log.setLevel(logging.INFO)
