"""An executor over doubles: an AttemptLog that keeps what it is told, no other runs, and a clock by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from aion_cli import RetryPolicy, activity, activity_info
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.events import Failure
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.executor import (
    ActivityOutcome,
    ActivityRequest,
    ChildOutcome,
    InProcessExecutor,
    SendOutcome,
    SpawnedChild,
)
from tests.builders import at, raw
from tests.runtime.seam import HandClock


class Attempts:
    """An AttemptLog that keeps what it is told. on_started: called before an attempt is on record."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.on_started: Callable[[], Awaitable[None]] | None = None
        self.may_begin = True
        self.is_held = False
        self.resumed = asyncio.Event()

    async def admission(self) -> None:
        if not self.may_begin:
            self.log.append("held")
            await self.resumed.wait()

    async def started(self, attempt: int) -> bool:
        if self.on_started is not None:
            await self.on_started()
        self.log.append("held" if self.is_held else f"started {attempt}")
        return not self.is_held

    async def failed(self, attempt: int, error: Failure, next_attempt_at: str) -> None:
        self.log.append(f"failed {attempt} {error.type}, again at {next_attempt_at[14:19]}")

    def heartbeat(self, attempt: int, details: msgspec.Raw) -> None:
        self.log.append(f"heartbeat {attempt} {bytes(details).decode()}")


class NoOthers:
    """There are no other runs."""

    async def run_child(self, child: SpawnedChild) -> ChildOutcome:
        raise NotImplementedError

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None:
        raise NotImplementedError

    def close_child(self, child: SpawnedChild, request_id: str) -> None:
        raise NotImplementedError

    def keep_child(self, child: SpawnedChild) -> None:
        raise NotImplementedError

    def attached_children(self, started: ev.WorkflowStarted) -> list[SpawnedChild]:
        raise NotImplementedError

    def is_child_blocked(self, child: SpawnedChild) -> bool:
        raise NotImplementedError

    def suspend_child(self, child: SpawnedChild) -> None:
        raise NotImplementedError

    def send_signal(self, command: cmd.SendSignal, signal_id: str) -> SendOutcome:
        return ev.SignalSent(ordinal=command.key.ordinal)


class Flaky:
    """An activity that fails so many times before it succeeds, and notes when it was called."""

    def __init__(self, clock: HandClock, failures: int) -> None:
        self.clock = clock
        self.failures = failures
        self.attempts: list[int] = []

    async def __call__(self) -> str:
        self.attempts.append(activity_info().attempt)
        if len(self.attempts) <= self.failures:
            raise ConnectionError("no answer")
        return "done"


class Executing:
    """An executor over doubles. `run` gives what an activity comes to while time moves on by itself."""

    def __init__(self, max_concurrency: int | None = None) -> None:
        self.clock = HandClock(100)
        self.attempts = Attempts()
        self.looks = 0
        self.executor = InProcessExecutor(
            ActivityRunner(SourcePaths(), max_concurrency=max_concurrency, grace_s=0.01),
            NoOthers(),
            self.clock,
            self._look,
        )

    def _look(self) -> None:
        self.looks += 1

    async def run(self, definition: Any, **fields: Any) -> ActivityOutcome:
        """Run to the final outcome; whenever nothing else moves, ten seconds pass."""
        task = asyncio.ensure_future(self.executor.run_activity(request(definition, **fields), self.attempts))
        while not task.done():
            await asyncio.wait([task], timeout=0.005)
            self.clock.advance(10)
        return task.result()


def request(definition: Any, **fields: Any) -> ActivityRequest:
    command = cmd.RunActivity(
        key=key.Activity(0), activity_type="flaky", input=raw(fields.pop("input", None)), target=definition
    )
    defaults: dict[str, Any] = {"attempt": 1, "failures": 0, "started": False, "scheduled_at": at(100)}
    return ActivityRequest(
        command=command, workflow_id="order-1", run_id="r1", stable_id="r1/2", **{**defaults, **fields}
    )


def policy(**fields: Any) -> RetryPolicy:
    given: dict[str, Any] = {"max_attempts": 5, "initial": 20, "factor": 2, "cap": 600, "jitter": 0, **fields}
    return RetryPolicy(**given)


async def settle() -> None:
    """Let everything run that is ready, and what becomes ready by that."""
    for _ in range(5):
        await asyncio.sleep(0)


def in_time(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


def flaky(here: Executing, failures: int, **options: Any) -> tuple[Flaky, Any]:
    calls = Flaky(here.clock, failures)

    @activity(name="flaky", **options)
    async def definition() -> str:
        return await calls()

    return calls, definition
