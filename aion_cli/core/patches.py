"""Patches: how code that changes under open runs keeps to the way that each run began with.

A run that reaches `patched(id)` live takes the new way, and records a marker. A run whose history goes on past that
place without the marker was there before the change, and takes the old way. The answer is remembered for the run, so
that a loop does not change its mind.
"""

from __future__ import annotations

from typing import Protocol

from aion_cli.core import correlation as key


class HistoryAhead(Protocol):
    """What patches ask of the history that a run is replayed over."""

    def marker_ahead(self, marker: key.Marker, emitted: int) -> bool | None: ...


class PatchHost(Protocol):
    """What patches need from the execution."""

    def count_emitted(self) -> int:
        """Count the commands of this activation that leave an event. Raises RunClosed once the code has ended."""
        ...

    def emit_marker(self, marker: key.Marker) -> None: ...


class Patches:
    """The answers of one run."""

    def __init__(self, host: PatchHost, ahead: HistoryAhead | None) -> None:
        self._host = host
        self._ahead = ahead
        self._answers: dict[str, bool] = {}

    def patched(self, name: str) -> bool:
        """Say whether this run takes the new way."""
        if name not in self._answers:
            marker = key.Marker("patch", name)
            found = self._find(marker)
            self._answers[name] = found is not False
            if found is not False:
                self._host.emit_marker(marker)
        return self._answers[name]

    def deprecate(self, name: str) -> None:
        """Accept the marker where an old history holds it; new ones get none."""
        if name not in self._answers:
            self._answers[name] = True
            marker = key.Marker("patch", name)
            if self._find(marker):
                self._host.emit_marker(marker)

    def _find(self, marker: key.Marker) -> bool | None:
        """True: history holds the marker here. False: it goes on without. None: it ends here."""
        emitted = self._host.count_emitted()
        return None if self._ahead is None else self._ahead.marker_ahead(marker, emitted)
