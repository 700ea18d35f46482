"""Tables of text, a row at a time, so that a long history appears while it is read.

Columns have their width from the start. On a terminal the last column is cut to what room is left, or goes to a line of
its own where there is hardly any; in a pipe it is cut only to the most that it may have. All cells pass through
`terminal.visible` here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aion_cli.cli.terminal import cell_width, shortened, visible

GAP = "  "
_LEAST_ROOM = 24
_INDENT = "    "
_DIM = "\x1b[2m"
_RESET = "\x1b[0m"


class Column(NamedTuple):
    """width: least width in terminal columns; a longer cell takes what it needs. right: aligned to the right.

    most: to how many columns the last one is cut where no terminal says how much room there is; None: not at all.
    """

    title: str
    width: int = 0
    right: bool = False
    most: int | None = None


class Cell(NamedTuple):
    """paint: an escape sequence that colours it, or nothing."""

    text: str
    paint: str = ""


class Table:
    """Lays out one line for each row.

    width: of the terminal; None elsewhere. color: whether paint is used.
    """

    def __init__(self, columns: Sequence[Column], *, width: int | None, color: bool) -> None:
        self._columns = columns
        self._color = color
        self._width = width
        taken = sum(max(column.width, cell_width(column.title)) + len(GAP) for column in columns[:-1])
        self._own_line = width is not None and width - taken < _LEAST_ROOM

    def header(self) -> str:
        """Return the line with the titles."""
        return self.row([Cell(column.title, _DIM) for column in self._columns])

    def row(self, cells: Sequence[Cell | str]) -> str:
        """Return one row, which is two lines where the last column has no room beside the others."""
        shown = [
            Cell(visible(cell.text), cell.paint) if isinstance(cell, Cell) else Cell(visible(cell)) for cell in cells
        ]
        *firsts, last = shown
        line = GAP.join(self._padded(cell, column) for cell, column in zip(firsts, self._columns[:-1], strict=True))
        if not last.text:
            return line.rstrip()
        if self._own_line and self._width is not None:
            return f"{line.rstrip()}\n{_INDENT}{self._painted(shortened(last.text, self._width - len(_INDENT)), last)}"
        if self._width is not None:
            taken = sum(
                max(cell_width(cell.text), self._least(column)) + len(GAP)
                for cell, column in zip(firsts, self._columns[:-1], strict=True)
            )
            last = Cell(shortened(last.text, max(_LEAST_ROOM // 2, self._width - taken)), last.paint)
        elif (most := self._columns[-1].most) is not None:
            last = Cell(shortened(last.text, most), last.paint)
        return f"{line}{GAP}{self._painted(last.text, last)}"

    def _padded(self, cell: Cell, column: Column) -> str:
        padding = " " * (self._least(column) - cell_width(cell.text))
        painted = self._painted(cell.text, cell)
        return padding + painted if column.right else painted + padding

    def _painted(self, text: str, cell: Cell) -> str:
        return f"{cell.paint}{text}{_RESET}" if self._color and cell.paint and text else text

    @staticmethod
    def _least(column: Column) -> int:
        return max(column.width, cell_width(column.title))


def fitting(title: str, texts: Sequence[str], *, right: bool = False) -> Column:
    """Return a column as wide as the longest of these cells."""
    return Column(title, max((cell_width(visible(text)) for text in texts), default=0), right)
