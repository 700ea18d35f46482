"""What a running activity can know about itself."""

from __future__ import annotations

import contextvars
import dataclasses

import msgspec
import pytest

from aion_cli import activity_info, heartbeat
from aion_cli.api.attempts import ActivityInfo, set_activity_info
from aion_cli.errors import AionError, PayloadError
from tests.builders import raw

INFO = ActivityInfo(workflow_id="order-1", run_id="r1", ordinal=0, attempt=2, idempotency_key="r1/2")


def test_it_is_what_the_runtime_set_in_this_context_only() -> None:
    context = contextvars.copy_context()
    context.run(set_activity_info, INFO)
    assert context.run(activity_info) is INFO
    with pytest.raises(AionError, match="inside a running activity"):
        activity_info()


def test_nobody_asks_it_to_end_unless_told() -> None:
    assert INFO.cancel_requested() is False
    assert dataclasses.replace(INFO, cancel_requested=lambda: True).cancel_requested() is True


def test_it_cannot_be_changed_and_shows_no_callables() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        INFO.attempt = 3  # pyright: ignore[reportAttributeAccessIssue] - that is what is refused
    assert "function" not in repr(INFO)


def test_a_heartbeat_reports_its_details_encoded() -> None:
    told: list[msgspec.Raw] = []
    context = contextvars.copy_context()
    context.run(set_activity_info, dataclasses.replace(INFO, report=told.append))
    context.run(heartbeat, {"row": 7})
    context.run(heartbeat)
    assert told == [raw({"row": 7}), raw(None)]
    with pytest.raises(PayloadError):
        context.run(heartbeat, print)


def test_a_heartbeat_outside_of_an_activity_says_so() -> None:
    with pytest.raises(AionError, match=r"^heartbeat\(\) can only be used inside a running activity"):
        heartbeat("half")
