"""The test kit as authors use it: plain calls that return the result or raise the error."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aion_cli import (
    ActivityError,
    ActivityTimeout,
    ChildError,
    ContinueAsNew,
    NonRetryable,
    RetryPolicy,
    Signal,
    activity,
    activity_info,
    now,
    send_signal,
    set_progress,
    shell,
    start_child,
    update,
    wait_until,
    workflow,
)
from aion_cli.errors import NonDeterminismError, PayloadError, UsageError
from aion_cli.testing import BrokenPromiseError, StuckError, crash_everywhere, run_workflow


class Order(msgspec.Struct):
    sku: str
    cents: int


class SoldOutError(Exception):
    """There is none left."""


approval = Signal("approval", bool)


@activity(retry=RetryPolicy(max_attempts=3, initial=60))
def charge(order: Order) -> str:
    raise AssertionError(f"{order} was really charged")


@activity(timeout=timedelta(seconds=30))
async def refund(receipt: str) -> None:
    raise AssertionError(f"{receipt} was really refunded")


@workflow
async def saga(order: Order) -> str:
    receipt = await charge(order)
    try:
        async with asyncio.timeout(86_400):
            approved = await approval.receive()
    except TimeoutError:
        approved = False
    if not approved:
        await refund(receipt)
        return "refunded"
    return receipt


ORDER = Order("A1", 1250)


def charged(order: Order) -> str:
    return f"receipt-{order.cents}"


def refunded(receipt: str) -> None:
    assert receipt.startswith("r")


ANSWERS: dict[Any, Callable[..., Any]] = {charge: charged, refund: refunded}


def test_a_workflow_returns_its_result_with_fakes_for_activities_and_signals_that_are_there() -> None:
    assert run_workflow(saga, ORDER, activities=ANSWERS, signals=[(approval, True)]) == "receipt-1250"
    assert run_workflow(saga, ORDER, activities=ANSWERS, signals=[("approval", False)]) == "refunded"


def test_a_deadline_passes_when_nothing_else_can_happen() -> None:
    assert run_workflow(saga, ORDER, activities=ANSWERS) == "refunded"


def test_what_a_result_or_an_answer_is_made_of_is_what_a_history_holds() -> None:
    @activity
    def pair() -> tuple[int, int]:
        return 1, 2

    @workflow
    async def keeps_types() -> Order:
        assert await pair() == (1, 2)
        return ORDER

    def pairs() -> list[int]:
        return [1, 2]

    found = run_workflow(keeps_types, activities={pair: pairs})
    assert found == ORDER
    assert found is not ORDER


def test_a_year_of_sleep_is_skipped() -> None:
    @workflow
    async def yearly() -> float:
        began = now()
        for _ in range(12):
            await asyncio.sleep(30 * 86_400)
        return (now() - began).total_seconds()

    assert run_workflow(yearly) == 360 * 86_400


def test_the_error_of_a_workflow_is_raised_as_it_was() -> None:
    error = SoldOutError("A1")

    @workflow
    async def fails() -> None:
        raise error

    with pytest.raises(SoldOutError) as raised:
        run_workflow(fails)
    assert raised.value is error


def test_a_fake_that_raises_is_an_activity_that_fails_and_is_tried_again_as_declared() -> None:
    attempts: list[int] = []

    def declines(order: Order) -> str:
        attempts.append(activity_info().attempt)
        raise SoldOutError(order.sku)

    with pytest.raises(ActivityError) as raised:
        run_workflow(saga, ORDER, activities={charge: declines})
    assert (raised.value.type, raised.value.message, attempts) == ("SoldOutError", "A1", [1, 2, 3])


def test_a_fake_can_end_the_retries() -> None:
    def declines(order: Order) -> str:
        raise NonRetryable("no")

    with pytest.raises(ActivityError, match="no"):
        run_workflow(saga, ORDER, activities={charge: declines})


def test_a_fake_that_sleeps_longer_than_the_limit_of_its_activity_times_out_in_no_time() -> None:
    @workflow
    async def refunds() -> None:
        await refund("r-1")

    async def hangs(receipt: str) -> None:
        await asyncio.sleep(86_400)

    with pytest.raises(ActivityTimeout):
        run_workflow(refunds, activities={refund: hangs})


def test_an_activity_without_a_fake_really_runs() -> None:
    @activity
    def in_a_thread() -> bool:
        return threading.current_thread() is threading.main_thread()

    @activity
    async def in_a_process() -> str:
        process = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return out.decode().strip()

    @workflow
    async def both() -> list[object]:
        return [await in_a_thread(), await in_a_process()]

    assert run_workflow(both) == [False, "hello"]


def test_a_deadline_is_not_skipped_to_while_an_activity_really_runs() -> None:
    done = threading.Event()

    @activity
    def works() -> str:
        done.wait(5)
        return "worked"

    @workflow
    async def patient() -> str:
        async with asyncio.timeout(60):
            return await works()

    timer = threading.Timer(0.02, done.set)
    timer.start()
    assert run_workflow(patient) == "worked"
    timer.join()


def test_fakes_are_found_by_name_and_by_functions_that_stand_for_an_activity() -> None:
    @workflow
    async def builds() -> str:
        return (await shell("make test", check=False)).stdout

    def fake(command: str, *rest: object) -> dict[str, object]:
        return {"exit_code": 0, "stdout": f"ran {command}", "stderr": ""}

    assert run_workflow(builds, activities={"shell": fake}) == "ran make test"
    assert run_workflow(builds, activities={shell: fake}) == "ran make test"


def test_a_fake_runs_in_place_of_an_activity_that_has_a_process_of_its_own() -> None:
    @activity(process=True)
    def crunches(text: str) -> str:
        raise AssertionError(f"{text} was really crunched")

    @workflow
    async def crunching() -> str:
        return await crunches("numbers")

    assert run_workflow(crunching, activities={crunches: str.upper}) == "NUMBERS"


@pytest.mark.parametrize("wrong", [{3: print}, {charge: "a value"}])
def test_what_is_no_fake_is_refused(wrong: dict[object, object]) -> None:
    with pytest.raises(UsageError):
        run_workflow(saga, ORDER, activities=wrong)  # pyright: ignore[reportArgumentType] - that is the point


def test_arguments_and_signals_that_do_not_fit_are_refused_before_anything_runs() -> None:
    with pytest.raises(PayloadError):
        run_workflow(saga, "no order", activities=ANSWERS)
    with pytest.raises(PayloadError):
        run_workflow(saga, ORDER, activities=ANSWERS, signals=[("approval", "yes")])
    with pytest.raises(TypeError):
        run_workflow(saga, activities=ANSWERS)


def test_a_workflow_that_waits_for_ever_is_reported_with_what_it_waits_for_and_where() -> None:
    @workflow
    async def waits() -> bool:
        return await approval.receive()

    with pytest.raises(StuckError, match="signal approval") as stuck:
        run_workflow(waits)
    assert stuck.value.where[0].startswith("tests/testing/test_kit.py:")
    with pytest.raises(StuckError):
        crash_everywhere(waits)


def test_a_condition_that_will_never_hold_is_named_without_a_name() -> None:
    @workflow
    async def waits() -> None:
        await wait_until(lambda: False)

    with pytest.raises(StuckError, match="waits for condition, and"):
        run_workflow(waits)


def test_children_run_too_with_the_same_fakes_and_their_errors_come_up() -> None:
    @workflow
    async def ships(order: Order) -> str:
        return await charge(order)

    @workflow
    async def parent(order: Order) -> list[str]:
        return list(await asyncio.gather(ships(order), ships(order)))

    assert crash_everywhere(parent, ORDER, activities=ANSWERS) == ["receipt-1250"] * 2

    def declines(order: Order) -> str:
        raise NonRetryable("no")

    with pytest.raises(ChildError, match="no"):
        crash_everywhere(parent, ORDER, activities={charge: declines})


def test_a_child_cannot_have_the_id_of_its_parent(caplog: pytest.LogCaptureFixture) -> None:
    @workflow
    async def child() -> None: ...

    @workflow
    async def parent() -> str:
        try:
            await (await start_child(child, id="run"))
        except ChildError as error:
            return error.type if await approval.receive() else ""
        return "started"

    assert crash_everywhere(parent, signals=[(approval, True, 60)]) == "ChildIdTaken"
    assert caplog.messages == []  # in which the loop tells what its callbacks raise


def test_runs_can_signal_each_other() -> None:
    @workflow
    async def answers() -> None:
        await send_signal("run", approval, True)

    @workflow
    async def asks() -> bool:
        got, _ = await asyncio.gather(approval.receive(), answers())
        return got

    assert crash_everywhere(asks) is True


def test_code_that_does_something_else_on_replay_is_found() -> None:
    ways = itertools.cycle([True, False])

    @workflow
    async def flips(order: Order) -> str:
        if next(ways):
            return await charge(order)
        await refund("r-1")
        return ""

    with pytest.raises(NonDeterminismError):
        run_workflow(flips, ORDER, activities=ANSWERS)


# --- crashes


def test_a_run_comes_to_the_same_end_wherever_it_is_crashed() -> None:
    assert crash_everywhere(saga, ORDER, activities=ANSWERS, signals=[(approval, True)]) == "receipt-1250"
    assert crash_everywhere(saga, ORDER, activities=ANSWERS) == "refunded"


def test_an_error_is_raised_after_all_crashes_came_to_it_as_well() -> None:
    attempts: list[int] = []

    def declines(order: Order) -> str:
        attempts.append(activity_info().attempt)
        raise SoldOutError(order.sku)

    with pytest.raises(ActivityError):
        crash_everywhere(saga, ORDER, activities={charge: declines})
    assert len(attempts) > 3


def test_an_activity_that_a_crash_cut_off_runs_again_under_the_same_key_and_one_that_is_done_does_not() -> None:
    calls: list[tuple[str, int]] = []

    def counts(order: Order) -> str:
        calls.append((activity_info().idempotency_key, activity_info().attempt))
        return "r-1"

    run_workflow(saga, ORDER, activities={**ANSWERS, charge: counts})
    assert len(calls) == 1
    calls.clear()
    crash_everywhere(saga, ORDER, activities={**ANSWERS, charge: counts})
    assert {key for key, _ in calls} == {"r-run/2"}
    assert {attempt for _, attempt in calls} == {1, 2}


def test_a_fake_that_counts_its_calls_is_found_to_break_under_crashes_and_the_moment_is_named() -> None:
    calls = itertools.count()

    @workflow
    async def charges(order: Order) -> str:
        return await charge(order)

    def counts(order: Order) -> str:
        return f"receipt-{next(calls)}"

    with pytest.raises(BrokenPromiseError, match=r"after a crash behind event 1 \(WorkflowStarted\) of run"):
        crash_everywhere(charges, ORDER, activities={charge: counts})


def test_what_a_run_continues_as_is_followed_through_crashes() -> None:
    @workflow
    async def counts(left: int) -> str:
        approved = await approval.receive()
        if left:
            raise ContinueAsNew(left - 1)
        return f"done {approved}"

    signals = [(approval, False), (approval, False), (approval, True)]
    assert crash_everywhere(counts, 2, signals=signals) == "done True"


def test_a_saga_compensates_wherever_it_is_crashed_while_it_is_cancelled_by_a_deadline() -> None:
    undone: list[str] = []

    @workflow
    async def books(order: Order) -> str:
        receipt = await charge(order)
        try:
            async with asyncio.timeout(10):
                await asyncio.sleep(20)
        except TimeoutError:
            await asyncio.shield(refund(receipt))
            return "given back"
        return "kept"

    fakes = {**ANSWERS, refund: undone.append}
    assert crash_everywhere(books, ORDER, activities=fakes) == "given back"
    assert set(undone) == {"receipt-1250"}


@workflow
async def counter(limit: int) -> list[str]:
    seen: list[str] = []

    @update
    async def add(text: str) -> int:
        seen.append(f"{text} {(now() - begun).total_seconds():g}")
        return len(seen)

    begun = now()
    await wait_until(lambda: len(seen) == limit)
    return seen


@pytest.mark.parametrize("how", [run_workflow, crash_everywhere])
def test_messages_are_sent_when_they_are_to_be(how: Callable[..., Any]) -> None:
    updates = [("add", "second", timedelta(days=300)), ("add", "first"), ("add", "third", 86_400 * 400)]
    assert how(counter, 3, updates=updates) == ["first 0", "second 2.592e+07", "third 3.456e+07"]
    assert how(saga, ORDER, activities=ANSWERS, signals=[(approval, True, 86_399)]) == "receipt-1250"
    assert how(saga, ORDER, activities=ANSWERS, signals=[(approval, True, 86_401)]) == "refunded"


@pytest.mark.parametrize("how", [run_workflow, crash_everywhere])
def test_a_cancellation_is_requested_when_it_is_to_be(how: Callable[..., Any]) -> None:
    with pytest.raises(asyncio.CancelledError):
        how(counter, 1, cancel_after=timedelta(days=1), updates=[("add", "late", timedelta(days=2))])
    assert how(counter, 1, cancel_after=86_400, updates=[("add", "in time", 86_399)]) == ["in time 86399"]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ({"signals": [("aproval", True)]}, "counter declares no signal 'aproval'"),
        ({"updates": [("ad", "x")]}, "counter declares no update 'ad'"),
        ({"updates": [("add", 77)]}, "update-0 was rejected: Expected `str`, got `int`"),
        ({"updates": [("add",)]}, r"updates\[0\] is a tuple, it must be a tuple of two or three"),
        ({"updates": ["add"]}, r"updates\[0\] is 'add', it must be a tuple of two or three"),
        ({"updates": [(5, "x")]}, r"updates\[0\] begins with 5"),
        ({"updates": [("add", "x", "later")]}, "how long after the start a message is sent is of type str"),
        ({"signals": [(approval, True), (approval,)]}, r"signals\[1\] is a tuple, it must be a tuple of two or three"),
        ({"signals": [(None, True)]}, r"signals\[0\] begins with None"),
        ({"activities": {"chrage": str.upper}}, "no activity has the name 'chrage'"),
    ],
)
def test_a_message_that_the_command_line_refuses_is_a_usage_error(messages: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_workflow(counter, 1, **messages, cancel_after=60)


def test_an_update_that_its_validator_rejects_changes_nothing() -> None:
    assert run_workflow(guarded, updates=[("add", -1), ("add", 2)]) == [2]


@workflow
async def guarded() -> list[int]:
    seen: list[int] = []

    @update
    async def add(number: int) -> None:
        seen.append(number)

    @add.validator
    def positive(number: int) -> None:  # pyright: ignore[reportUnusedFunction] - registered by its decorator
        if number < 0:
            raise ValueError("negative")

    await wait_until(lambda: bool(seen))
    return seen


def test_a_message_before_the_start_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="5 s before the start"):
        run_workflow(counter, 1, cancel_after=-5)


def test_a_workflow_whose_result_can_never_be_recorded_is_refused_before_it_runs() -> None:
    @workflow
    async def circuit() -> complex:
        raise AssertionError("it has run")

    with pytest.raises(PayloadError, match="complex"):
        run_workflow(circuit)


def test_a_name_that_no_activity_has_is_told_with_those_that_are_near() -> None:
    with pytest.raises(UsageError) as caught:
        run_workflow(saga, ORDER, activities={"chrage": str.upper})
    assert "charge" in caught.value.hint


@pytest.mark.parametrize("how", [run_workflow, crash_everywhere])
def test_inside_a_loop_it_says_that_it_is_a_plain_function(how: Callable[..., Any]) -> None:
    async def test() -> None:
        how(saga, ORDER, activities=ANSWERS)

    with pytest.raises(UsageError) as caught:
        asyncio.run(test())
    assert caught.value.message.startswith(f"{how.__name__} is a plain function with a loop of its own")
    assert "not from an `async def`" in caught.value.hint


def shown_by_pytest(caught: pytest.ExceptionInfo[BaseException]) -> list[str]:
    """The files of the frames that a failed test would show."""
    return [Path(entry.path).name for entry in caught.traceback.filter(caught)]


@pytest.mark.parametrize("how", [run_workflow, crash_everywhere])
def test_a_failed_test_shows_the_authors_frames_alone(how: Callable[..., Any]) -> None:
    @workflow
    async def fails() -> None:
        await asyncio.gather(later())

    async def later() -> None:
        await asyncio.sleep(1)
        set_progress(None, 1)  # pyright: ignore[reportArgumentType]  # the mistake

    with pytest.raises(UsageError) as caught:
        how(fails)
    assert shown_by_pytest(caught) == ["test_kit.py"] * 3
    with pytest.raises(StuckError) as stuck:
        how(saga_that_waits)
    assert shown_by_pytest(stuck) == ["test_kit.py"]


@workflow
async def saga_that_waits() -> bool:
    return await approval.receive()
