"""One run of the oracle: what a program asks of the world, answered by asyncio alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aion_cli import ActivityError, ContinueAsNew
from aion_cli.core import events as ev
from aion_cli.core import ordered
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.failures import activity_error, failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.testing.loop import START, SkippingLoop
from tests.programs import nodes
from tests.programs.interpreter import MAIN, RunState, bump, refuse_negative
from tests.programs.simulation import Outcome, answer_micros, answered, without_derived
from tests.programs.workflows import RETRY, SIGNALS

if TYPE_CHECKING:
    from tests.programs.plain_chain import PlainChain

NO_PATHS = SourcePaths()
_RETRIED = ("flaky", "limited")
_LIMIT_MICROS = 2_000_000
_SECOND = 1_000_000


class _Closed(BaseException):
    """Raised into code that goes on although its run has ended."""


class Around(Protocol):
    """What a run needs of its world; see PlainWorld."""

    case: nodes.Case
    arrivals: int
    ids: set[str]
    answers: dict[str, Outcome]
    outlasting: set[Any]
    main: PlainChain

    @property
    def loop(self) -> SkippingLoop: ...

    def soon(self, callback: Callable[..., object], *args: Any) -> None: ...
    def next(self, callback: Callable[..., object], *args: Any) -> None: ...
    def at(self, micros: int, callback: Callable[..., object], *args: Any) -> None: ...
    def comes_first(self) -> bool: ...
    def begin(self, one: PlainRun, body: nodes.Node) -> asyncio.Task[Any]: ...
    def record(self, path: str, outcome: Outcome) -> None: ...


class Awaited(asyncio.Future[Any]):
    """A future that tells at once that it was cancelled."""

    on_cancel: Callable[[], None]

    def cancel(self, msg: Any | None = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.on_cancel()
        return cancelled


class PlainRun(RunState):
    """One run on asyncio. Implements Ops.

    cancel_requested: whether it was told to cancel. tasks: that its code has made.
    """

    main: asyncio.Task[Any]

    def __init__(self, world: Around, path: str, chain: PlainChain) -> None:
        super().__init__(path, tied=False)
        self.path = path
        self.outcome: Outcome = ("open",)
        self.error: BaseException | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self._world = world
        self._chain = chain
        self._activities = 0
        self._children = 0
        self._arrived = 0
        self._signals: dict[str, asyncio.Queue[tuple[int, ev.SignalReceived]]] = {
            name: asyncio.Queue() for name in SIGNALS
        }
        self._unanswered: dict[str, tuple[int, ev.UpdateRequested]] = {}
        self._offered: nodes.Node | None = None
        self._conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.cancel_requested = False
        self._closed = False

    def begin(self, body: nodes.Node) -> None:
        """Start the code."""
        self.main = self._world.begin(self, body)
        self.main.add_done_callback(self._ended)

    def take(self, event: ev.Event) -> None:
        """Take a message."""
        if self._closed:
            return
        self._arrived += 1
        match event:
            case ev.SignalReceived():
                self._signals[event.name].put_nowait((self._arrived, event))
            case ev.UpdateRequested():
                self._unanswered[event.update_id] = self._arrived, event
                if self._offered is not None:
                    self._begin_update(event, self._offered)
            case ev.WorkflowTerminated():
                self.end(("WorkflowTerminated", None))
            case _ if not self.cancel_requested:
                self.cancel_requested = True
                self.main.cancel()
            case _:
                pass

    def left_over(self) -> list[ev.Event]:
        """What the next run takes over, in the order in which it came."""
        found: list[tuple[int, ev.Event]] = list(self._unanswered.values())
        for queue in self._signals.values():
            while not queue.empty():
                found.append(queue.get_nowait())
        return [event for _, event in sorted(found, key=lambda item: item[0])]

    def freeze(self) -> None:
        """The code has ended, in the midst of a step: nothing that is still ready may act."""
        self._closed = True

    def _ended(self, main: asyncio.Task[Any]) -> None:
        if self.outcome != ("open",):
            return
        if main.cancelled():
            self.error = asyncio.CancelledError()
            self.end(("WorkflowCancelled", None) if self.cancel_requested else ("failed", "CancelledError"))
        elif (error := main.exception()) is None:
            self.end(("completed", without_derived(main.result())))
        elif isinstance(error, ContinueAsNew):
            self.end(("WorkflowContinuedAsNew", None))
            self._chain.go_on(self, *error.args_for_next)
        else:
            self.error = error
            self.end(("failed", failure_of(error, NO_PATHS).type))

    def end(self, how: Outcome) -> None:
        """Take note of how the run ended; nothing more of its code runs."""
        self.outcome = (*how, self._world.loop.micros - START)
        self.close()
        if how[0] != "WorkflowContinuedAsNew":
            self._chain.ended(self)

    def close(self) -> None:
        """Abandon the code where it stands."""
        self._closed = True
        for task in self.tasks:
            task.cancel()

    @property
    def is_main(self) -> bool:
        """Whether it has no parent."""
        return "/" not in self.path

    @property
    def is_closed(self) -> bool:
        """Whether nothing that the code does has any effect any more."""
        return self._closed

    def check_open(self) -> None:
        if self._closed:
            raise _Closed

    def exactly(self, ms: float) -> float:
        self.check_open()
        return super().exactly(ms)

    async def act(self, kind: str, arg: int) -> Any:
        self.check_open()
        ordinal = self._activities
        self._activities += 1
        due = self._world.loop.micros
        answer: Any = None
        for failures in range(3 if kind in _RETRIED else 1):
            took = answer_micros(self._world.case, self.path, ordinal, failures, arg)
            if kind == "limited" and took > _LIMIT_MICROS:
                due += _LIMIT_MICROS
                answer = Failure(kind=ErrorKind.TIMEOUT, type="TimeoutError", message="took longer than 2 s")
            else:
                due += took
                try:
                    answer = answered(self._world.case, kind, arg, failures)
                except Exception as error:  # noqa: BLE001 - what the world answers
                    answer = failure_of(error, NO_PATHS)
            if not isinstance(answer, Failure) or answer.kind is ErrorKind.NON_RETRYABLE:
                break
            if failures < 2 and kind in _RETRIED:
                due += int(float(RETRY.initial if isinstance(RETRY.initial, int) else 1) * 2**failures) * _SECOND
        return await self._answered(due, activity_error(answer, 1) if isinstance(answer, Failure) else answer)

    async def _answered(self, due: int, answer: Any) -> Any:
        future = self._world.loop.create_future()

        def arrive() -> None:
            if future.done():
                return
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self._world.at(due, arrive)
        return await future

    async def receive(self, name: str) -> int:
        self.check_open()
        _, event = await self._signals[name].get()
        return int(bytes(event.payload))

    def poll(self, name: str) -> int:
        return self._signals[name].qsize()

    async def send(self, name: str, value: int) -> None:
        self.check_open()
        world, target = self._world, self._world.main
        event = ev.SignalReceived(name=name, payload=SIGNALS[name].encode(value), signal_id="")
        asked_in, withdrawn_in = world.arrivals, -1
        sent = Awaited(loop=world.loop)

        def withdraw() -> None:
            nonlocal withdrawn_in
            withdrawn_in = world.arrivals

        def deliver() -> None:
            if self._closed or withdrawn_in == asked_in:
                return
            if not target.has_ended:
                world.soon(target.take, event)
            if not sent.done():
                if target.has_ended:
                    sent.set_exception(ActivityError(f"{MAIN} is closed", type="WrongStateError"))
                else:
                    sent.set_result(None)

        sent.on_cancel = withdraw
        world.soon(deliver)
        await sent

    async def child(self, node: nodes.Child) -> Any:
        return await self._chain.child(self, self._child_path(), node.body)

    async def start(self, node: nodes.Start) -> Awaitable[Any]:
        name = node.name if node.named else None
        return self._chain.child(self, self._child_path(), node.body, name=name, parent_close=node.parent_close)

    def _child_path(self) -> str:
        self.check_open()
        self._children += 1
        return f"{self.path}/{self._children - 1}"

    async def until(self, predicate: Callable[[], bool]) -> None:
        self.check_open()
        if predicate():
            return
        holds = self._world.loop.create_future()
        self._conditions.append((predicate, holds))
        await holds

    def settle(self) -> bool:
        """Finish the waits for conditions that hold; returns whether there was one."""
        if self._closed:
            return False
        holding = [holds for predicate, holds in self._conditions if not holds.done() and predicate()]
        for holds in holding:
            holds.set_result(None)
        return bool(holding)

    def offer(self, body: nodes.Node) -> None:
        self.check_open()
        early = self._unanswered.values() if self._offered is None else ()
        self._offered = body
        for _, event in early:
            self._begin_update(event, body)

    def _begin_update(self, event: ev.UpdateRequested, body: nodes.Node) -> None:
        task = asyncio.Task(self._update(event, body), loop=self._world.loop)
        self.tasks.append(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _update(self, event: ev.UpdateRequested, body: nodes.Node) -> None:
        value = int(bytes(event.args))
        try:
            refuse_negative(value)
        except ValueError:
            self._answer(event, ("rejected", "ValueError"))
            return
        try:
            self._answer(event, ("answered", without_derived(await bump(value, body, self))))
        except asyncio.CancelledError:
            self._answer(event, ("cancelled", "CancelledError"))
            raise
        except ContinueAsNew:
            self._answer(event, ("error", "UsageError"))
        except BaseException as error:  # noqa: BLE001 - whatever the handler raises is the answer
            failure = failure_of(error, NO_PATHS)
            self._answer(event, (failure.kind.value, failure.type))

    def _answer(self, event: ev.UpdateRequested, how: Outcome) -> None:
        if not self._closed:
            del self._unanswered[event.update_id]
            self._world.answers[event.update_id] = (*how, self._world.loop.micros - START)

    def derive(self) -> Any:
        return ["derived"]

    def in_order(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> Sequence[Awaitable[Any]]:
        return [asyncio.ensure_future(item) for item in coroutines]

    async def wait_for(self, coroutine: Coroutine[Any, Any, Any], timeout: float) -> Any:
        return await ordered.wait_for(coroutine, timeout)
