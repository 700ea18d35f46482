"""What open runs wait for, in full: signals and conditions leave no event, so the code has to tell, by a replay."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aion_cli.cli import output
from aion_cli.cli.again import command_line
from aion_cli.cli.code import CodeFinder
from aion_cli.cli.interrupts import own_failures
from aion_cli.cli.settings import Settings
from aion_cli.cli.watching import watched
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import RunSummary, Waiting, summarise
from aion_cli.errors import AionError, NonDeterminismError
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.reading import read_first_event, read_history
from aion_cli.runtime.waits import waits_at_end
from aion_cli.runtime.workshop import open_replay


class WaitFinder:
    """Replays open runs. Where there is no code for one, or it no longer matches, its history alone has to do.

    Which did not match is kept, to be said in a word: it is no audit, and `aion replay` is.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = HistoriesFolder(settings.histories)
        self._code = CodeFinder(settings, None)
        self._paths = SourcePaths(str(Path.cwd()))
        self._diverged: set[Path] = set()
        self._without_code: set[tuple[str, str]] = set()

    def in_full(self, location: RunLocation, run: RunSummary) -> RunSummary:
        """Return the run with everything that it waits for."""
        if not run.status.is_open:
            return run
        try:
            waits = self._waits(location, run)
        except NonDeterminismError:
            self._diverged.add(location.path)
            return run
        except AionError:
            return run
        return run if waits is None else msgspec.structs.replace(run, waiting=waits)

    def has_diverged(self, location: RunLocation) -> bool:
        """Say whether the code of a run that was looked at no longer matches its history."""
        return location.path in self._diverged

    def _waits(self, location: RunLocation, run: RunSummary) -> list[Waiting] | None:
        started = read_first_event(location.path, self._folder.files)
        origin = (started.workflow_type, started.definition.file)
        if origin in self._without_code:
            return None
        try:
            definition = self._code.code_of(started)
        except AionError:
            self._without_code.add(origin)
            return None
        replay = open_replay(location.path, self._folder, definition, self._paths)
        try:
            with watched(replay.execution, self._paths), own_failures(location.workflow_id, self._paths):
                boundary = replay.run()
            return waits_at_end(replay, boundary, definition.timeout_s, run.waiting)
        finally:
            replay.execution.close()


def open_end(
    settings: Settings, location: RunLocation, folder: HistoriesFolder, reason: SuspendReason | None = None
) -> RunEnd:
    """Describe an open run that this process does not work on. reason: why it works on it no more, if it was to.

    Where its code has diverged, stderr says so: what it waits for is then known from its history alone.
    """
    finder = WaitFinder(settings)
    summary = finder.in_full(location, summarise(read_history(location.path, folder.files)))
    if finder.has_diverged(location):
        explain = command_line(settings, "replay", location.name.stem)
        output.warn(
            f"{location.name.stem} no longer matches its code, and cannot go on as it is; explained by: {explain}"
        )
    return RunEnd(
        summary.workflow_id,
        summary.run_id,
        summary.status,
        reason=reason,
        waiting=summary.waiting,
    )
