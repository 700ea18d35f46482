"""The beginning of a run: its first event, and making its history without working on it."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import clock as instants
from aion_cli.core import events as ev
from aion_cli.core.ids import RunName, check_workflow_id
from aion_cli.core.source import SourcePaths
from aion_cli.errors import OwnedElsewhereError
from aion_cli.runtime.codec import codec_from_environment
from aion_cli.runtime.files import FileTakenError
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.journal import Durability, JsonlStore
from aion_cli.runtime.loader import digest_of
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.recorder import stamped_from_start
from aion_cli.runtime.wall import Clock, instant
from aion_cli.version import VERSION

_LOOK_EVERY_S = 0.02


def first_event(
    definition: WorkflowDefinition[..., Any],
    workflow_id: str,
    input: msgspec.Raw,
    *,
    clock: Clock,
    paths: SourcePaths,
    tags: dict[str, str] | None = None,
    parent: ev.ParentRef | None = None,
) -> ev.WorkflowStarted:
    """Make the first event of a new run, unstamped. input: complete and validated."""
    file = Path(definition.file)
    return ev.WorkflowStarted(
        format=ev.FORMAT,
        workflow_id=workflow_id,
        run_id=fresh_run_id(clock),
        workflow_type=definition.name,
        input=input,
        parent=parent,
        definition=ev.DefinitionRef(
            module=definition.module,
            file=paths.shorten(definition.file),
            digest=digest_of(file) if file.is_file() else "",
        ),
        runtime=runtime_ref(),
        codec=codec_from_environment().name,
        tags=tags or {},
    )


def first_event_on_record(
    parent: ev.WorkflowStarted, child: ev.ChildWorkflowStarted, *, clock: Clock
) -> ev.WorkflowStarted:
    """Make the first event of a child from what its parent recorded of it, unstamped: for where no code is at hand.

    Its file is taken to be its parent's, which knew its code; as that code was not read, there is no digest.
    """
    return ev.WorkflowStarted(
        format=ev.FORMAT,
        workflow_id=child.child_workflow_id,
        run_id=fresh_run_id(clock),
        workflow_type=child.workflow_type,
        input=child.input,
        parent=ev.ParentRef(parent.workflow_id, parent.run_id, child.seq),
        definition=msgspec.structs.replace(parent.definition, digest=""),
        runtime=runtime_ref(),
        codec=parent.codec,
    )


def start_unowned(
    folder: HistoriesFolder,
    started: ev.WorkflowStarted,
    *,
    role: Role,
    clock: Clock,
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Make the history of a run that nobody works on, durably. Returns False if there is one of that workflow id.

    Many may try at once, and one of them makes it. wait_s: how long to wait for an owner that has made no history yet.
    Raises OwnedElsewhereError if it takes longer, UsageError if the id cannot be had.
    """
    workflow_id, begun = started.workflow_id, time.monotonic()
    while not folder.runs_of(workflow_id):
        try:
            with take(folder, workflow_id, role, wait_s=wait_s):
                return make_history(folder, started, clock=clock)
        except OwnedElsewhereError:
            # Who works on a run that is not there is about to make it, or to give up.
            if time.monotonic() - begun > wait_s:
                raise
            sleep(_LOOK_EVERY_S)
    return False


def make_history(
    folder: HistoriesFolder, started: ev.WorkflowStarted, *, clock: Clock, durability: Durability = Durability.FULL
) -> bool:
    """Make the history of a run, durably, whoever works on it. Returns False if there is one of that workflow id.

    Raises UsageError if the id cannot be had.
    """
    if folder.runs_of(started.workflow_id):
        return False
    folder.require_new(started.workflow_id)
    path = folder.history(RunName(started.workflow_id))
    try:
        JsonlStore.create(path, stamped_from_start([started], instant(clock)), folder.files, durability).close()
    except FileTakenError:  # a parent makes the history of its child without owning it
        return False
    return True


def runtime_ref() -> ev.RuntimeRef:
    """Say which versions write a first line."""
    return ev.RuntimeRef(aion=VERSION, python=sys.version.split()[0])


def fresh_run_id(clock: Clock) -> str:
    """Make a run id that sorts by time."""
    return f"{clock.micros():014x}{secrets.token_hex(5)}"


def fresh_workflow_id(name: str, clock: Clock) -> str:
    """Make a workflow id that sorts by time and says what it is a run of."""
    moment = instants.format_instant(clock.micros())
    stamp = moment[:19].replace("-", "").replace(":", "").replace("T", "-")
    return check_workflow_id(f"{name.lstrip('_.-')[:80] or 'run'}-{stamp}-{secrets.token_hex(2)}")
