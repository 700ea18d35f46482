"""HistoriesFolder: where everything of a run lies, and what a RUN on the command line means.

What belongs here: names to paths and back, which runs there are. What does not: reading events beyond the first line of
a run, and status.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

from aion_cli.core import events as ev
from aion_cli.core.ids import RunName, check_workflow_id, parse_stem
from aion_cli.errors import NoSuchRunError, UsageError
from aion_cli.runtime.files import Files
from aion_cli.runtime.reading import read_first_event, read_last_event

_SUFFIX = ".jsonl"


class RunLocation(NamedTuple):
    """One run and its history. For a path outside any folder the name is only the file's stem, and may be no id."""

    name: RunName
    path: Path

    @property
    def workflow_id(self) -> str:
        """The workflow id that the file's name claims."""
        return self.name.workflow_id


class HistoriesFolder:
    """One folder of histories. root need not exist yet."""

    def __init__(self, root: Path, files: Files | None = None) -> None:
        self.root = root
        self.files = files or Files()
        self._own = root / ".aion"

    def history(self, name: RunName) -> Path:
        """Path of a run's history."""
        return self.root / f"{name.stem}{_SUFFIX}"

    def lock(self, workflow_id: str) -> Path:
        """Path of the owner lock, one for all runs of a workflow id."""
        return self._own / "locks" / f"{workflow_id}.lock"

    def inbox(self, workflow_id: str) -> Path:
        """Directory of the messages that are not in the history yet."""
        return self._own / "inbox" / workflow_id

    @property
    def wake(self) -> Path:
        """Directory where a supervisor learns which runs were signalled; it exists only if there was a supervisor."""
        return self._own / "wake"

    def location(self, name: RunName) -> RunLocation:
        """Where a run is, or would be."""
        return RunLocation(name, self.history(name))

    def runs(self) -> list[RunLocation]:
        """All runs, ordered by workflow id and number. A file that turns out to be empty is no run."""
        return [self.location(name) for name in sorted(self._names())]

    def runs_of(self, workflow_id: str) -> list[RunLocation]:
        """All runs of a workflow id that are not empty, ordered by number; none if there is none."""
        names = sorted(name for name in self._names(workflow_id) if name.workflow_id == workflow_id)
        return [self.location(name) for name in names if self._is_there(self.history(name))]

    def latest(self, workflow_id: str) -> RunLocation:
        """The latest run of a workflow id. Raises NoSuchRunError."""
        runs = self.runs_of(check_workflow_id(workflow_id))
        if not runs:
            raise self._no_such_run(workflow_id)
        return runs[-1]

    def is_open(self, workflow_id: str) -> bool:
        """Say whether a workflow id has a run that can go on; one that is to continue as new can.

        A text that can be no workflow id has none. Raises DamagedHistoryError if the end of its history cannot tell.
        """
        runs = self.runs_of(workflow_id)
        if not runs:
            return False
        last = read_last_event(runs[-1].path, self.files)
        return not isinstance(last, ev.TERMINAL_EVENTS) or isinstance(last, ev.WorkflowContinuedAsNew)

    def find(self, run: str) -> RunLocation:
        """Find what a RUN names: a workflow id (its latest run), `order-42@2`, or the path of a `.jsonl` file.

        `order-42@1` is the first run. Raises NoSuchRunError with names that are near, UsageError for what is no name.
        """
        if not _names_one(run):
            return self.latest(run)
        if "/" in run or run.endswith(_SUFFIX):
            return self._find_path(run)
        name = RunName(check_workflow_id(run.removesuffix("@1"))) if run.endswith("@1") else parse_stem(run)
        if not self._is_there(self.history(name)):
            raise self._no_such_run(run)
        return self.location(name)

    def find_chain(self, run: str) -> list[RunLocation]:
        """Find what a RUN names as `find` does; but a workflow id names all its runs, each of which continued the last.

        In their order. Raises as `find`.
        """
        latest = self.find(run)
        return [latest] if _names_one(run) else self.runs_of(latest.workflow_id)

    def following(self, location: RunLocation) -> RunLocation | None:
        """Return the run that a run continued as, beside it; None if it is not there."""
        name = RunName(location.workflow_id, location.name.number + 1)
        path = location.path.with_name(f"{name.stem}{_SUFFIX}")
        return RunLocation(name, path) if self._is_there(path) else None

    def _find_path(self, run: str) -> RunLocation:
        candidates = [Path(run)] if "/" in run else [Path(run), self.root / run]
        for path in candidates:
            if self._is_there(path):
                stem = path.name.removesuffix(_SUFFIX)
                try:
                    return RunLocation(parse_stem(stem), path)
                except UsageError:
                    return RunLocation(RunName(stem), path)
        raise self._no_such_run(run)

    def require_new(self, workflow_id: str) -> str:
        """Return the id if a run of that name could be made; that there is such a run already is not looked at.

        Raises UsageError for a bad id, or one that differs from an existing one only in case.
        """
        check_workflow_id(workflow_id)
        folded = workflow_id.lower()
        for name in self._names(workflow_id, any_case=True):
            if name.workflow_id != workflow_id and name.workflow_id.lower() == folded:
                raise UsageError(
                    f"{workflow_id} differs only in case from {name.workflow_id}, which exists",
                    hint="on some disks the two would be one file; choose another id",
                )
        return workflow_id

    def require_own(self, location: RunLocation) -> ev.WorkflowStarted:
        """Return the first event of a history that lies in this folder under the workflow id which that event names.

        To be asked before anything but reading. Raises UsageError if it does not; what reading.read_first_event raises.
        """
        if location.path.parent.resolve() != self.root.resolve():
            raise UsageError(
                f"{location.path} does not lie in {self.root}",
                hint=f"use --histories {location.path.parent} to work on it",
            )
        started = read_first_event(location.path, self.files)
        if started.workflow_id != location.workflow_id:
            raise UsageError(
                f"{location.path} is the history of {started.workflow_id}, not of {location.workflow_id}",
                hint=f"it can only be read; name it {started.workflow_id}{_SUFFIX} to go on with it",
            )
        return started

    def _names(self, prefix: str = "", *, any_case: bool = False) -> list[RunName]:
        found: list[RunName] = []
        folded = prefix.lower()
        for file_name in self.files.names(self.root):
            begins = file_name.lower().startswith(folded) if any_case else file_name.startswith(prefix)
            if begins and file_name.endswith(_SUFFIX):
                try:
                    found.append(parse_stem(file_name.removesuffix(_SUFFIX)))
                except UsageError:
                    continue  # not a name that aion gives
        return found

    def _is_there(self, path: Path) -> bool:
        found = self.files.look(path)
        return found is not None and found.size > 0

    def _no_such_run(self, run: str) -> NoSuchRunError:
        ids = sorted({name.workflow_id for name in self._names()})
        wanted = Path(run).name.removesuffix(_SUFFIX)
        near = [found for found in difflib.get_close_matches(wanted, ids[:5000], n=4) if found != wanted][:3]
        if near:
            return NoSuchRunError(run, hint=f"did you mean {', '.join(near)}?")
        return NoSuchRunError(run, hint=f"{self.root} holds {len(ids)} workflow ids; `aion list` names them")


def _names_one(run: str) -> bool:
    """Say whether a RUN names one history, and not whatever there is of a workflow id."""
    return "/" in run or "@" in run or run.endswith(_SUFFIX)
