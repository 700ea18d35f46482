"""Instants as text: RFC 3339 UTC with exactly six digits of microseconds and `Z`, e.g. `2026-03-01T09:30:00.000000Z`.

This is the form of `recorded_at`, `fire_at` and `next_attempt_at`. All have the same width, so they compare as text in
the order of time. Nothing here reads a clock; the caller brings the instant.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROS_A_SECOND = 1_000_000
_WIDTH_OF_SECOND = len("2026-03-01T09:30:00")
_WIDTH = len("2026-03-01T09:30:00.000000Z")


def format_instant(micros: int) -> str:
    """Write microseconds since the epoch as an instant. Raises OverflowError outside the years 1 to 9999."""
    seconds, rest = divmod(micros, _MICROS_A_SECOND)
    return f"{_second(seconds)}.{rest:06d}Z"


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    """Write whole seconds since the epoch, without a zone. Many events fall into one second, and writing it is slow."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(_WIDTH_OF_SECOND, "0")


def parse_instant(text: str) -> int:
    """Read an instant as microseconds since the epoch. Raises ValueError on any other form than format_instant's."""
    if len(text) != _WIDTH or text[-1] != "Z" or text[10] != "T" or text[19] != ".":
        raise ValueError(f"{text!r} is not an instant of the form 2026-03-01T09:30:00.000000Z")
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def to_datetime(text: str) -> datetime:
    """Read an instant as an aware datetime in UTC. Raises ValueError like parse_instant."""
    return _EPOCH + timedelta(microseconds=parse_instant(text))


def micros_of(moment: datetime) -> int:
    """Return microseconds since the epoch. moment must be aware; a naive one raises ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a time zone has no place in time; use datetime(..., tzinfo=UTC)")
    return (moment - _EPOCH) // _MICROSECOND
