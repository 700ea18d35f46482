"""Finding the code of a recorded run, for commands that name only a RUN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli.settings import Settings
from aion_cli.core import events as ev
from aion_cli.runtime.loader import load_for_history, load_target


def code_of(settings: Settings, started: ev.WorkflowStarted, target: str | None) -> WorkflowDefinition[..., Any]:
    """Return the workflow that a run is of: the one the user names, else the one of its recorded type.

    Raises WorkflowCodeError if there is no code for it.
    """
    cwd = Path.cwd()
    if target is not None:
        return load_target(target, settings.workflows, cwd)
    return load_for_history(started.workflow_type, started.definition.file, settings.workflows, cwd)
