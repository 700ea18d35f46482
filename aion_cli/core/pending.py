"""The commands of one run: emitted in this activation, and open until their answer comes.

A command has an ordinal of its kind, counted from 0. One that is withdrawn in the activation that emitted it writes
nothing, and its ordinal stays used; one that is withdrawn later is followed by the command that takes it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core.loop import WorkflowFuture, WorkflowLoop
from aion_cli.errors import AionError, HistoryShapeError, PayloadError

Decoder = Callable[[msgspec.Raw], Any]


class UndecodableResultError(Exception):
    """A recorded answer does not fit the type that today's code declares for it."""

    def __init__(self, command: cmd.AnyCommand, error: PayloadError) -> None:
        super().__init__(str(error))
        self.command = command
        self.error = error


class _Pending(msgspec.Struct):
    """An open command: where its answer goes, and how it is read. future None: a timer, which is a loop handle."""

    command: cmd.AnyCommand
    since: str
    future: asyncio.Future[Any] | None
    decode: Decoder


class CommandFuture(WorkflowFuture[Any]):
    """The answer to a command. Cancelling it withdraws the command. withdraw: how, once it is asked for."""

    withdraw: Callable[[], None]

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.withdraw()
        return cancelled


class OpenCommands:
    """What the code asked for. loop: makes the futures of answers."""

    def __init__(self, loop: WorkflowLoop) -> None:
        self._loop = loop
        self._emitted: dict[Any, cmd.AnyCommand] = {}
        self._open: dict[key.CorrelationKey, _Pending] = {}
        self._counters: dict[type[Any], int] = {key.Activity: 0, key.Timer: 0, key.Child: 0, key.Send: 0}
        self.frozen = False

    def next_ordinal(self, kind: type[key.Activity | key.Timer | key.Child | key.Send]) -> int:
        """Use up an ordinal."""
        number = self._counters[kind]
        self._counters[kind] = number + 1
        return number

    def emit(self, command: cmd.AnyCommand) -> None:
        """Hand a command out with this activation; once the code has ended, its end alone."""
        if self.frozen and not isinstance(command, cmd.CompleteWorkflow):
            return
        begins = isinstance(command, cmd.BEGINNING)
        # What begins something is found again by its key, so that it can be retracted.
        self._emitted[command.key if begins else (type(command), command.key)] = command

    def count_emitted(self) -> int:
        """Count the commands of this activation that leave an event."""
        return sum(not isinstance(command, cmd.LEAVING_NO_EVENT) for command in self._emitted.values())

    def take(self) -> list[cmd.AnyCommand]:
        """Hand out the commands of this activation, in the order in which they were emitted."""
        commands = list(self._emitted.values())
        self._emitted.clear()
        return commands

    def ask(
        self, command: cmd.AnyCommand, since: str, decode: Decoder, withdrawal: type[Any] | None
    ) -> asyncio.Future[Any]:
        """Emit a command, and return the future of its answer. withdrawal: the command that takes it back, if any."""
        future = CommandFuture(loop=self._loop)
        future.withdraw = lambda: self.withdraw(command.key, withdrawal)
        if not self.frozen:
            self._open[command.key] = _Pending(command, since, future, decode)
            self.emit(command)
        return future

    def ask_timer(self, command: cmd.StartTimer, since: str) -> None:
        """Emit a timer; its answer is a handle of the loop."""
        self._open[command.key] = _Pending(command, since, None, bytes)
        self.emit(command)

    def withdraw(self, at: key.CorrelationKey, withdrawal: type[Any] | None) -> None:
        """Take a command back, unless the code has ended: then the end takes everything back."""
        if self.frozen:
            return
        pending = self._open.pop(at, None)
        if pending is None:
            return
        if self._emitted.pop(at, None) is not None:
            self._emitted.pop((cmd.AwaitChild, at), None)
        elif withdrawal is not None:
            self.emit(withdrawal(key=at, source=pending.command.source))

    def close(self, at: key.CorrelationKey) -> _Pending | None:
        """Take an open command; None if it was withdrawn. Raises HistoryShapeError if it was never asked for."""
        pending = self._open.pop(at, None)
        if pending is None and not self._was_asked(at):
            raise HistoryShapeError(f"the history answers {at}, which the code never asked for")
        return pending

    def _was_asked(self, at: key.CorrelationKey) -> bool:
        match at:
            case key.Activity(ordinal=n) | key.Timer(timer_id=n) | key.Child(ordinal=n) | key.Send(ordinal=n):
                return n < self._counters[type(at)]
            case _:
                return False

    def answer(self, at: key.CorrelationKey, raw: msgspec.Raw) -> None:
        """Give the code its answer. Raises UndecodableResultError if it does not fit the type of today."""
        pending = self.close(at)
        if pending is None or pending.future is None or pending.future.done():
            return
        try:
            value = pending.decode(raw)
        except PayloadError as error:
            raise UndecodableResultError(pending.command, error) from error
        pending.future.set_result(value)

    def reject(self, at: key.CorrelationKey, error: AionError) -> None:
        """Give the code an error for an answer."""
        pending = self.close(at)
        if pending is not None and pending.future is not None and not pending.future.done():
            pending.future.set_exception(error)

    def is_open(self, at: key.CorrelationKey | None) -> bool:
        """Say whether the answer to a command is still awaited."""
        return at in self._open

    def waits(self) -> list[cmd.Wait]:
        """Return the open commands, in the order of asking."""
        return [_wait(item) for item in self._open.values()]


def _wait(pending: _Pending) -> cmd.Wait:
    command = pending.command
    deadline = command.fire_at if isinstance(command, cmd.StartTimer) else None
    return cmd.Wait(command, pending.since, deadline)
