"""What the code takes back: in the activation that asked for it, or later."""

from __future__ import annotations

import asyncio

from aion_cli import (
    send_signal,
    workflow,
)
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from tests.builders import (
    child_completed,
    completed,
    fired,
    sent,
    signal,
)
from tests.core.stepping import Stepping, charge, go, kinds, ship, stop


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
