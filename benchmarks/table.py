"""What a benchmark found, its goals, and the table of all of them."""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass


class Better(enum.Enum):
    """Which side of a goal is the good one."""

    LOW = "≤"
    HIGH = "≥"


@dataclass(frozen=True)
class Goal:
    """What a figure is held against. first: due with the first version; second: where it is to get to."""

    better: Better
    first: float
    second: float
    unit: str = ""

    def shown(self, value: float) -> str:
        """Write one goal, as in `≥ 0.45`."""
        return f"{self.better.value} {value:g}{self.unit}"

    def verdict(self, figure: float) -> str:
        """Say which of the two goals a figure meets."""
        if self._meets(figure, self.second):
            return "second"
        return "first" if self._meets(figure, self.first) else "NEITHER"

    def _meets(self, figure: float, goal: float) -> bool:
        return figure <= goal if self.better is Better.LOW else figure >= goal


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ours, against: what was measured, with units, durability named where it matters. figure: what the goals are about,
    usually a ratio; None if it could not be measured, and then `against` says why. remarks: below the table.
    """

    id: str
    work: str
    ours: str
    against: str
    figure: float | None
    goal: Goal
    remarks: Sequence[str] = ()


_HEADINGS = ("", "work", "aion", "against", "figure", "goal 1", "goal 2", "meets")


def rendered(rows: Sequence[Row]) -> str:
    """Lay the rows out as one table of text, with the remarks below."""
    cells = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines.insert(1, "  ".join("─" * width for width in widths))
    for row in rows:
        for remark in row.remarks:
            lines += textwrap.wrap(f"{row.id}: {remark}", 120, subsequent_indent="     ")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    figure, verdict = "–", "–"
    if row.figure is not None:
        figure, verdict = f"{row.figure:.3g}{row.goal.unit}", row.goal.verdict(row.figure)
    goals = row.goal.shown(row.goal.first), row.goal.shown(row.goal.second)
    return row.id, row.work, row.ours, row.against, figure, *goals, verdict
