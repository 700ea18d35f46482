"""Intake: the owner's view of its mailbox, from a message that is listed to its removal once history holds it."""

from __future__ import annotations

from aion_cli.runtime.inbox import Message, MessageId, message_id
from aion_cli.runtime.mailbox import Mailbox


class Intake:
    """Hands out each message once. known_ids: of the messages that the history holds; grows with those handed out."""

    def __init__(self, mailbox: Mailbox, known_ids: set[MessageId]) -> None:
        self._mailbox = mailbox
        self._known_ids = known_ids
        self._under_way: set[str] = set()
        self._staged: list[str] = []

    def fresh(self) -> list[Message]:
        """Return messages that were not handed out before. Repeats of what history holds are removed on the way."""
        found: list[Message] = []
        known: list[str] = []
        for message in self._mailbox.list():
            if message.name in self._under_way:
                continue
            identity = message_id(message.event)
            if identity is not None and identity in self._known_ids:
                known.append(message.name)
                continue
            if identity is not None:
                self._known_ids.add(identity)
            self._under_way.add(message.name)
            found.append(message)
        if known:
            self._mailbox.remove(known)
        return found

    def staged(self, name: str) -> None:
        """Take note that the next commit records a message."""
        self._staged.append(name)

    def remove_staged(self) -> None:
        """Remove what has been recorded, after the commit."""
        if self._staged:
            self._mailbox.remove(self._staged)
            self._under_way.difference_update(self._staged)
            self._staged = []
