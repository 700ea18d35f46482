"""What an open run waits for, as data for people and scripts.

Code waits for answers to commands, for signals and for conditions. The last two leave no event, so that what a history
alone tells (`core.status`) is less than what the code tells that it was replayed with. Where it waits for none of them,
only its own code can go on with it, and the lines where its tasks wait are all that there is to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.clock import format_instant, parse_instant
from aion_cli.core.correlation import CorrelationKey
from aion_cli.core.execution import Execution
from aion_cli.core.replay import Boundary, Replay
from aion_cli.core.status import Waiting, WaitKind

_MICROSECONDS = 1_000_000
_MOST_FUTURES = 20


def closes_at(boundary: Boundary, timeout_s: float | None) -> int | None:
    """Return when the time of a run is up, in microseconds since the epoch; None if it has no end."""
    return None if timeout_s is None else parse_instant(boundary.opened_at) + round(timeout_s * _MICROSECONDS)


def waits_of(
    execution: Execution, child_ids: Mapping[CorrelationKey, str], boundary: Boundary, timeout_s: float | None
) -> list[Waiting]:
    """Describe everything that a run waits for.

    Answers in the order of asking, then signals, then conditions, then the end of the time that it has. Futures only
    where there is none of the first three.
    """
    found = [describe_wait(wait, child_ids) for wait in execution.waits()] + conditions_of(execution)
    found = found or futures_of(execution)
    end = closes_at(boundary, timeout_s)
    if end is not None:
        found.append(Waiting(WaitKind.TIMEOUT, "", boundary.opened_at, deadline=format_instant(end)))
    return found


def conditions_of(execution: Execution) -> list[Waiting]:
    """Describe what code waits for with `wait_until`."""
    waiting = execution.conditions.waiting()
    return [Waiting(WaitKind.CONDITION, "", one.since, where=one.where or None) for one in waiting]


def futures_of(execution: Execution) -> list[Waiting]:
    """Describe where the tasks of code wait that waits for nothing else: one task a line, and not too many."""
    if execution.is_over:
        return []
    tasks: dict[str, tuple[str, str]] = {}
    for name, where in execution.awaits():
        tasks.setdefault(where or name, (name, where))
    found = [
        Waiting(WaitKind.FUTURE, name, execution.context.instant, where=where or None) for name, where in tasks.values()
    ]
    return found[:_MOST_FUTURES]


def awaited_messages(execution: Execution) -> list[Waiting]:
    """Describe what leaves no event, and so has to be said: signals and conditions, or futures if that is all."""
    found = [describe_wait(wait, {}) for wait in execution.signals.waits()] + conditions_of(execution)
    return found or ([] if execution.waits() else futures_of(execution))


def waits_at_end(replay: Replay, boundary: Boundary, timeout_s: float | None, recorded: list[Waiting]) -> list[Waiting]:
    """Describe what a run waits for where its replay has ended. recorded: what the history alone tells."""
    return with_retries(waits_of(replay.execution, _child_ids(replay), boundary, timeout_s), recorded)


def with_retries(waits: list[Waiting], recorded: list[Waiting]) -> list[Waiting]:
    """Return waits of code with what the history alone knows: which activity is between attempts, and until when.

    Both have the activities in the order in which they were asked for; the code may have asked for more than is
    recorded.
    """
    activities = iter([wait for wait in recorded if wait.kind in (WaitKind.ACTIVITY, WaitKind.RETRY)])
    return [_as_recorded(wait, activities) if wait.kind is WaitKind.ACTIVITY else wait for wait in waits]


def _child_ids(replay: Replay) -> dict[CorrelationKey, str]:
    ids: dict[CorrelationKey, str] = {}
    for wait in replay.execution.waits():
        begun = replay.resolver.half_done(wait.command.key).begun
        if isinstance(begun, ev.ChildWorkflowStarted):
            ids[wait.command.key] = begun.child_workflow_id
    return ids


def _as_recorded(wait: Waiting, activities: Iterator[Waiting]) -> Waiting:
    found = next(activities, wait)
    return msgspec.structs.replace(found, where=wait.where) if found.name == wait.name else wait


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
