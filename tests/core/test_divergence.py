"""A history against code that no longer matches it: every rule, in both directions."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import ContinueAsNew, activity, send_signal, wait_until, workflow
from aion_cli.core import events as ev
from aion_cli.errors import Step
from tests.builders import (
    at,
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
    replayed,
    scheduled,
    send,
    sent,
    signal,
    started,
    timer,
    timer_cancelled,
)
from tests.core.orders import FAILS, WHOLE, bill, charge, failing, go, order, ship


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
    assert (error.seq, error.recorded) == (4, Step("outcome of activity", "charge", "0"))
    assert error.requested == Step("activity", "bill", "1", '"A1"')


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failed(0), "outcome of activity"),
        (fired(0), "firing of timer"),
        (child_completed(0, "r"), "outcome of child workflow"),
        (sent(0), "outcome of signal"),
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


def test_what_is_recorded_of_a_child_or_a_send_is_named_by_what_it_is_about() -> None:
    @workflow
    async def asks_for_more() -> None:
        await asyncio.gather(ship("A1"), send_signal("order-2", go, 1), bill("new"))

    begun = [started(), child(0, "ship", "A1"), send(0, "order-2", "go", 1)]
    assert str(divergence(asks_for_more, history(*begun, child_completed(0, "r"))).recorded) == (
        'outcome of child workflow "ship" (0)'
    )
    assert str(divergence(asks_for_more, history(*begun, sent(0))).recorded) == (
        'outcome of signal "go to order-2" (0)'
    )


def test_code_that_only_waits_for_a_condition_is_named_by_the_line_that_does() -> None:
    @workflow
    async def waits(sku: str) -> None:
        await wait_until(lambda: not sku)

    error = divergence(waits, history(*WHOLE))
    assert (error.requested, error.source) == (Step("wait for condition"), line_of(waits.fn, 2))


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
    assert (error.seq, str(error.recorded)) == (1, 'start of workflow "order" with 5')
    assert "Expected `str`, got `int`" in error.hint


def test_a_signal_that_does_not_fit_its_type_is_an_error_of_the_code_on_every_replay() -> None:
    @workflow
    async def takes_one() -> int:
        return await go.receive()

    events = history(started(), signal("go", "no number"), ended_in(failure("PayloadError")))
    assert isinstance(replayed(takes_one, events).closed_by, ev.WorkflowFailed)
