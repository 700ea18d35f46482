"""What a running activity can know about itself."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aion_cli.core import payload
from aion_cli.errors import AionError


@dataclass(frozen=True, slots=True)
class ActivityInfo:
    """The attempt that is being made.

    ordinal: number of the activity in its run, from 0. attempt: from 1. idempotency_key: the same for all attempts,
    also after a crash; hand it to the service that is called. cancel_requested: whether the attempt should end early.
    heartbeat_details: the last details that an earlier attempt gave to `heartbeat`, as plain JSON values, or None.
    report: takes the encoded details of a heartbeat; use `heartbeat`.
    """

    workflow_id: str
    run_id: str
    ordinal: int
    attempt: int
    idempotency_key: str
    cancel_requested: Callable[[], bool] = field(default=lambda: False, repr=False)
    heartbeat_details: Any = None
    report: Callable[[msgspec.Raw], None] = field(default=lambda _: None, repr=False)


_current: ContextVar[ActivityInfo] = ContextVar("aion_activity")


def activity_info() -> ActivityInfo:
    """Return what is known about the running attempt. Raises AionError outside of an activity."""
    return _info("activity_info()")


def _info(asker: str) -> ActivityInfo:
    try:
        return _current.get()
    except LookupError:
        raise AionError(
            f"{asker} can only be used inside a running activity",
            hint="call it from a function decorated with @activity while a workflow runs it",
        ) from None


def heartbeat(details: Any = None) -> None:
    """Say that the activity is alive, and how far it is: the details reach the next attempt if this one is cut off.

    At most one a second is recorded. May be called from the activity's thread. Raises PayloadError for details that are
    no JSON value, AionError outside of an activity.
    """
    _info("heartbeat()").report(payload.encode(details))


def set_activity_info(info: ActivityInfo) -> None:
    """Make info what `activity_info` returns in the present context."""
    _current.set(info)
