"""Closing: the terminal event of a run is appended under the inbox lock, once the inbox is empty.

So no message is accepted that nobody will ever look at; and what an open child has to be told about the end of its
parent is accepted before that end is recorded.
"""

from __future__ import annotations

from typing import Protocol

from aion_cli.core import events as ev
from aion_cli.core.execution import Execution, Phase
from aion_cli.runtime.mailbox import Mailbox
from aion_cli.runtime.underway import Underway


class Ending(Protocol):
    """What closing a run needs of it."""

    @property
    def terminal(self) -> ev.Event | None:
        """The terminal event, once there is one."""
        ...

    def append(self, event: ev.Event) -> ev.Event:
        """Record an event at once, with all that waits to be; it is on disk on return, and nobody is told of it yet."""
        ...

    def follow_up(self) -> None:
        """Let what was recorded have its effects: whoever waits for it is told."""
        ...

    def take_in(self) -> None:
        """Record and apply the messages in the inbox."""
        ...


class Closing:
    """Closes one live run."""

    def __init__(self, run: Ending, execution: Execution, underway: Underway, mailbox: Mailbox) -> None:
        self._run = run
        self._execution = execution
        self._underway = underway
        self._mailbox = mailbox

    def close(self, event: ev.Event) -> ev.Event:
        """Record how the code ended; returns the terminal event, which is a termination if one came first."""
        if isinstance(event, ev.WorkflowContinuedAsNew):
            self._underway.keep_children(self._execution.is_awaited)
        else:
            self._underway.close_children(self._execution.is_awaited)
        while (stamped := self._append_last(event)) is None:
            pass
        return stamped

    def time_out(self, event: ev.WorkflowTimedOut) -> None:
        """Record that the time of the run is up, unless its code ends with what is in the inbox."""
        self._run.take_in()
        if self._execution.phase is not Phase.RUNNING:
            return
        self._underway.close_children(self._execution.is_awaited)
        self._execution.close()
        while self._append_last(event) is None:
            pass

    def _append_last(self, event: ev.Event) -> ev.Event | None:
        """Append a terminal event while the inbox is empty and locked; else take what is in it, and return None."""
        if self._run.terminal is not None:
            return self._run.terminal
        stamped: ev.Event | None = None
        with self._mailbox.locked():
            if not self._mailbox.list():
                stamped = self._run.append(event)
        if stamped is None:
            self._run.take_in()
        else:
            self._run.follow_up()  # without the lock: a listener may be slow, and senders wait for it
        return stamped
