"""Durations as people type and read them."""

from __future__ import annotations

import pytest

from aion_cli.cli.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("60s", 60),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("2d", 172_800),
        (" 5M ", 300),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "5x", "1h 30m", "1.2.3", ".", "inf", "nan", "1e3", "５s", "9" * 400]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|longer than a century"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.25, "250ms"), (12.9, "12s"), (60, "1m"), (200, "3m 20s"), (3599, "59m 59s"), (187_200, "2d 4h")],
)
def test_a_duration_is_written_in_at_most_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
