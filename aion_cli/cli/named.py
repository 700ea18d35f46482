"""Which histories the words of a command line name: ids, paths, folders and globs.

A word without a slash that is the id of a run means that run; `./word` and `word/` are never ids. A folder means every
history in it and in the folders below it, children and continuations included, but nothing in hidden folders: `.aion`
holds torn tails and other things that are no runs. A glob without a slash is matched with the ids of runs first.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from aion_cli.core.ids import RunName, parse_stem
from aion_cli.errors import AionError, NoSuchRunError, StoreError, UsageError
from aion_cli.runtime.folder import HistoriesFolder

_SUFFIX = ".jsonl"


class Named(NamedTuple):
    """One history that was named.

    run: what to call it. found: where it is, or why it is not there. listed: it was found in a folder, so that a file
    which holds no run yet is no mistake of whoever named the folder.
    """

    run: str
    found: Path | AionError
    listed: bool = False


def named_histories(folder: HistoriesFolder, words: Iterable[str]) -> list[Named]:
    """Return the histories that words name, in their order; one that is named twice comes once."""
    return each_once(named for word in words for named in _expanded(folder, word))


def histories_at(path: str) -> list[Named]:
    """Return the histories that a path, a folder or a glob names, as `named_histories` does where ids are unknown."""
    if glob.has_magic(path) and not os.path.lexists(path):
        return _globbed(path)
    if _is_folder(path):
        return _below(path)
    if os.path.lexists(path):
        return [Named(path, Path(path))]
    return [Named(path, NoSuchRunError(path, hint="there is no such file or folder"))]


def each_once(histories: Iterable[Named]) -> list[Named]:
    """Return histories in their order, but one that comes again only once, by whatever path."""
    known: dict[object, Named] = {}
    for named in histories:
        known.setdefault(os.path.normpath(named.found) if isinstance(named.found, Path) else named.run, named)
    return list(known.values())


def _expanded(folder: HistoriesFolder, word: str) -> list[Named]:
    if glob.has_magic(word) and not os.path.lexists(word):
        return _matching(folder, word)
    if _is_path(word) and _is_folder(word):
        return _below(word)
    try:
        return [Named(word, folder.find(word).path)]
    except AionError as error:
        return _below(word) if _is_folder(word) else [Named(word, error)]


def _matching(folder: HistoriesFolder, pattern: str) -> list[Named]:
    if not _is_path(pattern):
        runs = [run for run in folder.runs() if fnmatch.fnmatchcase(run.name.stem, pattern)]
        if runs:
            return [Named(run.name.stem, run.path) for run in runs]
    return _globbed(pattern)


def _globbed(pattern: str) -> list[Named]:
    found: list[Named] = []
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob refuses absolute patterns
        if _is_folder(name):
            found += _below(name)
        elif name.endswith(_SUFFIX):
            found.append(Named(name, Path(name)))
    return found or [Named(pattern, NoSuchRunError(pattern, hint="no run and no .jsonl file matches"))]


def _below(top: str) -> list[Named]:
    """Return the histories in a folder and below it. A folder that cannot be read must not pass for an empty one."""
    found: list[Named] = []

    def refuse(error: OSError) -> None:
        where = str(error.filename)
        found.append(Named(where, StoreError(f"cannot list {where}: {error.strerror}")))

    for directory, folders, files in os.walk(top, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        histories = [name for name in files if name.endswith(_SUFFIX) and not name.startswith(".")]
        paths = [Path(directory, name) for name in sorted(histories, key=_order)]
        found += [Named(str(path), path, listed=True) for path in paths]
    return found or [Named(top, NoSuchRunError(top, hint="the folder holds no .jsonl file"))]


def _is_path(word: str) -> bool:
    return "/" in word or word.endswith(_SUFFIX)


def _is_folder(word: str) -> bool:
    return os.path.isdir(word)  # noqa: PTH112 - False for what cannot be a path at all, where Path.is_dir raises


def _order(file_name: str) -> RunName:
    stem = file_name.removesuffix(_SUFFIX)
    try:
        return parse_stem(stem)
    except UsageError:
        return RunName(stem)
