"""Errors that code has lost: of tasks that nobody awaits, and of callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from aion_cli import ContinueAsNew, workflow
from aion_cli.core import commands as cmd
from tests.builders import AnyWorkflow, signal
from tests.core.stepping import Stepping, go


async def breaks() -> None:
    raise ValueError("lost")


async def continues() -> None:
    raise ContinueAsNew()


@workflow
async def forgets_a_task() -> int:
    task = asyncio.create_task(breaks(), name="the lost one")
    await go.receive()
    del task
    return await go.receive()


@workflow
async def forgets_a_task_that_continues() -> int:
    task = asyncio.create_task(continues(), name="the lost one")
    await go.receive()
    del task
    return await go.receive()


@workflow
async def breaks_in_a_callback() -> int:
    await go.receive()
    asyncio.get_running_loop().call_soon(lambda: 1 // 0)
    return await go.receive()


@workflow
async def asks_for_it() -> int:
    task = asyncio.create_task(breaks())
    await go.receive()
    with pytest.raises(ValueError, match="lost"):
        await task
    del task
    return await go.receive()


LOST = {
    forgets_a_task: ["task the lost one failed, and nobody asked for its outcome: ValueError: lost at "],
    forgets_a_task_that_continues: [
        "task the lost one failed, and nobody asked for its outcome: ContinueAsNew at ",
    ],
    breaks_in_a_callback: [
        "something that nobody awaits failed, and nobody asked for its outcome: ZeroDivisionError: ",
    ],
    asks_for_it: [],
}


def stepped(definition: AnyWorkflow, *, replaying: bool) -> Iterator[str]:
    """Run a workflow to its end, which an error that is lost does not change; yield what is told."""
    told: list[str] = []
    step = Stepping(definition)
    step.execution.on_lost_error = told.append
    step.execution.replaying = replaying
    step(signal("go", 1, "s1"))
    assert isinstance(step.ends(signal("go", 2, "s2")), cmd.Completed)
    yield from told


@pytest.mark.parametrize("definition", LOST, ids=lambda definition: definition.name)
def test_an_error_that_nobody_awaits_is_told_with_its_line_and_changes_nothing(definition: AnyWorkflow) -> None:
    for text, beginning in zip(stepped(definition, replaying=False), LOST[definition], strict=True):
        assert text.startswith(beginning)
        assert "tests/core/test_lost_errors.py:" in text


@pytest.mark.parametrize("definition", LOST, ids=lambda definition: definition.name)
def test_it_was_told_when_it_happened_and_is_not_told_again_in_a_replay(definition: AnyWorkflow) -> None:
    assert list(stepped(definition, replaying=True)) == []
