"""Cancellation of a run: delivered once, at the next await, and what the code makes of it."""

from __future__ import annotations

import asyncio

from aion_cli import ContinueAsNew, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind
from tests.builders import (
    cancel_requested,
    completed,
    failed,
    failure,
    fired,
    reopened,
    signal,
    when,
)
from tests.core.stepping import Stepping, bill, charge, failure_in, go, kinds, result_of


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


def test_a_request_that_comes_when_the_code_continues_as_new_is_for_the_next_run() -> None:
    @workflow
    async def continues() -> None:
        await go.receive()
        raise ContinueAsNew

    run = Stepping(continues)
    assert isinstance(run.ends(signal("go", 1)), cmd.Continued)
    run(cancel_requested("c1", "enough"))
    run(cancel_requested("c2", "again"))
    (left,) = run.execution.unconsumed()
    assert isinstance(left, ev.WorkflowCancelRequested)
    assert left.request_id == "c1"


def test_a_request_that_the_code_was_told_of_is_not_for_the_next_run() -> None:
    @workflow
    async def continues() -> None:
        try:
            await go.receive()
        except asyncio.CancelledError:
            raise ContinueAsNew from None

    run = Stepping(continues)
    assert isinstance(run.ends(cancel_requested("c1")), cmd.Continued)
    run(cancel_requested("c2"))
    assert run.execution.unconsumed() == []
