"""What may be asked of an activity, and how it is written down."""

from __future__ import annotations

from datetime import timedelta

import pytest

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


@pytest.mark.parametrize("given", [0, -1, timedelta(0), float("nan")])
def test_a_limit_has_to_be_positive(given: timedelta | float) -> None:
    with pytest.raises(UsageError, match=r"timeout is .* seconds, it must be positive"):
        limit_s("timeout", given)
