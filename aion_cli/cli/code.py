"""Finding the code of a recorded run, for commands that name only a RUN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli.settings import Settings
from aion_cli.cli.telling import connect_output
from aion_cli.core import events as ev
from aion_cli.runtime.loader import load_for_history, load_for_type


def code_of(settings: Settings, started: ev.WorkflowStarted, target: str | None) -> WorkflowDefinition[..., Any]:
    """Return the workflow that a run is of: the one the user names, else the one of its recorded type.

    Raises WorkflowCodeError if there is no code for it.
    """
    cwd = Path.cwd()
    if target is not None:
        return load_for_type(target, started.workflow_type, settings.workflows, cwd)
    return load_for_history(started.workflow_type, started.definition.file, settings.workflows, cwd)


class CodeFinder:
    """Finds the code of many runs to replay; what several of them are of is looked up once.

    What it prints while it is replayed is only shown with --verbose, or if show_output.
    """

    def __init__(self, settings: Settings, target: str | None, *, show_output: bool = False) -> None:
        self._shows_output = show_output or settings.verbose
        self._settings = settings
        self._target = target
        self._found: dict[tuple[str, str], WorkflowDefinition[..., Any]] = {}

    def code_of(self, started: ev.WorkflowStarted) -> WorkflowDefinition[..., Any]:
        """Return the workflow that a run is of; see code_of."""
        key = (started.workflow_type, started.definition.file)
        if key not in self._found:
            self._found[key] = code_of(self._settings, started, self._target)
            connect_output(show_replay=self._shows_output)
        return self._found[key]
