"""What a run's events add up to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.core.status import Progress, RunStatus, RunSummary, Waiting, WaitKind, summarise
from aion_cli.errors import HistoryShapeError

NULL = msgspec.Raw(b"null")


def at(seq: int) -> str:
    return f"2026-03-01T09:30:{seq:02}.000000Z"


def summary(*events: ev.Event) -> RunSummary:
    """Fold events, stamped with seq 1, 2, 3 … and one second between them."""
    stamped: list[Any] = [
        msgspec.structs.replace(event, seq=seq, recorded_at=at(seq)) for seq, event in enumerate(events, start=1)
    ]
    return summarise(stamped)


def started(**tags: str) -> ev.Event:
    return ev.WorkflowStarted(
        format=1,
        workflow_id="order-1",
        run_id="r1",
        workflow_type="order_saga",
        input=NULL,
        definition=ev.DefinitionRef("order_saga", "workflows/order_saga.py", ""),
        runtime=ev.RuntimeRef("0.1.0", "3.11.7"),
        tags=tags,
    )


def scheduled(n: int, name: str = "charge", b: int = 0) -> ev.Event:
    return ev.ActivityScheduled(activity_id=n, activity_type=name, input=NULL, b=b)


def attempt(n: int, number: int = 1) -> ev.Event:
    return ev.ActivityStarted(activity_id=n, attempt=number, host="h", pid=1)


def completed(n: int, b: int = 0) -> ev.Event:
    return ev.ActivityCompleted(activity_id=n, attempt=1, result=NULL, b=b)


def failed(n: int, next_attempt_at: str | None = None) -> ev.Event:
    return ev.ActivityFailed(activity_id=n, attempt=1, error=ERROR, next_attempt_at=next_attempt_at)


def timer(n: int, fire_at: str) -> ev.Event:
    return ev.TimerStarted(timer_id=n, fire_at=fire_at)


ERROR = ev.Failure(kind=ev.ErrorKind.ERROR, type="CardDeclined", message="no money")


def test_a_run_with_an_activity_in_flight_is_running() -> None:
    run = summary(started(), scheduled(0), attempt(0))
    assert run.status is RunStatus.RUNNING
    assert run.since == at(2)
    assert run.waiting == [Waiting(WaitKind.ACTIVITY, "charge", since=at(2))]


def test_a_run_whose_activities_are_all_done_is_waiting() -> None:
    run = summary(started(), scheduled(0), completed(0))
    assert (run.status, run.since, run.waiting) == (RunStatus.WAITING, at(3), [])


def test_an_activity_between_two_attempts_is_a_retry_with_its_next_attempt_as_deadline() -> None:
    run = summary(started(), scheduled(0), attempt(0), failed(0, next_attempt_at=at(50)))
    assert run.status is RunStatus.WAITING
    assert run.waiting == [Waiting(WaitKind.RETRY, "charge", since=at(2), deadline=at(50))]
    again = summary(started(), scheduled(0), attempt(0), failed(0, next_attempt_at=at(50)), attempt(0, 2))
    assert again.waiting == [Waiting(WaitKind.ACTIVITY, "charge", since=at(2))]


def test_an_activity_that_failed_for_good_is_waited_for_no_more() -> None:
    assert summary(started(), scheduled(0), failed(0)).waiting == []


def test_timers_and_children_are_waited_for_in_the_order_they_were_asked_for() -> None:
    child = ev.ChildWorkflowStarted(ordinal=0, child_workflow_id="order-1.1-3", workflow_type="ship", input=NULL)
    run = summary(started(), timer(0, at(59)), child, timer(1, at(40)))
    assert run.status is RunStatus.WAITING
    assert [(wait.kind, wait.name, wait.deadline) for wait in run.waiting] == [
        (WaitKind.TIMER, "0", at(59)),
        (WaitKind.CHILD, "order-1.1-3", None),
        (WaitKind.TIMER, "1", at(40)),
    ]
    assert run.next_wake_at == at(40)


def test_what_fired_finished_or_was_cancelled_is_waited_for_no_more() -> None:
    child = ev.ChildWorkflowStarted(ordinal=0, child_workflow_id="c", workflow_type="ship", input=NULL)
    run = summary(
        started(),
        timer(0, at(50)),
        timer(1, at(50)),
        child,
        msgspec.structs.replace(child, ordinal=1),
        scheduled(0),
        ev.TimerFired(timer_id=0),
        ev.TimerCancelled(timer_id=1),
        ev.ChildWorkflowCompleted(ordinal=0, result=NULL),
        ev.ChildCancelRequested(ordinal=1),
        ev.ActivityCancelled(activity_id=0),
    )
    assert (run.waiting, run.next_wake_at) == ([], None)


def test_a_message_to_another_run_keeps_a_run_busy_until_it_is_sent() -> None:
    send = ev.SignalSendRequested(ordinal=0, target_workflow_id="other", name="go", payload=NULL)
    assert summary(started(), send).status is RunStatus.RUNNING
    assert summary(started(), send, ev.SignalSent(ordinal=0)).status is RunStatus.WAITING


def test_the_moment_between_two_steps_of_one_batch_is_no_change_of_status() -> None:
    run = summary(started(), scheduled(0), completed(0, b=1), scheduled(1))
    assert (run.status, run.since) == (RunStatus.RUNNING, at(2))


def test_a_run_seen_in_the_middle_of_a_batch_still_has_its_true_status() -> None:
    run = summary(started(), scheduled(0), completed(0, b=1))
    assert (run.status, run.since) == (RunStatus.WAITING, at(3))


def test_a_paused_run_is_paused_whatever_is_under_way_until_it_is_resumed() -> None:
    paused = summary(started(), scheduled(0), ev.WorkflowPaused())
    assert (paused.status, paused.since, len(paused.waiting)) == (RunStatus.PAUSED, at(3), 1)
    assert summary(started(), scheduled(0), ev.WorkflowPaused(), ev.WorkflowResumed()).status is RunStatus.RUNNING


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (ev.WorkflowCompleted(result=NULL), RunStatus.COMPLETED),
        (ev.WorkflowFailed(error=ERROR), RunStatus.FAILED),
        (ev.WorkflowCancelled(), RunStatus.CANCELLED),
        (ev.WorkflowTerminated(reason="enough"), RunStatus.TERMINATED),
        (ev.WorkflowTimedOut(timeout_s=5.0), RunStatus.TIMED_OUT),
        (ev.WorkflowContinuedAsNew(input=NULL, new_run_id="r2"), RunStatus.CONTINUED),
    ],
)
def test_a_closed_run_has_the_status_of_its_last_event_and_waits_for_nothing(
    event: ev.Event, status: RunStatus
) -> None:
    run = summary(started(), scheduled(0), event)
    assert (run.status, run.since, run.waiting) == (status, at(3), [])
    assert not run.status.is_open


def test_the_outcome_is_that_of_the_terminal_event() -> None:
    assert summary(started(), ev.WorkflowCompleted(result=msgspec.Raw(b'"r1"'))).result == msgspec.Raw(b'"r1"')
    assert summary(started(), ev.WorkflowFailed(error=ERROR)).error == ERROR
    assert summary(started(), ev.WorkflowTerminated(reason="enough")).reason == "enough"
    assert summary(started()).result is None


def test_tags_given_at_the_start_stay_when_the_workflow_sets_others() -> None:
    run = summary(started(team="a", env="ci"), ev.TagsSet(tags={"env": "prod", "customer": "acme"}))
    assert run.tags == {"team": "a", "env": "prod", "customer": "acme"}


def test_progress_is_what_was_said_last() -> None:
    run = summary(started(), ev.ProgressSet(done=1, total=3), ev.ProgressSet(done=2, total=3, text="half"))
    assert run.progress == Progress(2, 3, "half")


def test_a_reopened_failure_is_open_again_and_keeps_what_was_done_before() -> None:
    run = summary(
        started(),
        scheduled(0),
        completed(0),
        timer(0, at(59)),
        ev.WorkflowFailed(error=ERROR),
        ev.WorkflowReopened(superseded_from=5),
    )
    assert (run.status, run.since, run.error) == (RunStatus.WAITING, at(6), None)
    assert [wait.kind for wait in run.waiting] == [WaitKind.TIMER]


def test_reopening_from_the_failure_of_an_activity_has_that_activity_open_again() -> None:
    run = summary(
        started(),
        scheduled(0),
        failed(0),
        scheduled(1, "refund"),
        completed(1),
        ev.WorkflowFailed(error=ERROR),
        ev.WorkflowReopened(superseded_from=3),
    )
    assert run.status is RunStatus.RUNNING
    assert [wait.name for wait in run.waiting] == ["charge"]


def test_reopening_undoes_a_cancellation_that_the_code_asked_for_but_no_outcome_that_came_later() -> None:
    run = summary(
        started(),
        scheduled(0, "charge"),
        scheduled(1, "ship"),
        ev.WorkflowCancelRequested(request_id="q"),
        ev.ActivityCancelled(activity_id=0),
        completed(1),
        ev.WorkflowCancelled(),
        ev.WorkflowReopened(superseded_from=4),
    )
    assert [wait.name for wait in run.waiting] == ["charge"]


def test_a_reopened_run_can_close_again() -> None:
    run = summary(
        started(),
        ev.WorkflowFailed(error=ERROR),
        ev.WorkflowReopened(superseded_from=2),
        ev.WorkflowCompleted(result=NULL),
    )
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)


def test_a_history_that_does_not_begin_with_its_start_is_refused() -> None:
    with pytest.raises(HistoryShapeError, match="ActivityScheduled"):
        summary(scheduled(0))
    with pytest.raises(HistoryShapeError, match="without events"):
        summary()
