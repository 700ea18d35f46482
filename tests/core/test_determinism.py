"""Time, randomness and ids come from the history: the same on every machine and every Python version."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion_cli.core.determinism import DeterminismContext
from tests.builders import at


def context(workflow_id: str = "order-1", run_id: str = "r1") -> DeterminismContext:
    return DeterminismContext(workflow_id, run_id, at(0))


def draws(of: DeterminismContext) -> list[object]:
    return [of.random(), of.randint(1, 6), of.uuid4(), of.random()]


def test_the_same_run_draws_the_same_numbers_again() -> None:
    assert draws(context()) == draws(context())


@pytest.mark.parametrize("other", [context("order-2"), context(run_id="r2"), context("order-1r", "1")])
def test_another_run_draws_others(other: DeterminismContext) -> None:
    assert draws(context()) != draws(other)


def test_the_numbers_are_these_for_ever_since_histories_were_written_with_them() -> None:
    drawn = context()
    assert drawn.random() == 0.15141157220085333
    assert [drawn.randint(1, 6) for _ in range(8)] == [3, 2, 2, 1, 2, 4, 2, 6]
    assert drawn.uuid4() == uuid.UUID("24c8de9b-88a4-4bba-bac9-ffea873b019d")
    assert drawn.randint(0, 10**40) == 8687793537490380245549249606529040392510


def test_time_does_not_disturb_the_numbers() -> None:
    moved = context()
    moved.advance(at(100))
    assert draws(moved) == draws(context())


def test_the_present_is_the_time_of_the_event_being_applied() -> None:
    now = context()
    assert (now.instant, now.now()) == (at(0), datetime(2026, 3, 1, 9, 30, tzinfo=UTC))
    before = now.micros
    now.advance(at(1.5))
    assert (now.instant, now.micros - before) == (at(1.5), 1_500_000)
    assert now.now() == datetime(2026, 3, 1, 9, 30, 1, 500_000, tzinfo=UTC)


def test_random_is_a_float_from_zero_to_below_one_spread_evenly() -> None:
    of = context()
    drawn = [of.random() for _ in range(2_000)]
    assert all(0 <= value < 1 for value in drawn)
    assert 0.45 < sum(drawn) / len(drawn) < 0.55


@settings(max_examples=200)
@given(st.integers(-(10**50), 10**50), st.integers(0, 10**50))
def test_randint_stays_within_both_ends(low: int, width: int) -> None:
    assert low <= context().randint(low, low + width) <= low + width


def test_randint_reaches_both_ends_and_each_number_about_as_often() -> None:
    of = context()
    counts = [0] * 6
    for _ in range(3_000):
        counts[of.randint(0, 5)] += 1
    assert all(400 < count < 600 for count in counts)


def test_an_empty_range_is_refused_and_one_of_one_is_not() -> None:
    with pytest.raises(ValueError, match="empty"):
        context().randint(2, 1)
    assert context().randint(7, 7) == 7


def test_uuid4_is_a_version_4_uuid() -> None:
    drawn = context().uuid4()
    assert (drawn.version, drawn.variant) == (4, uuid.RFC_4122)
