"""Signals: typed messages to a run, buffered in file order until the code takes them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import PurePath
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

import msgspec

from aion_cli.api import given
from aion_cli.api.children import ChildHandle, recipient
from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import payload
from aion_cli.core.execution import current
from aion_cli.errors import UsageError

T = TypeVar("T")

_LONGEST_NAME = 120


class Signal(Generic[T]):
    """A kind of message, declared once at the top of a workflow file: `approval = Signal("approval", bool)`.

    Never dropped, first in first out by name, buffered before anyone listens.
    """

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...

    @overload
    def __init__(self: Signal[Any], name: str, type: Any = Any) -> None: ...

    def __init__(self, name: str, type: Any = Any) -> None:
        name = given.text("the name of a signal", name)
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise UsageError(
                f"{given.shown(name)} cannot be the name of a signal",
                hint=f"use 1 to {_LONGEST_NAME} printable characters",
            )
        payload.check_type(type)
        self.name = name
        self.type = type

    async def receive(self) -> T:
        """Take the next signal, waiting for it if none is there. Raises PayloadError if its payload does not fit."""
        event = await current("receive()").signals.receive(self.name)
        return payload.decode(event.payload, self.type)

    def pending(self) -> int:
        """Return how many have arrived that no code has taken."""
        return current("pending()").signals.pending(self.name)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await self.receive()

    def encode(self, value: Any) -> msgspec.Raw:
        """Encode a payload. Raises PayloadError if it does not fit the signal's type."""
        raw = payload.encode(value, self.type)
        payload.decode(raw, self.type)
        return raw

    def reencode_input(self, recorded: msgspec.Raw) -> msgspec.Raw:
        """Decode a recorded payload with today's type and encode it again. Raises PayloadError if it does not fit."""
        return payload.encode(payload.decode(recorded, self.type), self.type)

    def __repr__(self) -> str:
        return f"Signal({self.name!r})"


def signals_of(definition: WorkflowDefinition[Any, Any]) -> dict[str, Signal[Any]]:
    """Return the signals that a workflow's module declares or imports, by name.

    Modules beside it that it imports as modules count as well. Raises UsageError if one name is declared twice with
    different types.
    """
    found: dict[str, Signal[Any]] = {}
    for value in _reachable(definition):
        known = found.setdefault(value.name, value)
        if known is not value and known.type != value.type:
            raise UsageError(
                f"signal {value.name!r} is declared twice, with different types",
                where=(f"{definition.file}",),
                hint="declare it once, and import it where it is used",
            )
    return found


def _reachable(definition: WorkflowDefinition[Any, Any]) -> list[Signal[Any]]:
    module = sys.modules.get(definition.module)
    scopes: list[dict[str, Any]] = [getattr(definition.fn, "__globals__", {})]
    folder = PurePath(definition.file).parent
    for value in list(vars(module).values()) if module is not None else []:
        origin = getattr(value, "__file__", None) if isinstance(value, ModuleType) else None
        if origin is not None and PurePath(origin).parent == folder:
            scopes.append(vars(value))
    return [value for scope in scopes for value in scope.values() if isinstance(value, Signal)]


async def send_signal(target: str | ChildHandle[Any], signal: Signal[T], value: T) -> None:
    """Send a signal to another run, exactly once; returns when it is accepted there.

    target: the run's workflow id, or the handle of a child.
    Raises ActivityError if there is no such run, or it is closed; UsageError and PayloadError for arguments that cannot
    be sent.
    """
    to = recipient(target)
    if not isinstance(signal, Signal):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
        raise UsageError(
            f"send_signal takes a Signal, and got {given.shown(signal)}",
            hint='declare it at the top of the file, approval = Signal("approval", bool), and pass approval',
        )
    raw = signal.encode(value)
    await current("send_signal()").send_signal(to, signal.name, raw, signal)
