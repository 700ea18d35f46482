"""Runs in a folder of their own: real files, real locks, real threads, and no syncs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.delivery import deliver
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Accepted, AlreadyKnown
from aion_cli.runtime.journal import Durability, JsonlStore
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.reading import read_history
from aion_cli.runtime.recorder import stamped_from_start
from aion_cli.runtime.runner import Runner
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import CodeLookup, Workshop
from tests.builders import AnyWorkflow, raw

LONGEST_S = 30.0


class Shop:
    """One process's worth of runs. told: (workflow id, type of event) of what it was told is on disk."""

    def __init__(self, root: Path, *, settings: RunSettings | None = None, find_code: CodeLookup | None = None) -> None:
        self.folder = HistoriesFolder(root)
        self.told: list[tuple[str, str]] = []
        self.notices: list[str] = []
        self.shop = Workshop(
            folder=self.folder,
            clock=WallClock(),
            paths=SourcePaths(),
            activities=ActivityRunner(SourcePaths(), grace_s=5.0),
            listener=self._listen,
            notice=self.notices.append,
            durability=Durability.PROCESS,
            settings=settings or RunSettings(grace_s=5.0),
            find_code=find_code,
        )
        self.runs = LocalRuns(self.shop)

    def _listen(self, workflow_id: str, events: Sequence[ev.Event]) -> None:
        self.told.extend((workflow_id, type(event).__name__) for event in events)

    async def start(
        self, definition: AnyWorkflow, input: object = None, workflow_id: str = "order-1"
    ) -> tuple[Runner, asyncio.Task[RunEnd]]:
        """Begin to run, or to go on."""
        runner = self.runs.runner(workflow_id)
        first = self.shop.first_event(definition, workflow_id, raw(input))
        return runner, asyncio.create_task(runner.run(definition, first))

    def run(
        self,
        definition: AnyWorkflow,
        input: object = None,
        workflow_id: str = "order-1",
        *,
        meanwhile: Callable[[Runner], Awaitable[None]] | None = None,
    ) -> RunEnd:
        """Run, or go on, until the end or a suspension. meanwhile: what happens beside it."""

        async def main() -> RunEnd:
            async with asyncio.timeout(LONGEST_S):
                runner, task = await self.start(definition, input, workflow_id)
                if meanwhile is not None:
                    await meanwhile(runner)
                return await task

        return asyncio.run(main())

    def until_blocked(self, definition: AnyWorkflow, input: object = None, workflow_id: str = "order-1") -> RunEnd:
        """Run until only signals and timers can move it."""
        again = Shop(self.folder.root, settings=RunSettings(grace_s=5.0, stop_when_blocked=True))
        end = again.run(definition, input, workflow_id)
        self.notices += again.notices
        return end

    async def until(self, workflow_id: str, kind: type[ev.Event], count: int = 1) -> None:
        """Return when so many events of a type are on disk."""
        while self.told.count((workflow_id, kind.__name__)) < count:
            await asyncio.sleep(0.001)

    def path(self, workflow_id: str = "order-1", number: int = 1) -> Path:
        return self.folder.history(RunName(workflow_id, number))

    def events(self, workflow_id: str = "order-1", number: int = 1) -> list[Any]:
        return list(read_history(self.path(workflow_id, number), self.folder.files))

    def names(self, workflow_id: str = "order-1", number: int = 1) -> list[str]:
        return [type(event).__name__ for event in self.events(workflow_id, number)]

    def ids(self) -> list[str]:
        """The workflow ids that there are."""
        return sorted({location.workflow_id for location in self.folder.runs()})

    def write(self, *events: ev.Event, workflow_id: str = "order-1", number: int = 1) -> None:
        """Make a history that somebody else wrote."""
        first, *rest = events
        assert isinstance(first, ev.WorkflowStarted)
        first = msgspec.structs.replace(first, workflow_id=workflow_id)
        stamped = stamped_from_start([first, *rest], "2026-03-01T09:30:00.000000Z")
        JsonlStore.create(self.path(workflow_id, number), stamped, self.folder.files, Durability.PROCESS).close()

    def send(self, event: ev.Event, workflow_id: str = "order-1") -> Accepted | AlreadyKnown:
        """Deliver a message from outside."""
        return deliver(
            self.folder,
            workflow_id,
            event,
            chosen_id=True,
            role=Role.SIGNAL,
            clock=self.shop.clock,
            notice=self.notices.append,
        )


def interrupt(runner: Runner) -> None:
    runner.suspend(SuspendReason.INTERRUPTED)
