"""What steps print while they run, a line each under the name of the step: `make test (1) | 12 passed`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from aion_cli.cli.sentences import Sentences

SEPARATOR = " | "
_MOST_LINES = 500
_LONGEST_NAME = 20


class StepNames:
    """Says under which name the lines of a step stand. names: knows what activities are called."""

    def __init__(self, names: Sentences) -> None:
        self._names = names
        self._runs: set[str] = set()

    def name(self, workflow_id: str, ordinal: int) -> str:
        """Return the name, untrusted as it is; with the run's id as soon as steps of several runs have printed."""
        self._runs.add(workflow_id)
        step = self._names.activity((workflow_id, ordinal), _LONGEST_NAME)
        return f"{workflow_id}  {step}" if len(self._runs) > 1 else step


class Burst:
    """Lines that a step has printed and that nobody has seen yet. Of very many only the last are kept.

    name: of the step. A terminal is slower than a program that prints, and all of it is recorded anyway.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self._left_out = 0

    def add(self, lines: list[str]) -> None:
        """Take more lines."""
        self._left_out += max(0, len(self._lines) + len(lines) - _MOST_LINES)
        self._lines.extend(lines[-_MOST_LINES:])

    @property
    def lines(self) -> Iterator[str]:
        """Yield what is to be shown, untrusted as it is."""
        if self._left_out:
            yield f"… {self._left_out:,} lines left out"
        yield from self._lines
