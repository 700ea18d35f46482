"""What a running activity can know about itself."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from aion_cli.errors import AionError


@dataclass(frozen=True, slots=True)
class ActivityInfo:
    """The attempt that is being made.

    ordinal: number of the activity in its run, from 0. attempt: from 1. idempotency_key: the same for all attempts,
    also after a crash; hand it to the service that is called. cancel_requested: whether the attempt should end early.
    """

    workflow_id: str
    run_id: str
    ordinal: int
    attempt: int
    idempotency_key: str
    cancel_requested: Callable[[], bool] = field(default=lambda: False, repr=False)


_current: ContextVar[ActivityInfo] = ContextVar("aion_activity")


def activity_info() -> ActivityInfo:
    """Return what is known about the running attempt. Raises AionError outside of an activity."""
    try:
        return _current.get()
    except LookupError:
        raise AionError(
            "activity_info() can only be used inside a running activity",
            hint="call it from a function decorated with @activity while a workflow runs it",
        ) from None


def set_activity_info(info: ActivityInfo) -> None:
    """Make info what `activity_info` returns in the present context."""
    _current.set(info)
