"""The audit of one history: the integrity of its file, then the code against what is recorded. It touches nothing.

The history passes through once, line by line, and is never held. Whatever is found, the rest of the file is read as
well: damage further down matters more than a divergence, since what was compared may not be what was written.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli.interrupts import own_failures
from aion_cli.cli.named import Named
from aion_cli.cli.watching import watched
from aion_cli.core import events as ev
from aion_cli.core.commands import Wait
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.execution import Program
from aion_cli.core.replay import Boundary, Observer, Replay
from aion_cli.core.source import SourcePaths
from aion_cli.errors import (
    AionError,
    DamagedHistoryError,
    HistoryShapeError,
    NonDeterminismError,
    NoSuchRunError,
    StoreError,
)
from aion_cli.runtime.files import Files
from aion_cli.runtime.loader import digest_of
from aion_cli.runtime.reading import (
    EMPTY_HEAD,
    Head,
    HistoryReader,
    TornTail,
    find_reopens,
    read_first_event,
)


class Standing(NamedTuple):
    """Where the code stands at the end of what was replayed. waits: what it waits for, recorded or not."""

    boundary: Boundary
    waits: list[Wait]


class Audit(NamedTuple):
    """What was found of one history.

    standing: where the code stands, unless error. error: what does not hold. head: how far the file could be read.
    torn: a torn tail, which was ignored.
    """

    run: str
    path: Path | None
    standing: Standing | None = None
    error: AionError | None = None
    head: Head = EMPTY_HEAD
    torn: TornTail | None = None


class FindsCode(Protocol):
    """Knows the code of runs; a `CodeFinder` is one."""

    def code_of(self, started: ev.WorkflowStarted) -> WorkflowDefinition[..., Any]:
        """Return the workflow that a run is of. Raises AionError if there is none."""
        ...


class Auditor:
    """Audits histories, one after the other, against the code that each is of.

    to_seq: replay up to this event. expect_head: the digest that the last line must have.
    """

    def __init__(
        self, code: FindsCode, files: Files, *, to_seq: int | None = None, expect_head: str | None = None
    ) -> None:
        self._code = code
        self._files = files
        self._to_seq = to_seq
        self._expect_head = expect_head
        self._paths = SourcePaths(str(Path.cwd()))

    def audit(self, named: Named, observer: Observer | None = None) -> Audit:
        """Audit one history. What is wrong with it is returned, not raised."""
        if isinstance(named.found, AionError):
            return Audit(named.run, None, error=named.found)
        path = named.found
        reader = HistoryReader(path, self._files)
        events = iter(reader)
        standing: Standing | None = None
        error: AionError | None = None
        try:
            standing = self._replayed(path, events, observer)
        except AionError as found:
            error = placed(found, path)
        error = self._worst(path, reader, events, error)
        return Audit(named.run, path, None if error else standing, error, reader.head, reader.torn)

    def _replayed(self, path: Path, events: Iterable[ev.Event], observer: Observer | None) -> Standing:
        definition = self._code.code_of(read_first_event(path, self._files))
        reopens = find_reopens(path, self._files)
        to_seq = self._to_seq
        if to_seq is not None:
            events = itertools.takewhile(lambda event: event.seq <= to_seq, events)
            reopens = [reopen for reopen in reopens if reopen.seq <= to_seq]
        digest = digest_of(Path(definition.file))
        return standing_of(HistoryCursor(events, reopens), definition, self._paths, observer, code_digest=digest)

    def _worst(
        self, path: Path, reader: HistoryReader, events: Iterator[ev.Event], error: AionError | None
    ) -> AionError | None:
        """Read on to the end of the file; return the damage there, or what was found before."""
        try:
            deque(events, maxlen=0)
        except AionError as damage:
            return damage
        head = reader.head.digest.hex()
        if self._expect_head in (None, head) or isinstance(error, StoreError | NoSuchRunError):
            return error
        return DamagedHistoryError(
            path=str(path),
            line=reader.head.seq,
            reason=f"its head is {head}, and {self._expect_head} was expected",
            hint="lines are missing from its end, or were added; compare it with a copy",
        )


def standing_of(
    cursor: HistoryCursor,
    program: Program,
    paths: SourcePaths,
    observer: Observer | None = None,
    *,
    code_digest: str = "",
) -> Standing:
    """Replay a history, and say where the code stands at its end. Raises what Replay raises.

    code_digest: of the program's file today, to explain a divergence.
    """
    replay = Replay(cursor, program, paths=paths, code_digest=code_digest)
    try:
        with watched(replay.execution, paths), own_failures(replay.execution.started.workflow_id, paths):
            return Standing(replay.run(observer), replay.execution.waits())
    finally:
        replay.execution.close()


def placed(error: AionError, path: Path) -> AionError:
    """Say in which file it was found, where the error does not know."""
    if isinstance(error, NonDeterminismError | HistoryShapeError) and not error.where:
        error.where = (str(path),)
    return error
