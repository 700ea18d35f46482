"""What may be asked of an activity, and how it is written down."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aion_cli import activity
from aion_cli.api.options import ActivityOptions, limit_s
from aion_cli.core import payload
from aion_cli.core.retry import RetryPolicy
from aion_cli.errors import UsageError


def test_defaults_are_not_written_down() -> None:
    assert ActivityOptions().recorded() == {}


def test_what_differs_is_written_down_as_json() -> None:
    class DeclinedError(Exception):
        pass

    options = ActivityOptions(
        retry=RetryPolicy(
            max_attempts=5, initial=timedelta(milliseconds=500), max_elapsed=60, non_retryable=[DeclinedError, "Other"]
        ),
        timeout_s=30.0,
        at_most_once=True,
    )
    recorded = options.recorded()
    assert recorded == {
        "timeout_s": 30.0,
        "at_most_once": True,
        "retry": {
            "max_attempts": 5,
            "initial_s": 0.5,
            "factor": 2.0,
            "cap_s": 60.0,
            "jitter": 0.1,
            "max_elapsed_s": 60.0,
            "non_retryable": [DeclinedError.__qualname__, "Other"],
        },
    }
    assert payload.decode(payload.encode(recorded)) == recorded


@pytest.mark.parametrize(("given", "expected"), [(None, None), (5, 5.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)])
def test_limits_are_timedeltas_or_seconds(given: timedelta | float | None, expected: float | None) -> None:
    assert limit_s("timeout", given) == expected


def test_the_longest_delay_is_written_down_whether_it_was_given_or_not() -> None:
    assert ActivityOptions(retry=RetryPolicy(initial=600)).recorded()["retry"]["cap_s"] == 600.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, "retry is 3, it must be a RetryPolicy"),
        ({"retry": RetryPolicy}, "retry is a type, it must be a RetryPolicy"),
        ({"at_most_once": "yes"}, "at_most_once is 'yes', it must be True or False"),
        ({"process": 1}, "process is 1, it must be True or False"),
    ],
)
def test_an_option_of_another_type_is_refused_with_what_it_takes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ActivityOptions(**options)
    assert caught.value.message == message


def test_a_number_of_attempts_is_hinted_at_as_a_policy() -> None:
    options: Any = {"retry": 5}
    with pytest.raises(UsageError) as caught:
        activity(**options)
    assert caught.value.hint == "retry=RetryPolicy(max_attempts=5)"


def test_options_that_no_event_could_hold_are_refused_where_they_are_declared() -> None:
    for name in ("\ud800", "x" * 100_000):
        with pytest.raises(UsageError, match="what the activity pay has of options"):
            activity(name="pay", retry=RetryPolicy(non_retryable=[name]))(lambda: None)


@pytest.mark.parametrize(
    ("given", "said"),
    [(float("inf"), "timeout is no limit: it has no end"), ("5", "timeout is of type str"), (True, "of type bool")],
)
def test_a_limit_that_is_no_duration_is_refused(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        limit_s("timeout", given)


@pytest.mark.parametrize("given", [0, -1, timedelta(0), float("nan")])
def test_a_limit_has_to_be_positive(given: timedelta | float) -> None:
    with pytest.raises(UsageError, match=r"timeout is .* seconds, it must be positive"):
        limit_s("timeout", given)
