"""Workshop: what all runs of one process share, and the first event of a new run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.replay import Replay
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.delivery import Notice
from aion_cli.runtime.endings import RunSettings
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.handoff import Worker
from aion_cli.runtime.journal import Durability
from aion_cli.runtime.loader import digest_of
from aion_cli.runtime.reading import find_reopens, read_history
from aion_cli.runtime.starting import first_event
from aion_cli.runtime.starting import runtime_ref as runtime_ref
from aion_cli.runtime.wall import Clock
from aion_cli.runtime.watchdog import limit_from_environment

Listener = Callable[[str, Sequence[ev.Event]], None]
"""Told of (workflow id, events) once they are on disk."""

CodeLookup = Callable[[ev.WorkflowStarted], WorkflowDefinition[..., Any]]
"""Finds the code of a run. Raises WorkflowCodeError if there is none."""

PastListener = Callable[[str, ev.Event], None]
"""Told of (workflow id, event) as a run that is gone on with is replayed."""


class Workshop(msgspec.Struct, frozen=True):
    """The folder, the clock, room for activities, and how runs behave.

    paths: shortens names of source files. past_listener: None if nobody wants to know. watchdog_s: see Watchdog.
    find_code: for children that an earlier run of their parent's id started, so that no command brings their code.
    """

    folder: HistoriesFolder
    clock: Clock
    paths: SourcePaths
    activities: ActivityRunner
    listener: Listener
    notice: Notice
    durability: Durability = Durability.FULL
    settings: RunSettings = RunSettings()
    watchdog_s: float = msgspec.field(default_factory=limit_from_environment)
    past_listener: PastListener | None = None
    find_code: CodeLookup | None = None
    worker: Worker = Worker(os.uname().nodename, os.getpid())

    def open_replay(self, location: RunLocation, definition: WorkflowDefinition[..., Any]) -> Replay:
        """Read a history, verified on the way, into a replay of a definition."""
        return open_replay(location.path, self.folder, definition, self.paths)

    def first_event(
        self,
        definition: WorkflowDefinition[..., Any],
        workflow_id: str,
        input: msgspec.Raw,
        *,
        tags: dict[str, str] | None = None,
        parent: ev.ParentRef | None = None,
    ) -> ev.WorkflowStarted:
        """Make the first event of a new run, unstamped. input: complete and validated."""
        return first_event(definition, workflow_id, input, clock=self.clock, paths=self.paths, tags=tags, parent=parent)


def open_replay(
    path: Path, folder: HistoriesFolder, definition: WorkflowDefinition[..., Any], paths: SourcePaths
) -> Replay:
    """Read a history, verified on the way, into a replay of a definition."""
    cursor = HistoryCursor(read_history(path, folder.files), find_reopens(path, folder.files))
    return Replay(cursor, definition, paths=paths, code_digest=digest_of(Path(definition.file)))
