"""One execution: what the code asks for, activation by activation. No history, no matching."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from aion_cli import (
    ActivityError,
    ChildError,
    ContinueAsNew,
    Signal,
    activity,
    now,
    randint,
    random,
    send_signal,
    sleep_until,
    uuid4,
    wait_until,
    workflow,
)
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from aion_cli.core.execution import Execution, Phase, current
from aion_cli.core.pending import UndecodableResultError
from aion_cli.errors import AionError, HistoryShapeError, PayloadError
from tests.builders import (
    AnyWorkflow,
    at,
    cancel_requested,
    child_completed,
    child_failed,
    completed,
    failed,
    failure,
    fired,
    line_of,
    raw,
    reopened,
    sent,
    signal,
    started,
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
    return await charge(sku)


go = Signal("go", int)
stop = Signal("stop", int)


class Stepping:
    """An execution that is fed by hand. Each call returns the commands of that activation."""

    def __init__(self, definition: AnyWorkflow, input: object = None) -> None:
        self.seq = 0
        first = msgspec.structs.replace(started(input), seq=1, recorded_at=at(0))
        self.execution = Execution(first, definition)
        self.first = self(first)

    def __call__(self, event: ev.Event) -> list[cmd.AnyCommand]:
        self.seq += 1
        stamped = msgspec.structs.replace(event, seq=self.seq, recorded_at=event.recorded_at or at(self.seq - 1))
        self.execution.apply(stamped)
        return self.execution.take_commands()

    def ends(self, event: ev.Event) -> cmd.Outcome:
        """Apply an event that ends the run, and return its outcome."""
        last = self(event)[-1]
        assert isinstance(last, cmd.CompleteWorkflow)
        return last.outcome


def kinds(commands: list[cmd.AnyCommand]) -> list[str]:
    """`RunActivity 0`, `StartTimer 1` … of commands that leave an event; an end as it is."""
    return [
        f"{type(command).__name__} {next(iter(msgspec.structs.astuple(command.key)), '')}".strip()
        for command in commands
        if not isinstance(command, cmd.AwaitSignal | cmd.AwaitChild)
    ]


def result_of(outcome: cmd.Outcome) -> Any:
    assert isinstance(outcome, cmd.Completed), outcome
    return msgspec.json.decode(outcome.result)


def failure_in(outcome: cmd.Outcome) -> ev.Failure:
    assert isinstance(outcome, cmd.Failed), outcome
    return outcome.error


# --- asking and being answered


@workflow
async def one_after_another(sku: str) -> str:
    receipt = await charge(sku)
    await bill(receipt)
    return receipt


def test_a_command_is_emitted_when_it_is_awaited_and_the_next_when_it_is_answered() -> None:
    run = Stepping(one_after_another, "A1")
    assert run.first == [
        cmd.RunActivity(
            key=key.Activity(0),
            activity_type="charge",
            input=raw("A1"),
            target=charge,
            source=line_of(one_after_another.fn, 2),
        )
    ]
    assert kinds(run(completed(0, "r1"))) == ["RunActivity 1"]
    assert result_of(run.ends(completed(1, 7))) == "r1"


def test_an_activity_that_was_only_called_asks_for_nothing() -> None:
    @workflow
    async def calls() -> None:
        charge("A1").close()

    run = Stepping(calls)
    assert kinds(run.first) == ["CompleteWorkflow"]


@workflow
async def side_by_side() -> list[object]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(charge("a")), group.create_task(bill("b")), group.create_task(ship("c"))]
        timer = group.create_task(asyncio.sleep(60))
    return [task.result() for task in (*tasks, timer)]


def test_what_is_asked_in_one_activation_comes_out_in_the_order_of_asking() -> None:
    run = Stepping(side_by_side)
    assert kinds(run.first) == ["RunActivity 0", "RunActivity 1", "SpawnChild 0", "StartTimer 0"]
    for answer in (child_completed(0, "c!"), fired(0), completed(1, 2)):
        assert run(answer) == []
    assert result_of(run.ends(completed(0, "a!"))) == ["a!", 2, "c!", None]


def test_each_kind_counts_from_zero() -> None:
    @workflow
    async def many() -> None:
        await send_signal("order-2", go, 1)
        for _ in range(2):
            await asyncio.gather(charge("a"), asyncio.sleep(1), ship("b"), send_signal("order-2", go, 1))

    run = Stepping(many)
    assert kinds(run.first) == ["SendSignal 0"]
    assert kinds(run(sent(0))) == ["RunActivity 0", "StartTimer 0", "SpawnChild 0", "SendSignal 1"]
    run(completed(0, "a"))
    run(fired(0))
    run(sent(1))
    assert kinds(run(child_completed(0, "b"))) == ["RunActivity 1", "StartTimer 1", "SpawnChild 1", "SendSignal 2"]


def test_a_failed_activity_is_raised_where_it_is_awaited() -> None:
    @workflow
    async def catches() -> tuple[str, str, int]:
        try:
            await charge("A1")
        except ActivityError as error:
            return error.type, error.message, error.attempts
        return "", "", 0

    run = Stepping(catches)
    assert run(failed(0, again_at=at(9))) == []
    assert result_of(run.ends(failed(0, failure("CardDeclined", "no"), attempt=2))) == ["CardDeclined", "no", 2]


def test_a_failed_child_is_raised_where_it_is_awaited() -> None:
    @workflow
    async def catches() -> tuple[str, str]:
        try:
            await ship("A1")
        except ChildError as error:
            return error.type, error.message
        return "", ""

    assert result_of(Stepping(catches).ends(child_failed(0, failure("LostError", "gone")))) == ["LostError", "gone"]
    assert result_of(Stepping(catches).ends(ev.ChildWorkflowCancelled(ordinal=0)))[0] == "CancelledError"


def test_a_failed_send_is_raised_where_it_is_awaited() -> None:
    @workflow
    async def catches() -> str:
        try:
            await send_signal("order-2", go, 1)
        except ActivityError as error:
            return error.type
        return ""

    run = Stepping(catches)
    event = ev.SignalSendFailed(ordinal=0, error=failure("NoSuchRunError"))
    assert result_of(run.ends(event)) == "NoSuchRunError"


@pytest.mark.parametrize(
    "answer", [completed(0), fired(0), child_completed(0), sent(0)], ids=lambda e: type(e).__name__
)
def test_an_answer_to_what_was_never_asked_is_nonsense(answer: ev.Event) -> None:
    @workflow
    async def waits() -> None:
        await go.receive()

    run = Stepping(waits)
    assert not run.execution.expects(answer)
    with pytest.raises(HistoryShapeError, match="never asked for"):
        run(answer)


def test_a_second_answer_is_a_no_op_and_not_expected() -> None:
    run = Stepping(one_after_another, "A1")
    assert run.execution.expects(completed(0))
    run(completed(0, "r1"))
    assert not run.execution.expects(completed(0))
    assert run(completed(0, "r2")) == []


def test_a_result_that_does_not_fit_is_told_to_the_driver_and_not_to_the_code() -> None:
    @workflow
    async def swallows() -> str:
        try:
            return str(await bill("A1"))
        except Exception:  # noqa: BLE001 - that is what must not help
            return "swallowed"

    run = Stepping(swallows)
    with pytest.raises(UndecodableResultError) as caught:
        run(completed(0, "no number"))
    assert isinstance(caught.value.command, cmd.RunActivity)
    assert isinstance(caught.value.error, PayloadError)
    assert run.execution.phase is Phase.RUNNING


def test_an_input_that_does_not_fit_is_told_to_the_driver() -> None:
    with pytest.raises(PayloadError):
        Stepping(ship, 5)


def test_what_the_code_waits_for_is_told_with_place_and_deadline() -> None:
    @workflow
    async def waits() -> None:
        await asyncio.gather(
            charge("A1"),
            asyncio.sleep(60),
            go.receive(),
        )

    waiting = Stepping(waits).execution.waits()
    assert [type(wait.command) for wait in waiting] == [cmd.RunActivity, cmd.StartTimer, cmd.AwaitSignal]
    assert [wait.deadline for wait in waiting] == [None, at(60), None]
    assert {wait.since for wait in waiting} == {at(0)}


def test_a_line_that_waits_is_named_also_through_asyncio() -> None:
    @workflow
    async def waits() -> None:
        async with asyncio.timeout(60):
            await go.receive()

    run = Stepping(waits)
    assert run.execution.where() == line_of(waits.fn, 3)
    sources = {wait.command.source for wait in run.execution.waits()}
    assert sources == {line_of(waits.fn, 2), line_of(waits.fn, 3)}


# --- withdrawing


def test_what_is_withdrawn_in_its_own_activation_writes_nothing_and_uses_up_its_ordinal() -> None:
    @workflow
    async def changes_its_mind() -> None:
        tasks = [asyncio.create_task(one) for one in (charge("a"), asyncio.sleep(60), ship("b"))]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(charge("c"), asyncio.sleep(30), ship("d"))

    run = Stepping(changes_its_mind)
    assert kinds(run.first) == ["RunActivity 1", "StartTimer 1", "SpawnChild 1"]
    assert not any(isinstance(c, cmd.AwaitChild) and c.key.ordinal == 0 for c in run.first)


def test_what_is_withdrawn_later_is_cancelled_by_a_command() -> None:
    @workflow
    async def gives_up() -> None:
        tasks = [asyncio.create_task(one) for one in (charge("a"), asyncio.sleep(60), ship("b"))]
        await go.receive()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stop.receive()

    run = Stepping(gives_up)
    assert kinds(run.first) == ["RunActivity 0", "StartTimer 0", "SpawnChild 0"]
    assert kinds(run(signal("go", 1))) == ["CancelActivity 0", "CancelChild 0", "CancelTimer 0"]
    for late in (completed(0, "a"), fired(0), child_completed(0, "b")):
        assert not run.execution.expects(late)
        assert run(late) == []


def test_a_send_that_was_asked_for_cannot_be_taken_back() -> None:
    @workflow
    async def gives_up() -> None:
        task = asyncio.create_task(send_signal("order-2", go, 1))
        await go.receive()
        task.cancel()
        await stop.receive()

    run = Stepping(gives_up)
    assert kinds(run.first) == ["SendSignal 0"]
    assert run(signal("go", 1))[0].key == key.Signal("stop", 0)
    assert run(sent(0)) == []


def test_cancelling_what_was_answered_in_the_same_activation_changes_nothing_in_history() -> None:
    @workflow
    async def too_late() -> str:
        task = asyncio.create_task(charge("a"))
        try:
            async with asyncio.timeout(60):
                return await task
        except TimeoutError:
            return "late"

    run = Stepping(too_late)
    assert kinds(run.first) == ["StartTimer 0", "RunActivity 0"]
    assert kinds(run(completed(0, "in time"))) == ["CancelTimer 0", "CompleteWorkflow"]


# --- time


@workflow
async def sleeps() -> str:
    before = now()
    await asyncio.sleep(2.5)
    return str(now() - before)


def test_a_sleep_is_a_timer_at_an_exact_instant_and_time_is_that_of_the_event() -> None:
    run = Stepping(sleeps)
    assert run.first == [cmd.StartTimer(key=key.Timer(0), fire_at=at(2.5), source=line_of(sleeps.fn, 3))]
    assert result_of(run.ends(when(10, fired(0)))) == "0:00:10"


def test_a_deadline_that_is_not_in_the_future_is_no_timer() -> None:
    @workflow
    async def hurries() -> bool:
        await asyncio.sleep(0)
        await asyncio.sleep(-5)
        await sleep_until(now())
        await sleep_until(datetime(2020, 1, 1, tzinfo=UTC))
        try:
            async with asyncio.timeout(-1):
                await go.receive()
        except TimeoutError:
            return True
        return False

    run = Stepping(hurries)
    assert kinds(run.first) == ["CompleteWorkflow"]


def test_sleep_until_is_a_timer_at_that_instant() -> None:
    @workflow
    async def waits() -> None:
        await sleep_until(now() + timedelta(hours=1))

    assert Stepping(waits).first == [cmd.StartTimer(key=key.Timer(0), fire_at=at(3600), source=line_of(waits.fn, 2))]


def test_the_loops_time_is_the_present_in_seconds() -> None:
    @workflow
    async def tells() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        first = loop.time()
        await go.receive()
        return first - now().timestamp() + 7, loop.time() - now().timestamp()

    run = Stepping(tells)
    assert result_of(run.ends(when(7, signal("go", 1)))) == [0, 0]


def test_a_fired_timer_runs_its_own_handle_and_no_other_that_is_due() -> None:
    @workflow
    async def races() -> str:
        first = asyncio.create_task(asyncio.sleep(10, "first"))
        second = asyncio.create_task(asyncio.sleep(5, "second"))
        done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        return ", ".join(task.result() for task in done)

    run = Stepping(races)
    assert result_of(run.ends(when(100, fired(0)))) == "first"


def test_a_timer_beyond_the_year_9999_is_an_error_of_the_code() -> None:
    @workflow
    async def forever() -> None:
        await asyncio.sleep(10**12)

    last = Stepping(forever).first[-1]
    assert isinstance(last, cmd.CompleteWorkflow)
    assert "9999" in failure_in(last.outcome).message


def test_random_numbers_and_ids_are_the_same_in_every_execution_of_a_run() -> None:
    @workflow
    async def draws() -> list[str]:
        return [str(random()), str(randint(1, 100)), str(uuid4())]

    def drawn() -> object:
        last = Stepping(draws).first[-1]
        assert isinstance(last, cmd.CompleteWorkflow)
        return result_of(last.outcome)

    assert drawn() == drawn()


# --- signals


@workflow
async def takes_three() -> list[int]:
    return [await go.receive() for _ in range(3)]


def test_signals_are_buffered_before_anyone_listens_and_taken_in_file_order() -> None:
    @workflow
    async def busy_first() -> list[int]:
        await charge("A1")
        return [await go.receive(), await stop.receive(), await go.receive()]

    run = Stepping(busy_first)
    for event in (signal("go", 1), signal("go", 2), signal("stop", 3)):
        assert run(event) == []
    assert result_of(run.ends(completed(0, "r"))) == [1, 3, 2]


def test_a_wait_for_a_signal_has_the_name_and_how_many_were_taken_before() -> None:
    run = Stepping(takes_three)
    waited = [run.first[0].key]
    for value in (1, 2):
        waited += [command.key for command in run(signal("go", value))]
    assert waited == [key.Signal("go", 0), key.Signal("go", 1), key.Signal("go", 2)]


@workflow
async def two_listen() -> list[tuple[str, int]]:
    taken: list[tuple[str, int]] = []

    async def listen(name: str) -> None:
        taken.append((name, await go.receive()))

    first, second = asyncio.create_task(listen("first")), asyncio.create_task(listen("second"))
    if await stop.receive():
        first.cancel()
    await asyncio.wait([first, second])
    return taken


def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    run = Stepping(two_listen)
    assert {c.key for c in run.first} == {key.Signal("go", 0), key.Signal("go", 1), key.Signal("stop", 0)}
    run(signal("stop", 0))
    run(signal("go", 1))
    assert result_of(run.ends(signal("go", 2))) == [["first", 1], ["second", 2]]


def test_a_cancelled_receive_takes_nothing() -> None:
    run = Stepping(two_listen)
    run(signal("stop", 1))
    assert result_of(run.ends(signal("go", 7))) == [["second", 7]]


def test_a_receive_that_is_cancelled_as_its_signal_arrives_passes_the_wake_up_on() -> None:
    @workflow
    async def cancels_on_arrival() -> list[object]:
        first, second = asyncio.create_task(go.receive()), asyncio.create_task(go.receive())
        await asyncio.sleep(0)

        async def cancel_first() -> None:
            await stop.receive()
            first.cancel()

        canceller = asyncio.create_task(cancel_first())
        outcomes = await asyncio.gather(first, second, canceller, return_exceptions=True)
        return [outcome if isinstance(outcome, int) else type(outcome).__name__ for outcome in outcomes]

    run = Stepping(cancels_on_arrival)
    execution = run.execution
    # Both arrive before the code takes a step: the first waiter is woken, and cancelled before it runs.
    for seq, event in enumerate((signal("stop", 1), signal("go", 7, "s2")), start=2):
        execution.signals.deliver(msgspec.structs.replace(event, seq=seq, recorded_at=at(seq)))
    assert result_of(run.ends(ev.WorkflowResumed())) == ["CancelledError", 7, "NoneType"]


def test_a_deadline_around_a_receive_leaves_the_signal_for_the_next() -> None:
    @workflow
    async def patient() -> list[object]:
        try:
            async with asyncio.timeout(10):
                await go.receive()
        except TimeoutError:
            pass
        return [go.pending(), await go.receive()]

    run = Stepping(patient)
    assert [command.key for command in run(fired(0))] == [key.Signal("go", 0)]
    assert result_of(run.ends(signal("go", 5))) == [0, 5]


def test_pending_counts_what_no_code_has_taken() -> None:
    @workflow
    async def counts() -> list[int]:
        await stop.receive()
        before = go.pending()
        await go.receive()
        return [before, go.pending(), stop.pending()]

    run = Stepping(counts)
    run(signal("go", 1))
    run(signal("go", 2))
    assert result_of(run.ends(signal("stop", 0))) == [2, 1, 0]


def test_signals_can_be_iterated_over() -> None:
    @workflow
    async def adds() -> int:
        total = 0
        async for value in go:
            if not value:
                break
            total += value
        return total

    run = Stepping(adds)
    run(signal("go", 3))
    run(signal("go", 4))
    assert result_of(run.ends(signal("go", 0))) == 7


def test_what_no_code_took_is_left_over_in_file_order() -> None:
    @workflow
    async def takes_one() -> int:
        return await go.receive()

    run = Stepping(takes_one)
    run(signal("stop", 1, "s1"))
    run(signal("stop", 2, "s2"))
    run.ends(signal("go", 3, "s3"))
    run(signal("go", 4, "s4"))
    left = run.execution.unconsumed()
    assert [event.signal_id for event in left if isinstance(event, ev.SignalReceived)] == ["s1", "s2", "s4"]


def test_code_that_is_closed_takes_no_signal_any_more() -> None:
    @workflow
    async def helper_takes_one_as_it_is_closed() -> None:
        async def helper() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await go.receive()

        asyncio.create_task(helper())  # noqa: RUF006 - it is closed with the run
        await stop.receive()
        raise ContinueAsNew

    run = Stepping(helper_takes_one_as_it_is_closed)
    run(signal("go", 1, "s1"))
    assert isinstance(run.ends(signal("stop", 1, "s2")), cmd.Continued)
    assert [event.seq for event in run.execution.unconsumed()] == [2]


def test_a_payload_that_does_not_fit_the_signal_is_an_error_of_the_code() -> None:
    error = failure_in(Stepping(takes_three).ends(signal("go", "no number")))
    assert error.type == "PayloadError"


# --- how a run ends


def test_the_result_is_encoded_and_what_was_emitted_before_comes_first() -> None:
    @workflow
    async def leaves_work_behind() -> dict[str, int]:
        asyncio.create_task(charge("A1"))  # noqa: RUF006 - left behind
        await asyncio.sleep(0)
        return {"n": 1}

    run = Stepping(leaves_work_behind)
    assert kinds(run.first) == ["RunActivity 0", "CompleteWorkflow"]
    assert run.execution.phase is Phase.FINISHED


def test_nothing_runs_after_main_is_done_and_other_tasks_are_closed() -> None:
    log: list[str] = []

    @workflow
    async def ends_first() -> None:
        async def other() -> None:
            try:
                await go.receive()
                log.append("never")
            finally:
                log.append("closed")
                await charge("never")

        task = asyncio.create_task(other())
        task.add_done_callback(lambda _: log.append("never"))
        await stop.receive()
        asyncio.get_running_loop().call_soon(log.append, "never")

    run = Stepping(ends_first)
    assert kinds(run(signal("stop", 1))) == ["CompleteWorkflow"]
    assert log == ["closed"]
    assert run(signal("go", 1)) == []
    gc.collect()
    assert log == ["closed"]


@pytest.mark.parametrize(
    ("error", "kind", "name"),
    [
        (ValueError("v"), ErrorKind.ERROR, "ValueError"),
        (SystemExit(3), ErrorKind.ERROR, "SystemExit"),
        (asyncio.CancelledError(), ErrorKind.CANCELLED, "CancelledError"),
        (ExceptionGroup("g", [ValueError("v")]), ErrorKind.ERROR, "ExceptionGroup"),
        (GeneratorExit(), ErrorKind.ERROR, "GeneratorExit"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_the_code_raises_is_how_it_failed(error: BaseException, kind: ErrorKind, name: str) -> None:
    @workflow
    async def raises() -> None:
        await go.receive()
        raise error

    found = failure_in(Stepping(raises).ends(signal("go", 1)))
    assert (found.kind, found.type) == (kind, name)


def test_a_result_that_cannot_be_recorded_is_a_failure() -> None:
    @workflow
    async def returns_code() -> Any:
        await go.receive()
        return print

    assert failure_in(Stepping(returns_code).ends(signal("go", 1))).type == "PayloadError"


def test_continue_as_new_is_an_end_with_the_next_input() -> None:
    @workflow
    async def again(n: int) -> None:
        await go.receive()
        try:
            raise ContinueAsNew(n + 1)
        except Exception:  # noqa: BLE001 - it passes through
            return

    assert Stepping(again, 1).ends(signal("go", 1)) == cmd.Continued(raw(2))


def test_continue_as_new_with_what_the_parameters_do_not_take_is_a_failure() -> None:
    @workflow
    async def again(n: int) -> None:
        await go.receive()
        raise ContinueAsNew("no", "numbers")

    assert failure_in(Stepping(again, 1).ends(signal("go", 1))).type == "TypeError"


# --- cancellation


@workflow
async def cleans_up() -> str:
    try:
        await charge("A1")
    finally:
        await bill("A1")
    return "not cancelled"


def test_a_request_cancels_main_once_and_cleanup_may_ask_for_more() -> None:
    run = Stepping(cleans_up)
    assert kinds(run(cancel_requested("c1", "enough"))) == ["CancelActivity 0", "RunActivity 1"]
    assert run(cancel_requested("c2", "again")) == []
    assert run.ends(completed(1, 1)) == cmd.Cancelled("enough")


def test_a_run_that_swallows_the_request_completes() -> None:
    @workflow
    async def stubborn() -> str:
        try:
            await charge("A1")
        except asyncio.CancelledError:
            return "stubborn"
        return ""

    assert result_of(Stepping(stubborn).ends(cancel_requested())) == "stubborn"


def test_a_run_that_fails_in_its_cleanup_failed() -> None:
    run = Stepping(cleans_up)
    run(cancel_requested())
    assert failure_in(run.ends(failed(1, failure("OSError")))).type == "OSError"


def test_ending_in_cancelled_error_without_a_request_is_a_failure_of_that_kind() -> None:
    @workflow
    async def awaits_cancelled() -> None:
        task = asyncio.create_task(charge("A1"))
        await go.receive()
        task.cancel()
        await task

    assert failure_in(Stepping(awaits_cancelled).ends(signal("go", 1))).kind is ErrorKind.CANCELLED


def test_a_request_before_the_first_step_is_delivered_at_the_first_await() -> None:
    log: list[str] = []

    @workflow
    async def begins() -> None:
        log.append("begun")
        try:
            await charge("A1")
        finally:
            log.append("ended")

    run = Stepping(begins)
    assert run.ends(cancel_requested()) == cmd.Cancelled("")
    assert log == ["begun", "ended"]


def test_a_deadline_that_passes_during_a_request_does_not_swallow_it() -> None:
    @workflow
    async def slow_cleanup() -> None:
        async with asyncio.timeout(10):
            try:
                await charge("A1")
            except asyncio.CancelledError:
                await bill("A1")
                raise

    run = Stepping(slow_cleanup)
    assert kinds(run(cancel_requested())) == ["CancelActivity 0", "RunActivity 1"]
    last = run(when(20, fired(0)))
    assert kinds(last) == ["CancelActivity 1", "CompleteWorkflow"]
    assert isinstance(last[-1], cmd.CompleteWorkflow)
    # asyncio.timeout makes TimeoutError of a cancellation only if nobody else asked for one.
    assert isinstance(last[-1].outcome, cmd.Cancelled)


def test_a_shielded_activity_outlives_the_cancelled_await() -> None:
    @workflow
    async def shields() -> str:
        inner = asyncio.ensure_future(charge("A1"))
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            return f"then {await inner}"

    run = Stepping(shields)
    assert run(cancel_requested()) == []
    assert result_of(run.ends(completed(0, "r1"))) == "then r1"


def test_after_a_reopen_the_next_request_counts_again() -> None:
    @workflow
    async def survives() -> list[str]:
        cancelled: list[str] = []
        while True:
            try:
                await go.receive()
                return cancelled
            except asyncio.CancelledError:
                cancelled.append("once more")

    run = Stepping(survives)
    run(cancel_requested("c1"))
    run(cancel_requested("c2"))
    run(reopened(2))
    run(cancel_requested("c3"))
    assert result_of(run.ends(signal("go", 1))) == ["once more", "once more"]


# --- being abandoned


def test_a_suspended_execution_is_closed_without_another_command_and_never_resumed() -> None:
    log: list[str] = []

    @workflow
    async def holds_on() -> None:
        async def generator() -> AsyncIterator[int]:
            try:
                yield await bill("g")
            finally:
                log.append("generator")

        async def in_the_background() -> None:
            try:
                await asyncio.sleep(60)
            except BaseException as error:
                log.append(type(error).__name__)
                raise
            finally:
                asyncio.get_running_loop().call_soon(log.append, "never")
                asyncio.create_task(charge("never"))  # noqa: RUF006 - it is refused

        task = asyncio.create_task(in_the_background())
        try:
            async with asyncio.timeout(30):
                async for _ in generator():
                    pass
        finally:
            log.append("main")
            task.cancel()
            await charge("never")

    run = Stepping(holds_on)
    run.execution.close()
    assert run.execution.take_commands() == []
    run.execution.close()
    assert run.execution.resisting == []
    # Since Python 3.13 what is suspended inside an async generator is closed with it, and not only left behind.
    assert sorted(set(log) - {"generator"}) == ["GeneratorExit", "main"]
    as_closed = list(log)
    del run
    gc.collect()
    assert log == as_closed


async def until_it_works(wait: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await wait()
            return
        except:  # noqa: E722 - a bare except, as authors write it
            continue


async def in_time() -> None:
    async with asyncio.timeout(60):
        await go.receive()


async def as_tasks() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(charge("A1"))


@pytest.mark.parametrize(
    "wait",
    [
        go.receive,
        in_time,
        as_tasks,
        lambda: charge("A1"),
        lambda: ship("A1"),
        lambda: asyncio.sleep(60),
        lambda: asyncio.gather(charge("A1"), asyncio.sleep(60)),
        lambda: asyncio.create_task(charge("A1")),
        lambda: asyncio.wait_for(go.receive(), 60),
        lambda: wait_until(lambda: False),
        lambda: send_signal("order-2", go, 1),
    ],
    ids=["receive", "timeout", "group", "activity", "child", "sleep", "gather", "task", "wait_for", "until", "send"],
)
@pytest.mark.parametrize("ends", [False, True], ids=["suspended", "ended"])
def test_a_loop_around_a_bare_except_does_not_spin_when_its_run_is_closed(
    wait: Callable[[], Awaitable[object]], ends: bool
) -> None:
    @workflow
    async def stubborn() -> None:
        if ends:
            asyncio.create_task(until_it_works(wait))  # noqa: RUF006 - left behind
            await stop.receive()
        else:
            await until_it_works(wait)

    run = Stepping(stubborn)
    run.execution.signals.deliver(msgspec.structs.replace(signal("stop", 1), seq=9, recorded_at=at(9)))
    if ends:
        assert kinds(run(ev.WorkflowResumed())) == ["CompleteWorkflow"]
    else:
        run.execution.close()
        assert run.execution.take_commands() == []
    assert len(run.execution.resisting) == 1
    assert [event.seq for event in run.execution.unconsumed()] == ([] if ends else [9])


@pytest.mark.parametrize("event", [ev.WorkflowTerminated(), ev.WorkflowTimedOut(timeout_s=5)])
def test_termination_and_a_time_limit_close_the_run_whatever_the_code_is_doing(event: ev.Event) -> None:
    log: list[str] = []

    @workflow
    async def resists() -> None:
        try:
            await charge("A1")
        finally:
            log.append("closed")
            await bill("A1")

    run = Stepping(resists)
    assert run(event) == []
    assert (run.execution.phase, log) == (Phase.CLOSED, ["closed"])
    assert not run.execution.expects(completed(0))


def test_a_closed_execution_still_tells_where_it_stood() -> None:
    run = Stepping(cleans_up)
    run.execution.close()
    assert run.execution.where() == line_of(cleans_up.fn, 3)


def test_outside_of_a_workflow_there_is_no_execution() -> None:
    with pytest.raises(AionError, match="inside a running workflow"):
        current()

    async def plain() -> None:
        with pytest.raises(AionError, match="inside a running workflow"):
            await charge("A1")

    asyncio.run(plain())
