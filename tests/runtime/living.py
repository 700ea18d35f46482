"""A live run over doubles, in time that skips."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aion_cli import Signal, activity, workflow
from aion_cli.core import events as ev
from aion_cli.core.replay import Replay
from aion_cli.runtime.endings import Closed, RunSettings, Suspended, SuspendReason
from aion_cli.runtime.executor import ActivityOutcome
from aion_cli.runtime.handoff import Identity
from aion_cli.runtime.inbox import MessageId, message_id
from aion_cli.runtime.live import LiveRun
from aion_cli.runtime.recorder import Recorder
from tests.builders import (
    AnyWorkflow,
    history,
    replay_of,
    replayed,
)
from tests.core.loops import in_skipped_time
from tests.runtime.seam import WORKER, HandClock, HandMailbox, NotingExecutor, NotingStore

T = TypeVar("T")


@activity
def charge(sku: str) -> str | None:
    raise AssertionError(f"an activity ran: {sku}")


@activity
def bill(sku: str) -> int | None:
    raise AssertionError(f"an activity ran: {sku}")


@activity(at_most_once=True)
def charge_once(sku: str) -> str | None:
    raise AssertionError(f"an activity ran: {sku}")


@workflow
async def ship(sku: str) -> str:
    raise AssertionError(f"a child ran: {sku}")


go = Signal("go", int)
stop = Signal("stop", int)


class Live:
    """A live run over doubles. Its parts share one log of what happened, in order."""

    def __init__(self, definition: AnyWorkflow, *events: ev.Event, settings: RunSettings | None = None) -> None:
        self.log: list[str] = []
        self.definition = definition
        self.store = NotingStore(history(*events), self.log)
        self.replay: Replay = replay_of(definition, list(self.store.read()))
        known: set[MessageId] = {found for event in events if (found := message_id(event)) is not None}
        self.executor = NotingExecutor(self.log)
        self.mailbox = HandMailbox(self.log)
        self.clock = HandClock()
        self.told: list[str] = []
        self.quiet = 0
        self.run = LiveRun(
            self.replay,
            self.replay.run(goes_on=True),
            Recorder(self.store),
            self.executor,
            self.mailbox,
            identity=Identity("order-1", "r1", 1),
            worker=WORKER,
            clock=self.clock,
            known_ids=known,
            settings=settings,
            listener=self._listen,
            on_quiet=self._on_quiet,
        )

    def _listen(self, events: Sequence[ev.Event]) -> None:
        assert not self.mailbox.is_locked, "a listener that is slow would hold up senders"
        self.told.extend(type(event).__name__ for event in events)

    def _on_quiet(self) -> None:
        self.quiet += 1

    async def begin(self, suspend_at_once: SuspendReason | None = None) -> asyncio.Task[Closed | Suspended]:
        """Begin to run, and return once nothing moves by itself."""
        task = asyncio.create_task(self.run.run(suspend_at_once))
        await settle()
        return task

    async def answer(self, *outcomes: ActivityOutcome) -> None:
        """End activities that are held, all in one turn of the loop."""
        for outcome in outcomes:
            self.executor.release(outcome)
        await settle()

    def since(self, mark: int) -> list[str]:
        return self.log[mark:]

    def require_clean_replay(self) -> None:
        """What was written must replay with the same code."""
        replayed(self.definition, list(self.store.read()))


async def settle() -> None:
    """Let everything run that is ready, and what becomes ready by that."""
    for _ in range(50):
        await asyncio.sleep(0)


def live(scenario: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await scenario()

    return in_skipped_time(run())


@workflow
async def order(sku: str) -> str | None:
    receipt = await charge(sku)
    await bill("b")
    return receipt


@workflow
async def both() -> None:
    async def chain(name: str) -> None:
        await charge(name)
        await bill(name)

    await asyncio.gather(chain("a"), chain("b"))


@workflow
async def gives_up() -> int:
    tasks = [asyncio.create_task(one) for one in (charge("a"), asyncio.sleep(600), ship("c"))]
    await go.receive()
    for task in tasks:
        task.cancel()
    return await stop.receive()
