"""How a live run ends or stops, and what it is told about that beforehand."""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from aion_cli.core import events as ev


class SuspendReason(enum.Enum):
    """Why a live run stopped while it is open."""

    BLOCKED = "blocked"
    MAX_WAIT = "max-wait"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    PARENT = "parent"


class Closed(msgspec.Struct, frozen=True):
    """The run ended with this terminal event."""

    event: ev.Event


class Suspended(msgspec.Struct, frozen=True):
    """The run is open; another `run` goes on with it."""

    reason: SuspendReason


class RunSettings(msgspec.Struct, frozen=True):
    """How a live run behaves.

    grace_s: for activities in flight when it stops. stop_when_blocked: suspend when only timers and signals can move
    it. stop_at: suspend once an event for which this is true is recorded. timeout_s: how long it may take since its
    start or last reopen.
    """

    grace_s: float = 10.0
    stop_when_blocked: bool = False
    stop_at: Callable[[ev.Event], bool] | None = None
    timeout_s: float | None = None
