"""What a run says about itself while it goes on: tags, progress, and log lines."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from aion_cli.api import given
from aion_cli.core.execution import Execution, current, is_replaying
from aion_cli.core.source import SourcePaths


def set_tags(**tags: str) -> None:
    """Set tags of the run; those that are not named stay. They show in `aion list`, which can select by them.

    Raises UsageError for what is no text, and for more tags than an event can hold.
    """
    known = _running("set_tags()").tags
    checked = {name: given.text(f"the tag {given.shown(name)}", value) for name, value in tags.items()}
    given.require_size("what the run has of tags", {**known, **checked}, given.MOST_OF_A_TEXT)
    known.update(checked)


def set_progress(done: int, total: int, text: str = "") -> None:
    """Say how far the run is; shown by `run`, `list` and `supervise`.

    done, total: whole numbers. Raises UsageError for anything else, and for a text that cannot be recorded.
    """
    _running("set_progress()").progress = (
        given.whole_number("what is done", done),
        given.whole_number("the total of a progress", total),
        given.text("the text of a progress", text),
    )


def _running(called: str) -> Execution:
    run = current(called)
    run.require_running()
    return run


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


class _WorkflowLogger(logging.Logger):
    """A logger whose handlers raise nothing into workflow code: a replay, which is silent, would not raise it."""

    def handle(self, record: logging.LogRecord) -> None:
        """Hand a record to the handlers; say on stderr what one of them raised, and where the record was made."""
        try:
            super().handle(record)
        except Exception as error:  # noqa: BLE001 - a text that does not fit its arguments, an argument's __str__, a handler
            with contextlib.suppress(OSError, ValueError):  # stderr may be what cannot be written to
                sys.stderr.write(f"warning: {_unwritten(record, error)}\n")


def _unwritten(record: logging.LogRecord, error: Exception) -> str:
    place = f"{SourcePaths(str(Path.cwd())).shorten(record.pathname)}:{record.lineno}"
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - an author's __str__ may raise anything
        said = "(its message could not be made)"
    return f"{place}: a log record cannot be written: {type(error).__qualname__}: {said}"


log = logging.getLogger("aion.workflow")
"""A logger for workflows and activities: INFO and above on stderr, silent while replaying."""
# It may have been made before, by a configuration of logging that names it.
log.__class__ = _WorkflowLogger
log.addFilter(SilentInReplay())
log.addHandler(_StderrLines())
log.setLevel(logging.INFO)
