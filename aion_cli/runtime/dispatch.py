"""Dispatch: which handoffs go on once what they staged is on disk, and which are held or dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core.execution import Execution, Phase
from aion_cli.runtime.handoff import HandoffOutcome
from aion_cli.runtime.underway import TAKING_TIME, Underway
from aion_cli.runtime.unwinding import Unwinding

Outcome = HandoffOutcome.Resolved | HandoffOutcome.WorkflowCompleted


class Leg(msgspec.Struct):
    """A handoff that has staged what it had to, and waits for the disk."""

    command: cmd.AnyCommand
    handoff: Coroutine[Any, Any, Outcome]


class Dispatch:
    """The second legs of the handoffs of one live run. Made inside the running loop.

    A stop and the end of the run drop them, a pause holds them; but an attempt that is recorded as begun does begin, so
    that no history tells of one that was never made. landed: told of each task when it is done.
    """

    def __init__(
        self,
        execution: Execution,
        underway: Underway,
        unwinding: Unwinding,
        *,
        landed: Callable[[cmd.AnyCommand, asyncio.Task[Outcome]], None],
        paused: bool,
    ) -> None:
        self._execution = execution
        self._underway = underway
        self._unwinding = unwinding
        self._landed = landed
        self._loop = asyncio.get_running_loop()
        self._legs: list[Leg] = []
        self._held: list[Leg] = []
        self.is_paused = paused

    @property
    def may_start(self) -> bool:
        """Whether a live effect may begin now."""
        return self._execution.phase is Phase.RUNNING and not self._unwinding.has_begun and not self.is_paused

    @property
    def has_unconfirmed(self) -> bool:
        """Whether a handoff waits for the disk."""
        return bool(self._legs)

    def add(self, command: cmd.AnyCommand, handoff: Coroutine[Any, Any, Outcome]) -> None:
        """Take a handoff that waits for the next commit."""
        self._legs.append(Leg(command, handoff))

    def launch(self) -> bool:
        """After a commit: let what waited for it act, if it is to. Returns whether that begins an activity."""
        legs, self._legs = self._legs, []
        began_activity = False
        for leg in legs:
            began_activity |= self._launch(leg) and isinstance(leg.command, cmd.RunActivity)
        return began_activity

    def _launch(self, leg: Leg) -> bool:
        if isinstance(leg.command, TAKING_TIME):
            if not self._is_to_start(leg.command):
                leg.handoff.close()
                return False
            if self.is_paused and not self._goes_on_while_paused(leg.command):
                self._held.append(leg)
                return False
        task = self._loop.create_task(leg.handoff)
        self._underway.begin(leg.command, task)
        self._underway.follow(task, lambda done: self._landed(leg.command, done))
        return True

    def _goes_on_while_paused(self, command: cmd.AnyCommand) -> bool:
        return isinstance(command, cmd.StartTimer) or self._underway.is_attempting(command.key)

    def _is_to_start(self, command: cmd.AnyCommand) -> bool:
        """A recorded child or send goes on even if code waits for it no more; nothing else does."""
        if self._execution.phase is not Phase.RUNNING:
            return False
        if self._unwinding.has_begun and not self._underway.is_attempting(command.key):
            return False
        return self._execution.is_awaited(command) or isinstance(command, cmd.SpawnChild | cmd.SendSignal)

    def pause(self) -> None:
        """Hold what begins something from now on; timers go on."""
        self.is_paused = True

    def resume(self) -> None:
        """Let what was held go on with the next commit."""
        self.is_paused = False
        self._legs += self._held
        self._held = []

    def close(self) -> None:
        """Drop all handoffs that have not gone on."""
        for leg in [*self._legs, *self._held]:
            leg.handoff.close()
