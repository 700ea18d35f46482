"""Whether a failed attempt is followed by another, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion_cli.core.events import ErrorKind
from aion_cli.core.retry import NO_RETRY, RetryPolicy, next_delay_s, seconds
from aion_cli.errors import UsageError
from tests.builders import failure

AGAIN = failure()

policies = st.builds(
    RetryPolicy,
    max_attempts=st.none() | st.integers(1, 50),
    initial=st.floats(0, 1_000) | st.timedeltas(timedelta(0), timedelta(hours=1)),
    factor=st.floats(1, 1e6),
    cap=st.none() | st.floats(3_600, 1e6) | st.timedeltas(timedelta(hours=1), timedelta(days=30)),
    jitter=st.floats(0, 1),
    max_elapsed=st.none() | st.floats(0.001, 1e7),
)


def delay_s(
    policy: RetryPolicy, failures: int, *, elapsed_s: float = 0.0, stable_id: str = "r1/2", error: object = AGAIN
) -> float | None:
    return next_delay_s(policy, error, failures=failures, elapsed_s=elapsed_s, stable_id=stable_id)  # pyright: ignore[reportArgumentType] - object only to keep the signature short


@given(policies, st.integers(1, 10_000), st.floats(0, 1e7), st.text(max_size=8))
def test_a_delay_lies_within_its_backoff_give_or_take_jitter(
    policy: RetryPolicy, failures: int, elapsed_s: float, stable_id: str
) -> None:
    found = delay_s(policy, failures, elapsed_s=elapsed_s, stable_id=stable_id)
    if found is None:
        assert policy.max_attempts is not None or policy.max_elapsed is not None
        return
    try:
        planned = min(seconds(policy.initial) * policy.factor ** (failures - 1), policy.longest_s)
    except OverflowError:
        planned = policy.longest_s if seconds(policy.initial) else 0
    assert found <= policy.longest_s
    assert planned * (1 - policy.jitter) * (1 - 1e-9) <= found <= planned * (1 + policy.jitter) * (1 + 1e-9)
    assert policy.max_attempts is None or failures < policy.max_attempts
    assert policy.max_elapsed is None or elapsed_s + found <= seconds(policy.max_elapsed)


@given(policies, st.integers(1, 100), st.text(max_size=8))
def test_a_crash_in_backoff_does_not_roll_new_dice(policy: RetryPolicy, failures: int, stable_id: str) -> None:
    assert delay_s(policy, failures, stable_id=stable_id) == delay_s(policy, failures, stable_id=stable_id)


def test_jitter_differs_from_activity_to_activity_and_from_attempt_to_attempt() -> None:
    policy = RetryPolicy(max_attempts=None, initial=10, factor=1, jitter=0.5)
    by_activity = {delay_s(policy, 1, stable_id=f"r1/{seq}") for seq in range(50)}
    by_attempt = {delay_s(policy, failures) for failures in range(1, 51)}
    assert (len(by_activity), len(by_attempt)) == (50, 50)


def test_without_jitter_delays_grow_by_the_factor_up_to_the_cap() -> None:
    policy = RetryPolicy(max_attempts=None, initial=timedelta(seconds=1), factor=2, cap=timedelta(seconds=5), jitter=0)
    assert [delay_s(policy, n) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_a_factor_that_overflows_floats_ends_at_the_cap() -> None:
    assert delay_s(RetryPolicy(max_attempts=None, factor=10, jitter=0), 5_000) == 60
    assert delay_s(RetryPolicy(max_attempts=None, factor=1e300, jitter=0), 5_000) == 60


def test_the_usual_cap_never_shortens_the_first_delay() -> None:
    assert delay_s(RetryPolicy(max_attempts=None, initial=600, jitter=0), 1) == 600
    assert delay_s(RetryPolicy(max_attempts=None, initial=600, jitter=0), 5) == 600
    assert delay_s(RetryPolicy(max_attempts=None, initial=timedelta(seconds=50), jitter=0), 2) == 60


def test_jitter_does_not_pass_the_cap() -> None:
    policy = RetryPolicy(max_attempts=None, initial=10, cap=10, jitter=1)
    delays = {delay_s(policy, 3, stable_id=f"r1/{seq}") for seq in range(50)}
    assert max(filter(None, delays)) == 10
    assert len(delays) > 10


@given(st.integers(1, 30))
def test_max_attempts_counts_the_first(limit: int) -> None:
    policy = RetryPolicy(max_attempts=limit)
    assert [n for n in range(1, 40) if delay_s(policy, n) is None] == list(range(limit, 40))


def test_no_attempt_begins_after_max_elapsed_downtime_included() -> None:
    policy = RetryPolicy(max_attempts=None, initial=10, jitter=0, max_elapsed=timedelta(minutes=1))
    assert delay_s(policy, 1, elapsed_s=50) == 10
    assert delay_s(policy, 1, elapsed_s=50.001) is None


def test_nothing_is_tried_again_unless_asked_for() -> None:
    assert delay_s(NO_RETRY, 1) is None


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        (ErrorKind.ERROR, True),
        (ErrorKind.TIMEOUT, True),
        (ErrorKind.HEARTBEAT_TIMEOUT, True),
        (ErrorKind.NON_RETRYABLE, False),
        (ErrorKind.TOTAL_TIMEOUT, False),
        (ErrorKind.INTERRUPTED, False),
        (ErrorKind.CANCELLED, False),
    ],
)
def test_some_kinds_of_failure_are_final_whatever_the_policy(kind: ErrorKind, again: bool) -> None:
    found = delay_s(RetryPolicy(max_attempts=None), 1, error=failure(kind=kind))
    assert (found is not None) is again


class DeclinedError(Exception):
    class HardError(Exception):
        pass


class ExpiredError(DeclinedError):
    pass


@pytest.mark.parametrize(
    ("listed", "raised", "refused"),
    [
        (DeclinedError, DeclinedError, True),
        (DeclinedError, ExpiredError, True),
        ("DeclinedError", DeclinedError, True),
        ("DeclinedError", ExpiredError, True),
        ("ExpiredError", ExpiredError, True),
        ("DeclinedError.HardError", DeclinedError.HardError, True),
        ("HardError", DeclinedError.HardError, False),
        (ExpiredError, DeclinedError, False),
        ("ExpiredError", DeclinedError, False),
        (OSError, ConnectionResetError, True),
        ("OSError", ConnectionResetError, True),
        (DeclinedError, ValueError, False),
    ],
)
def test_non_retryable_takes_a_class_its_subclasses_and_a_name(
    listed: type[BaseException] | str, raised: type[BaseException], refused: bool
) -> None:
    assert RetryPolicy(non_retryable=[KeyError, listed]).refuses(raised.__mro__) is refused


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"factor": 0.5}, "factor"),
        ({"jitter": 1.5}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"initial": -1}, "negative"),
        ({"cap": timedelta(seconds=-1)}, "must not be shorter than the first"),
        ({"initial": 10, "cap": 5}, "cap is 5 seconds and initial 10: the longest delay must not be shorter"),
        ({"max_elapsed": 0}, "max_elapsed"),
        ({"factor": float("nan")}, "factor"),
        ({"initial": float("nan")}, "negative"),
        ({"cap": float("nan")}, "must not be shorter than the first"),
        ({"max_elapsed": float("nan")}, "max_elapsed"),
        ({"factor": float("inf")}, "factor"),
        ({"max_attempts": 2.0}, "max_attempts is of type float, it must be a whole number or None"),
        ({"max_attempts": True}, "max_attempts is of type bool"),
        ({"max_attempts": 1 << 70}, "no more than 63 bits"),
        ({"initial": "5"}, "initial is of type str, it must be a timedelta or a number of seconds"),
        ({"factor": "2"}, "factor is of type str, it must be a number"),
        ({"jitter": None}, "jitter is of type NoneType, it must be a number"),
        ({"cap": 10**400}, "cap is a number without measure"),
        ({"non_retryable": "ValueError"}, "non_retryable is of type str, it must be a list"),
        ({"non_retryable": ValueError}, "non_retryable is of type type, it must be a list"),
        ({"non_retryable": [ValueError("no")]}, "an item of non_retryable is of type ValueError, it must be an exc"),
        ({"non_retryable": [int]}, "an item of non_retryable is the class int, it must be an exception class or"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_where_it_is_written(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RetryPolicy(**wrong)  # pyright: ignore[reportArgumentType] - one wrong option at a time
