"""Each command has the key of its kind, and the event that records it."""

from __future__ import annotations

from typing import Any

import pytest

from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.errors import HistoryShapeError
from tests.builders import at, failure, raw

COMMANDS: list[tuple[cmd.AnyCommand, ev.Event | None]] = [
    (
        cmd.RunActivity(key=key.Activity(1), activity_type="charge", input=raw(5), options={"timeout_s": 1.0}),
        ev.ActivityScheduled(activity_id=1, activity_type="charge", input=raw(5), options={"timeout_s": 1.0}),
    ),
    (cmd.CancelActivity(key=key.Activity(1)), ev.ActivityCancelled(activity_id=1)),
    (cmd.StartTimer(key=key.Timer(1), fire_at=at(9)), ev.TimerStarted(timer_id=1, fire_at=at(9))),
    (cmd.CancelTimer(key=key.Timer(1)), ev.TimerCancelled(timer_id=1)),
    (cmd.AwaitSignal(key=key.Signal("go", 0)), None),
    (
        cmd.SendSignal(key=key.Send(1), to="order-2", name="go", payload=raw(5)),
        ev.SignalSendRequested(ordinal=1, target_workflow_id="order-2", name="go", payload=raw(5)),
    ),
    (
        cmd.SpawnChild(key=key.Child(1), workflow_type="ship", input=raw(5), parent_close=ev.ParentClose.ABANDON),
        ev.ChildWorkflowStarted(
            ordinal=1,
            child_workflow_id="made-up",
            workflow_type="ship",
            input=raw(5),
            parent_close=ev.ParentClose.ABANDON,
        ),
    ),
    (cmd.AwaitChild(key=key.Child(1)), None),
    (cmd.CancelChild(key=key.Child(1)), ev.ChildCancelRequested(ordinal=1)),
    (
        cmd.RecordMarker(key=key.Marker("patch", "a"), value=raw(True)),
        ev.MarkerRecorded(kind="patch", name="a", value=raw(True)),
    ),
    (
        cmd.AnswerUpdate(key=key.Update("u1"), result=raw(5)),
        ev.UpdateCompleted(update_id="u1", result=raw(5)),
    ),
    (
        cmd.AnswerUpdate(key=key.Update("u1"), error=failure()),
        ev.UpdateFailed(update_id="u1", error=failure()),
    ),
    (cmd.CompleteWorkflow(outcome=cmd.Completed(raw(5))), ev.WorkflowCompleted(result=raw(5))),
    (cmd.CompleteWorkflow(outcome=cmd.Failed(failure())), ev.WorkflowFailed(error=failure())),
    (cmd.CompleteWorkflow(outcome=cmd.Cancelled("why")), ev.WorkflowCancelled(reason="why")),
    (
        cmd.CompleteWorkflow(outcome=cmd.Continued(raw(5))),
        ev.WorkflowContinuedAsNew(input=raw(5), new_run_id="r1@2"),
    ),
]
KEYS: dict[type[Any], Any] = {
    key.Activity: key.Activity(0),
    key.Timer: key.Timer(0),
    key.Child: key.Child(0),
    key.Send: key.Send(0),
    key.Signal: key.Signal("go", 0),
    key.Update: key.Update("u1"),
    key.Marker: key.Marker("patch", "a"),
    key.Main: key.Main(),
}


def name_of(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize(("command", "event"), COMMANDS, ids=name_of)
def test_a_command_is_recorded_as_this_event(command: cmd.AnyCommand, event: ev.Event | None) -> None:
    assert cmd.command_event(command, child_id="made-up", new_run_id="r1@2") == event


@pytest.mark.parametrize(("command", "event"), COMMANDS, ids=name_of)
def test_its_event_has_its_key(command: cmd.AnyCommand, event: ev.Event | None) -> None:
    assert event is None or key.key_of(event) == command.key


def test_every_command_is_listed_here() -> None:
    assert {type(command) for command, _ in COMMANDS} == set(cmd.AnyCommand.__args__)


@pytest.mark.parametrize("command", [command for command, _ in COMMANDS], ids=name_of)
@pytest.mark.parametrize("kind", KEYS, ids=lambda kind: kind.__name__)
def test_a_key_of_another_kind_is_refused_with_both_named(command: cmd.AnyCommand, kind: type[Any]) -> None:
    if type(command.key) is kind:
        cmd.require_key_kind(command, KEYS[kind])
        return
    with pytest.raises(HistoryShapeError) as caught:
        cmd.require_key_kind(command, KEYS[kind])
    assert str(caught.value).startswith(
        f"{type(command).__name__} takes a key of kind {type(command.key).__name__}, not {kind.__name__}"
    )


def test_a_childs_id_is_the_authors_if_there_is_one() -> None:
    command = cmd.SpawnChild(key=key.Child(0), workflow_type="ship", input=raw(None), workflow_id="parcel-7")
    event = cmd.command_event(command, child_id="made-up")
    assert isinstance(event, ev.ChildWorkflowStarted)
    assert event.child_workflow_id == "parcel-7"
