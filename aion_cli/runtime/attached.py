"""Children that outlive the run that started them: their parent continued as a new run, which goes on with them.

They stay attached to the workflow id. The new run awaits none of them, and records nothing of what they come to; it
runs them, and what their parent_close says is done to them when the last run of the id ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.runtime.executor import SpawnedChild

RunningChildren = Mapping[str, asyncio.Task[Any]]
"""Tasks that run children, by workflow id, as one run leaves them to the next."""


def as_spawned(
    child: ev.AttachedChild, position: int, parent_id: str, first: ev.WorkflowStarted, target: Any
) -> SpawnedChild:
    """Describe an attached child as if the run had spawned it. position: among those that it took over, from 0.

    parent_id: its parent's workflow id. first: its own first event. target: its code. Its key is one that no command
    of the run has, since ordinals are not negative.
    """
    ordinal = -1 - position
    command = cmd.SpawnChild(
        key=key.Child(ordinal),
        workflow_type=first.workflow_type,
        input=first.input,
        target=target,
        workflow_id=child.workflow_id,
        parent_close=child.parent_close,
    )
    event = ev.ChildWorkflowStarted(
        seq=child.seq,
        ordinal=ordinal,
        child_workflow_id=child.workflow_id,
        workflow_type=first.workflow_type,
        input=first.input,
        parent_close=child.parent_close,
    )
    return SpawnedChild(command, event, ev.ParentRef(parent_id, child.run_id, child.seq))
