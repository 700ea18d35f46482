"""Queries: a read-only question to a run, answered by replaying its history. Nothing is locked, written or executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core.replay import Replay
from aion_cli.core.source import SourcePaths
from aion_cli.errors import UsageError
from aion_cli.runtime.delivery import Notice
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.watchdog import Watchdog, limit_from_environment
from aion_cli.runtime.workshop import open_replay


def replayed(
    path: Path,
    folder: HistoriesFolder,
    definition: WorkflowDefinition[..., Any],
    paths: SourcePaths,
    notice: Notice,
) -> Replay:
    """Replay a history to its end. Close its execution afterwards. Raises NonDeterminismError, DamagedHistoryError …

    notice: told of a line that takes long; see Watchdog.
    """
    replay = open_replay(path, folder, definition, paths)
    try:
        with Watchdog(replay.execution, paths, notice, limit_from_environment()):
            replay.run()
    except BaseException:
        replay.execution.close()
        raise
    return replay


def ask(
    path: Path,
    folder: HistoriesFolder,
    definition: WorkflowDefinition[..., Any],
    paths: SourcePaths,
    name: str,
    args: msgspec.Raw | None,
    notice: Notice,
) -> msgspec.Raw:
    """Answer a query as of the end of a history. Raises UsageError for one that the code does not declare by then.

    notice: as of replayed.
    """
    replay = replayed(path, folder, definition, paths, notice)
    try:
        known = sorted(replay.execution.handlers.queries)
        if name not in known:
            raise UsageError(
                f"{definition.name} declares no query {name!r}", hint=f"it declares: {', '.join(known) or 'none'}"
            )
        with Watchdog(replay.execution, paths, notice, limit_from_environment()):
            return replay.execution.ask(name, args)
    finally:
        replay.execution.close()
