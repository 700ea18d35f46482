"""What an audit came to, as it is printed: one line of a table, or one JSON object."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from aion_cli import errors
from aion_cli.cli import output, render
from aion_cli.cli.audit import Audit
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import Settings
from aion_cli.cli.table import Cell, Column, Table, fitting

_RED = "\x1b[31m"
_GREEN = "\x1b[32m"
_YELLOW = "\x1b[33m"


class Finding(enum.StrEnum):
    """What was found of one history. CLEAN: it is closed, and the code does what it says. OPEN: so far it does."""

    CLEAN = "clean"
    OPEN = "open"
    DIVERGED = "diverged"
    DAMAGED = "damaged"
    MISSING = "missing"
    NOT_REPLAYED = "not replayed"


_PAINT = {Finding.CLEAN: _GREEN, Finding.OPEN: _GREEN, Finding.DIVERGED: _RED, Finding.DAMAGED: _RED}


class Verdict(msgspec.Struct, frozen=True):
    """One history's verdict, as a script gets it.

    events: whole lines that could be read. head: digest of the last of them. hash_seed: the PYTHONHASHSEED under which
    it was found, if it was not found without. error: what is wrong, in the form of all errors. steps: with --step.
    """

    run: str
    history: str
    verdict: Finding
    events: int = 0
    head: str = ""
    torn_bytes: int = 0
    hash_seed: int | None = None
    error: dict[str, Any] | None = None
    steps: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


def verdict_of(audit: Audit, settings: Settings) -> Verdict:
    """Put into a verdict what was found of one history."""
    return Verdict(
        run=audit.run,
        history="" if audit.path is None else str(audit.path),
        verdict=_finding(audit),
        events=audit.head.seq,
        head=audit.head.digest.hex() if audit.head.seq else "",
        torn_bytes=0 if audit.torn is None else audit.torn.size,
        error=None if audit.error is None else render.error_document(audit.error, settings),
    )


def _finding(audit: Audit) -> Finding:
    if audit.error is not None:
        return finding_of(audit.error)
    closed = audit.standing is not None and audit.standing.boundary.closed_by is not None
    return Finding.CLEAN if closed else Finding.OPEN


class Case(NamedTuple):
    """One history's verdict, what is wrong with it, and how many seconds it took to find out."""

    verdict: Verdict
    error: errors.AionError | None
    seconds: float

    def worsened(self, seed: int | None, error: errors.AionError, settings: Settings) -> Case:
        """Return the case with what was found wrong under a hash seed; None for that of this process."""
        verdict = msgspec.structs.replace(
            self.verdict, verdict=finding_of(error), hash_seed=seed, error=render.error_document(error, settings)
        )
        return self._replace(verdict=verdict, error=error)


def finding_of(error: errors.AionError) -> Finding:
    """Say in a word what an error means for the history that it was found in."""
    match error:
        case errors.NonDeterminismError():
            return Finding.DIVERGED
        case errors.DamagedHistoryError() | errors.UnsupportedFormatError() | errors.HistoryShapeError():
            return Finding.DAMAGED
        case errors.NoSuchRunError():
            return Finding.MISSING
        case _:
            return Finding.NOT_REPLAYED


_FIRST_APPLIES = (ExitCode.DAMAGED, ExitCode.NON_DETERMINISM, ExitCode.NO_SUCH_RUN)


def exit_code(found: Iterable[errors.AionError]) -> int:
    """Return the exit code for what was found over many histories: the first that applies of 5, 4, 7, others, 0."""
    codes = {output.exit_code_of(error) for error in found}
    return next((code for code in _FIRST_APPLIES if code in codes), min(codes, default=ExitCode.OK))


class VerdictTable:
    """Lays verdicts out, one line each; the columns are as wide as these runs need."""

    def __init__(self, settings: Settings, runs: list[str]) -> None:
        self._table = Table(
            [Column("", len(Finding.DIVERGED)), fitting("", runs), Column("")],
            width=output.stdout_width(),
            color=output.stdout_takes_color(settings),
        )

    def line(self, verdict: Verdict) -> str:
        """Return the line of one verdict, safe for a terminal."""
        finding = Cell(verdict.verdict, _PAINT.get(verdict.verdict, _YELLOW))
        return self._table.row([finding, verdict.run, _summary(verdict)])


def _summary(verdict: Verdict) -> str:
    parts: list[str] = []
    if verdict.events:
        parts.append(f"{verdict.events} events")
    error = verdict.error
    if error is not None and verdict.verdict is Finding.DIVERGED:
        parts.append(f"at event {error.get('seq')}")
    elif error is not None:
        parts.append(str(error.get("message")))
    if verdict.hash_seed is not None:
        parts.append(f"PYTHONHASHSEED={verdict.hash_seed}")
    if verdict.torn_bytes:
        parts.append(f"{verdict.torn_bytes} torn bytes ignored")
    if verdict.head and verdict.verdict is not Finding.DAMAGED:
        parts.append(f"head {verdict.head}")
    return ", ".join(parts)
