"""Keys tell commands apart, and every event of a command has its key."""

from __future__ import annotations

import pytest

from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    child,
    child_completed,
    child_failed,
    completed,
    ended,
    ended_in,
    failed,
    fired,
    raw,
    reopened,
    send,
    sent,
    signal,
    started,
    timer,
    timer_cancelled,
)

OF_COMMANDS: list[tuple[key.CorrelationKey, list[ev.Event]]] = [
    (
        key.Activity(3),
        [
            ev.ActivityScheduled(activity_id=3, activity_type="charge", input=raw(None)),
            attempted(3),
            ev.ActivityHeartbeat(activity_id=3, attempt=1, details=raw(1)),
            completed(3),
            failed(3),
            failed(3, again_at=at(9)),
            activity_cancelled(3),
        ],
    ),
    (key.Timer(3), [timer(3, at(9)), fired(3), timer_cancelled(3)]),
    (
        key.Child(3),
        [
            child(3, "shipping"),
            ev.ChildCancelRequested(ordinal=3),
            child_completed(3),
            child_failed(3),
            ev.ChildWorkflowCancelled(ordinal=3),
        ],
    ),
    (key.Send(3), [send(3, "order-2", "go"), sent(3), ev.SignalSendFailed(ordinal=3, error=ended_in().error)]),
    (
        key.Update("u1"),
        [
            ev.UpdateCompleted(update_id="u1", result=raw(1)),
            ev.UpdateFailed(update_id="u1", error=ended_in().error),
        ],
    ),
    (key.Marker("patch", "fraud-check"), [ev.MarkerRecorded(kind="patch", name="fraud-check", value=raw(True))]),
    (
        key.Main(),
        [
            ended(),
            ended_in(),
            ev.WorkflowCancelled(),
            ev.WorkflowContinuedAsNew(input=raw(None), new_run_id="r1@2"),
        ],
    ),
]
OF_NONE: list[ev.Event] = [
    started(),
    signal("go"),
    cancel_requested(),
    reopened(1),
    ev.WorkflowPaused(),
    ev.WorkflowResumed(),
    ev.WorkflowTerminated(),
    ev.WorkflowTimedOut(timeout_s=1.0),
    ev.UpdateRequested(update_id="u1", name="set", args=raw(None)),
    ev.TagsSet(tags={}),
    ev.ProgressSet(done=1, total=2),
]


@pytest.mark.parametrize(("expected", "events"), OF_COMMANDS, ids=lambda value: type(value).__name__)
def test_all_events_of_one_command_have_one_key(expected: key.CorrelationKey, events: list[ev.Event]) -> None:
    assert {key.key_of(event) for event in events} == {expected}


@pytest.mark.parametrize("event", OF_NONE, ids=lambda event: type(event).__name__)
def test_what_comes_from_outside_and_notes_belong_to_no_command(event: ev.Event) -> None:
    assert key.key_of(event) is None


def test_every_type_of_event_is_listed_here() -> None:
    listed = {type(event) for _, events in OF_COMMANDS for event in events} | {type(event) for event in OF_NONE}
    assert listed == set(ev.AnyEvent.__args__)


def test_keys_of_different_kinds_are_never_equal_even_with_one_number() -> None:
    keys = [key.Activity(0), key.Timer(0), key.Child(0), key.Send(0), key.Signal("0", 0), key.Update("0"), key.Main()]
    assert len(set(keys)) == len(keys) == len(dict.fromkeys(keys))
    assert key.Marker("patch", "a") != key.Signal("patch", 0)
