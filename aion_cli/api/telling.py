"""What a run says about itself while it goes on: tags, progress, and log lines."""

from __future__ import annotations

import logging
import sys

from aion_cli.api import given
from aion_cli.core.execution import current, is_replaying


def set_tags(**tags: str) -> None:
    """Set tags of the run; those that are not named stay. They show in `aion list`, which can select by them.

    Raises UsageError for what is no text, and for more tags than an event can hold.
    """
    known = current().tags
    checked = {name: given.text(f"the tag {given.shown(name)}", value) for name, value in tags.items()}
    given.require_size("what the run has of tags", {**known, **checked}, given.MOST_OF_A_TEXT)
    known.update(checked)


def set_progress(done: int, total: int, text: str = "") -> None:
    """Say how far the run is; shown by `run`, `list` and `supervise`.

    done, total: whole numbers. Raises UsageError for anything else, and for a text that cannot be recorded.
    """
    current().progress = (
        given.whole_number("what is done", done),
        given.whole_number("the total of a progress", total),
        given.text("the text of a progress", text),
    )


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
