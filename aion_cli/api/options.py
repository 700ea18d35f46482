"""What an author may ask of an activity beyond its function: retries and limits of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, cast

from aion_cli.api import given
from aion_cli.core.retry import NO_RETRY, Duration, RetryPolicy, checked_seconds, seconds
from aion_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class ActivityOptions:
    """Options of one activity, or of one call of it.

    timeout_s: limit of one attempt. total_timeout_s: limit of all attempts and waits, from ActivityScheduled on.
    heartbeat_timeout_s: longest time between two heartbeats of an attempt.
    at_most_once: an attempt that was started and has no recorded outcome is never repeated.
    process: each attempt runs in a process of its own, which is killed when time runs out or it is cancelled.
    Raises UsageError for a value of another type.
    """

    retry: RetryPolicy = NO_RETRY
    timeout_s: float | None = None
    total_timeout_s: float | None = None
    heartbeat_timeout_s: float | None = None
    at_most_once: bool = False
    process: bool = False

    def __post_init__(self) -> None:
        retry = cast("object", self.retry)
        if not isinstance(retry, RetryPolicy):
            hint = f"retry=RetryPolicy(max_attempts={retry if type(retry) is int and 0 < retry < 1000 else 3})"
            raise UsageError(f"retry is {given.shown(retry)}, it must be a RetryPolicy", hint=hint)
        for name in ("at_most_once", "process"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {given.shown(getattr(self, name))}, it must be True or False")

    def recorded(self) -> dict[str, Any]:
        """Return what differs from the defaults, as JSON values. Kept for readers of a history; never compared."""
        differs = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "retry" and getattr(self, field.name) != field.default
        }
        if self.retry != NO_RETRY:
            differs["retry"] = _recorded_retry(self.retry)
        return differs


def _recorded_retry(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "max_attempts": policy.max_attempts,
        "initial_s": seconds(policy.initial),
        "factor": policy.factor,
        "cap_s": policy.longest_s,
        "jitter": policy.jitter,
        "max_elapsed_s": None if policy.max_elapsed is None else seconds(policy.max_elapsed),
        "non_retryable": [item if isinstance(item, str) else item.__qualname__ for item in policy.non_retryable],
    }


def limit_s(name: str, duration: Duration | None) -> float | None:
    """Return a limit of time in seconds. Raises UsageError if it is not positive, has no end, or is no duration."""
    if duration is None:
        return None
    limit = checked_seconds(name, duration)
    if not limit > 0:
        raise UsageError(f"{name} is {limit:g} seconds, it must be positive")
    if limit == math.inf:
        raise UsageError(f"{name} is no limit: it has no end", hint="leave it out")
    return limit
