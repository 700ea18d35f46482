"""Prints the commands of workflows whose order hangs on sets of tasks. For tests that run it in many processes.

Nothing of the command line is loaded, and nothing is written: events are made up as the commands come.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from typing import Any

import msgspec

from aion_cli import activity, workflow
from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import clock
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.execution import Execution, Phase


@activity
async def step(name: str) -> str: ...


@activity
async def clean_up(name: str) -> str: ...


async def branch(n: int) -> str:
    """Wait for ever, and clean up with an activity when that is cut short."""
    try:
        await asyncio.Event().wait()
    finally:
        await clean_up(f"branch {n}")
    return ""


@workflow
async def aborted_group() -> None:
    """A TaskGroup aborts eight children that have activities in their `finally`."""

    async def fail() -> None:
        await step("fail")
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            for n in range(8):
                group.create_task(branch(n))
            group.create_task(fail())
    except* ValueError:
        await step("caught")


@workflow
async def completed_coroutines() -> None:
    """`as_completed` starts plain coroutines, which hash by address."""

    async def two_steps(n: int) -> str:
        await step(f"first {n}")
        return await step(f"second {n}")

    for future in asyncio.as_completed([two_steps(n) for n in range(8)]):
        await future


@workflow
async def iterated_sets() -> None:
    """The sets that `wait` was given and gives back are iterated, and what is pending is cancelled in that order."""
    waiting = {asyncio.create_task(branch(n), name=f"branch {n}") for n in range(8)}
    working = {asyncio.ensure_future(step(f"work {n}")) for n in range(4)}
    done, pending = await asyncio.wait(working | waiting, return_when=asyncio.FIRST_COMPLETED)
    for n, _ in enumerate(done):
        await step(f"done {n}")
    for task in pending:
        task.cancel()
    for task in pending:
        await step(f"cancelled {task.get_name()}")
    await asyncio.wait({asyncio.create_task(branch(n + 8)) for n in range(4)}, timeout=1)


STARTED = ev.WorkflowStarted(
    format=ev.FORMAT,
    workflow_id="order-1",
    run_id="r1",
    workflow_type="order",
    input=msgspec.Raw(b"null"),
    definition=ev.DefinitionRef("order", "order.py", ""),
    runtime=ev.RuntimeRef("0", "3"),
)


def commands_of(definition: WorkflowDefinition[..., Any]) -> list[str]:
    """Run a workflow over made-up answers, which come in the order of asking, and return what it asked for."""
    asked: list[str] = []
    answers: deque[tuple[cmd.AnyCommand, ev.Event]] = deque()
    execution = Execution(STARTED, definition)
    event: ev.Event = STARTED
    for second in itertools.count():
        instant = clock.format_instant(second * 1_000_000)
        execution.apply(msgspec.structs.replace(event, seq=second + 1, recorded_at=instant))
        for command in execution.take_commands():
            asked.append(msgspec.json.encode(cmd.command_event(command)).decode())
            if isinstance(command, cmd.RunActivity | cmd.StartTimer):
                answers.append((command, answer(command)))
        while answers and not execution.is_awaited(answers[0][0]):
            answers.popleft()
        if execution.phase is not Phase.RUNNING or not answers:
            break
        _, event = answers.popleft()
    execution.close()
    return asked


def answer(command: cmd.RunActivity | cmd.StartTimer) -> ev.Event:
    """Make up how the world answers."""
    if isinstance(command, cmd.StartTimer):
        return ev.TimerFired(timer_id=command.key.timer_id)
    result = msgspec.Raw(msgspec.json.encode(command.activity_type))
    return ev.ActivityCompleted(activity_id=command.key.ordinal, attempt=1, result=result)


if __name__ == "__main__":
    # Objects of random sizes, held to the end, so that what is made later has other addresses in every process.
    ballast = [bytearray(os.urandom(1)[0] * 8) for _ in range(os.urandom(1)[0] * 16)]
    for each in (aborted_group, completed_coroutines, iterated_sets):
        print(each.name, *commands_of(each), sep="\n")
    del ballast
