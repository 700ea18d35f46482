"""Notes: tags and progress, recorded when the code changed them live, and invisible to matching."""

from __future__ import annotations

from aion_cli.core import events as ev
from aion_cli.core.execution import Execution
from aion_cli.core.replay import Boundary


class Notes:
    """What history holds of tags and progress, against what the code says."""

    def __init__(self, boundary: Boundary) -> None:
        self._tags = dict(boundary.tags)
        self._progress = boundary.progress

    def changes(self, execution: Execution) -> list[ev.Event]:
        """Return the events that bring history up to date, unstamped; they count as recorded from now on."""
        found: list[ev.Event] = []
        # What history holds beyond that was said by code that a reopen took back: there is no event to unsay it.
        if not execution.tags.items() <= self._tags.items():
            self._tags |= execution.tags
            found.append(ev.TagsSet(tags=dict(execution.tags)))
        if execution.progress is not None and execution.progress != self._progress:
            self._progress = execution.progress
            done, total, text = execution.progress
            found.append(ev.ProgressSet(done=done, total=total, text=text))
        return found
