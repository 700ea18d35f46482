"""What an open run waits for, as data for people and scripts."""

from __future__ import annotations

from collections.abc import Mapping

from aion_cli.core import commands as cmd
from aion_cli.core.correlation import CorrelationKey
from aion_cli.core.status import Waiting, WaitKind


def describe_wait(wait: cmd.Wait, child_ids: Mapping[CorrelationKey, str]) -> Waiting:
    """Describe one wait. child_ids: the ids of recorded children by their keys."""
    command = wait.command
    match command:
        case cmd.RunActivity(activity_type=name):
            kind = WaitKind.ACTIVITY
        case cmd.StartTimer(key=key):
            kind, name = WaitKind.TIMER, str(key.timer_id)
        case cmd.SpawnChild(workflow_type=workflow_type):
            kind, name = WaitKind.CHILD, child_ids.get(command.key, workflow_type)
        case cmd.SendSignal(target_workflow_id=name):
            kind = WaitKind.SEND
        case cmd.AwaitSignal(key=key):
            kind, name = WaitKind.SIGNAL, key.name
        case _:
            kind, name = WaitKind.SIGNAL, type(command).__name__
    return Waiting(kind, name, wait.since, wait.deadline, command.source or None)
