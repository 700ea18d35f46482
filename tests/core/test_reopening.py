"""What a reopen hides, and how the run goes on."""

from __future__ import annotations

import asyncio

from aion_cli import ActivityError, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    completed,
    divergence,
    ended,
    ended_in,
    failed,
    failure,
    fired,
    history,
    reopened,
    replay_of,
    replayed,
    scheduled,
    signal,
    started,
    timer,
    when,
)
from tests.core.orders import bill, charge, go, order, unmatched


@workflow
async def careful(sku: str) -> str:
    receipt = await charge(sku)
    try:
        await bill(receipt)
    except ActivityError:
        await charge("undo")
        raise
    return receipt


FAILED = [
    started("A1"),
    scheduled(0, "charge", "A1"),
    completed(0, "r1"),
    scheduled(1, "bill", "r1"),
    failed(1, failure("OSError")),  # 5
    scheduled(2, "charge", "undo"),
    completed(2, "r2"),
    ended_in(failure("OSError")),  # 8
]


def test_a_run_that_was_reopened_goes_on_from_before_its_end() -> None:
    @workflow
    async def repaired(sku: str) -> str:
        receipt = await charge(sku)
        try:
            await bill(receipt)
        except ActivityError:
            await charge("undo")
        return receipt

    boundary = replayed(repaired, history(*FAILED, reopened(8)))
    assert (boundary.closed_by, boundary.opened_at) == (None, at(8))
    assert [type(command) for command in boundary.unmatched] == [cmd.CompleteWorkflow]
    assert replayed(repaired, history(*FAILED, reopened(8), ended("r1"))).closed_by


def test_reopening_from_the_failure_of_an_activity_opens_that_activity_again() -> None:
    replay = replay_of(careful, history(*FAILED, reopened(5)))
    boundary = replay.run()
    assert boundary.unmatched == []
    assert [wait.command.key for wait in replay.execution.waits()] == [key.Activity(1)]
    half_done = replay.resolver.half_done(key.Activity(1))
    assert isinstance(half_done.begun, ev.ActivityScheduled)
    assert (half_done.failures, half_done.next_attempt_at) == (1, at(4))
    replay.execution.close()
    whole = history(*FAILED, reopened(5), attempted(1, 2), completed(1, 7), ended("r1"))
    assert isinstance(replayed(careful, whole).closed_by, ev.WorkflowCompleted)


def test_reopening_from_an_interruption_says_nothing_of_what_became_of_the_attempt() -> None:
    interrupted = [*FAILED[:4], attempted(1), failed(1, failure("ActivityInterrupted", kind=ErrorKind.INTERRUPTED))]
    replay = replay_of(careful, history(*interrupted, ended_in(), reopened(6)))
    replay.run()
    half_done = replay.resolver.half_done(key.Activity(1))
    assert (half_done.attempts, half_done.failures, half_done.next_attempt_at) == (1, 0, None)
    replay.execution.close()


def test_numbers_of_commands_that_were_superseded_are_given_again() -> None:
    events = [
        *FAILED,
        reopened(5),
        failed(1, failure("ValueError")),
        scheduled(2, "charge", "undo"),
        completed(2, "r3"),
    ]
    boundary = replayed(careful, history(*events, ended_in(failure("ValueError"))))
    assert isinstance(boundary.closed_by, ev.WorkflowFailed)


def test_answers_and_signals_inside_what_was_superseded_stay_and_are_no_barrier() -> None:
    @workflow
    async def three() -> list[object]:
        async def tries() -> str:
            try:
                return await charge("a")
            except ActivityError:
                return await charge("instead")

        results = await asyncio.gather(tries(), bill("b"), go.receive())
        return [*results, await charge("last")]

    before = [
        started(),
        scheduled(0, "charge", "a"),
        scheduled(1, "bill", "b"),
        failed(0),  # 4: reopened from here
        scheduled(2, "charge", "instead"),
        completed(1, 5),
        completed(2, "x"),
        signal("go", 6),
        scheduled(3, "charge", "last"),
        ev.WorkflowTerminated(),
        reopened(4),
    ]
    replay = replay_of(three, history(*before))
    assert replay.run().unmatched == []
    assert [wait.command.key for wait in replay.execution.waits()] == [key.Activity(0)]
    replay.execution.close()
    after = [completed(0, "a!"), scheduled(2, "charge", "last"), completed(2, "l"), ended(["a!", 5, 6, "l"])]
    assert replayed(three, history(*before, *after)).closed_by


def test_commands_that_the_code_emits_inside_what_was_superseded_are_recorded_after_the_reopen() -> None:
    @workflow
    async def on_signal() -> str:
        await go.receive()
        return await charge("a")

    before = [started(), signal("go", 1), scheduled(0, "bill", "a"), ev.WorkflowTerminated(), reopened(4)]
    # Reopened from the end: the recorded command stays, and today's code has to ask for it.
    assert divergence(on_signal, history(*before)).seq == 3
    earlier = [started(), cancel_requested(), signal("go", 1), ev.WorkflowCancelled(), reopened(2)]
    assert unmatched(on_signal, earlier[0], cancel_requested(), ev.WorkflowCancelled(), reopened(2)) == []
    assert [type(c) for c in unmatched(on_signal, *earlier)] == [cmd.RunActivity]
    assert unmatched(on_signal, *earlier, scheduled(0, "charge", "a")) == []


def test_reopening_a_cancelled_run_hides_its_requests_so_that_it_goes_on() -> None:
    events = [
        started("A1"),
        scheduled(0, "charge", "A1"),
        cancel_requested("c1"),  # 3
        activity_cancelled(0),
        cancel_requested("c2"),
        ev.WorkflowCancelled(),
        reopened(3),
    ]
    replay = replay_of(order, history(*events))
    assert replay.run().unmatched == []
    assert [wait.command.key for wait in replay.execution.waits()] == [key.Activity(0)]
    replay.execution.close()
    again = [cancel_requested("c3"), activity_cancelled(0), ev.WorkflowCancelled()]
    assert isinstance(replayed(order, history(*events, *again)).closed_by, ev.WorkflowCancelled)


def test_a_run_that_was_reopened_in_its_cleanup_after_a_cancellation_ends_as_cancelled() -> None:
    @workflow
    async def cleans_up() -> None:
        try:
            await charge("A1")
        finally:
            await bill("A1")

    events = [
        started(),
        scheduled(0, "charge", "A1"),
        cancel_requested("c1"),
        activity_cancelled(0),
        scheduled(1, "bill", "A1"),
        failed(1, failure("OSError")),  # 6
        ended_in(failure("OSError")),
        reopened(6),
        completed(1, 7),
        ev.WorkflowCancelled(),
    ]
    assert replayed(cleans_up, history(*events)).closed_by


def test_a_run_can_be_reopened_again_and_again() -> None:
    events = [
        *FAILED,
        reopened(8),
        ended_in(failure("OSError")),
        reopened(5),
        failed(1, failure("OSError")),
        scheduled(2, "charge", "undo"),
        completed(2, "r2"),
        ended_in(failure("OSError")),
        reopened(12),
    ]
    replay = replay_of(careful, history(*events))
    assert replay.run().unmatched == []
    assert [wait.command.key for wait in replay.execution.waits()] == [key.Activity(1)]
    replay.execution.close()


def test_events_that_a_reopen_superseded_are_invisible_to_matching() -> None:
    @workflow
    async def rewritten(sku: str) -> str:
        receipt = await charge(sku)
        await bill(receipt)
        await asyncio.sleep(5)
        return "rewritten"

    events = history(*FAILED, reopened(5), completed(1, 7), timer(0, at(14)), when(14, fired(0)), ended("rewritten"))
    assert isinstance(replayed(rewritten, events).closed_by, ev.WorkflowCompleted)
