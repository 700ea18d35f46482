"""An execution that is fed by hand: no history, no matching."""

from __future__ import annotations

from typing import Any

import msgspec

from aion_cli import (
    Signal,
    activity,
    workflow,
)
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.execution import Execution
from tests.builders import (
    AnyWorkflow,
    at,
    started,
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
