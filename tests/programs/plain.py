"""An oracle: the same programs on asyncio alone, without histories, commands or replays.

What asyncio does with a program is what aion has to do with it, at the same instants.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context, ContextVar
from typing import Any

from aion_cli import ActivityError, ChildError
from aion_cli.core import events as ev
from aion_cli.core import ordered
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.failures import activity_error, failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.testing.loop import START, SkippingLoop
from tests.programs import nodes
from tests.programs.interpreter import MAIN, RETRY, Durations, jitter_micros, run
from tests.programs.simulation import Outcome, answer_micros, answered, message, without_derived

_NO_PATHS = SourcePaths()
_RETRIED = ("flaky", "limited")
_LIMIT_MICROS = 2_000_000
_SECOND = 1_000_000


class _Closed(BaseException):
    """Raised into code that goes on although its run has ended."""


class PlainWorld:
    """Runs one case on asyncio."""

    def __init__(self, case: nodes.Case, loop: SkippingLoop) -> None:
        loop.restart(START)
        loop.on_stuck = self._give_up
        loop.set_exception_handler(_nobody_looks)
        loop.set_task_factory(_tasks_of_runs)
        self.case = case
        self.loop = loop
        self.runs: dict[str, PlainRun] = {}
        self.arrivals = 0
        self._over: asyncio.Future[None] = loop.create_future()

    def outcomes(self) -> dict[str, Outcome]:
        """Run everything, and say how each run came out, by its path."""
        self.begin(MAIN, self.case.program)
        for number, stimulus in enumerate(self.case.outside):
            micros = START + round(stimulus.ms * 1000) + jitter_micros("outside", number)
            self.soon(self.runs[MAIN].take, message(stimulus, number), at=micros)
        self.loop.run_until_complete(self._over)
        outcomes = {path: run.outcome for path, run in self.runs.items()}
        self.loop.run_until_complete(self._cancel_all())
        self.loop.set_task_factory(None)
        return outcomes

    def soon(self, callback: Callable[..., object], *args: Any, at: int | None = None) -> None:
        """Call something as an arrival of its own: once nothing else is ready."""

        def arrive() -> None:
            self.arrivals += 1
            callback(*args)

        self.loop.call_at((self.loop.micros if at is None else at) / _SECOND, arrive)

    def begin(self, path: str, body: nodes.Node) -> PlainRun:
        """Start a run."""
        self.runs[path] = started = PlainRun(self, path)
        started.main = self.loop.create_task(_under(started, body), context=Context())
        started.main.add_done_callback(started.ended)
        return started

    def _give_up(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _cancel_all(self) -> None:
        for one in self.runs.values():
            one.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _nobody_looks(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that no task retrieved is nobody's business, as in a workflow."""


_current: ContextVar[PlainRun | None] = ContextVar("run", default=None)


def _tasks_of_runs(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    one = _current.get() if "context" not in options else None
    if one is not None:
        one.tasks.append(task)
    return task


async def _under(one: PlainRun, body: nodes.Node) -> Any:
    _current.set(one)
    return await run(body, one)


class PlainRun(Durations):
    """One run on asyncio. Implements Ops."""

    main: asyncio.Task[Any]

    def __init__(self, world: PlainWorld, path: str) -> None:
        super().__init__(path, tied=False)
        self.outcome: Outcome = ("open",)
        self.tasks: list[asyncio.Task[Any]] = []
        self.on_end: Callable[[Outcome, BaseException | None], None] = lambda outcome, error: None
        self._world = world
        self._path = path
        self._activities = 0
        self._children = 0
        self._open_children: dict[int, _Await] = {}
        self._signals: dict[str, asyncio.Queue[int]] = {"a": asyncio.Queue(), "b": asyncio.Queue()}
        self._cancel_requested = False
        self._closed = False

    def take(self, event: ev.Event) -> None:
        """Take a message."""
        if self._closed:
            return
        match event:
            case ev.SignalReceived():
                self._signals[event.name].put_nowait(int(bytes(event.payload)))
            case _ if not self._cancel_requested:
                self._cancel_requested = True
                self.main.cancel()
            case _:
                pass

    def ended(self, main: asyncio.Task[Any]) -> None:
        """Note how the code ended; nothing more of it runs."""
        if self._closed:
            return
        error: BaseException | None = None
        micros = self._world.loop.micros - START
        if main.cancelled():
            error = asyncio.CancelledError()
            kind = ("WorkflowCancelled", None) if self._cancel_requested else ("failed", "CancelledError")
            self.outcome = (*kind, micros)
        elif (error := main.exception()) is not None:
            self.outcome = ("failed", failure_of(error, _NO_PATHS).type, micros)
        else:
            self.outcome = ("completed", without_derived(main.result()), micros)
        self.close()
        for child in list(self._open_children.values()):
            child.close()
        self.on_end(self.outcome, error)

    def close(self) -> None:
        """Abandon the code where it stands."""
        self._closed = True
        for task in self.tasks:
            task.cancel()

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
            took = answer_micros(self._world.case, self._path, ordinal, failures, arg)
            if kind == "limited" and took > _LIMIT_MICROS:
                due += _LIMIT_MICROS
                answer = Failure(kind=ErrorKind.TIMEOUT, type="TimeoutError", message="took longer than 2 s")
            else:
                due += took
                try:
                    answer = answered(self._world.case, kind, arg, failures)
                except Exception as error:  # noqa: BLE001 - what the world answers
                    answer = failure_of(error, _NO_PATHS)
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

        self._world.soon(arrive, at=due)
        return await future

    async def receive(self, name: str) -> int:
        self.check_open()
        return await self._signals[name].get()

    def poll(self, name: str) -> int:
        return self._signals[name].qsize()

    async def send(self, name: str, value: int) -> None:
        self.check_open()
        sent = self._world.loop.create_future()
        target = self._world.runs[MAIN]

        def deliver() -> None:
            if sent.done():
                return
            if target._closed:
                sent.set_exception(ActivityError("", type="WrongStateError"))
                return
            sent.set_result(None)
            self._world.soon(lambda: target._closed or target._signals[name].put_nowait(value))

        self._world.soon(deliver)
        await sent

    async def child(self, node: nodes.Child) -> Any:
        self.check_open()
        number = self._children
        self._children += 1
        self._open_children[number] = waiting = _Await(self._world, f"{self._path}/{number}", node.body)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            if not self._closed:
                waiting.cancel()
            raise
        finally:
            if not self._closed:
                self._open_children.pop(number, None)

    def derive(self) -> Any:
        return ["derived"]

    def in_order(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> Sequence[Awaitable[Any]]:
        return [asyncio.ensure_future(item) for item in coroutines]

    async def wait_for(self, coroutine: Coroutine[Any, Any, Any], timeout: float) -> Any:
        return await ordered.wait_for(coroutine, timeout)


class _Await:
    """A child, from the command that asks for it."""

    def __init__(self, world: PlainWorld, path: str, body: nodes.Node) -> None:
        self.future: asyncio.Future[Any] = world.loop.create_future()
        self._world = world
        self._path = path
        self._body = body
        self._run: PlainRun | None = None
        self._asked_in = world.arrivals
        self._is_unwanted = False
        world.soon(self._start)

    def _start(self) -> None:
        if self.future.done() and not self._is_unwanted:
            return
        self._run = self._world.begin(self._path, self._body)
        self._run.on_end = self._ended
        if self._is_unwanted:
            self._world.soon(self._run.take, ev.WorkflowCancelRequested(request_id=""))

    def _ended(self, outcome: Outcome, error: BaseException | None) -> None:
        self._world.soon(self._arrive, outcome, error)

    def _arrive(self, outcome: Outcome, error: BaseException | None) -> None:
        if self.future.done():
            return
        if outcome[0] == "completed":
            self.future.set_result(self._run.main.result() if self._run else None)
        elif outcome[0] == "WorkflowCancelled":
            self.future.set_exception(ChildError("the child workflow was cancelled", type="CancelledError"))
        else:
            assert error is not None
            failure = failure_of(error, _NO_PATHS)
            self.future.set_exception(ChildError(failure.message, type=failure.type))

    def cancel(self) -> None:
        """The parent's code stops waiting. What was asked for and taken back in one step never was."""
        if self._run is not None:
            self._world.soon(self._run.take, ev.WorkflowCancelRequested(request_id=""))
        elif self._world.arrivals != self._asked_in:
            self._is_unwanted = True

    def close(self) -> None:
        """The parent ended."""
        self._is_unwanted = True
        self.cancel()
