"""Instants as text: one form, which sorts like time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion_cli.core.clock import format_instant, micros_of, parse_instant, to_datetime

FIRST = micros_of(datetime(1, 1, 1, tzinfo=UTC))
LAST = micros_of(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
moments = st.integers(FIRST, LAST)


@given(moments)
def test_every_microsecond_of_nine_thousand_years_survives_as_text(micros: int) -> None:
    text = format_instant(micros)
    assert (len(text), text[-1]) == (27, "Z")
    assert parse_instant(text) == micros == micros_of(to_datetime(text))


@given(moments, moments)
def test_instants_compare_as_text_like_time(one: int, other: int) -> None:
    assert (format_instant(one) < format_instant(other)) == (one < other)


@pytest.mark.parametrize("micros", [FIRST - 1, LAST + 1])
def test_what_no_datetime_can_be_is_an_overflow(micros: int) -> None:
    with pytest.raises(OverflowError):
        format_instant(micros)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-01T09:30:00Z",
        "2026-03-01T09:30:00.000Z",
        "2026-03-01 09:30:00.000000Z",
        "2026-03-01T09:30:00,000000Z",
        "2026-03-01T09:30:00.0000000",
        "2026-13-01T09:30:00.000000Z",
        "2026-03-01T09:30:00.00000xZ",
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)


def test_another_zone_is_the_same_moment_and_no_zone_is_none() -> None:
    in_utc = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert micros_of(in_utc.astimezone(timezone(timedelta(hours=5, minutes=30)))) == micros_of(in_utc)
    assert to_datetime(format_instant(micros_of(in_utc))).tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        micros_of(datetime(2026, 3, 1, 9, 30))
