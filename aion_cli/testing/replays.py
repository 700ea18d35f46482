"""`assert_replays`: recorded histories against today's code of one workflow, as a test. It touches nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import render
from aion_cli.cli.audit import Audit, Auditor
from aion_cli.cli.named import Named, each_once, histories_at
from aion_cli.cli.settings import Settings
from aion_cli.cli.terminal import visible
from aion_cli.cli.verdicts import finding_of
from aion_cli.core import events as ev
from aion_cli.errors import AionError, NoSuchRunError, UsageError
from aion_cli.runtime.files import Files
from aion_cli.runtime.reading import read_first_event

_SETTINGS = Settings(Path("histories"), Path("workflows"))


def assert_replays(
    workflow: WorkflowDefinition[..., Any], histories: str | os.PathLike[str], *more: str | os.PathLike[str]
) -> None:
    """Replay recorded histories of a workflow: fail unless its code still does what they say.

    histories, more: `.jsonl` files, globs, and folders with all that is below them; relative to the current directory.
    What a glob or a folder holds of other workflows is passed over, since a child's history lies beside its parent's.

    Raises AssertionError with the message of `aion replay` for the first history that diverges or is damaged, and the
    names of the others; also if one of these words names no history, or none of this workflow.
    """
    __tracebackhide__ = True
    words = [os.fspath(word) for word in (histories, *more)]
    try:
        found = each_once(named for word in words for named in _of_workflow(workflow, word))
    except AionError as error:
        raise AssertionError(render.error_text(error, _SETTINGS)) from None
    auditor = Auditor(_OneWorkflow(workflow), Files())
    failed = [audit for audit in map(auditor.audit, found) if audit.error is not None]
    if failed:
        raise AssertionError(_told(failed))


class _OneWorkflow:
    """The code of every run, which is known to be of it."""

    def __init__(self, workflow: WorkflowDefinition[..., Any]) -> None:
        self._workflow = workflow

    def code_of(self, started: ev.WorkflowStarted) -> WorkflowDefinition[..., Any]:
        del started
        return self._workflow


def _of_workflow(workflow: WorkflowDefinition[..., Any], word: str) -> list[Named]:
    """Return the histories of a workflow that a word names. Raises NoSuchRunError or UsageError if there are none."""
    chosen: list[Named] = []
    others: set[str] = set()
    for named in histories_at(word):
        if isinstance(named.found, AionError):
            raise named.found
        recorded = _recorded_type(named.found)
        if recorded in (None, workflow.name):
            chosen.append(named)
        elif recorded:
            others.add(recorded)
    if chosen:
        return chosen
    if not others:
        raise NoSuchRunError(word, hint="what is there holds no run yet")
    raise UsageError(
        f"{word} holds no run of the workflow {workflow.name}, but of {', '.join(sorted(others))}",
        where=(f"{workflow.file}:{workflow.line}",),
        hint='a workflow that was renamed keeps the name that its histories know: @workflow(name="…")',
    )


def _recorded_type(path: Path) -> str | None:
    """Return the type of a recorded run; "" for a file without a run, None for one of which the audit has to tell."""
    try:
        return read_first_event(path).workflow_type
    except NoSuchRunError:
        return ""
    except AionError:
        return None


def _told(failed: Iterable[Audit]) -> str:
    """Explain the first, and name the others: of many divergences most are the same change of the code."""
    texts: list[str] = []
    for audit in failed:
        assert audit.error is not None
        if not texts:
            texts.append(render.error_text(audit.error, _SETTINGS))
        else:
            texts.append(f"  also {finding_of(audit.error)}: {visible(audit.run)}")
    return "\n".join(texts)
