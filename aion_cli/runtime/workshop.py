"""Workshop: what all runs of one process share, and the first event of a new run."""

from __future__ import annotations

import os
import platform
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import clock as instants
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.ids import check_workflow_id
from aion_cli.core.replay import Replay
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.codec import codec_from_environment
from aion_cli.runtime.delivery import Notice
from aion_cli.runtime.endings import RunSettings
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.handoff import Worker
from aion_cli.runtime.journal import Durability
from aion_cli.runtime.loader import digest_of
from aion_cli.runtime.reading import find_reopens, read_history
from aion_cli.runtime.wall import Clock
from aion_cli.runtime.watchdog import DEFAULT_LIMIT_S
from aion_cli.version import VERSION

Listener = Callable[[str, Sequence[ev.Event]], None]
"""Told of (workflow id, events) once they are on disk."""


class Workshop(msgspec.Struct, frozen=True):
    """The folder, the clock, room for activities, and how runs behave. paths: shortens names of source files."""

    folder: HistoriesFolder
    clock: Clock
    paths: SourcePaths
    activities: ActivityRunner
    listener: Listener
    notice: Notice
    durability: Durability = Durability.FULL
    settings: RunSettings = RunSettings()
    watchdog_s: float = DEFAULT_LIMIT_S
    worker: Worker = Worker(socket.gethostname(), os.getpid())

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
        file = Path(definition.file)
        return ev.WorkflowStarted(
            format=ev.FORMAT,
            workflow_id=workflow_id,
            run_id=fresh_run_id(self.clock),
            workflow_type=definition.name,
            input=input,
            parent=parent,
            definition=ev.DefinitionRef(
                module=definition.module,
                file=self.paths.shorten(definition.file),
                digest=digest_of(file) if file.is_file() else "",
            ),
            runtime=runtime_ref(),
            codec=codec_from_environment().name,
            tags=tags or {},
        )


def open_replay(
    path: Path, folder: HistoriesFolder, definition: WorkflowDefinition[..., Any], paths: SourcePaths
) -> Replay:
    """Read a history, verified on the way, into a replay of a definition."""
    cursor = HistoryCursor(read_history(path, folder.files), find_reopens(path, folder.files))
    return Replay(cursor, definition, paths=paths)


def runtime_ref() -> ev.RuntimeRef:
    """Say which versions write a first line."""
    return ev.RuntimeRef(aion=VERSION, python=platform.python_version())


def fresh_run_id(clock: Clock) -> str:
    """Make a run id that sorts by time."""
    return f"{clock.micros():014x}{secrets.token_hex(5)}"


def fresh_workflow_id(name: str, clock: Clock) -> str:
    """Make a workflow id that sorts by time and says what it is a run of."""
    moment = instants.format_instant(clock.micros())
    stamp = moment[:19].replace("-", "").replace(":", "").replace("T", "-")
    return check_workflow_id(f"{name.lstrip('_.-')[:80] or 'run'}-{stamp}-{secrets.token_hex(2)}")
