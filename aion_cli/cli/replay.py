"""`aion replay`: audit histories against today's code, touching nothing."""

from __future__ import annotations

import glob
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.cli import output, render
from aion_cli.cli.code import code_of
from aion_cli.cli.output import ExitCode
from aion_cli.cli.requests import ReplayRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.terminal import visible
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.replay import Boundary, Replay
from aion_cli.core.source import SourcePaths
from aion_cli.errors import (
    AionError,
    DamagedHistoryError,
    HistoryShapeError,
    NonDeterminismError,
    NoSuchRunError,
    UnsupportedFormatError,
)
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.reading import HistoryReader, find_reopens, read_first_event, read_history

_FIRST_APPLIES = (ExitCode.DAMAGED, ExitCode.NON_DETERMINISM, ExitCode.NO_SUCH_RUN)


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the audit of one history found.

    verdict: clean (closed), open (clean so far), diverged, damaged, or missing. head: digest of the last line.
    """

    run: str
    verdict: str
    events: int = 0
    head: str = ""
    error: dict[str, object] | None = None


def replay_command(settings: Settings, request: ReplayRequest) -> int:
    """Audit every history that was named; returns the exit code of the first that applies of 5, 4, 7, 0."""
    folder = HistoriesFolder(settings.histories)
    codes: set[int] = set()
    explained = False
    verdicts: list[Verdict] = []
    for run, path in _histories(folder, request.runs):
        try:
            verdict = audit(settings, request, folder, run, path)
        except AionError as error:
            codes.add(output.exit_code_of(error))
            verdict = Verdict(run, _verdict_of(error), error=render.error_document(error, settings))
            if not explained or not isinstance(error, NonDeterminismError):
                output.write_stderr(render.error_text(error, settings, color=output.stderr_takes_color(settings)))
            explained = explained or isinstance(error, NonDeterminismError)
        verdicts.append(verdict)
        if settings.output is OutputMode.JSONL:
            output.write_json_line(msgspec.json.encode(verdict))
        elif settings.output is OutputMode.HUMAN:
            output.write_text(_line(verdict))
    if settings.output is OutputMode.JSON:
        output.write_json(verdicts)
    return _exit_code(codes)


def _exit_code(codes: set[int]) -> int:
    for code in _FIRST_APPLIES:
        if code in codes:
            return code
    return min(codes, default=ExitCode.OK)


def _verdict_of(error: AionError) -> str:
    match error:
        case NonDeterminismError():
            return "diverged"
        case DamagedHistoryError() | UnsupportedFormatError() | HistoryShapeError():
            return "damaged"
        case NoSuchRunError():
            return "missing"
        case _:
            return "not replayed"


def _line(verdict: Verdict) -> str:
    head = f"  {verdict.events} events, head {verdict.head}" if verdict.head else ""
    return f"{verdict.verdict:<9} {visible(verdict.run)}{head}"


def _histories(folder: HistoriesFolder, runs: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    """Expand ids, files, folders and globs to (what to call it, path); path None: to be looked up as an id."""
    for run in runs:
        path = Path(run)
        if path.is_dir():
            yield from ((str(found), found) for found in sorted(path.glob("*.jsonl")))
        elif glob.has_magic(run) and not path.exists():
            found = sorted(glob.glob(run, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
            if not found:
                yield run, None
            yield from ((name, Path(name)) for name in found if name.endswith(".jsonl"))
        else:
            yield run, None


def audit(settings: Settings, request: ReplayRequest, folder: HistoriesFolder, run: str, path: Path | None) -> Verdict:
    """Replay one history. Raises NonDeterminismError, DamagedHistoryError … with what was found."""
    path = path or folder.find(run).path
    started = read_first_event(path, folder.files)
    reader = read_history(path, folder.files)
    try:
        definition = code_of(settings, started, request.workflow)
        boundary = _replay(path, reader, folder, definition, request.to_seq)
    except NonDeterminismError as error:
        error.where = (str(path),)
        _require_whole(path, folder)
        raise
    head = reader.head.digest.hex()
    if request.expect_head is not None and request.to_seq is None and head != request.expect_head:
        raise DamagedHistoryError(
            path=str(path),
            line=reader.head.seq,
            reason=f"its head is {head}, and {request.expect_head} was expected",
            hint="lines are missing from its end, or were added; compare it with a copy",
        )
    verdict = "open" if boundary.closed_by is None else "clean"
    return Verdict(run, verdict, boundary.events, head)


def _replay(
    path: Path, reader: HistoryReader, folder: HistoriesFolder, definition: Any, to_seq: int | None
) -> Boundary:
    events: Iterable[ev.Event] = reader
    reopens = find_reopens(path, folder.files)
    if to_seq is not None:
        events = itertools.takewhile(lambda event: event.seq <= to_seq, reader)
        reopens = [reopen for reopen in reopens if reopen.seq <= to_seq]
    replay = Replay(HistoryCursor(events, reopens), definition, paths=SourcePaths(str(Path.cwd())))
    try:
        return replay.run()
    finally:
        replay.execution.close()


def _require_whole(path: Path, folder: HistoriesFolder) -> None:
    """Damage further down matters more than a divergence: what was compared may not be what was written."""
    deque(read_history(path, folder.files), maxlen=0)
