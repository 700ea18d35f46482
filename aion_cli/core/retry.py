"""Retries: whether a failed attempt is followed by another, and after how long.

The delay after the n-th failure is `initial * factor ** (n - 1)`, made shorter or longer by up to `jitter` of itself,
and never longer than `cap`. Jitter is a hash of the activity's stable id and the attempt: a crash during backoff does
not roll new dice, and the workflow's own random numbers are left alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.plain import type_name
from aion_cli.errors import UsageError

Duration = timedelta | float | int
"""A timedelta, or a number of seconds."""

_FINAL_KINDS = frozenset({ErrorKind.NON_RETRYABLE, ErrorKind.TOTAL_TIMEOUT, ErrorKind.INTERRUPTED, ErrorKind.CANCELLED})
_USUAL_CAP_S = 60.0
_LONGEST_S = 10 * 365 * 86_400.0


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def checked_seconds(what: str, duration: object) -> float:
    """Return a duration that an author gave in seconds. Raises UsageError, naming what it is, for what is none."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    return _number(what, duration, "a timedelta or a number of seconds")


def _number(what: str, value: object, taken: str = "a number") -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UsageError(f"{what} is of type {type_name(type(value))}, it must be {taken}")
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"{what} is a number without measure") from None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again.

    max_attempts: attempts in all, the first included; None: no limit.
    initial: first delay. factor: growth from one delay to the next.
    cap: longest delay; None: a minute, or initial if that is longer. jitter: 0 to 1, the share by which a delay may
    differ.
    max_elapsed: no further attempt begins later than this after the activity was scheduled, downtime included.
    non_retryable: exception classes (and their subclasses), or `__qualname__`s, that end the retries.

    Raises UsageError for values that cannot be.
    """

    max_attempts: int | None = 3
    initial: Duration = 1.0
    factor: float = 2.0
    cap: Duration | None = None
    jitter: float = 0.1
    max_elapsed: Duration | None = None
    non_retryable: Sequence[type[BaseException] | str] = ()

    def __post_init__(self) -> None:
        if self.max_attempts is not None:
            if type(self.max_attempts) is not int:
                raise UsageError(
                    f"max_attempts is of type {type_name(type(self.max_attempts))}, it must be a whole number or None"
                )
            if not 1 <= self.max_attempts < 1 << 63:
                raise UsageError("max_attempts must be at least 1, and have no more than 63 bits; None: no limit")
        if not 1 <= _number("factor", self.factor) < math.inf:
            raise UsageError(f"factor is {self.factor}, it must be at least 1")
        if not 0 <= _number("jitter", self.jitter) <= 1:
            raise UsageError(f"jitter is {self.jitter}, it must lie between 0 and 1")
        if not checked_seconds("initial", self.initial) >= 0:
            raise UsageError("initial must not be negative")
        if self.cap is not None and not checked_seconds("cap", self.cap) >= seconds(self.initial):
            raise UsageError(
                f"cap is {seconds(self.cap):g} seconds and initial {seconds(self.initial):g}: "
                "the longest delay must not be shorter than the first"
            )
        if self.max_elapsed is not None and not checked_seconds("max_elapsed", self.max_elapsed) > 0:
            raise UsageError("max_elapsed must be positive")
        _require_refusals(self.non_retryable)

    @property
    def longest_s(self) -> float:
        """The longest delay, in seconds."""
        return max(_USUAL_CAP_S, seconds(self.initial)) if self.cap is None else seconds(self.cap)

    def refuses(self, lineage: Sequence[type[BaseException]]) -> bool:
        """Say whether an exception with these classes (its `__mro__`) must not be tried again."""
        names = {cls.__qualname__ for cls in lineage}
        return any(item in names if isinstance(item, str) else item in lineage for item in self.non_retryable)


def _require_refusals(listed: object) -> None:
    hint = 'non_retryable=[CardDeclined, "Declined"]: exception classes, or their names'
    if isinstance(listed, str | bytes) or not isinstance(listed, Collection):
        raise UsageError(f"non_retryable is of type {type_name(type(listed))}, it must be a list", hint=hint)
    for item in cast("Collection[Any]", listed):
        if isinstance(item, str) or (isinstance(item, type) and issubclass(item, BaseException)):
            continue
        what = f"the class {type_name(item)}" if isinstance(item, type) else f"of type {type_name(type(item))}"
        raise UsageError(f"an item of non_retryable is {what}, it must be an exception class or a name", hint=hint)


NO_RETRY = RetryPolicy(max_attempts=1)


def next_delay_s(
    policy: RetryPolicy, failure: Failure, *, failures: int, elapsed_s: float, stable_id: str
) -> float | None:
    """Return the seconds to wait before the next attempt, or None if this failure is final.

    failures: recorded failures of the activity, this one included. elapsed_s: since it was scheduled.
    """
    if failure.kind in _FINAL_KINDS:
        return None
    if policy.max_attempts is not None and failures >= policy.max_attempts:
        return None
    jittered_s = _backoff_s(policy, failures) * _jitter_factor(policy.jitter, stable_id, failures)
    delay_s = min(jittered_s, policy.longest_s)
    if policy.max_elapsed is not None and elapsed_s + delay_s > seconds(policy.max_elapsed):
        return None
    return delay_s


def _backoff_s(policy: RetryPolicy, failures: int) -> float:
    longest_s = min(policy.longest_s, _LONGEST_S)
    initial_s = seconds(policy.initial)
    if not initial_s:
        return 0.0  # whatever the factor, which may be too large to be raised to a power
    try:
        return min(initial_s * policy.factor ** (failures - 1), longest_s)
    except OverflowError:
        return longest_s


def _jitter_factor(jitter: float, stable_id: str, attempt: int) -> float:
    if not jitter:
        return 1.0
    digest = hashlib.blake2b(f"{stable_id}\0{attempt}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / (1 << 64)
    return 1.0 + jitter * (2.0 * share - 1.0)
