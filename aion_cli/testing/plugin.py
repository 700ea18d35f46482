"""The pytest plugin: recorded histories as tests, each replayed against today's code. For projects that ask for it.

A project asks with `aion_histories` in its configuration, with `--aion-histories`, or with the path of a history.
Every pytest session imports this module, of projects too that have nothing to do with aion: so it loads the rest of
aion when it is asked, and leaves all other files alone.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

_SUFFIX = ".jsonl"
_FIRST_BYTES = b'{"type":"WorkflowStarted"'

_asked = pytest.StashKey[frozenset[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the settings."""
    parser.getgroup("aion", "histories of aion workflows").addoption(
        "--aion-histories",
        metavar="PATH",
        action="append",
        default=[],
        help="Replay these histories as well: a .jsonl file, a folder or a glob. Repeat.",
    )
    parser.addini(
        "aion_histories",
        "histories that are replayed where pytest is given no paths: .jsonl files, folders, globs",
        type="paths",
        default=[],
    )
    parser.addini("aion_workflows", "the folder with the workflows of histories (default: workflows)", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Put aion's ordered versions of asyncio's functions in place before any module takes the originals by name."""
    asked: Iterable[str] = early_config.known_args_namespace.aion_histories
    paths = any(arg.partition("::")[0].endswith(_SUFFIX) for arg in args)
    if paths or asked or early_config.getini("aion_histories") or early_config.getini("aion_workflows"):
        importlib.import_module("aion_cli.core.loop")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Add the histories that were asked for to what is collected. Raises UsageError if there are none of them."""
    config = session.config
    configured: list[Path] = config.getini("aion_histories")
    here = config.invocation_params.dir
    given: Any = config.getoption("aion_histories")
    asked = _expanded("--aion-histories", [here / path for path in given])
    if config.args_source is config.ArgsSource.ARGS or here != config.rootpath:
        # As with testpaths, what the configuration names is not forced upon somebody who wants something else.
        config.stash[_asked] = frozenset(asked) | frozenset(_expanded("", configured))
    else:
        asked += _expanded("aion_histories", configured)
        config.stash[_asked] = frozenset(asked)
    config.args += [str(path) for path in asked]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a history that was asked for, or whose path was given."""
    if file_path.suffix != _SUFFIX:
        return None
    asked = parent.config.stash.get(_asked, frozenset[Path]())
    if file_path in asked or (parent.session.isinitpath(file_path) and _is_history(file_path)):
        return _items().history_file(parent, file_path)
    return None


def _expanded(origin: str, paths: Iterable[Path]) -> list[Path]:
    """Return the histories that paths and globs name. origin: who named them; empty if none need be there."""
    found: list[Path] = []
    for path in paths:
        for named in _items().histories_at(str(path)):
            if isinstance(named.found, Path):
                found.append(Path(os.path.normpath(named.found)))
            elif origin:
                raise pytest.UsageError(f"{origin}: {named.found.message}; {named.found.hint}")
    return found


def _is_history(path: Path) -> bool:
    """Say whether it looks like one: other plugins have uses for .jsonl files of their own."""
    try:
        with path.open("rb") as file:
            return file.read(len(_FIRST_BYTES)) == _FIRST_BYTES
    except OSError:
        return False


def _items() -> Any:
    return importlib.import_module("aion_cli.testing.items")
