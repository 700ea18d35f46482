"""What the pytest plugin collects: a history is a file with one test, that the code of its workflow replays it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aion_cli.cli import render
from aion_cli.cli.audit import Auditor
from aion_cli.cli.code import CodeFinder
from aion_cli.cli.named import Named, histories_at
from aion_cli.cli.settings import Settings
from aion_cli.errors import AionError
from aion_cli.runtime.files import Files

__all__ = ["HistoryFile", "HistoryItem", "histories_at", "history_file"]

_auditor = pytest.StashKey[Auditor]()


class HistoryFile(pytest.File):
    """One `.jsonl` file."""

    def collect(self) -> Iterator[HistoryItem]:
        """Yield its one test."""
        yield HistoryItem.from_parent(self, name="replay")  # pyright: ignore[reportUnknownMemberType]  # pytest leaves its keywords untyped


def history_file(parent: pytest.Collector, path: Path) -> HistoryFile:
    """Make the collector of a history, wherever it lies: below the root of the tests its id is what pytest makes it."""
    root = parent.config.rootpath
    if path.is_relative_to(root):
        return HistoryFile.from_parent(parent, path=path)  # pyright: ignore[reportUnknownMemberType]  # see above
    # pytest would leave the id of a file empty that was named and lies elsewhere, and a report would not say which.
    elsewhere = Path(os.path.relpath(path, root)).as_posix()
    return HistoryFile.from_parent(parent, path=path, nodeid=elsewhere)  # pyright: ignore[reportUnknownMemberType]  # see above


class HistoryItem(pytest.Item):
    """The audit of one history, as `aion replay` makes it."""

    def runtest(self) -> None:
        """Replay the history. Raises what is wrong with it, an AionError."""
        # Made when it is first needed, and shared: it keeps the code that it has found.
        settings = _settings(self.config)
        auditor = self.config.stash.setdefault(_auditor, Auditor(CodeFinder(settings, None), Files()))
        path = _from_here(self.path)
        audit = auditor.audit(Named(str(path), path))
        if audit.error is not None:
            raise audit.error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Tell what is wrong in the words of `aion replay`: nothing of how it was found."""
        if isinstance(excinfo.value, AionError):
            return render.error_text(excinfo.value, _settings(self.config))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the file, and the title of a report on it."""
        return self.path, None, f"replay of {_from_here(self.path)}"


def _settings(config: pytest.Config) -> Settings:
    """Return what the command line would have: the workflows folder of the configuration, else that of the command."""
    configured = str(config.getini("aion_workflows"))
    base = config.rootpath if config.inipath is None else config.inipath.parent
    workflows = base / (configured or os.environ.get("AION_WORKFLOWS") or "workflows")
    return Settings(histories=Path("histories"), workflows=_from_here(workflows))


def _from_here(path: Path) -> Path:
    """Return a path as a person would write it: relative to the current directory if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
