"""Runs in this process, on real files that are not synced, with a clock that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.delivery import deliver
from aion_cli.runtime.endings import RunSettings
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.reading import read_history
from aion_cli.runtime.runner import Runner
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop
from tests.storage import Unsynced

SECOND = 1_000_000
START = clock.parse_instant("2026-03-01T09:30:00.000000Z")
AnyWorkflow = WorkflowDefinition[..., Any]


class SetClock(WallClock):
    """A wall clock that stands still until a test sets it; then whoever waited for it is woken at once."""

    def __init__(self, present: int = START) -> None:
        super().__init__()
        self.present = present

    def micros(self) -> int:
        return self.present

    def set(self, present: int) -> None:
        """Set the clock, forward or back, to microseconds since the epoch."""
        self.present = present
        if self._loop is not None and self._waiters and not self._loop.is_closed():
            self._set_alarm(self._loop)

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.set(self.present + round(seconds * SECOND))


class HastyClock(SetClock):
    """A clock that is set forward to whatever is waited for, as soon as the loop gets to it."""

    async def until(self, micros: int) -> None:
        await asyncio.sleep(0)
        self.present = max(self.present, micros)


class Place:
    """A folder of histories, and what works there. told: every event that was reported as recorded, in order."""

    def __init__(
        self,
        root: Path,
        clock_: SetClock | None = None,
        *,
        calls: Calls | None = None,
        grace_s: float = 10.0,
        stop_when_blocked: bool = False,
    ) -> None:
        self.clock = clock_ or SetClock()
        self.folder = HistoriesFolder(root, Files(calls or Unsynced()))
        self.told: list[ev.Event] = []
        self.on_events: Callable[[Sequence[ev.Event]], None] = lambda _: None
        paths = SourcePaths(str(root))
        self.shop = Workshop(
            folder=self.folder,
            clock=self.clock,
            paths=paths,
            activities=ActivityRunner(paths, grace_s=grace_s),
            listener=self._listen,
            notice=lambda _: None,
            settings=RunSettings(grace_s=grace_s, stop_when_blocked=stop_when_blocked),
            watchdog_s=0,
        )

    def _listen(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        del workflow_id
        self.told += events
        self.on_events(events)

    def runner(self, workflow_id: str = "order-1") -> Runner:
        """A runner as `aion run` makes it."""
        return LocalRuns(self.shop).runner(workflow_id)

    async def go(
        self, workflow: AnyWorkflow, input: object = None, *, workflow_id: str = "order-1", runner: Runner | None = None
    ) -> RunEnd:
        """Start a run, or go on with it, until it ends or is suspended."""
        started = self.shop.first_event(workflow, workflow_id, msgspec.Raw(msgspec.json.encode(input)))
        return await (runner or self.runner(workflow_id)).run(workflow, started)

    def run(self, workflow: AnyWorkflow, input: object = None, *, workflow_id: str = "order-1") -> RunEnd:
        """The same, on a loop of its own. What takes longer than half a minute hangs."""
        return asyncio.run(asyncio.wait_for(self.go(workflow, input, workflow_id=workflow_id), 30))

    def deliver(self, event: ev.Event, workflow_id: str = "order-1", *, chosen_id: bool = False) -> None:
        """Send a message as another process would."""
        deliver(
            self.folder,
            workflow_id,
            event,
            chosen_id=chosen_id,
            role=Role.SIGNAL,
            clock=self.clock,
            notice=lambda _: None,
        )

    def events(self, workflow_id: str = "order-1") -> list[Any]:
        """What is recorded of a run."""
        return list(read_history(self.folder.history(RunName(workflow_id)), self.folder.files))

    def names(self, workflow_id: str = "order-1") -> list[str]:
        """The names of the recorded events, in order."""
        return [type(event).__name__ for event in self.events(workflow_id)]

    async def until_told(self, *kinds: type[ev.Event]) -> None:
        """Return once events of all these types were recorded."""
        async with asyncio.timeout(30):
            while not set(kinds) <= {type(event) for event in self.told}:
                await asyncio.sleep(0.001)


async def a_while() -> None:
    """Let everything on the loop that can go on do so."""
    for _ in range(100):
        await asyncio.sleep(0)
