"""Underway: what one live run has running, by the keys of its commands: tasks, timers that are set, children."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aion_cli.core import commands as cmd
from aion_cli.core import correlation
from aion_cli.core import events as ev
from aion_cli.core.correlation import CorrelationKey
from aion_cli.core.resolver import Resolver
from aion_cli.runtime.executor import ChildSuspendedError, LiveExecutor, SpawnedChild
from aion_cli.runtime.handoff import Identity
from aion_cli.runtime.lineage import closing_id

TAKING_TIME = (cmd.RunActivity, cmd.StartTimer, cmd.SendSignal, cmd.SpawnChild)
"""Commands that begin a live effect; the others are done once they are recorded."""


class Underway:
    """The tasks of handoffs, and what is known of the commands they are for."""

    def __init__(self, executor: LiveExecutor, identity: Identity, reopened: int) -> None:
        """reopened: seq of the run's last reopening, 0 if there was none."""
        self._reopened = reopened
        self._executor = executor
        self._identity = identity
        self._tasks: dict[CorrelationKey, asyncio.Task[Any]] = {}
        self._brief: set[asyncio.Task[Any]] = set()
        self._followed: dict[asyncio.Task[Any], Callable[[asyncio.Task[Any]], object]] = {}
        self._children: dict[CorrelationKey, SpawnedChild] = {}
        self._open: set[CorrelationKey] = set()
        self._activities: dict[CorrelationKey, int] = {}
        self._attempts: set[CorrelationKey] = set()
        self._due_at: dict[CorrelationKey, str] = {}

    def begin(self, command: cmd.AnyCommand, task: asyncio.Task[Any]) -> None:
        """Take note of a task that goes on with a handoff."""
        if not isinstance(command, TAKING_TIME):
            self._brief.add(task)
            return
        self._tasks[command.key] = task
        if isinstance(command, cmd.StartTimer):
            self._due_at[command.key] = command.fire_at

    def follow(self, task: asyncio.Task[Any], landed: Callable[[asyncio.Task[Any]], object]) -> None:
        """Have a function told when a task is done, unless it is handed over before."""
        self._followed[task] = landed
        task.add_done_callback(landed)

    def end(self, command: cmd.AnyCommand, task: asyncio.Task[Any]) -> None:
        """Forget a task that is done; a child that was only suspended is still open."""
        if self._tasks.get(command.key) is task:
            del self._tasks[command.key]
            self._activities.pop(command.key, None)
            self._attempts.discard(command.key)
            self._due_at.pop(command.key, None)
        self._brief.discard(task)
        self._followed.pop(task, None)
        if isinstance(command, cmd.SpawnChild) and not _was_suspended(task):  # one that was asked to cancel is open
            self._open.discard(command.key)

    def note_activity(self, key: CorrelationKey, seq: int) -> None:
        """Take note of where an activity is recorded as scheduled."""
        self._activities[key] = seq

    def note_attempt(self, event: ev.ActivityStarted | ev.ActivityFailed) -> None:
        """Take note that an attempt is recorded as begun, or as failed: between these it is under way."""
        key = correlation.Activity(event.activity_id)
        if isinstance(event, ev.ActivityStarted):
            self._attempts.add(key)
        else:
            self._attempts.discard(key)

    def is_attempting(self, key: CorrelationKey) -> bool:
        """Say whether an attempt of an activity is recorded as begun here, and what it came to is not."""
        return key in self._attempts

    def note_child(self, command: cmd.SpawnChild, event: ev.Event) -> SpawnedChild:
        """Take note of a child and of the event that recorded it."""
        assert isinstance(event, ev.ChildWorkflowStarted)
        command.recorded_as(event)
        parent = ev.ParentRef(self._identity.workflow_id, self._identity.run_id, event.seq)
        self._children[command.key] = child = SpawnedChild(command, event, parent)
        self._open.add(command.key)
        return child

    def attach(self, child: SpawnedChild, task: asyncio.Task[Any] | None) -> None:
        """Take note of an open child of an earlier run, and of the task that runs it, if it is run."""
        self._children[child.command.key] = child
        self._open.add(child.command.key)
        if task is not None:
            self._tasks[child.command.key] = task

    def child_of(self, key: CorrelationKey) -> SpawnedChild:
        """Return a child that was taken note of."""
        return self._children[key]

    def child_ids(self) -> dict[CorrelationKey, str]:
        """Return the ids of the children by their keys."""
        return {key: child.workflow_id for key, child in self._children.items()}

    def cancel(self, key: CorrelationKey) -> None:
        """Cancel what runs for a key; a child is asked through its inbox instead."""
        task = self._tasks.get(key)
        if task is not None and not isinstance(key, correlation.Child):
            task.cancel()

    def only_waits(self, present: str) -> bool:
        """Say whether all that runs waits: for timers or attempts not due at this instant, or in blocked children."""
        if self._brief:
            return False
        if not all(key in self._due_at or self._is_resting(key) or self._child_is_blocked(key) for key in self._tasks):
            return False
        return not self._due_at or min(self._due_at.values()) > present

    def _is_resting(self, key: CorrelationKey) -> bool:
        seq = self._activities.get(key)
        return seq is not None and self._executor.is_resting(self._identity.stable_id(seq))

    def _child_is_blocked(self, key: CorrelationKey) -> bool:
        child = self._children.get(key)
        return child is not None and self._executor.is_child_blocked(child)

    def in_flight(self) -> list[asyncio.Task[Any]]:
        """Return what is worth waiting for when the run stops; an activity between two attempts is not."""
        tasks = self._tasks.items()
        found = [task for key, task in tasks if isinstance(key, correlation.Child) or self.is_attempting(key)]
        return [*found, *self._brief]

    def all_tasks(self) -> set[asyncio.Task[Any]]:
        """Return the tasks of everything that runs."""
        return {*self._tasks.values(), *self._brief}

    def close_children(self, is_awaited: Callable[[cmd.AnyCommand], bool]) -> None:
        """Have the parent_close messages of open children accepted, before the parent's end is recorded.

        Those that are told to end and do not run here are run, to do so.
        """
        for child in self._open_children(is_awaited):
            self._executor.close_child(child, closing_id(child.parent.run_id, child.parent.seq, self._reopened))
            key = child.command.key
            if key not in self._tasks and child.event.parent_close is not ev.ParentClose.ABANDON:
                self._tasks[key] = task = asyncio.get_running_loop().create_task(self._executor.spawn_child(child))
                task.add_done_callback(_ignore_outcome)

    def keep_children(self, is_awaited: Callable[[cmd.AnyCommand], bool]) -> None:
        """See that open children have histories, before it is recorded that their parent continues as a new run."""
        for child in self._open_children(is_awaited):
            self._executor.keep_child(child)

    def _open_children(self, is_awaited: Callable[[cmd.AnyCommand], bool]) -> list[SpawnedChild]:
        return [child for key, child in self._children.items() if key in self._open or is_awaited(child.command)]

    def suspend_children(self) -> None:
        """Stop the children that run here, leaving them open."""
        for key in list(self._tasks):
            if isinstance(key, correlation.Child):
                self._executor.suspend_child(self._children[key])

    def leave_children(self) -> set[asyncio.Task[Any]]:
        """Suspend the children that this end of the run does not end; returns the tasks of all."""
        running = self._running_children()
        for key in running:
            child = self._children[key]
            if child.event.parent_close is ev.ParentClose.ABANDON:
                self._executor.suspend_child(child)
        return set(running.values())

    def hand_over_children(self) -> dict[str, asyncio.Task[Any]]:
        """Forget the children that run here, for the next run to go on with; returns their tasks, by workflow id."""
        running = self._running_children()
        for key, task in running.items():
            del self._tasks[key]
            if (landed := self._followed.pop(task, None)) is not None:
                task.remove_done_callback(landed)  # which would keep this run for as long as the child goes on
        return {self._children[key].workflow_id: task for key, task in running.items()}

    def _running_children(self) -> dict[CorrelationKey, asyncio.Task[Any]]:
        return {key: task for key, task in self._tasks.items() if isinstance(key, correlation.Child)}

    def repeat_cancellations(self, resolver: Resolver) -> None:
        """Cancel children again that history says were: a crash may have come before that was delivered."""
        for key, child in self._children.items():
            asked = resolver.half_done(key).withdrawn_by
            if asked is not None:
                self._executor.cancel_child(child, self._identity.stable_id(asked.seq))


def _was_suspended(task: asyncio.Task[Any]) -> bool:
    return not task.cancelled() and isinstance(task.exception(), ChildSuspendedError)


def _ignore_outcome(task: asyncio.Task[Any]) -> None:
    """Whether a child could be run to its end is its own business, once its parent has ended."""
    if not task.cancelled():
        task.exception()
