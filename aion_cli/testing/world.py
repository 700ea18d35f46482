"""A world in memory: runs that are recorded, outsiders who send them messages, and time that skips.

What is real here: core, the pump and the seam of `runtime.live` and `runtime.handoff`, attempts and retries. What is
not: files, locks, threads (unless an activity without a fake needs one), and the wall clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import Waiting
from aion_cli.errors import NoSuchRunError, WrongStateError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.testing.fakes import Fakes
from aion_cli.testing.ledger import Accepted, Cut, Ledger
from aion_cli.testing.life import Life, Place
from aion_cli.testing.loop import START, SkippingLoop


class Outside(NamedTuple):
    """A message from outside. micros: when it is sent."""

    micros: int
    workflow_id: str
    event: ev.Event


class World:
    """Runs, their histories and inboxes, and outsiders. `go` lets them run; between two calls nothing moves.

    loop: may be shared by worlds of which one runs at a time. fakes: see testing.fakes. ledger: what there is already.
    """

    def __init__(
        self,
        loop: SkippingLoop,
        fakes: Fakes,
        *,
        ledger: Ledger | None = None,
        code: Mapping[str, WorkflowDefinition[..., Any]] | None = None,
        settings: RunSettings | None = None,
        max_concurrency: int | None = None,
        paths: SourcePaths | None = None,
    ) -> None:
        loop.restart(START)
        paths = paths or SourcePaths()
        self.loop = loop
        self.ledger = ledger or Ledger(lambda: loop.micros)
        self.place = Place(
            loop=loop,
            ledger=self.ledger,
            fakes=fakes,
            code=dict(code or {}),
            activities=ActivityRunner(paths, max_concurrency=max_concurrency),
            settings=settings or RunSettings(),
            paths=paths,
            lives={},
            on_end=self._look_again,
        )
        self._changed: asyncio.Future[None] = loop.create_future()
        self.outside: list[Outside] = []
        self.refusals: dict[int, Exception] = {}
        self.waiting: dict[str, list[Waiting]] = {}
        self._max_concurrency = max_concurrency
        self._stopping = False
        self._stops: list[tuple[int, SuspendReason]] = []

    def start(self, definition: WorkflowDefinition[..., Any], workflow_id: str, input: msgspec.Raw) -> None:
        """Create a run: its history with a first event. It begins to run with `go`."""
        self.place.start(definition, workflow_id, input)

    def send_at(self, micros: int, workflow_id: str, event: ev.Event) -> None:
        """Have an outsider send a message at an instant. What becomes of one that is refused is in `refusals`."""
        self.outside.append(Outside(micros, workflow_id, event))

    def stop_at(self, micros: int, reason: SuspendReason) -> None:
        """Have the next `go` interrupted at an instant, unless all is over before."""
        self._stops.append((micros, reason))

    def go(self) -> None:
        """Go on with all open runs until each is closed, or nothing can move those that are not.

        Raises what a run raised: a divergence, an error of the executor, a failed assertion.
        """
        self._stopping = False
        self.loop.on_stuck = lambda: self.stop(SuspendReason.INTERRUPTED)
        for micros, reason in self._stops:
            self.loop.call_at(micros / 1_000_000, self.stop, reason)
        self._stops.clear()
        self.loop.run_until_complete(self._go())

    async def _go(self) -> None:
        sent = {fact.outside for fact in self.ledger.log if isinstance(fact, Accepted)}
        busy: dict[asyncio.Future[Any], Life | None] = {
            self.loop.create_task(self._send(number, message)): None
            for number, message in enumerate(self.outside)
            if number not in sent
        }
        try:
            while True:
                for workflow_id in [] if self._stopping else self._unattended():
                    life = Life(self.place, workflow_id)
                    busy[self.loop.create_task(life.run())] = life
                # A child may outlast the grace of its parent, and is still run although nobody waits for it.
                is_run = bool(self.place.lives) or any(busy.values())
                if not is_run and (self._stopping or not busy):
                    return
                self._changed = self.loop.create_future()
                done, _ = await asyncio.wait([*busy, self._changed], return_when=asyncio.FIRST_COMPLETED)
                for task in done & busy.keys():
                    task.result()
                    life = busy.pop(task)
                    if life is not None:
                        self.waiting[life.workflow_id] = life.waiting
        finally:
            await self._cancel_all()

    def _look_again(self) -> None:
        """Somebody has let go of a run; its children may have nobody now."""
        if not self._changed.done():
            self._changed.set_result(None)

    def _unattended(self) -> list[str]:
        """The open runs that nobody runs: not paused, and without an open parent, which would run it."""
        ledger = self.ledger
        return [
            workflow_id
            for workflow_id in ledger.histories
            if workflow_id not in ledger.owned
            and ledger.end_of(workflow_id) is None
            and (not ledger.is_paused(workflow_id) or ledger.mailbox(workflow_id).list())
            and not self._has_open_parent(workflow_id)
        ]

    def _has_open_parent(self, workflow_id: str) -> bool:
        parent = self.ledger.histories[workflow_id][0].events[0].parent
        return parent is not None and self.ledger.end_of(parent.workflow_id) is None

    async def _send(self, number: int, message: Outside) -> None:
        await self.loop.until(message.micros)
        try:
            self.ledger.deliver(message.workflow_id, message.event, number)
        except (NoSuchRunError, WrongStateError) as refusal:
            self.refusals[number] = refusal

    def stop(self, reason: SuspendReason) -> None:
        """Suspend all runs, as an interrupt does; `go` returns once they have stopped."""
        assert not self._stopping, f"these do not stop: {list(self.place.lives)}"
        self._stopping = True
        for workflow_id, life in list(self.place.lives.items()):
            if not self._has_open_parent(workflow_id):
                life.suspend(reason)

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def crashed(self, cut: Cut, *, downtime_micros: int = 0) -> World:
        """Return the world as it is found after a crash: only what was durable, and what the outside remembers."""
        ledger = self.ledger.crashed(cut)
        found = World(
            self.loop,
            self.place.fakes,
            ledger=ledger,
            code=self.place.code,
            settings=self.place.settings,
            max_concurrency=self._max_concurrency,
            paths=self.place.paths,
        )
        found.outside = list(self.outside)
        self.loop.restart(ledger.log[-1].micros + downtime_micros)
        return found
