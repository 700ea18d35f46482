"""One execution: what the code asks for, activation by activation. No history, no matching."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aion_cli import (
    ActivityError,
    ChildError,
    ContinueAsNew,
    now,
    randint,
    random,
    send_signal,
    sleep_until,
    uuid4,
    workflow,
)
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from aion_cli.core.execution import Phase
from aion_cli.core.pending import UndecodableResultError
from aion_cli.errors import HistoryShapeError, PayloadError
from tests.builders import (
    at,
    child_completed,
    child_failed,
    completed,
    failed,
    failure,
    fired,
    line_of,
    raw,
    sent,
    signal,
    when,
)
from tests.core.stepping import Stepping, bill, charge, failure_in, go, kinds, result_of, ship, stop

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
