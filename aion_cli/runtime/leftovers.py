"""What processes that were killed left behind: files that were being written, and never got their names.

Nobody reads them, and nothing depends on them. An owner removes those that nobody can be writing any more: an hour is
longer than any write. Whoever was asleep for longer finds its file gone and fails, before anything was acknowledged.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from aion_cli.errors import StoreError
from aion_cli.runtime.files import temporary_directory
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import TEMPORARY

OLD_S = 3600.0
"""Age, in seconds, from which a file that has no name yet is left over."""


def sweep(folder: HistoriesFolder, workflow_id: str, now_micros: int) -> None:
    """Remove what is left over in the inbox of a run, and in the folder's own place for unfinished files.

    now_micros: wall clock, since the epoch. Best effort: what cannot be removed stays.
    """
    with suppress(StoreError):
        waiting = [path for path in _files_in(folder, folder.inbox(workflow_id)) if path.name.startswith(TEMPORARY)]
        _sweep(folder, waiting, now_micros)
        _sweep(folder, _files_in(folder, temporary_directory(folder.root)), now_micros)


def _files_in(folder: HistoriesFolder, directory: Path) -> list[Path]:
    """What is in a directory of ours. One that leads elsewhere holds the files of somebody else."""
    if not folder.files.has_directory(directory, folder.root):
        return []
    return [directory / name for name in folder.files.names(directory)]


def _sweep(folder: HistoriesFolder, paths: list[Path], now_micros: int) -> None:
    for path in paths:
        found = folder.files.look(path)
        if found is not None and found.changed_s < now_micros / 1_000_000 - OLD_S:
            folder.files.unlink(path)
