"""The owner's end of the inbox, on the event loop of the process: it notices messages, and lists and removes them.

A ring of the doorbell is noticed at once. The inbox is looked at every 250 ms anyway, which alone is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from aion_cli.runtime.files import Doorbell
from aion_cli.runtime.inbox import Inbox, Message

LOOK_EVERY_S = 0.25


class Mailbox(Protocol):
    """Messages to one run, for its owner. Tests bring one in memory."""

    def listen(self, on_message: Callable[[], None]) -> None:
        """Call on_message, from the running loop, whenever there may be something new."""
        ...

    def look(self) -> None:
        """Call on_message soon."""
        ...

    def list(self) -> list[Message]:
        """Return the messages in their order."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove messages that the history holds."""
        ...

    def locked(self) -> AbstractContextManager[None]:
        """While this is held, nothing is accepted."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class InboxMailbox:
    """A mailbox over an inbox directory.

    settle: brings the history to the disk. A message is there, whatever durability the owner chose: its sender was told
    so. It is not removed before the history that holds it is there, too.
    """

    def __init__(self, inbox: Inbox, settle: Callable[[], None]) -> None:
        self._inbox = inbox
        self._settle = settle
        self._bell: Doorbell | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_message: Callable[[], None] = _nobody

    def listen(self, on_message: Callable[[], None]) -> None:
        """Notice messages from now on; see Mailbox."""
        self._on_message = on_message
        loop = asyncio.get_running_loop()
        self._bell = self._inbox.open_doorbell()
        if self._bell is not None:
            loop.add_reader(self._bell.fileno(), self._rung)
        self._timer = loop.call_later(LOOK_EVERY_S, self._look_again)

    def _rung(self) -> None:
        if self._bell is not None:
            self._bell.silence()
        self._on_message()

    def _look_again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_again)
        self._on_message()

    def look(self) -> None:
        """Call on_message soon; see Mailbox."""
        asyncio.get_running_loop().call_soon(self._on_message)

    def list(self) -> list[Message]:
        """Return the messages in their order; see Mailbox."""
        return self._inbox.list()

    def remove(self, names: Iterable[str]) -> None:
        """Remove messages that the history holds; see Mailbox."""
        self._settle()
        self._inbox.remove(names)

    def locked(self) -> AbstractContextManager[None]:
        """Keep others from having messages accepted; see Mailbox."""
        return self._inbox.locked()

    def close(self) -> None:
        """Stop listening; see Mailbox."""
        self._on_message = _nobody
        if self._timer is not None:
            self._timer.cancel()
        if self._bell is not None:
            asyncio.get_running_loop().remove_reader(self._bell.fileno())
            self._bell.close()
            self._bell = None


def _nobody() -> None:
    """Nobody listens."""
