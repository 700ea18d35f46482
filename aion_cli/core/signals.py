"""Signals as workflow code meets them: buffers by name, in file order, and those who wait for one.

One leaves its buffer when `receive` hands it to code. Waiters are first come first served; a cancelled `receive` takes
nothing, and passes a wake-up that it had got on to the next, as `asyncio.Queue.get` does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.loop import WorkflowFuture


class SignalHost(Protocol):
    """What the buffers need from the execution."""

    @property
    def is_over(self) -> bool:
        """Whether the code has ended."""
        ...

    def new_waiter(self) -> WorkflowFuture[None]:
        """Make a future of the workflow's loop. Raises RunClosed once the code has ended."""
        ...

    def begin_wait(self, at: key.Signal) -> cmd.Wait:
        """Emit AwaitSignal, and say since when and where code waits."""
        ...


class _Buffer:
    """The signals of one name that no code has taken, and the futures of code that waits."""

    def __init__(self) -> None:
        self.events: deque[ev.SignalReceived] = deque()
        self.waiters: deque[WorkflowFuture[None]] = deque()
        self.handed = 0

    def wake(self) -> None:
        """Wake the first waiter that still waits."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class SignalBuffers:
    """The signals of one run."""

    def __init__(self, host: SignalHost) -> None:
        self._host = host
        self._buffers: dict[str, _Buffer] = {}
        self._waits: dict[WorkflowFuture[None], cmd.Wait] = {}

    def deliver(self, event: ev.SignalReceived) -> None:
        """Buffer a signal, and wake who waits for it."""
        buffer = self._buffer(event.name)
        buffer.events.append(event)
        buffer.wake()

    async def receive(self, name: str) -> ev.SignalReceived:
        """Take the next signal of a name; waits if there is none. A `finally` of code that has ended takes none."""
        buffer = self._buffer(name)
        while not buffer.events or self._host.is_over:
            await self._arrival(name, buffer)
        buffer.handed += 1
        return buffer.events.popleft()

    async def _arrival(self, name: str, buffer: _Buffer) -> None:
        waiter = self._host.new_waiter()
        wait = self._host.begin_wait(key.Signal(name, buffer.handed + len(buffer.waiters)))
        buffer.waiters.append(waiter)
        self._waits[waiter] = wait
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in buffer.waiters:
                buffer.waiters.remove(waiter)
            elif buffer.events:
                buffer.wake()
            raise
        finally:
            self._waits.pop(waiter, None)

    def pending(self, name: str) -> int:
        """Return how many signals of a name have arrived that no code has taken."""
        return len(self._buffer(name).events)

    def unconsumed(self) -> list[ev.SignalReceived]:
        """Return the signals that no code has taken, in file order."""
        found = [event for buffer in self._buffers.values() for event in buffer.events]
        return sorted(found, key=lambda event: event.seq)

    def waits(self) -> list[cmd.Wait]:
        """Return what code waits for, in the order in which it began to."""
        return list(self._waits.values())

    def _buffer(self, name: str) -> _Buffer:
        return self._buffers.setdefault(name, _Buffer())
