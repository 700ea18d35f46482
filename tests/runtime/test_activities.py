"""One attempt: where it runs, how it is limited and cancelled, and what its outcome is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from aion_cli import NonRetryable, RetryPolicy, activity, activity_info
from aion_cli.api.attempts import ActivityInfo
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.source import SourcePaths
from aion_cli.errors import AionError
from aion_cli.runtime.activities import ActivityRunner, Attempt, CancelFlag, Limit
from aion_cli.runtime.heartbeats import Pulse
from tests.builders import raw

SHORT = Limit(0.01, ErrorKind.TIMEOUT)


def in_time(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def attempt_of(
    definition: Any, input: object = None, *, limit: Limit | None = None, heartbeat_s: float | None = None
) -> Attempt:
    stop = CancelFlag()
    pulse = Pulse(lambda _: None)
    return Attempt(
        definition=definition,
        input=raw(input),
        info=ActivityInfo("order-1", "r1", 4, 2, "r1/7", cancel_requested=stop.is_set, report=pulse.beat),
        limit=limit,
        heartbeat_s=heartbeat_s,
        stop=stop,
        pulse=pulse,
    )


async def outcome_of(
    definition: Any, input: object = None, *, limit: Limit | None = None, grace_s: float = 0.01
) -> msgspec.Raw | Failure:
    runner = ActivityRunner(SourcePaths(), grace_s=grace_s)
    await runner.reserve(definition)
    return await runner.attempt(attempt_of(definition, input, limit=limit))


def result(definition: Any, input: object = None) -> object:
    outcome = asyncio.run(outcome_of(definition, input))
    assert isinstance(outcome, msgspec.Raw), outcome
    return msgspec.json.decode(outcome)


def failed(definition: Any, input: object = None, limit: Limit | None = None) -> Failure:
    outcome = asyncio.run(outcome_of(definition, input, limit=limit))
    assert isinstance(outcome, Failure)
    return outcome


# --- where it runs, and with what


@activity
def in_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


@activity
async def on_loop() -> bool:
    await asyncio.sleep(0)
    return threading.current_thread() is threading.main_thread()


def test_a_plain_function_runs_in_a_thread_and_an_async_one_on_the_loop() -> None:
    assert result(in_thread) is True
    assert result(on_loop) is True


@activity
def tells() -> list[object]:
    info = activity_info()
    return [info.workflow_id, info.run_id, info.ordinal, info.attempt, info.idempotency_key, info.cancel_requested()]


@activity
async def tells_async() -> list[object]:
    info = activity_info()
    return [info.workflow_id, info.run_id, info.ordinal, info.attempt, info.idempotency_key, info.cancel_requested()]


@pytest.mark.parametrize("definition", [tells, tells_async], ids=["thread", "loop"])
def test_an_activity_knows_which_attempt_it_is(definition: Any) -> None:
    assert result(definition) == ["order-1", "r1", 4, 2, "r1/7", False]


def test_outside_of_an_activity_there_is_nothing_to_know() -> None:
    with pytest.raises(AionError, match="inside a running activity"):
        activity_info()


@activity
def adds(a: int, b: int = 5, *, c: int = 7) -> int:
    return a + b + c


def test_arguments_are_decoded_and_defaults_filled_in() -> None:
    assert result(adds, {"a": 1, "c": 100}) == 106


# --- outcomes


class CardDeclined(Exception):  # noqa: N818 - as an author would name it
    pass


@activity
def raises(what: str) -> None:
    match what:
        case "plain":
            raise CardDeclined("no money")
        case "final":
            raise NonRetryable("gave up", details={"n": 1})
        case "exit":
            raise SystemExit(3)
        case _:
            raise asyncio.CancelledError("by hand")


@activity
async def raises_async(what: str) -> None:
    raises.fn(what)


@pytest.mark.parametrize("definition", [raises, raises_async], ids=["thread", "loop"])
@pytest.mark.parametrize(
    ("what", "kind", "type"),
    [
        ("plain", ErrorKind.ERROR, "CardDeclined"),
        ("final", ErrorKind.NON_RETRYABLE, "NonRetryable"),
        ("exit", ErrorKind.ERROR, "SystemExit"),
        ("cancelled", ErrorKind.CANCELLED, "CancelledError"),
    ],
)
def test_whatever_it_raises_is_its_outcome(definition: Any, what: str, kind: ErrorKind, type: str) -> None:
    failure = failed(definition, what)
    assert (failure.kind, failure.type) == (kind, type)
    assert f"in {raises.fn.__name__}" in failure.traceback


@pytest.mark.parametrize("listed", [CardDeclined, "CardDeclined", Exception])
def test_what_the_policy_names_is_not_retryable(listed: type[BaseException] | str) -> None:
    @activity(retry=RetryPolicy(non_retryable=[listed]))
    def declines() -> None:
        raise CardDeclined

    assert failed(declines).kind is ErrorKind.NON_RETRYABLE


def test_a_result_that_does_not_fit_its_annotation_or_cannot_be_recorded_is_a_final_failure() -> None:
    @activity
    def lies() -> int:
        return "no number"  # pyright: ignore[reportReturnType] - that is what is tested

    @activity
    def returns_code() -> Any:
        return print

    for definition in (lies, returns_code):
        failure = failed(definition)
        assert (failure.kind, failure.type) == (ErrorKind.NON_RETRYABLE, "PayloadError")


def test_an_input_that_does_not_fit_is_a_final_failure_and_gives_the_room_back() -> None:
    async def scenario() -> None:
        runner = ActivityRunner(SourcePaths(), max_concurrency=1)
        for _ in range(3):
            await runner.reserve(adds)
            outcome = await runner.attempt(attempt_of(adds, {"a": "no number"}))
            assert isinstance(outcome, Failure)
            assert outcome.kind is ErrorKind.NON_RETRYABLE

    in_time(scenario)


# --- limits and cancellation


@activity
async def waits_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def test_an_async_activity_that_takes_too_long_is_cancelled_and_fails() -> None:
    failure = failed(waits_for_ever, limit=SHORT)
    assert failure == Failure(kind=ErrorKind.TIMEOUT, type="TimeoutError", message="took longer than 0.01 s")


def test_a_function_in_a_thread_that_takes_too_long_is_told_and_fails() -> None:
    told = threading.Event()

    @activity
    def polls() -> str:
        while not activity_info().cancel_requested():
            threading.Event().wait(0.001)
        told.set()
        return "too late"

    async def scenario() -> None:
        outcome = await outcome_of(polls, limit=Limit(0.01, ErrorKind.TOTAL_TIMEOUT), grace_s=30)
        assert isinstance(outcome, Failure)
        assert outcome.kind is ErrorKind.TOTAL_TIMEOUT

    in_time(scenario)
    assert told.is_set()


def test_a_function_that_does_not_listen_is_waited_for_no_longer_than_grace_and_keeps_its_room() -> None:
    over = threading.Event()

    @activity
    def deaf() -> None:
        over.wait(30)

    async def scenario() -> None:
        runner = ActivityRunner(SourcePaths(), max_concurrency=1, grace_s=0.01)
        await runner.reserve(deaf)
        outcome = await runner.attempt(attempt_of(deaf, limit=SHORT))
        assert isinstance(outcome, Failure)
        assert not runner.try_reserve(deaf)
        over.set()
        await runner.reserve(deaf)

    in_time(scenario)


def test_a_result_that_comes_in_time_is_the_outcome() -> None:
    async def scenario() -> None:
        outcome = await outcome_of(in_thread, limit=Limit(30, ErrorKind.TIMEOUT))
        assert outcome == raw(True)

    in_time(scenario)


@pytest.mark.parametrize("limit", [None, Limit(30, ErrorKind.TIMEOUT)], ids=["no limit", "limit"])
def test_a_cancelled_attempt_cancels_the_async_function_and_waits_for_its_cleanup(limit: Limit | None) -> None:
    log: list[str] = []

    @activity
    async def cleans_up() -> None:
        try:
            log.append("begun")
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    async def scenario() -> None:
        task = asyncio.ensure_future(outcome_of(cleans_up, limit=limit, grace_s=30))
        while not log:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["begun", "cleaned up"]

    in_time(scenario)


def test_a_cancelled_attempt_tells_the_function_in_its_thread() -> None:
    begun, told = threading.Event(), threading.Event()

    @activity
    def polls() -> None:
        begun.set()
        while not activity_info().cancel_requested():
            threading.Event().wait(0.001)
        told.set()

    async def scenario() -> None:
        task = asyncio.ensure_future(outcome_of(polls, grace_s=30))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_time(scenario)
    assert told.is_set()


def test_room_is_given_back_after_every_kind_of_ending() -> None:
    async def scenario() -> None:
        runner = ActivityRunner(SourcePaths(), max_concurrency=1, grace_s=30)
        for definition, input, limit in (
            (in_thread, None, None),
            (on_loop, None, None),
            (raises, "plain", None),
            (raises_async, "exit", None),
            (waits_for_ever, None, SHORT),
        ):
            await runner.reserve(definition)
            await runner.attempt(attempt_of(definition, input, limit=limit))
        await runner.reserve(waits_for_ever)
        task = asyncio.ensure_future(runner.attempt(attempt_of(waits_for_ever)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await runner.reserve(waits_for_ever)

    in_time(scenario)
