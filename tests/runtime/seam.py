"""Doubles around the resume-live boundary: an executor and a store that note what is asked of them, in one log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from aion_cli.core import clock
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.correlation import CorrelationKey
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.resolver import Resolver
from aion_cli.runtime.executor import (
    ActivityOutcome,
    ActivityRequest,
    AttemptLog,
    ChildOutcome,
    SendOutcome,
    SpawnedChild,
)
from aion_cli.runtime.handoff import Identity, Worker
from aion_cli.runtime.inbox import Message
from aion_cli.runtime.journal import MemoryStore
from aion_cli.runtime.recorder import Recorder
from tests.builders import at, raw

E = TypeVar("E", bound=ev.Event)
WORKER = Worker("h1", 7)


class NotingStore(MemoryStore):
    """A history in memory that notes each append in a log that it shares with what touches the world."""

    def __init__(self, events: Sequence[ev.Event], log: list[str]) -> None:
        super().__init__()
        super().append(events, 0)
        self.log = log
        self.batches: list[list[str]] = []

    def append(self, events: Sequence[ev.Event], expected_seq: int) -> int:
        names = [type(event).__name__ for event in events]
        head = super().append(events, expected_seq)
        self.batches.append(names)
        self.log.append(f"append {' '.join(names)}")
        return head

    def names(self) -> list[str]:
        """The types of all events, in order."""
        return [type(event).__name__ for event in self.read()]

    def events(self, kind: type[E]) -> list[E]:
        """All events of one type."""
        return [event for event in self.read() if isinstance(event, kind)]


class NotingExecutor:
    """A LiveExecutor that notes its calls. Activities end as `outcomes` says by name, or at once with null.

    hold: activities end only when `release` is called. rooms: attempts that may begin with their schedule; None: any.
    """

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.outcomes: dict[str, Callable[[ActivityRequest, AttemptLog], Coroutine[Any, Any, ActivityOutcome]]] = {}
        self.hold = False
        self.rooms: int | None = None
        self.requests: list[ActivityRequest] = []
        self.resting: set[str] = set()
        self.child_outcomes: dict[str, asyncio.Future[ChildOutcome]] = {}
        self.blocked_children = False
        self.timers: dict[int, asyncio.Future[None]] = {}
        self._held: dict[int, asyncio.Future[ActivityOutcome]] = {}

    def release(self, outcome: ActivityOutcome) -> None:
        """End an activity that is held."""
        self._held.pop(outcome.activity_id).set_result(outcome)

    def try_reserve(self, command: cmd.RunActivity, scheduled_at: str) -> bool:
        del command, scheduled_at
        if self.rooms is None:
            return True
        self.rooms -= 1
        return self.rooms >= 0

    def give_back(self, command: cmd.RunActivity) -> None:
        self.log.append(f"give back {command.activity_type}")

    def is_resting(self, stable_id: str) -> bool:
        return stable_id in self.resting

    async def run_activity(self, request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        ordinal = request.command.key.ordinal
        name = request.command.activity_type
        self.log.append(f"run {name} {ordinal}")
        self.requests.append(request)
        try:
            if not request.started:
                await log.started(request.attempt)
                self.log.append(f"attempt {name} {ordinal}")
            if name in self.outcomes:
                return await self.outcomes[name](request, log)
            if self.hold:
                self._held[ordinal] = asyncio.get_running_loop().create_future()
                return await self._held[ordinal]
            return ev.ActivityCompleted(activity_id=ordinal, attempt=request.attempt, result=raw(None))
        except asyncio.CancelledError:
            self.log.append(f"cancelled {name} {ordinal}")
            raise

    async def start_timer(self, command: cmd.StartTimer) -> None:
        self.log.append(f"timer {command.key.timer_id}")
        self.timers[command.key.timer_id] = over = asyncio.get_running_loop().create_future()
        try:
            await over
        except asyncio.CancelledError:
            self.log.append(f"timer {command.key.timer_id} withdrawn")
            raise

    def await_signal(self, command: cmd.AwaitSignal) -> None:
        self.log.append(f"await signal {command.key.name}")

    async def send_signal(self, command: cmd.SendSignal, signal_id: str) -> SendOutcome:
        self.log.append(f"send {command.name} to {command.target_workflow_id} as {signal_id}")
        return ev.SignalSent(ordinal=command.key.ordinal)

    async def spawn_child(self, child: SpawnedChild) -> ChildOutcome:
        self.log.append(f"child {child.workflow_id}")
        self.child_outcomes[child.workflow_id] = over = asyncio.get_running_loop().create_future()
        return await over

    def cancel_child(self, child: SpawnedChild, request_id: str) -> None:
        self.log.append(f"cancel child {child.workflow_id} as {request_id}")

    def close_child(self, child: SpawnedChild, request_id: str) -> None:
        self.log.append(f"close child {child.workflow_id} as {request_id}")

    def keep_child(self, child: SpawnedChild) -> None:
        self.log.append(f"keep child {child.workflow_id}")

    def is_child_blocked(self, child: SpawnedChild) -> bool:
        return self.blocked_children

    def suspend_child(self, child: SpawnedChild) -> None:
        self.log.append(f"suspend child {child.workflow_id}")


class DirectSeam:
    """A Seam without a pump: what is staged is written when it has to be durable, and nothing is applied to any code.

    seconds: the present, as the caller has it. may_start: whether effects may begin.
    """

    def __init__(
        self, events: Sequence[ev.Event], reopens: Sequence[ev.WorkflowReopened] = (), number: int = 1
    ) -> None:
        self.log: list[str] = []
        self.store = NotingStore(events, self.log)
        self.executor = NotingExecutor(self.log)
        self.recorder = Recorder(self.store)
        self.identity = Identity("order-1", "r1", number)
        self.worker = WORKER
        self.may_start = True
        self.seconds = 100.0
        self.resolver = Resolver("order-1", HistoryCursor(list(self.store.read()), reopens))
        self.children: dict[CorrelationKey, SpawnedChild] = {}
        self.withdrawn: list[CorrelationKey] = []

    def second_pass(self) -> None:
        """Begin anew, as another process would: with what the history holds, and the same executor."""
        self.resolver = Resolver("order-1", HistoryCursor(list(self.store.read())))
        self.recorder = Recorder(self.store)

    @property
    def next_seq(self) -> int:
        return self.recorder.next_seq

    def stage(self, event: E) -> E:
        return self.recorder.stage(event, at(self.seconds))

    async def durable(self) -> None:
        self.recorder.commit()

    async def admission(self) -> None:
        pass

    async def arrive(self, event: E) -> E:
        stamped = self.stage(event)
        self.recorder.commit()
        return stamped

    def note(self, event: ev.Event) -> None:
        self.stage(event)

    async def close(self, event: ev.Event) -> ev.Event:
        return await self.arrive(event)

    def withdraw(self, key: CorrelationKey) -> None:
        self.withdrawn.append(key)

    def child(self, command: cmd.SpawnChild, event: ev.Event) -> SpawnedChild:
        assert isinstance(event, ev.ChildWorkflowStarted)
        parent = ev.ParentRef(self.identity.workflow_id, self.identity.run_id, event.seq)
        self.children[command.key] = SpawnedChild(command, event, parent)
        return self.children[command.key]

    def child_of(self, key: CorrelationKey) -> SpawnedChild:
        return self.children[key]


class HandClock:
    """A clock that a test moves. Waits end when it reaches their instant."""

    def __init__(self, seconds: float = 100.0) -> None:
        self._micros = clock.parse_instant(at(seconds))
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def micros(self) -> int:
        return self._micros

    def advance(self, seconds: float) -> None:
        """Move time, and wake who waits for an instant that has come, the earliest first."""
        self._micros += round(seconds * 1_000_000)
        for micros, waiter in sorted(self._waiters, key=lambda found: found[0]):
            if micros <= self._micros and not waiter.done():
                waiter.set_result(None)

    async def until(self, micros: int) -> None:
        if micros > self._micros:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((micros, waiter))
            await waiter


class HandMailbox:
    """A mailbox that a test fills."""

    def __init__(self, log: list[str]) -> None:
        self.messages: list[Message] = []
        self.log = log
        self.on_lock: list[Message] = []
        self.is_locked = False
        self._on_message: Callable[[], None] = lambda: None

    def put(self, *events: ev.Event) -> None:
        """Have messages accepted, and ring."""
        for event in events:
            self.messages.append(Message(f"m{len(self.messages)}-{len(self.log)}", event))
        self._on_message()

    def listen(self, on_message: Callable[[], None]) -> None:
        self._on_message = on_message

    def look(self) -> None:
        self._on_message()

    def list(self) -> list[Message]:
        return list(self.messages)

    def remove(self, names: Iterable[str]) -> None:
        gone = list(names)
        self.log.append(f"remove {len(gone)}")
        self.messages = [message for message in self.messages if message.name not in gone]

    @contextmanager
    def locked(self) -> Generator[None]:
        """Messages of `on_lock` come just before the lock is taken."""
        self.messages += self.on_lock
        self.on_lock = []
        self.log.append("lock")
        self.is_locked = True
        yield
        self.is_locked = False
        self.log.append("unlock")

    def close(self) -> None:
        self._on_message = lambda: None
