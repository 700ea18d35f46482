"""The resume-live boundary: what history answers touches nothing, and what it cannot answer is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from aion_cli import activity, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.resolver import Resolver
from aion_cli.errors import HistoryShapeError, NonDeterminismError, SequenceConflictError, StoreError
from aion_cli.runtime.executor import ActivityOutcome, ActivityRequest, AttemptLog
from aion_cli.runtime.handoff import HandoffOutcome, resolve_or_execute_live
from aion_cli.runtime.recorder import Recorder
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    child,
    child_completed,
    completed,
    ended,
    failed,
    failure,
    fired,
    history,
    raw,
    reopened,
    scheduled,
    send,
    sent,
    signal,
    started,
    timer,
)
from tests.runtime.seam import WORKER, DirectSeam


@activity
def charge(sku: str) -> str:
    raise AssertionError(f"an activity ran: {sku}")


@activity(at_most_once=True)
def charge_once(sku: str) -> str:
    raise AssertionError(f"an activity ran: {sku}")


@workflow
async def ship(sku: str) -> str:
    raise AssertionError(f"a child ran: {sku}")


RUN = cmd.RunActivity(key=key.Activity(0), activity_type="charge", input=raw("A1"), target=charge)
TIMER = cmd.StartTimer(key=key.Timer(0), fire_at=at(160))
SEND = cmd.SendSignal(key=key.Send(0), to="order-2", name="go", payload=raw(1))
SPAWN = cmd.SpawnChild(key=key.Child(0), workflow_type="ship", input=raw("A1"), target=ship)
COMPLETE = cmd.CompleteWorkflow(outcome=cmd.Completed(raw("done")))

Crossing = Coroutine[Any, Any, HandoffOutcome.Resolved | HandoffOutcome.WorkflowCompleted]


def cross(command: cmd.AnyCommand, seam: DirectSeam) -> HandoffOutcome.Resolved | HandoffOutcome.WorkflowCompleted:
    return asyncio.run(resolve_or_execute_live(command, command.key, seam))


def resolution(command: cmd.AnyCommand, seam: DirectSeam) -> ev.Event:
    outcome = cross(command, seam)
    assert isinstance(outcome, HandoffOutcome.Resolved)
    return outcome.resolution.event


def seam(*events: ev.Event) -> DirectSeam:
    return DirectSeam(history(started("A1"), *events))


# --- the behaviours that are fixed by name


def test_recorded_history_gives_its_resolutions_and_no_executor_method_is_called() -> None:
    here = seam(
        scheduled(0, "charge", "A1"),
        attempted(0),
        completed(0, "r1"),
        timer(0, at(160)),
        fired(0),
        send(0, "order-2", "go", 1),
        sent(0),
        child(0, "ship", "A1"),
        child_completed(0, "parcel"),
        signal("go", 5),
        ev.MarkerRecorded(kind="patch", name="p", value=raw(True)),
        ended("done"),
    )
    marker = cmd.RecordMarker(key=key.Marker("patch", "p"), value=raw(True))
    commands = [RUN, TIMER, SEND, SPAWN, cmd.AwaitChild(key=key.Child(0)), cmd.AwaitSignal(key=key.Signal("go", 0))]
    answers = [resolution(command, here) for command in [*commands, marker, COMPLETE]]
    assert [event.seq for event in answers] == [4, 6, 8, 10, 10, 11, 12, 13]
    assert here.log == []
    assert here.store.head.seq == 13


def test_a_live_activity_is_recorded_as_scheduled_started_completed_with_seq_and_attempt() -> None:
    here = seam()
    event = resolution(RUN, here)
    assert list(here.store.read())[1:] == [
        ev.ActivityScheduled(seq=2, recorded_at=at(100), b=1, activity_id=0, activity_type="charge", input=raw("A1")),
        ev.ActivityStarted(seq=3, recorded_at=at(100), activity_id=0, attempt=1, host="h1", pid=7),
        ev.ActivityCompleted(seq=4, recorded_at=at(100), activity_id=0, attempt=1, result=raw(None)),
    ]
    assert event.seq == 4
    assert here.log == [
        "append ActivityScheduled ActivityStarted",
        "run charge 0",
        "append ActivityCompleted",
    ]


def test_a_second_pass_answers_from_history_with_the_executor_called_once_in_all() -> None:
    here = seam()
    first = resolution(RUN, here)
    here.second_pass()
    again = resolution(RUN, here)
    assert (again.seq, type(again)) == (first.seq, ev.ActivityCompleted)
    assert [line for line in here.log if line.startswith("run")] == ["run charge 0"]
    assert here.store.head.seq == 4


def test_an_executor_that_returns_a_retryable_failure_as_its_final_outcome_is_a_history_shape_error() -> None:
    async def not_final(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        return failed(0, again_at=at(200))

    here = seam()
    here.executor.outcomes["charge"] = not_final
    with pytest.raises(HistoryShapeError, match=r"failure of activity 'charge' \(0\) that is to be tried again"):
        cross(RUN, here)
    assert here.store.names() == ["WorkflowStarted", "ActivityScheduled", "ActivityStarted"]


def test_a_terminal_failure_is_recorded_once() -> None:
    async def final(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        return failed(0, failure("CardDeclined"))

    here = seam()
    here.executor.outcomes["charge"] = final
    event = resolution(RUN, here)
    assert isinstance(event, ev.ActivityFailed)
    here.second_pass()
    assert isinstance(resolution(RUN, here), ev.ActivityFailed)
    assert [event.error.type for event in here.store.events(ev.ActivityFailed)] == ["CardDeclined"]
    assert len(here.executor.requests) == 1


def test_the_executor_failing_itself_leaves_scheduled_and_started_in_the_history_and_no_outcome() -> None:
    async def breaks(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        raise OSError("no threads left")

    here = seam()
    here.executor.outcomes["charge"] = breaks
    with pytest.raises(OSError, match="no threads left"):
        cross(RUN, here)
    assert here.store.names() == ["WorkflowStarted", "ActivityScheduled", "ActivityStarted"]
    # The next run takes it up as the next attempt.
    here.executor.outcomes.clear()
    here.second_pass()
    assert isinstance(resolution(RUN, here), ev.ActivityCompleted)
    assert here.store.events(ev.ActivityStarted)[-1].attempt == 2
    assert len(here.store.events(ev.ActivityScheduled)) == 1


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (cmd.Completed(raw("done")), ev.WorkflowCompleted),
        (cmd.Failed(failure()), ev.WorkflowFailed),
        (cmd.Cancelled("why"), ev.WorkflowCancelled),
        (cmd.Continued(raw(2)), ev.WorkflowContinuedAsNew),
    ],
    ids=lambda value: type(value).__name__,
)
def test_completing_the_workflow_records_its_end_and_gives_workflow_completed(
    outcome: cmd.Outcome, kind: type[ev.Event]
) -> None:
    here = seam()
    found = cross(cmd.CompleteWorkflow(outcome=outcome), here)
    assert isinstance(found, HandoffOutcome.WorkflowCompleted)
    assert (type(found.event), found.event.seq) == (kind, 2)
    assert here.store.names() == ["WorkflowStarted", kind.__name__]


def test_completing_the_workflow_records_workflow_completed_and_gives_handoff_outcome_workflow_completed() -> None:
    here = seam()
    found = cross(COMPLETE, here)
    assert found == HandoffOutcome.WorkflowCompleted(
        ev.WorkflowCompleted(seq=2, recorded_at=at(100), result=raw("done"))
    )


def test_a_wrong_kind_of_correlation_key_for_a_command_is_a_history_shape_error_that_names_both() -> None:
    here = seam()
    with pytest.raises(HistoryShapeError) as caught:
        asyncio.run(resolve_or_execute_live(RUN, key.Timer(0), here))
    assert "RunActivity takes a key of kind Activity, not Timer" in str(caught.value)
    assert (here.log, here.store.head.seq) == ([], 1)


def test_recorded_at_comes_from_the_caller_the_recorder_never_reads_a_clock() -> None:
    here = seam()
    here.seconds = 7.25
    cross(RUN, here)
    assert {event.recorded_at for event in list(here.store.read())[1:]} == {at(7.25)}
    # A clock that goes back repeats the last time; one that stands still is not moved on.
    here.seconds = 1.0
    cross(cmd.RunActivity(key=key.Activity(1), activity_type="charge", input=raw("A2"), target=charge), here)
    assert {event.recorded_at for event in list(here.store.read())[1:]} == {at(7.25)}


def test_a_sequence_conflict_from_the_store_is_surfaced_as_it_is_and_never_retried() -> None:
    here = seam()
    appends: list[int] = []
    append = here.store.append

    def conflicting(events: Any, expected_seq: int) -> int:
        appends.append(expected_seq)
        if len(appends) == 1:
            append([ev.SignalReceived(seq=2, recorded_at=at(1), name="go", payload=raw(1), signal_id="s")], 1)
        return append(events, expected_seq)

    here.store.append = conflicting
    with pytest.raises(SequenceConflictError) as caught:
        cross(RUN, here)
    assert (caught.value.expected_seq, caught.value.found_seq) == (1, 2)
    assert appends == [1]
    assert here.executor.requests == []
    with pytest.raises(StoreError):
        here.recorder.commit()
    assert here.store.names() == ["WorkflowStarted", "SignalReceived"]


def test_keys_are_those_of_the_current_run_segment_only_after_continue_as_new_they_start_at_zero_in_the_new_file() -> (
    None
):
    first = history(started(1), scheduled(0, "charge", "A1"), completed(0, "r1"))
    second = history(started(0, run_id="r1@2", continued_from="r1"))
    here = DirectSeam(second, number=2)
    event = resolution(RUN, here)
    assert (event.seq, len(here.executor.requests)) == (4, 1)
    assert here.executor.requests[0].stable_id == "r1/2"
    assert isinstance(Resolver("order-1", HistoryCursor(first)).resolve(RUN), cmd.Recorded)


def test_events_that_a_reopen_superseded_are_invisible_to_matching() -> None:
    events = history(
        started("A1"),
        scheduled(0, "charge", "A1"),
        failed(0),  # 3: reopened from here
        scheduled(1, "charge", "undo"),
        completed(1, "r2"),
        ev.WorkflowFailed(error=failure()),
        reopened(3),
    )
    here = DirectSeam(events, [event for event in events if isinstance(event, ev.WorkflowReopened)])
    assert isinstance(resolution(RUN, here), ev.ActivityCompleted)
    other = cmd.RunActivity(key=key.Activity(1), activity_type="bill", input=raw("new"), target=charge)
    assert isinstance(resolution(other, here), ev.ActivityCompleted)
    assert [request.command.activity_type for request in here.executor.requests] == ["charge", "bill"]
    assert here.executor.requests[0].stable_id == "r1/2"


# --- the other commands


def test_another_command_than_the_recorded_one_is_a_divergence_before_anything_is_touched() -> None:
    here = seam(scheduled(0, "bill", "A1"))
    with pytest.raises(NonDeterminismError):
        cross(RUN, here)
    assert (here.log, here.store.head.seq) == ([], 2)


def test_a_timer_is_on_disk_before_it_runs_and_fires_once() -> None:
    async def run(here: DirectSeam) -> None:
        crossing = asyncio.create_task(resolve_or_execute_live(TIMER, TIMER.key, here))
        while not here.executor.timers:
            await asyncio.sleep(0)
        here.executor.timers[0].set_result(None)
        await crossing

    here = seam()
    asyncio.run(run(here))
    assert here.log == ["append TimerStarted", "timer 0", "append TimerFired"]


def test_a_timer_that_history_began_is_armed_again_without_another_event() -> None:
    async def run(here: DirectSeam) -> None:
        crossing = asyncio.create_task(resolve_or_execute_live(TIMER, TIMER.key, here))
        while not here.executor.timers:
            await asyncio.sleep(0)
        here.executor.timers[0].set_result(None)
        await crossing

    here = seam(timer(0, at(160)))
    asyncio.run(run(here))
    assert here.log == ["timer 0", "append TimerFired"]


@pytest.mark.parametrize("recorded", [[], [send(0, "order-2", "go", 1)]], ids=["new", "repeated"])
def test_a_signal_is_sent_under_the_same_id_however_often_it_is_tried(recorded: list[ev.Event]) -> None:
    here = seam(*recorded)
    assert isinstance(resolution(SEND, here), ev.SignalSent)
    assert here.log[-2:] == ["send go to order-2 as r1/2", "append SignalSent"]
    assert len(here.store.events(ev.SignalSendRequested)) == 1


@pytest.mark.parametrize("number", [1, 3])
def test_a_child_is_recorded_before_it_starts_and_its_id_says_which_run_and_command_asked(number: int) -> None:
    async def run(here: DirectSeam) -> None:
        crossing = asyncio.create_task(resolve_or_execute_live(SPAWN, SPAWN.key, here))
        while not here.executor.child_outcomes:
            await asyncio.sleep(0)
        next(iter(here.executor.child_outcomes.values())).set_result(child_completed(0, "parcel"))
        await crossing

    here = DirectSeam(history(started("A1")), number=number)
    asyncio.run(run(here))
    child_id = f"order-1.{number}-2"
    assert here.log == ["append ChildWorkflowStarted", f"child {child_id}", "append ChildWorkflowCompleted"]
    assert here.children[key.Child(0)].parent == ev.ParentRef("order-1", "r1", 2)


def test_a_recorded_child_is_attached_under_its_recorded_id() -> None:
    async def run(here: DirectSeam) -> None:
        crossing = asyncio.create_task(resolve_or_execute_live(SPAWN, SPAWN.key, here))
        while not here.executor.child_outcomes:
            await asyncio.sleep(0)
        here.executor.child_outcomes["parcel-7"].set_result(child_completed(0, "parcel"))
        await crossing

    here = seam(child(0, "ship", "A1", "parcel-7"))
    asyncio.run(run(here))
    assert here.log == ["child parcel-7", "append ChildWorkflowCompleted"]


def test_a_withdrawal_is_on_disk_before_what_runs_is_stopped() -> None:
    here = seam(scheduled(0, "charge", "A1"), timer(0, at(160)), child(0, "ship", "A1", "parcel-7"))
    for command in (RUN, TIMER, SPAWN):
        here.resolver.match(command)
    here.child(SPAWN, here.store.events(ev.ChildWorkflowStarted)[0])
    for command in (
        cmd.CancelActivity(key=key.Activity(0)),
        cmd.CancelTimer(key=key.Timer(0)),
        cmd.CancelChild(key=key.Child(0)),
    ):
        cross(command, here)
    assert here.withdrawn == [key.Activity(0), key.Timer(0), key.Child(0)]
    assert here.log == [
        "append ActivityCancelled",
        "append TimerCancelled",
        "append ChildCancelRequested",
        "cancel child parcel-7 as r1/7",
    ]


def test_a_recorded_withdrawal_is_answered_from_history() -> None:
    here = seam(scheduled(0, "charge", "A1"), activity_cancelled(0))
    here.resolver.match(RUN)
    assert isinstance(resolution(cmd.CancelActivity(key=key.Activity(0)), here), ev.ActivityCancelled)
    assert here.log == []


def test_a_wait_for_a_signal_leaves_no_event() -> None:
    here = seam()
    cross(cmd.AwaitSignal(key=key.Signal("go", 0)), here)
    assert (here.log, here.store.head.seq) == (["await signal go"], 1)


def test_markers_and_answers_are_recorded_and_nothing_else_happens() -> None:
    here = seam()
    cross(cmd.RecordMarker(key=key.Marker("patch", "p"), value=raw(True)), here)
    cross(cmd.AnswerUpdate(key=key.Update("u1"), result=raw(1)), here)
    cross(cmd.AnswerUpdate(key=key.Update("u2"), error=failure()), here)
    assert here.log == ["append MarkerRecorded", "append UpdateCompleted", "append UpdateFailed"]


def test_a_run_that_continues_names_the_next_one_the_same_way_after_every_crash() -> None:
    ids: set[str] = set()
    for _ in range(2):
        here = DirectSeam(history(started("A1", run_id="r1@2")), number=2)
        here.identity = type(here.identity)("order-1", "r1@2", 2)
        cross(cmd.CompleteWorkflow(outcome=cmd.Continued(raw(1))), here)
        ids.add(here.store.events(ev.WorkflowContinuedAsNew)[0].new_run_id)
    assert ids == {"r1@3"}


# --- half-done activities


def test_an_activity_without_outcome_is_dispatched_again_as_the_next_attempt_and_scheduled_once() -> None:
    here = seam(scheduled(0, "charge", "A1"), attempted(0))
    event = resolution(RUN, here)
    assert isinstance(event, ev.ActivityCompleted)
    assert event.attempt == 2
    assert here.log == ["append ActivityStarted", "run charge 0", "append ActivityCompleted"]
    request = here.executor.requests[0]
    assert (request.stable_id, request.scheduled_at, request.failures) == ("r1/2", at(1), 0)


def test_an_activity_in_backoff_is_handed_over_with_the_instant_it_is_due_and_no_attempt_recorded() -> None:
    here = seam(scheduled(0, "charge", "A1"), attempted(0), failed(0, again_at=at(200)))
    cross(RUN, here)
    request = here.executor.requests[0]
    assert (request.attempt, request.failures, request.due, request.started) == (2, 1, at(200), False)
    assert here.log[0] == "run charge 0"


def test_an_activity_that_finds_no_room_is_scheduled_and_its_attempt_recorded_when_it_begins() -> None:
    here = seam()
    here.executor.rooms = 0
    cross(RUN, here)
    assert here.log == [
        "append ActivityScheduled",
        "run charge 0",
        "append ActivityStarted",
        "attempt charge 0",
        "append ActivityCompleted",
    ]


def test_an_activity_of_a_run_that_may_not_begin_anything_takes_no_room() -> None:
    here = seam()
    here.may_start = False
    cross(RUN, here)
    assert here.store.batches[0] == ["ActivityScheduled"]


def test_room_is_given_back_if_the_disk_refuses() -> None:
    here = seam()

    def refuses(events: Any, expected_seq: int) -> int:
        raise StoreError("the disk is full")

    here.store.append = refuses
    with pytest.raises(StoreError, match="full"):
        cross(RUN, here)
    assert here.log == ["give back charge"]


def test_an_at_most_once_activity_that_was_started_is_interrupted_and_not_repeated() -> None:
    once = cmd.RunActivity(key=key.Activity(0), activity_type="charge_once", input=raw("A1"), target=charge_once)
    here = seam(scheduled(0, "charge_once", "A1"), attempted(0))
    event = resolution(once, here)
    assert isinstance(event, ev.ActivityFailed)
    assert (event.error.kind, event.error.type, event.attempt) == (ev.ErrorKind.INTERRUPTED, "ActivityInterrupted", 1)
    assert here.executor.requests == []


@pytest.mark.parametrize(
    "before",
    [[], [scheduled(0, "charge_once", "A1")]],
    ids=["new", "scheduled"],
)
def test_an_at_most_once_activity_that_was_never_started_runs(before: list[ev.Event]) -> None:
    once = cmd.RunActivity(key=key.Activity(0), activity_type="charge_once", input=raw("A1"), target=charge_once)
    assert isinstance(resolution(once, seam(*before)), ev.ActivityCompleted)


def test_an_at_most_once_activity_whose_failed_attempt_is_to_be_repeated_is_not_interrupted() -> None:
    once = cmd.RunActivity(key=key.Activity(0), activity_type="charge_once", input=raw("A1"), target=charge_once)
    here = seam(scheduled(0, "charge_once", "A1"), attempted(0), failed(0, again_at=at(5)))
    assert isinstance(resolution(once, here), ev.ActivityCompleted)


def test_attempts_are_recorded_for_the_executor() -> None:
    async def tries(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        log.heartbeat(1, raw("half"))
        await log.failed(1, failure("OSError"), at(105))
        await log.started(2)
        return completed(0, "r1")

    here = seam()
    here.executor.outcomes["charge"] = tries
    cross(RUN, here)
    assert here.store.batches == [
        ["ActivityScheduled", "ActivityStarted"],
        ["ActivityHeartbeat", "ActivityFailed"],
        ["ActivityStarted"],
        ["ActivityCompleted"],
    ]
    assert here.store.events(ev.ActivityStarted)[1].host == WORKER.host


def test_a_handoff_that_is_dropped_before_the_commit_gives_its_room_back() -> None:
    here = seam()

    class Waiting:
        def __await__(self) -> Any:
            yield

    async def durable() -> None:
        await Waiting()

    here.durable = durable
    crossing: Crossing = resolve_or_execute_live(RUN, RUN.key, here)
    crossing.send(None)
    crossing.close()
    assert here.log == ["give back charge"]
    assert Recorder(here.store).head_seq == 1
