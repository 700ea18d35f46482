"""Retries: whether a failed attempt is followed by another, and after how long.

The delay after the n-th failure is `initial * factor ** (n - 1)`, at most `cap`, made shorter or longer by up to
`jitter` of itself. Jitter is a hash of the activity's stable id and the attempt: a crash during backoff does not roll
new dice, and the workflow's own random numbers are left alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from aion_cli.core.events import ErrorKind, Failure
from aion_cli.errors import UsageError

Duration = timedelta | float | int
"""A timedelta, or a number of seconds."""

_FINAL_KINDS = frozenset({ErrorKind.NON_RETRYABLE, ErrorKind.TOTAL_TIMEOUT, ErrorKind.INTERRUPTED, ErrorKind.CANCELLED})
_LONGEST_S = 10 * 365 * 86_400.0


def seconds(duration: Duration) -> float:
    """Return a duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again.

    max_attempts: attempts in all, the first included; None: no limit.
    initial, cap: first and longest delay. factor: growth from one delay to the next.
    jitter: 0 to 1, the share by which a delay may differ.
    max_elapsed: no further attempt begins later than this after the activity was scheduled, downtime included.
    non_retryable: exception classes (and their subclasses), or `__qualname__`s, that end the retries.
    """

    max_attempts: int | None = 3
    initial: Duration = 1.0
    factor: float = 2.0
    cap: Duration = 60.0
    jitter: float = 0.1
    max_elapsed: Duration | None = None
    non_retryable: Sequence[type[BaseException] | str] = ()

    def __post_init__(self) -> None:
        if self.max_attempts is not None and self.max_attempts < 1:
            raise UsageError(f"max_attempts is {self.max_attempts}, it must be at least 1")
        if not self.factor >= 1:
            raise UsageError(f"factor is {self.factor}, it must be at least 1")
        if not 0 <= self.jitter <= 1:
            raise UsageError(f"jitter is {self.jitter}, it must lie between 0 and 1")
        if not (seconds(self.initial) >= 0 and seconds(self.cap) >= 0):
            raise UsageError("initial and cap must not be negative")
        if self.max_elapsed is not None and not seconds(self.max_elapsed) > 0:
            raise UsageError("max_elapsed must be positive")

    def refuses(self, lineage: Sequence[type[BaseException]]) -> bool:
        """Say whether an exception with these classes (its `__mro__`) must not be tried again."""
        names = {cls.__qualname__ for cls in lineage}
        return any(item in names if isinstance(item, str) else item in lineage for item in self.non_retryable)


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
    delay_s = _backoff_s(policy, failures) * _jitter_factor(policy.jitter, stable_id, failures)
    if policy.max_elapsed is not None and elapsed_s + delay_s > seconds(policy.max_elapsed):
        return None
    return delay_s


def _backoff_s(policy: RetryPolicy, failures: int) -> float:
    longest_s = min(seconds(policy.cap), _LONGEST_S)
    try:
        return min(seconds(policy.initial) * policy.factor ** (failures - 1), longest_s)
    except OverflowError:
        return longest_s


def _jitter_factor(jitter: float, stable_id: str, attempt: int) -> float:
    if not jitter:
        return 1.0
    digest = hashlib.blake2b(f"{stable_id}\0{attempt}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / (1 << 64)
    return 1.0 + jitter * (2.0 * share - 1.0)
