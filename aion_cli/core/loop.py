"""The deterministic asyncio loop that workflow code runs on.

It has no clock, no sockets and no threads. The engine steps it from a plain callback: `run_ready` runs callbacks in
FIFO order until none is left or main is done, and returns. Time is the present of the event that is being applied; a
timer is a command to the host, and comes back as `fire`. Because it is an asyncio loop, the standard library's `sleep`,
`timeout`, `TaskGroup`, `gather`, `Queue`, `Event` and `Lock` work on it unchanged.

Its tasks and futures hash by a creation counter. asyncio keeps tasks in sets, and sets iterate by hash: by address
that order would differ in every process.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import warnings
from asyncio import events as asyncio_events
from asyncio import tasks as asyncio_tasks
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from types import CoroutineType, GeneratorType
from typing import Any, NoReturn, Protocol, TypeVar, cast

from aion_cli.core import ordered
from aion_cli.errors import AionError

T = TypeVar("T")
_Closable = Coroutine[Any, Any, Any] | Generator[Any, Any, Any]

_MICROSECONDS = 1_000_000
_CLOSE_ATTEMPTS = 100


class WorldTouchedError(AionError):
    """Workflow code used the machine directly: a socket, a thread, a process."""

    code = "world-touched"


class RunClosed(BaseException):
    """Raised into code that goes on while its run is being suspended or after it has ended."""


class TimerHost(Protocol):
    """What the loop needs from the execution: the present, and timers as commands."""

    def present_micros(self) -> int: ...

    def start_timer(self, fire_at_micros: int) -> int:
        """Ask for a timer, and return its id."""
        ...

    def cancel_timer(self, timer_id: int) -> None: ...


class WorkflowFuture(asyncio.Future[T]):
    """A future whose place in a set does not depend on its address."""

    def __init__(self, *, loop: WorkflowLoop) -> None:
        self._order = loop.next_order()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._order


class WorkflowTask(asyncio.Task[T]):
    """A task whose place in a set does not depend on its address."""

    def __init__(
        self,
        coro: Generator[Any, Any, T] | Coroutine[Any, Any, T],
        *,
        loop: WorkflowLoop,
        name: str | None,
        context: contextvars.Context | None,
    ) -> None:
        self._order = loop.next_order()
        super().__init__(coro, loop=loop, name=name or f"task-{self._order}", context=context)

    def __hash__(self) -> int:
        return self._order

    @property
    def order(self) -> int:
        """How many tasks and futures the run had made before."""
        return self._order


class _Timer(asyncio.TimerHandle):
    """A timer handle that knows which command it is; timer_id None: due at once, no command."""

    timer_id: int | None = None


class _Current:
    """While it is entered, a loop is the running one, and the one that finishes abandoned async generators.

    A class, since every live step passes through it and a generator would take three times as long.
    """

    __slots__ = ("_around", "_finish", "_hooks", "_loop", "_previous")

    def __init__(self, loop: WorkflowLoop, finish: Callable[[AsyncGenerator[Any, Any]], None]) -> None:
        self._loop = loop
        self._finish = finish

    def __enter__(self) -> None:
        previous: Any = asyncio_events._get_running_loop()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]  # asyncio's documented hook for loop implementers
        self._previous = previous
        self._around: asyncio.Task[Any] | None = None
        if previous is not None and (around := asyncio.current_task(previous)) is not None:
            # From Python 3.14 on a thread runs one task at a time, also if the other is of another loop.
            self._around = around
            asyncio_tasks._leave_task(previous, around)  # pyright: ignore[reportPrivateUsage]  # see above
        self._hooks = sys.get_asyncgen_hooks()
        asyncio_events._set_running_loop(self._loop)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]  # see above
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finish)

    def __exit__(self, *_: object) -> None:
        sys.set_asyncgen_hooks(*self._hooks)
        asyncio_events._set_running_loop(self._previous)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]  # see above
        if self._around is not None:
            asyncio_tasks._enter_task(self._previous, self._around)  # pyright: ignore[reportPrivateUsage]  # see above


class WorkflowLoop(asyncio.AbstractEventLoop):
    """One run's event loop. host: answers for time and timers."""

    def __init__(self, host: TimerHost) -> None:
        self._host = host
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: dict[int, _Timer] = {}
        self._tasks: dict[int, WorkflowTask[Any]] = {}
        self._order = 0
        self._running = False
        self._closed = False
        self._refusals = 0
        self.execution: Any = None
        self.on_unhandled: Callable[[dict[str, Any]], None] = _ignore_context

    def next_order(self) -> int:
        """Number a new task or future of this run."""
        self._order += 1
        return self._order

    def run_ready(self, main: asyncio.Task[Any]) -> None:
        """Run until nothing is ready, or main is done: then nothing more of the run's code runs."""
        self._running = True
        try:
            if asyncio_events._get_running_loop() is self:  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]  # see _Current
                self._run_handles(main)
            else:
                with self.being_current():
                    self._run_handles(main)
        finally:
            self._running = False

    def _run_handles(self, main: asyncio.Task[Any]) -> None:
        ready = self._ready
        while ready and not main.done():
            handle = ready.popleft()
            try:
                if not handle.cancelled():
                    handle._run()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue, reportUnknownMemberType]  # how a loop runs its handles
            except SystemExit:
                # The task that raised it holds it as well: an outcome of the author's code like others.
                pass
            # The traceback of what a task raised may hold this frame: then the task, held by it, would never be missed.
            del handle

    def being_current(self) -> AbstractContextManager[None]:
        """Be the running loop meanwhile. Who makes many steps in a row enters this once for all of them."""
        return _Current(self, self._finish_generator)

    def call_inside(self, function: Callable[[], T]) -> T:
        """Call a function as if from workflow code, without stepping anything."""
        with self.being_current():
            return function()

    def fire(self, timer_id: int) -> None:
        """Make the handle of a fired timer ready."""
        timer = self._timers.pop(timer_id)
        timer.timer_id = None
        self._ready.append(timer)

    def close_tasks(self) -> list[str]:
        """Close every unfinished task, oldest first, so that nothing ever resumes it.

        Their `finally` blocks run now; what those try to await is refused with RunClosed. Returns the names of tasks
        that could not be closed, because they swallow even that.
        """
        self._closed = True
        tasks = list(self._tasks.values())
        self._tasks.clear()
        self._ready.clear()
        self._timers.clear()
        with self.being_current(), warnings.catch_warnings():
            # What a `finally` hands to gather or create_task is refused, and then awaited by nobody.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            resisting = [task for task in tasks if not task.done() and not self._close_task(task)]
        for task in resisting:
            _keep_for_ever(task.get_coro())
        return [task.get_name() for task in resisting]

    def _close_task(self, task: WorkflowTask[Any]) -> bool:
        asyncio_tasks._enter_task(self, task)  # pyright: ignore[reportPrivateUsage]  # see _Current
        try:
            return _close_quietly(task)
        finally:
            asyncio_tasks._leave_task(self, task)  # pyright: ignore[reportPrivateUsage]  # see _Current

    def refuse(self) -> None:
        """Raise RunClosed, unless that was swallowed again and again: then what is awaited is never answered.

        So a loop around a bare `except` stops where it waits, and does not spin.
        """
        self._refusals += 1
        if self._refusals <= _CLOSE_ATTEMPTS:
            raise RunClosed

    def _finish_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    def time(self) -> float:
        return self._host.present_micros() / _MICROSECONDS

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        if self._closed:
            self.refuse()
            return timer
        try:
            fire_at_micros = round(when * _MICROSECONDS)
        except OverflowError:
            raise ValueError("a timer cannot be set for a time without end; leave the limit out") from None
        if fire_at_micros <= self._host.present_micros():
            self._ready.append(timer)
        else:
            timer.timer_id = self._host.start_timer(fire_at_micros)
            self._timers[timer.timer_id] = timer
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        timer_id = handle.timer_id if isinstance(handle, _Timer) else None
        if timer_id is not None and not self._closed and self._timers.pop(timer_id, None) is not None:
            self._host.cancel_timer(timer_id)

    def create_future(self) -> asyncio.Future[Any]:
        if self._closed:
            self.refuse()
        return WorkflowFuture[Any](loop=self)

    def create_task(  # pyright: ignore[reportIncompatibleMethodOverride]  # newer Pythons pass more keywords, of which none changes what runs
        self,
        coro: Generator[Any, Any, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_kwargs: Any,
    ) -> asyncio.Task[T]:
        if self._closed:
            coro.close()
            self.refuse()
            return cast("asyncio.Task[T]", WorkflowFuture[T](loop=self))
        task = WorkflowTask[T](coro, loop=self, name=name, context=context)
        self._tasks[task.order] = task
        task.add_done_callback(self._forget)
        return task

    def unfinished(self) -> list[WorkflowTask[Any]]:
        """Return the tasks that have not ended, in the order of their creation: main first."""
        return list(self._tasks.values())

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(hash(task), None)

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Debug mode would read the machine's clock; it stays off."""

    def get_task_factory(self) -> None:
        return None

    def set_task_factory(self, factory: object) -> None:
        _refuse("set_task_factory")

    def get_exception_handler(self) -> None:
        return None

    def set_exception_handler(self, handler: object) -> None:
        _refuse("set_exception_handler")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_unhandled(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_unhandled(context)


def _ignore_context(context: dict[str, Any]) -> None:
    """An exception that no task retrieved does not fail a workflow, as in asyncio; the shell may log it."""


def _close_quietly(task: WorkflowTask[Any]) -> bool:
    """Close a task's coroutine; False if it goes on awaiting whatever it is told.

    The innermost coroutine is closed first: one that resists would otherwise be dropped by those around it, and be
    resumed once more by whoever frees it.
    """
    setattr(task, "_log_destroy_pending", False)  # noqa: B010 - asyncio offers no other way to abandon a task in silence
    awaited: list[_Closable] = []
    part: Any = task.get_coro()
    while isinstance(part, CoroutineType | GeneratorType):
        awaited.append(cast("_Closable", part))
        part = getattr(cast("Any", part), "cr_await", None) or getattr(cast("Any", part), "gi_yieldfrom", None)
    return all(_is_closed(part) for part in reversed(awaited))


def _is_closed(coroutine: _Closable) -> bool:
    for _ in range(_CLOSE_ATTEMPTS):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:  # noqa: BLE001 - whatever a `finally` raises while it is torn down has nobody to go to
            return True
        return True
    return False


def _keep_for_ever(coroutine: object) -> None:
    """Have a coroutine outlive the interpreter: whoever frees it, also at its end, resumes it once more."""
    import ctypes  # noqa: PLC0415 - it takes long to load, and next to no run needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))


def _refuse(name: str) -> NoReturn:
    caller = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]  # the documented way to a frame without reading files
    public = caller.f_code.co_name
    if caller.f_globals.get("__package__") == "asyncio" and getattr(asyncio, public, None) is not None:
        used = f"asyncio.{public}"
    else:
        used = f"loop.{name}"
    raise WorldTouchedError(
        f"workflow code used {used}, which is not durable: a replay would do it again",
        hint="do it in an @activity and await that",
    )


def _refusal(name: str) -> Callable[..., Any]:
    def refused(self: WorkflowLoop, *args: Any, **kwargs: Any) -> NoReturn:
        del self, args, kwargs
        _refuse(name)

    refused.__name__ = name
    return refused


for _name in sorted(set(dir(asyncio.AbstractEventLoop)) - set(vars(WorkflowLoop))):
    if not _name.startswith("_"):
        setattr(WorkflowLoop, _name, _refusal(_name))

ordered.install(WorkflowLoop)
