"""The resolver: a command is its event, or the code diverged, or history ends here."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core import payload
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.resolver import Resolver, matches, recorded_step, requested_step
from aion_cli.errors import NonDeterminismError, PayloadError, Step
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    child,
    child_completed,
    completed,
    ended,
    ended_in,
    failed,
    failure,
    fired,
    history,
    raw,
    scheduled,
    send,
    sent,
    signal,
    started,
    timer,
    timer_cancelled,
)


def run(n: int, activity_type: str, input: object = None, target: object = None) -> cmd.RunActivity:
    return cmd.RunActivity(
        key=key.Activity(n), activity_type=activity_type, input=raw(input), target=target, source="order.py:7"
    )


def spawn(n: int, workflow_type: str, input: object = None, workflow_id: str = "") -> cmd.SpawnChild:
    return cmd.SpawnChild(key=key.Child(n), workflow_type=workflow_type, input=raw(input), workflow_id=workflow_id)


def sending(n: int, target: str, name: str, value: object = None) -> cmd.SendSignal:
    return cmd.SendSignal(key=key.Send(n), to=target, name=name, payload=raw(value))


def sleep(n: int, fire_at: str) -> cmd.StartTimer:
    return cmd.StartTimer(key=key.Timer(n), fire_at=fire_at)


def child_cancel_requested(n: int) -> ev.ChildCancelRequested:
    return ev.ChildCancelRequested(ordinal=n)


def complete(result: object = None) -> cmd.CompleteWorkflow:
    return cmd.CompleteWorkflow(outcome=cmd.Completed(raw(result)))


def resolver(*events: ev.Event) -> Resolver:
    return Resolver("order-1", HistoryCursor(history(started(), *events)))


# --- the answer to a command


ANSWERED: list[tuple[cmd.AnyCommand, ev.Event, ev.Event]] = [
    (run(0, "charge"), scheduled(0, "charge"), completed(0, "r1")),
    (run(0, "charge"), scheduled(0, "charge"), failed(0)),
    (sleep(0, at(9)), timer(0, at(9)), fired(0)),
    (spawn(0, "ship"), child(0, "ship"), child_completed(0, 1)),
    (spawn(0, "ship"), child(0, "ship"), ev.ChildWorkflowCancelled(ordinal=0)),
    (sending(0, "order-2", "go"), send(0, "order-2", "go"), sent(0)),
    (sending(0, "order-2", "go"), send(0, "order-2", "go"), ev.SignalSendFailed(ordinal=0, error=failure())),
]


@pytest.mark.parametrize(("command", "begun", "answer"), ANSWERED, ids=lambda value: type(value).__name__)
def test_a_command_that_history_answers_is_resolved_by_that_answer(
    command: cmd.AnyCommand, begun: ev.Event, answer: ev.Event
) -> None:
    found = resolver(begun, signal("beside"), answer).resolve(command)
    assert isinstance(found, cmd.Recorded)
    assert type(found.resolution.event) is type(answer)
    assert found.resolution.event.seq == 4


@pytest.mark.parametrize(("command", "begun", "answer"), ANSWERED, ids=lambda value: type(value).__name__)
def test_half_done_work_is_the_worlds_to_finish(command: cmd.AnyCommand, begun: ev.Event, answer: ev.Event) -> None:
    found = resolver(begun).resolve(command)
    assert isinstance(found, cmd.ResumeLive)
    assert type(found.begun) is type(begun)


@pytest.mark.parametrize(("command", "begun", "answer"), ANSWERED, ids=lambda value: type(value).__name__)
def test_what_history_does_not_hold_is_live(command: cmd.AnyCommand, begun: ev.Event, answer: ev.Event) -> None:
    assert resolver().resolve(command) == cmd.ResumeLive()


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (cmd.CancelActivity(key=key.Activity(0)), activity_cancelled(0)),
        (cmd.CancelTimer(key=key.Timer(0)), timer_cancelled(0)),
        (cmd.CancelChild(key=key.Child(0)), child_cancel_requested(0)),
        (
            cmd.RecordMarker(key=key.Marker("patch", "a"), value=raw(True)),
            ev.MarkerRecorded(kind="patch", name="a", value=raw(True)),
        ),
        (cmd.AnswerUpdate(key=key.Update("u"), result=raw(1)), ev.UpdateCompleted(update_id="u", result=raw(1))),
        (complete(1), ended(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_command_that_begins_nothing_is_resolved_by_its_own_event(command: cmd.AnyCommand, event: ev.Event) -> None:
    found = resolver(event).resolve(command)
    assert isinstance(found, cmd.Recorded)
    assert type(found.resolution.event) is type(event)
    assert resolver().resolve(command) == cmd.ResumeLive()


def test_signals_are_answered_by_name_and_index_in_file_order() -> None:
    of = resolver(signal("go", 1, "s1"), signal("stop", 2, "s2"), signal("go", 3, "s3"))
    assert of.resolve(cmd.AwaitSignal(key=key.Signal("go", 2))) == cmd.ResumeLive()
    for name, index, signal_id in (("go", 0, "s1"), ("go", 1, "s3"), ("stop", 0, "s2")):
        found = of.resolve(cmd.AwaitSignal(key=key.Signal(name, index)))
        assert isinstance(found, cmd.Recorded)
        assert isinstance(found.resolution.event, ev.SignalReceived)
        assert found.resolution.event.signal_id == signal_id


def test_a_child_is_awaited_under_the_key_it_was_spawned_with() -> None:
    of = resolver(child(0, "ship"), child_completed(0, "parcel"))
    of.resolve(spawn(0, "ship"))
    found = of.resolve(cmd.AwaitChild(key=key.Child(0)))
    assert isinstance(found, cmd.Recorded)
    assert isinstance(found.resolution.event, ev.ChildWorkflowCompleted)


def test_attempts_failures_backoff_and_heartbeats_of_half_done_work_are_known_at_the_boundary() -> None:
    found = resolver(
        scheduled(0, "charge"),
        attempted(0),
        ev.ActivityHeartbeat(activity_id=0, attempt=1, details=raw({"row": 7})),
        failed(0, again_at=at(9)),
        attempted(0, 2),
        failed(0, attempt=2, again_at=at(30)),
    ).resolve(run(0, "charge"))
    assert isinstance(found, cmd.ResumeLive)
    assert (found.attempts, found.failures, found.next_attempt_at) == (2, 2, at(30))
    assert found.heartbeat == raw({"row": 7})


def test_an_attempt_that_a_crash_cut_off_is_no_failure_and_ends_the_backoff() -> None:
    found = resolver(scheduled(0, "charge"), attempted(0), failed(0, again_at=at(9)), attempted(0, 2)).resolve(
        run(0, "charge")
    )
    assert isinstance(found, cmd.ResumeLive)
    assert (found.attempts, found.failures, found.next_attempt_at) == (2, 1, None)


# --- whether an event records a command


SAME: list[tuple[cmd.AnyCommand, ev.Event]] = [
    (run(0, "charge", {"a": 1, "b": 2}), scheduled(0, "charge", {"b": 2, "a": 1})),
    (run(0, "charge", 1), scheduled(0, "charge", 1.0)),
    (sleep(1, at(9)), timer(1, at(9))),
    (sending(0, "order-2", "go", 1), send(0, "order-2", "go", 1)),
    (spawn(0, "ship", 1), child(0, "ship", 1, "whatever-the-runtime-chose")),
    (spawn(0, "ship", 1, "parcel-7"), child(0, "ship", 1, "parcel-7")),
    (complete({"a": 1}), ended({"a": 1})),
    (cmd.CompleteWorkflow(outcome=cmd.Failed(failure(message="now"))), ended_in(failure(message="then"))),
    (cmd.CompleteWorkflow(outcome=cmd.Cancelled("now")), ev.WorkflowCancelled(reason="then")),
    (
        cmd.CompleteWorkflow(outcome=cmd.Continued(raw(1))),
        ev.WorkflowContinuedAsNew(input=raw(1), new_run_id="any"),
    ),
    (
        cmd.RunActivity(key=key.Activity(0), activity_type="a", input=raw(1), options={"timeout_s": 5.0}),
        ev.ActivityScheduled(activity_id=0, activity_type="a", input=raw(1), options={"timeout_s": 9.0}),
    ),
    (
        cmd.AnswerUpdate(key=key.Update("u"), error=failure(message="now")),
        ev.UpdateFailed(update_id="u", error=failure(message="then")),
    ),
]
OTHER: list[tuple[cmd.AnyCommand, ev.Event]] = [
    (run(0, "charge"), scheduled(0, "bill")),
    (run(0, "charge"), scheduled(1, "charge")),
    (run(0, "charge", 1), scheduled(0, "charge", 2)),
    (run(0, "charge", True), scheduled(0, "charge", 1)),
    (run(0, "charge"), timer(0, at(9))),
    (sleep(0, at(9)), timer(0, at(10))),
    (sleep(0, at(9)), timer(1, at(9))),
    (sending(0, "order-2", "go"), send(0, "order-3", "go")),
    (sending(0, "order-2", "go"), send(0, "order-2", "stop")),
    (sending(0, "order-2", "go", 1), send(0, "order-2", "go", 2)),
    (sending(0, "order-2", "go"), send(1, "order-2", "go")),
    (spawn(0, "ship"), child(0, "post")),
    (spawn(0, "ship"), child(1, "ship")),
    (spawn(0, "ship", 1), child(0, "ship", 2)),
    (spawn(0, "ship", 1, "parcel-7"), child(0, "ship", 1, "parcel-8")),
    (complete(1), ended(2)),
    (complete(1), ended_in()),
    (cmd.CompleteWorkflow(outcome=cmd.Failed(failure("KeyError"))), ended_in(failure("ValueError"))),
    (
        cmd.CompleteWorkflow(outcome=cmd.Failed(failure(kind=ev.ErrorKind.CANCELLED))),
        ended_in(failure(kind=ev.ErrorKind.ERROR)),
    ),
    (cmd.CompleteWorkflow(outcome=cmd.Cancelled()), ended()),
    (
        cmd.CompleteWorkflow(outcome=cmd.Continued(raw(1))),
        ev.WorkflowContinuedAsNew(input=raw(2), new_run_id="any"),
    ),
    (
        cmd.CompleteWorkflow(outcome=cmd.Continued(raw(1))),
        ev.WorkflowContinuedAsNew(input=raw(1), new_run_id="any", workflow_type="other"),
    ),
    (cmd.CancelActivity(key=key.Activity(0)), activity_cancelled(1)),
    (cmd.CancelTimer(key=key.Timer(0)), timer_cancelled(1)),
    (cmd.CancelTimer(key=key.Timer(0)), activity_cancelled(0)),
    (cmd.CancelChild(key=key.Child(0)), child_cancel_requested(1)),
    (
        cmd.RecordMarker(key=key.Marker("patch", "a"), value=raw(True)),
        ev.MarkerRecorded(kind="patch", name="b", value=raw(True)),
    ),
    (cmd.AnswerUpdate(key=key.Update("u"), result=raw(1)), ev.UpdateFailed(update_id="u", error=failure())),
    (cmd.AnswerUpdate(key=key.Update("u"), result=raw(1)), ev.UpdateCompleted(update_id="v", result=raw(1))),
]


@pytest.mark.parametrize(("command", "event"), SAME, ids=lambda value: type(value).__name__)
def test_this_event_records_this_command(command: cmd.AnyCommand, event: ev.Event) -> None:
    assert matches(command, event)
    resolver(event).match(command)


@pytest.mark.parametrize(("command", "event"), OTHER, ids=lambda value: type(value).__name__)
def test_this_event_records_another_command(command: cmd.AnyCommand, event: ev.Event) -> None:
    assert not matches(command, event)
    with pytest.raises(NonDeterminismError) as caught:
        resolver(event).match(command)
    recorded, requested = caught.value.recorded, caught.value.requested
    assert caught.value.seq == 2
    assert recorded != requested
    if recorded_step(event) != requested_step(command):
        assert (recorded, requested) == (recorded_step(event), requested_step(command))


def test_what_differs_in_nothing_that_is_usually_said_is_told_apart_by_what_it_differs_in() -> None:
    children = child(0, "ship", 1, "parcel-8"), spawn(0, "ship", 1, "parcel-7")
    ends = ended_in(failure()), cmd.CompleteWorkflow(outcome=cmd.Failed(failure(kind=ev.ErrorKind.TIMEOUT)))
    said = [
        'child workflow "ship as parcel-8" (0) with 1 / child workflow "ship as parcel-7" (0) with 1',
        'failure "ValueError" (error) with broken / failure "ValueError" (timeout) with broken',
    ]
    for (event, command), sides in zip((children, ends), said, strict=True):
        with pytest.raises(NonDeterminismError) as caught:
            resolver(event).match(command)
        assert f"{caught.value.recorded} / {caught.value.requested}" == sides


@dataclass
class Typed:
    """Stands for a definition: reads a recorded input with today's types, and writes it again."""

    type_: type[msgspec.Struct]

    def reencode_input(self, recorded: msgspec.Raw) -> msgspec.Raw:
        return payload.encode(payload.decode(recorded, self.type_), self.type_)


class Order(msgspec.Struct):
    sku: str
    express: bool = False


def test_a_field_with_a_default_may_be_added() -> None:
    command = run(0, "charge", {"sku": "A1", "express": False}, Typed(Order))
    assert matches(command, scheduled(0, "charge", {"sku": "A1"}))
    assert not matches(command, scheduled(0, "charge", {"sku": "A2"}))
    assert not matches(
        run(0, "charge", {"sku": "A1", "express": True}, Typed(Order)), scheduled(0, "charge", {"sku": "A1"})
    )


@dataclass
class TypedWorkflow(Typed):
    """Stands for a workflow whose input and result are of the same type."""

    def reencode_result(self, recorded: msgspec.Raw) -> msgspec.Raw:
        return self.reencode_input(recorded)


ONE_FIELD, TWO_FIELDS, EXPRESS = (
    raw({"sku": "A1"}),
    raw({"sku": "A1", "express": False}),
    raw({"sku": "A1", "express": True}),
)


@pytest.mark.parametrize(
    ("recorded", "same", "other"),
    [
        (ev.WorkflowCompleted(result=ONE_FIELD), cmd.Completed(TWO_FIELDS), cmd.Completed(EXPRESS)),
        (
            ev.WorkflowContinuedAsNew(input=ONE_FIELD, new_run_id="r2"),
            cmd.Continued(TWO_FIELDS),
            cmd.Continued(EXPRESS),
        ),
    ],
    ids=["result", "input of the next run"],
)
def test_a_field_with_a_default_may_be_added_to_how_a_run_ends(
    recorded: ev.Event, same: cmd.Outcome, other: cmd.Outcome
) -> None:
    assert matches(cmd.CompleteWorkflow(outcome=same, target=TypedWorkflow(Order)), recorded)
    assert not matches(cmd.CompleteWorkflow(outcome=same), recorded)
    assert not matches(cmd.CompleteWorkflow(outcome=other, target=TypedWorkflow(Order)), recorded)


def test_a_recorded_input_that_no_longer_fits_the_types_is_another_input() -> None:
    command = run(0, "charge", {"sku": "A1", "express": False}, Typed(Order))
    assert not matches(command, scheduled(0, "charge", {"sku": 1}))
    with pytest.raises(PayloadError):
        Typed(Order).reencode_input(raw({"sku": 1}))


# --- what is said about a divergence


def test_a_divergence_names_the_place_both_steps_and_the_last_agreement() -> None:
    of = resolver(scheduled(0, "charge", {"sku": "A1"}), scheduled(1, "bill", {"sku": "A1"}))
    of.match(run(0, "charge", {"sku": "A1"}))
    with pytest.raises(NonDeterminismError) as caught:
        of.match(run(1, "mail", {"sku": "A1"}))
    error = caught.value
    assert (error.workflow_id, error.seq, error.last_match, error.source) == ("order-1", 3, 2, "order.py:7")
    assert error.recorded == Step("activity", "bill", "1", '{"sku":"A1"}')
    assert error.requested == Step("activity", "mail", "1", '{"sku":"A1"}')


def test_an_answer_before_the_commands_event_is_a_divergence_too() -> None:
    of = resolver(scheduled(0, "charge"), completed(0), scheduled(1, "bill"))
    of.match(run(0, "charge"))
    with pytest.raises(NonDeterminismError) as caught:
        of.match(run(1, "bill"))
    assert (caught.value.seq, caught.value.recorded.kind) == (3, "outcome of activity")


def test_a_divergence_takes_nothing_from_the_history() -> None:
    of = resolver(timer(0, at(9)))
    with pytest.raises(NonDeterminismError):
        of.match(run(0, "charge"))
    assert of.match(sleep(0, at(9))) is not None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (cmd.AwaitSignal(key=key.Signal("go", 2)), 'wait for signal "go" (2)'),
        (cmd.AwaitChild(key=key.Child(1)), "wait for child workflow (1)"),
        (run(0, "charge", {"sku": "ä"}), 'activity "charge" (0) with {"sku":"ä"}'),
        (sleep(0, at(9)), f"timer (0) with {at(9)}"),
        (sending(0, "order-2", "go", 1), 'signal "go to order-2" (0) with 1'),
        (spawn(0, "ship", 1), 'child workflow "ship" (0) with 1'),
        (complete(1), "completion with 1"),
        (cmd.CompleteWorkflow(outcome=cmd.Failed(failure())), 'failure "ValueError" with broken'),
        (cmd.CompleteWorkflow(outcome=cmd.Cancelled()), "cancelled end"),
        (cmd.CompleteWorkflow(outcome=cmd.Continued(raw(1))), "continue-as-new with 1"),
        (cmd.CancelActivity(key=key.Activity(0)), "cancellation of activity (0)"),
        (cmd.CancelTimer(key=key.Timer(0)), "cancellation of timer (0)"),
        (cmd.CancelChild(key=key.Child(0)), "cancellation of child workflow (0)"),
        (cmd.RecordMarker(key=key.Marker("patch", "a"), value=raw(True)), 'patch marker "a" with true'),
        (cmd.AnswerUpdate(key=key.Update("u"), result=raw(1)), "answer to update (u) with 1"),
        (
            cmd.AnswerUpdate(key=key.Update("u"), error=failure()),
            'failure of update "ValueError" (u) with broken',
        ),
    ],
)
def test_a_command_is_described_in_these_words(command: cmd.AnyCommand, expected: str) -> None:
    assert str(requested_step(command)) == expected
