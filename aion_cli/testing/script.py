"""What outsiders send to a run in a test, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.api.given import shown
from aion_cli.api.signals import Signal, signals_of
from aion_cli.core import events as ev
from aion_cli.core import payload
from aion_cli.core.retry import Duration, checked_seconds
from aion_cli.errors import UsageError

_MICROSECONDS = 1_000_000

Signals = Iterable[tuple[Signal[Any] | str, Any] | tuple[Signal[Any] | str, Any, Duration]]
"""A Signal or its name, a payload, and how long after the start it is sent; without that, before the code begins."""

Updates = Iterable[tuple[str, Any] | tuple[str, Any, Duration]]
"""The name of an update, its arguments by the rules of an input, and how long after the start it is requested."""


class Script(msgspec.Struct, frozen=True):
    """Messages to a run. cancel_after: how long after the start its cancellation is requested; None: it is not."""

    signals: Signals = ()
    updates: Updates = ()
    cancel_after: Duration | None = None

    def messages(self, workflow: WorkflowDefinition[..., Any]) -> Iterator[tuple[int, ev.Event]]:
        """Yield each message with its time, in microseconds after the start.

        Raises PayloadError for what does not fit, UsageError for what is no pair, for a signal's name that the workflow
        does not declare and for a time before the start.
        """
        signals = _checked("signals", self.signals, Signal, "(signal, payload)")
        for number, (signal, value, *after) in enumerate(signals):
            name = signal if isinstance(signal, str) else signal.name
            encoded = _encoded(workflow, signal, value)
            yield _micros(after), ev.SignalReceived(name=name, payload=encoded, signal_id=f"signal-{number}")
        updates = _checked("updates", self.updates, str, '("name", arguments), with None for no arguments')
        for number, (name, args, *after) in enumerate(updates):
            yield _micros(after), ev.UpdateRequested(update_id=f"update-{number}", name=name, args=payload.encode(args))
        if self.cancel_after is not None:
            yield _micros([self.cancel_after]), ev.WorkflowCancelRequested(request_id="cancel")


def _checked(what: str, messages: Iterable[Any], first: type[Any], form: str) -> list[Any]:
    """Return messages, each a tuple of two or three. Raises UsageError for one that is none."""
    listed = list(messages)
    for number, message in enumerate(listed):
        if not isinstance(message, tuple) or not 2 <= len(cast("tuple[Any, ...]", message)) <= 3:
            raise UsageError(
                f"{what}[{number}] is {shown(cast('object', message))}, it must be a tuple of two or three",
                hint=f"{form}; a third part says how long after the start",
            )
        named = cast("tuple[Any, ...]", message)[0]
        if not isinstance(named, first | str):
            raise UsageError(f"{what}[{number}] begins with {shown(named)}", hint=f"it takes {form}")
    return listed


def _encoded(workflow: WorkflowDefinition[..., Any], signal: Signal[Any] | str, value: Any) -> msgspec.Raw:
    if not isinstance(signal, str):
        return signal.encode(value)
    declared = signals_of(workflow)
    if signal not in declared:
        known = ", ".join(sorted(declared)) or "none"
        raise UsageError(f"{workflow.name} declares no signal {signal!r}", hint=f"it declares: {known}")
    return declared[signal].encode(value)


def _micros(after: list[Duration]) -> int:
    if not after:
        return 0
    waited_s = checked_seconds("how long after the start a message is sent", after[0])
    if waited_s < 0:
        raise UsageError(f"a message cannot be sent {-waited_s:g} s before the start")
    return round(waited_s * _MICROSECONDS)
