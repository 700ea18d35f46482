"""A mailbox in memory: messages to one run that are accepted, and not in its history yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from aion_cli.runtime.inbox import Message


class MemoryMailbox:
    """Implements `runtime.mailbox.Mailbox`. messages: accepted before. on_remove: told what history holds by now."""

    def __init__(self, messages: Iterable[Message], on_remove: Callable[[list[str]], None]) -> None:
        self._messages = list(messages)
        self._on_remove = on_remove
        self._on_message: Callable[[], None] | None = None
        self._is_locked = False

    def accept(self, message: Message) -> None:
        """Take a message. A later one of the same sender never comes before an earlier one."""
        assert not self._is_locked, "nothing is accepted while the inbox is locked"
        self._messages.append(message)
        self.look()

    def listen(self, on_message: Callable[[], None]) -> None:
        """Notice messages from now on; see Mailbox."""
        self._on_message = on_message

    def look(self) -> None:
        """Call on_message soon; see Mailbox."""
        if self._on_message is not None:
            asyncio.get_running_loop().call_soon(self._notice)

    def _notice(self) -> None:
        if self._on_message is not None:
            self._on_message()

    def list(self) -> list[Message]:
        """Return the messages in their order; see Mailbox."""
        return list(self._messages)

    def remove(self, names: Iterable[str]) -> None:
        """Remove messages that the history holds; see Mailbox."""
        gone = list(names)
        self._messages = [message for message in self._messages if message.name not in gone]
        self._on_remove(gone)

    @contextmanager
    def locked(self) -> Generator[None]:
        """While this is held, nothing is accepted; see Mailbox."""
        self._is_locked = True
        try:
            yield
        finally:
            self._is_locked = False

    def close(self) -> None:
        """Stop listening; see Mailbox."""
        self._on_message = None
