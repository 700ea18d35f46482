"""Queries and updates: functions that workflow code offers to those outside.

A query is answered by calling it; it may look and not touch. An update runs as a task of the workflow and is answered
by its return value, in the step in which it returns. One that arrives before its handler is declared waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.source import Site
from aion_cli.errors import ContinueAsNew, UsageError

_CANNOT_CONTINUE = "an update cannot continue its run as new; let it change what the workflow waits for, which can"


class QueryHandler(Protocol):
    """A query as an author declared it."""

    def answer(self, args: msgspec.Raw | None) -> msgspec.Raw:
        """Decode the arguments (None: none were given), call the function, encode what it returns.

        Raises PayloadError, or what the function raises.
        """
        ...


class UpdateHandler(Protocol):
    """An update as an author declared it."""

    site: Site
    """Where the author wrote it."""

    def accept(self, args: msgspec.Raw) -> Coroutine[Any, Any, msgspec.Raw]:
        """Decode and validate the arguments, and make the coroutine that does it and encodes the answer.

        Raises PayloadError, or what the validator raises: then the update is rejected.
        """
        ...

    def reencode_result(self, recorded: msgspec.Raw) -> msgspec.Raw:
        """Decode a recorded answer with today's type and encode it again. Raises PayloadError if it does not fit."""
        ...


class UpdateHost(Protocol):
    """What updates need from the execution."""

    @property
    def is_over(self) -> bool:
        """Whether the code has ended, or was closed."""
        ...

    def start_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> None: ...

    def answer_update(self, update_id: str, result: msgspec.Raw, handler: UpdateHandler) -> None: ...

    def fail_update(
        self, update_id: str, error: BaseException, site: Site, kind: ev.ErrorKind | None = None
    ) -> None: ...


class Handlers:
    """What one run offers."""

    def __init__(self, host: UpdateHost) -> None:
        self._host = host
        self.queries: dict[str, QueryHandler] = {}
        self._updates: dict[str, UpdateHandler] = {}
        self._unanswered: dict[str, ev.UpdateRequested] = {}
        self._early: dict[str, list[ev.UpdateRequested]] = {}

    @property
    def update_names(self) -> list[str]:
        """The updates that are declared by now."""
        return sorted(self._updates)

    def update(self, name: str) -> UpdateHandler | None:
        """Return the handler of an update, if it is declared by now."""
        return self._updates.get(name)

    def declare_update(self, name: str, handler: UpdateHandler) -> None:
        """Offer an update; those that came early are begun, in their order."""
        self._updates[name] = handler
        for event in self._early.pop(name, []):
            self._begin(event, handler)

    def request(self, event: ev.UpdateRequested) -> None:
        """Begin an update, or keep it until its handler is declared."""
        self._unanswered[event.update_id] = event
        handler = self._updates.get(event.name)
        if handler is None:
            self._early.setdefault(event.name, []).append(event)
        else:
            self._begin(event, handler)

    def unanswered(self) -> list[ev.UpdateRequested]:
        """Return the updates without an answer, in file order."""
        return sorted(self._unanswered.values(), key=lambda event: event.seq)

    def _begin(self, event: ev.UpdateRequested, handler: UpdateHandler) -> None:
        self._host.start_task(self._run(event, handler), f"update {event.name}")

    async def _run(self, event: ev.UpdateRequested, handler: UpdateHandler) -> None:
        accept: Callable[[msgspec.Raw], Coroutine[Any, Any, msgspec.Raw]] = handler.accept
        try:
            work = accept(event.args)
        except KeyboardInterrupt:  # whoever pressed Ctrl-C means the process
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a validator raises is why the update is rejected
            self._fail(event, error, handler, ev.ErrorKind.REJECTED)
            return
        try:
            result = await work
        except KeyboardInterrupt:
            raise
        except asyncio.CancelledError as error:
            self._fail(event, error, handler)
            raise
        except ContinueAsNew:
            self._fail(event, UsageError(_CANNOT_CONTINUE), handler)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is the answer to its sender
            self._fail(event, error, handler)
        else:
            if self._settle(event):
                self._host.answer_update(event.update_id, result, handler)

    def _fail(
        self, event: ev.UpdateRequested, error: BaseException, handler: UpdateHandler, kind: ev.ErrorKind | None = None
    ) -> None:
        if self._settle(event):
            self._host.fail_update(event.update_id, error, handler.site, kind)

    def _settle(self, event: ev.UpdateRequested) -> bool:
        """Take note that an update gets its answer; False if it gets none."""
        if self._host.is_over:
            # A handler that is torn down answers nothing, whatever it makes of it: the next run takes the update over.
            return False
        del self._unanswered[event.update_id]
        return True
