"""A history against the code: every rule of matching, in both directions."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from aion_cli import ActivityError, ContinueAsNew, Signal, activity, send_signal, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import ErrorKind
from aion_cli.core.replay import Replay
from aion_cli.errors import HistoryShapeError, NonDeterminismError, Step
from tests.builders import (
    AnyWorkflow,
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    child,
    child_completed,
    completed,
    divergence,
    ended,
    ended_in,
    failed,
    failure,
    fired,
    history,
    line_of,
    raw,
    reopened,
    replay_of,
    replayed,
    scheduled,
    send,
    sent,
    signal,
    started,
    timer,
    timer_cancelled,
    when,
)


@activity
def charge(sku: str) -> str:
    raise AssertionError(f"an activity ran: {sku}")


@activity
def bill(sku: str) -> int:
    raise AssertionError(f"an activity ran: {sku}")


@workflow
async def ship(sku: str) -> str:
    raise AssertionError(f"a child ran: {sku}")


go = Signal("go", int)


class Order(msgspec.Struct):
    sku: str
    express: bool = False


@workflow
async def order(sku: str) -> str:
    receipt = await charge(sku)
    await asyncio.sleep(60)
    await bill(receipt)
    return receipt


WHOLE = [
    started("A1"),
    scheduled(0, "charge", "A1"),
    attempted(0),
    completed(0, "r1"),
    timer(0, at(63)),
    when(63, fired(0)),
    scheduled(1, "bill", "r1"),
    attempted(1),
    completed(1, 7),
    ended("r1"),
]


def unmatched(definition: AnyWorkflow, *events: ev.Event) -> list[cmd.AnyCommand]:
    return replayed(definition, history(*events)).unmatched


# --- what matches


def test_a_whole_history_replays_clean() -> None:
    boundary = replayed(order, history(*WHOLE))
    assert (boundary.unmatched, type(boundary.closed_by)) == ([], ev.WorkflowCompleted)
    assert (boundary.events, boundary.last_seq, boundary.recorded_at) == (10, 10, at(67))


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_every_prefix_of_a_history_replays_up_to_its_boundary(length: int) -> None:
    boundary = replayed(order, history(*WHOLE[:length]))
    missing = {1: ["RunActivity"], 4: ["StartTimer"], 6: ["RunActivity"], 9: ["CompleteWorkflow"]}
    assert [type(command).__name__ for command in boundary.unmatched] == missing.get(length, [])
    assert boundary.closed_by is None
    assert boundary.last_seq == length


def test_commands_of_one_activation_are_matched_in_their_order() -> None:
    @workflow
    async def both() -> tuple[object, object]:
        return await asyncio.gather(charge("A1"), bill("A2"))

    events = [started(), scheduled(0, "charge", "A1"), scheduled(1, "bill", "A2")]
    assert unmatched(both, *events) == []
    assert len(unmatched(both, *events[:2])) == 1
    assert type(replayed(both, history(*events, completed(1, 5), completed(0, "r"), ended(["r", 5]))).closed_by)


def test_what_came_from_outside_may_stand_between_a_command_and_its_event() -> None:
    @workflow
    async def listens() -> tuple[object, object]:
        return await asyncio.gather(charge("A1"), go.receive())

    # The process died after it began, before it recorded the activity; a signaller appended meanwhile.
    boundary = replayed(
        listens,
        history(
            started(),
            signal("go", 5),
            ev.WorkflowPaused(),
            ev.TagsSet(tags={"vip": "yes"}),
            ev.WorkflowResumed(),
            scheduled(0, "charge", "A1"),
            completed(0, "r1"),
            ended(["r1", 5]),
        ),
    )
    assert isinstance(boundary.closed_by, ev.WorkflowCompleted)
    assert boundary.tags == {"vip": "yes"}


def test_what_came_from_outside_may_bring_commands_before_the_earlier_ones_are_recorded() -> None:
    events = [started("A1"), cancel_requested(), scheduled(0, "charge", "A1"), activity_cancelled(0)]
    assert unmatched(order, *events, ev.WorkflowCancelled()) == []
    left = unmatched(order, *events[:2])
    assert [type(command) for command in left] == [cmd.RunActivity, cmd.CancelActivity, cmd.CompleteWorkflow]


def test_attempts_are_not_the_codes_business() -> None:
    events = [
        started("A1"),
        scheduled(0, "charge", "A1"),
        attempted(0),
        failed(0, again_at=at(9)),
        attempted(0, 2),
        ev.ActivityHeartbeat(activity_id=0, attempt=2, details=raw("half")),
        completed(0, "r1"),
    ]
    assert [type(command) for command in unmatched(order, *events)] == [cmd.StartTimer]


def test_options_and_ids_that_the_runtime_made_are_not_compared() -> None:
    @workflow
    async def family() -> str:
        await charge.options(timeout=5)("A1")
        return await ship("A1")

    retimed = msgspec.structs.replace(scheduled(0, "charge", "A1"), options={"timeout_s": 99.0})
    assert unmatched(family, started(), retimed, completed(0, "r"), child(0, "ship", "A1", "some-id")) == []


def test_input_with_a_field_more_that_has_a_default_is_the_same_input() -> None:
    @activity
    def pick(order: Order) -> None:
        raise AssertionError(order)

    @workflow
    async def picks(order: Order) -> None:
        await pick(order)

    events = [started({"sku": "A1"}), scheduled(0, "pick", {"sku": "A1"})]
    assert unmatched(picks, *events) == []
    error = divergence(picks, history(events[0], scheduled(0, "pick", {"sku": "A2"})))
    assert error.requested == Step("activity", "pick", "0", '{"sku":"A1","express":false}')


def test_an_arrival_that_nobody_waits_for_any_more_is_a_no_op() -> None:
    @workflow
    async def gives_up() -> int:
        task = asyncio.create_task(charge("A1"))
        await go.receive()
        task.cancel()
        return await go.receive()

    events = [started(), scheduled(0, "charge", "A1"), signal("go", 1), activity_cancelled(0), completed(0, "late")]
    assert unmatched(gives_up, *events) == []
    assert [type(c) for c in unmatched(gives_up, *events, signal("go", 2))] == [cmd.CompleteWorkflow]


# --- what does not match


def test_another_command_than_the_recorded_one() -> None:
    @workflow
    async def order(sku: str) -> int:
        return await bill(sku)

    error = divergence(order, history(*WHOLE))
    assert (error.workflow_id, error.seq, error.last_match) == ("order-1", 2, 0)
    assert error.recorded == Step("activity", "charge", "0", '"A1"')
    assert error.requested == Step("activity", "bill", "0", '"A1"')
    assert error.source == line_of(order.fn, 2)


def test_another_input_than_the_recorded_one() -> None:
    @workflow
    async def order(sku: str) -> str:
        return await charge(sku + "!")

    error = divergence(order, history(*WHOLE))
    assert (error.seq, error.requested) == (2, Step("activity", "charge", "0", '"A1!"'))


def test_another_time_than_the_recorded_one() -> None:
    @workflow
    async def order(sku: str) -> None:
        await charge(sku)
        await asyncio.sleep(61)

    error = divergence(order, history(*WHOLE))
    assert (error.seq, error.last_match) == (5, 2)
    assert (error.recorded.input, error.requested and error.requested.input) == (at(63), at(64))


def test_another_kind_than_the_recorded_one() -> None:
    @workflow
    async def order(sku: str) -> None:
        await ship(sku)

    assert divergence(order, history(*WHOLE)).requested == Step("child workflow", "ship", "0", '"A1"')


def test_two_commands_that_changed_places() -> None:
    @workflow
    async def both() -> tuple[object, object]:
        return await asyncio.gather(bill("A1"), charge("A1"))

    error = divergence(both, history(started(), scheduled(0, "charge", "A1"), scheduled(1, "bill", "A1")))
    assert (error.seq, error.requested) == (2, Step("activity", "bill", "0", '"A1"'))


def test_a_recorded_command_that_the_code_does_not_ask_for_any_more() -> None:
    @workflow
    async def waits(sku: str) -> int:
        return await go.receive()

    error = divergence(waits, history(*WHOLE))
    assert (error.seq, error.recorded.name) == (2, "charge")
    assert error.requested == Step("wait for signal", "go", "0")
    assert error.source == line_of(waits.fn, 2)


def test_a_recorded_command_of_the_same_activation_that_is_missing_now() -> None:
    @workflow
    async def only_one() -> str:
        return await charge("A1")

    events = history(started(), scheduled(0, "charge", "A1"), scheduled(1, "bill", "A1"), completed(1, 1))
    error = divergence(only_one, events)
    assert (error.seq, error.recorded.name, error.last_match) == (3, "bill", 2)


def test_a_command_more_than_was_recorded_is_noticed_as_soon_as_the_code_yields() -> None:
    @workflow
    async def one_more(sku: str) -> tuple[object, object]:
        return await asyncio.gather(charge(sku), bill(sku))

    # The history goes on with the answer: sequential code has become parallel.
    error = divergence(one_more, history(*WHOLE[:4]))
    assert (error.seq, error.recorded) == (4, Step("outcome of activity", "", "0"))
    assert error.requested == Step("activity", "bill", "1", '"A1"')


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failed(0), "outcome of activity"),
        (fired(0), "firing of timer"),
        (child_completed(0, "r"), "ChildWorkflowCompleted"),
        (sent(0), "SignalSent"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_answer_is_a_barrier(answer: ev.Event, kind: str) -> None:
    @workflow
    async def much() -> None:
        await asyncio.gather(charge("a"), asyncio.sleep(60), ship("c"), send_signal("order-2", go, 1), bill("new"))

    begun = [scheduled(0, "charge", "a"), timer(0, at(60)), child(0, "ship", "c"), send(0, "order-2", "go", 1)]
    error = divergence(much, history(started(), *begun, answer))
    assert (error.seq, error.recorded.kind) == (6, kind)
    assert error.requested is not None
    assert error.requested.name == "bill"


def test_code_that_ends_earlier_than_its_history() -> None:
    @workflow
    async def order(sku: str) -> str:
        return await charge(sku)

    error = divergence(order, history(*WHOLE))
    assert (error.seq, error.recorded.kind) == (5, "timer")
    assert error.requested == Step("completion", "", "", '"r1"')
    assert error.source == line_of(order.fn, 2)


def test_code_that_ends_without_any_command_is_named_by_the_last_line_it_ran() -> None:
    @workflow
    async def order(sku: str) -> str:
        if sku:
            sku += "!"
        return sku

    assert divergence(order, history(*WHOLE)).source == line_of(order.fn, 4)


def test_code_that_fails_where_its_history_goes_on_is_named_by_the_line_that_raised() -> None:
    def broken(sku: str) -> str:
        raise ValueError(sku)

    @workflow
    async def order(sku: str) -> str:
        return broken(await charge(sku))

    error = divergence(order, history(*WHOLE))
    assert error.requested == Step("failure", "ValueError", "", "r1")
    assert error.source == f"{broken.__code__.co_filename}:{broken.__code__.co_firstlineno + 1}"


def test_code_that_goes_on_after_its_recorded_end() -> None:
    @workflow
    async def order(sku: str) -> str:
        receipt = await charge(sku)
        await asyncio.sleep(60)
        await bill(receipt)
        await charge("again")
        return receipt

    error = divergence(order, history(*WHOLE))
    assert (error.seq, error.recorded) == (10, Step("completion", "", "", '"r1"'))
    assert error.requested == Step("activity", "charge", "2", '"again"')


def test_code_that_waits_after_its_recorded_end() -> None:
    @workflow
    async def order(sku: str) -> str:
        receipt = await charge(sku)
        await asyncio.sleep(60)
        await bill(receipt)
        await go.receive()
        return receipt

    error = divergence(order, history(*WHOLE))
    assert (error.seq, error.recorded.kind) == (10, "completion")
    assert error.requested == Step("wait for signal", "go", "0")
    assert error.source == line_of(order.fn, 5)


@pytest.mark.parametrize(
    "end",
    [
        ended("other"),
        ended_in(),
        ev.WorkflowCancelled(),
        ev.WorkflowContinuedAsNew(input=raw("A1"), new_run_id="r2"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_end_that_is_not_the_recorded_one(end: ev.Event) -> None:
    error = divergence(order, history(*WHOLE[:-1], end))
    assert (error.seq, error.requested) == (10, Step("completion", "", "", '"r1"'))


def failing(error: BaseException) -> AnyWorkflow:
    @workflow
    async def order(sku: str) -> None:
        await charge(sku)
        raise error

    return order


FAILS = [started("A1"), scheduled(0, "charge", "A1"), completed(0, "r1")]


def test_a_failure_matches_by_kind_and_class_and_not_by_its_words() -> None:
    there = ended_in(failure("ValueError", "object at 0x7f00"))
    assert replayed(failing(ValueError("object at 0x7fff")), history(*FAILS, there)).closed_by
    assert divergence(failing(KeyError("k")), history(*FAILS, there)).seq == 4
    assert divergence(failing(ContinueAsNew("A1")), history(*FAILS, there)).seq == 4


def test_a_withdrawal_that_is_missing_or_extra() -> None:
    @workflow
    async def hurries(sku: str) -> str:
        async with asyncio.timeout(60):
            return await charge(sku)

    @workflow
    async def takes_its_time(sku: str) -> str:
        return await charge(sku)

    begun = [started("A1"), timer(0, at(60)), scheduled(0, "charge", "A1"), completed(0, "r1")]
    assert replayed(hurries, history(*begun, timer_cancelled(0), ended("r1"))).closed_by
    assert divergence(hurries, history(*begun, ended("r1"))).requested == Step("cancellation of timer", "", "0")
    later = [started("A1"), scheduled(0, "charge", "A1"), completed(0, "r1"), timer_cancelled(0), ended("r1")]
    assert divergence(takes_its_time, history(*later)).recorded == Step("cancellation of timer", "", "0")


def test_a_divergence_is_raised_outside_of_the_code_so_that_nothing_there_can_swallow_it() -> None:
    swallowed: list[BaseException] = []

    @workflow
    async def swallows(sku: str) -> None:
        try:
            await bill(sku)
        except BaseException as error:
            swallowed.append(error)
            raise

    divergence(swallows, history(*WHOLE))
    assert [type(error) for error in swallowed] == [GeneratorExit]


def test_a_timer_that_became_a_wait_for_a_signal() -> None:
    @workflow
    async def order(sku: str) -> str:
        receipt = await charge(sku)
        await go.receive()
        await bill(receipt)
        return receipt

    error = divergence(order, history(*WHOLE))
    assert (error.seq, error.recorded.kind, error.requested) == (5, "timer", Step("wait for signal", "go", "0"))


def test_a_recorded_result_that_no_longer_fits_its_type() -> None:
    @activity(name="charge")
    def charge_by_number(sku: str) -> int:
        raise AssertionError(sku)

    @workflow
    async def order(sku: str) -> int:
        try:
            return await charge_by_number(sku)
        except Exception:  # noqa: BLE001 - the code cannot swallow it
            return 0

    error = divergence(order, history(*WHOLE))
    assert error.seq == 4
    assert error.source == line_of(order.fn, 3)
    assert "does not fit the types of today's code" in error.hint
    assert "Expected `int`, got `str`" in error.hint


def test_a_recorded_input_that_no_longer_fits_its_type() -> None:
    error = divergence(order, history(started(5)))
    assert error.seq == 1
    assert "Expected `str`, got `int`" in error.hint


def test_a_signal_that_does_not_fit_its_type_is_an_error_of_the_code_on_every_replay() -> None:
    @workflow
    async def takes_one() -> int:
        return await go.receive()

    events = history(started(), signal("go", "no number"), ended_in(failure("PayloadError")))
    assert isinstance(replayed(takes_one, events).closed_by, ev.WorkflowFailed)


# --- closing, and after


@pytest.mark.parametrize("end", [ev.WorkflowTerminated(reason="r"), ev.WorkflowTimedOut(timeout_s=5.0)])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 6, 9])
def test_termination_closes_a_run_at_any_moment_and_matches_no_command(end: ev.Event, length: int) -> None:
    boundary = replayed(order, history(*WHOLE[:length], end))
    assert type(boundary.closed_by) is type(end)


@pytest.mark.parametrize("until_its_end", [WHOLE, [*WHOLE[:8], ev.WorkflowTerminated()]], ids=["its own", "terminated"])
@pytest.mark.parametrize("late", [signal("go", 1), completed(1, 7), scheduled(2, "bill"), ended("r1")])
def test_nothing_but_a_reopen_may_follow_the_end(until_its_end: list[ev.Event], late: ev.Event) -> None:
    with pytest.raises(HistoryShapeError, match=f"stands after the run was closed at {len(until_its_end)}"):
        replayed(order, history(*until_its_end, late))


def test_a_history_begins_with_its_start() -> None:
    for events in ([], history(signal("go", 1))):
        with pytest.raises(HistoryShapeError, match="begins with WorkflowStarted"):
            Replay(HistoryCursor(events), order)


def test_an_answer_to_what_was_never_asked_is_nonsense() -> None:
    with pytest.raises(HistoryShapeError, match="never asked for"):
        replayed(order, history(started("A1"), scheduled(0, "charge", "A1"), completed(5, "r")))


def test_pauses_are_known_at_the_boundary() -> None:
    paused = [started("A1"), scheduled(0, "charge", "A1"), ev.WorkflowPaused()]
    assert replayed(order, history(*paused)).paused
    assert not replayed(order, history(*paused, ev.WorkflowResumed())).paused


def test_a_cancelled_run_replays_as_cancelled() -> None:
    events = [started("A1"), scheduled(0, "charge", "A1"), cancel_requested(reason="why"), activity_cancelled(0)]
    assert replayed(order, history(*events, ev.WorkflowCancelled(reason="why"))).closed_by
    assert divergence(failing(asyncio.CancelledError()), history(*FAILS, ev.WorkflowCancelled())).seq == 4
    failed_as_cancelled = ended_in(failure("CancelledError", kind=ErrorKind.CANCELLED))
    assert replayed(failing(asyncio.CancelledError()), history(*FAILS, failed_as_cancelled)).closed_by


# --- reopening


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
    replay.execution.close()
    whole = history(*FAILED, reopened(5), attempted(1, 2), completed(1, 7), ended("r1"))
    assert isinstance(replayed(careful, whole).closed_by, ev.WorkflowCompleted)


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


# --- continue as new


def test_a_run_that_continues_ends_and_the_next_file_counts_from_zero() -> None:
    @workflow
    async def loops(n: int) -> int:
        await charge("a")
        await asyncio.sleep(10)
        if n:
            raise ContinueAsNew(n - 1)
        return n

    def one_file(n: int, end: ev.Event, **fields: Any) -> list[ev.Event]:
        begun = [scheduled(0, "charge", "a"), completed(0, "r"), timer(0, at(12)), when(12, fired(0))]
        return history(started(n, **fields), *begun, end)

    first = one_file(1, ev.WorkflowContinuedAsNew(input=raw(0), new_run_id="r1@2"))
    assert isinstance(replayed(loops, first).closed_by, ev.WorkflowContinuedAsNew)
    second = one_file(0, ended(0), run_id="r1@2", continued_from="r1")
    assert isinstance(replayed(loops, second).closed_by, ev.WorkflowCompleted)
    assert divergence(loops, one_file(1, ev.WorkflowContinuedAsNew(input=raw(1), new_run_id="r1@2"))).seq == 6


# --- the driver itself


def test_an_observer_sees_every_event_with_the_command_it_was_matched_with() -> None:
    seen: list[tuple[int, str | None]] = []

    def observe(event: ev.Event, command: cmd.AnyCommand | None) -> None:
        seen.append((event.seq, None if command is None else type(command).__name__))

    replay = replay_of(order, history(*WHOLE))
    replay.run(observe)
    replay.execution.close()
    matched = {2: "RunActivity", 5: "StartTimer", 7: "RunActivity", 10: "CompleteWorkflow"}
    assert seen == [(seq, matched.get(seq)) for seq in range(1, 11)]


def test_replay_never_calls_what_an_activity_would_do() -> None:
    # charge, bill and ship raise AssertionError if they run; this is the oracle of every test above.
    for fn in (charge.fn, bill.fn):
        with pytest.raises(AssertionError):
            fn("A1")


def test_a_history_replays_the_same_however_often() -> None:
    errors = {str(divergence(careful, history(*WHOLE)).requested) for _ in range(5)}
    assert len(errors) == 1


def test_a_divergence_leaves_nothing_running() -> None:
    log: list[str] = []

    @workflow
    async def cleans(sku: str) -> None:
        try:
            await bill(sku)
        finally:
            log.append("closed")

    replay = replay_of(cleans, history(*WHOLE))
    with pytest.raises(NonDeterminismError):
        replay.run()
    assert log == []
    replay.execution.close()
    assert log == ["closed"]
