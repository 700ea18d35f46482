"""The same program on the deterministic loop and on a plain asyncio loop, both in time that skips.

A program is an async function of a log; it notes what it does there. Time starts at 0 on both loops.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from aion_cli.core.loop import WorkflowLoop

T = TypeVar("T")
Note = Callable[[object], None]
Program = Callable[[Note], Awaitable[Any]]


class Ran(msgspec.Struct):
    """log: (seconds, what was noted). outcome: ("returned", value) or ("raised", type name, text)."""

    log: list[tuple[float, object]]
    outcome: tuple[object, ...]
    ended_at: float

    def by_instant(self) -> dict[float, list[str]]:
        """What happened when, without the order inside an instant: plain asyncio's sets order that by address."""
        found: dict[float, list[str]] = {}
        for when, what in self.log:
            found.setdefault(when, []).append(repr(what))
        return {when: sorted(what) for when, what in found.items()}

    def before_its_end(self) -> dict[float, list[str]]:
        """The same up to the instant of the end, at which the deterministic loop stops in the middle."""
        return {when: what for when, what in self.by_instant().items() if when < self.ended_at}


class SkippingHost:
    """A TimerHost without an execution: jumps to the next timer whenever nothing is ready."""

    def __init__(self) -> None:
        self.now = 0
        self.started: list[int] = []
        self.cancelled: list[int] = []
        self.open: dict[int, int] = {}

    def present_micros(self) -> int:
        return self.now

    def start_timer(self, fire_at_micros: int) -> int:
        timer_id = len(self.started)
        self.started.append(fire_at_micros)
        self.open[timer_id] = fire_at_micros
        return timer_id

    def cancel_timer(self, timer_id: int) -> None:
        self.cancelled.append(timer_id)
        del self.open[timer_id]

    def next_timer(self) -> int:
        """Take the timer that is due first, and make its instant the present."""
        timer_id = min(self.open, key=lambda found: (self.open[found], found))
        self.now = max(self.now, self.open.pop(timer_id))
        return timer_id


def on_workflow_loop(program: Program, host: SkippingHost | None = None) -> Ran:
    host = host or SkippingHost()
    loop = WorkflowLoop(host)
    log: list[tuple[float, object]] = []

    async def run() -> Any:
        return await program(lambda what: log.append((round(loop.time(), 6), what)))

    main = loop.create_task(run(), name="main")
    loop.run_ready(main)
    while not main.done():
        assert host.open, "the program waits for nothing"
        loop.fire(host.next_timer())
        loop.run_ready(main)
    loop.close_tasks()
    return Ran(log, _outcome(main), round(loop.time(), 6))


def on_plain_loop(program: Program) -> Ran:
    log: list[tuple[float, object]] = []
    loop = SkippingLoop()
    loop.set_exception_handler(_in_silence)

    async def run() -> Any:
        return await program(lambda what: log.append((round(loop.time(), 6), what)))

    try:
        main = loop.create_task(run())
        loop.run_until_complete(asyncio.wait([main]))
        ran = Ran(log[:], _outcome(main), round(loop.time(), 6))
        loop.run_until_complete(_cancel_the_rest())
        return ran
    finally:
        loop.close()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def _outcome(main: asyncio.Task[Any]) -> tuple[object, ...]:
    try:
        return ("returned", main.result())
    except BaseException as error:  # noqa: BLE001 - whatever the program raised is compared
        return ("raised", type(error).__name__, str(error))


class _SkippingSelector(selectors.DefaultSelector):
    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("the program waits for nothing")
        self.waited += timeout
        return super().select(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    """A plain event loop in which waiting takes no time. With nothing left to wait for it fails, and does not hang."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.waited


def in_skipped_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a plain loop whose time skips; what it leaves running is cancelled."""
    loop = SkippingLoop()
    try:
        result = loop.run_until_complete(main)
        loop.run_until_complete(_cancel_the_rest())
        return result
    finally:
        loop.close()


def _in_silence(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Exceptions that nobody retrieves are part of some programs."""


class BoomError(Exception):
    pass


async def nap(note: Note, seconds: float, name: object = None, *, fail: bool = False) -> object:
    """Sleep, then return the name or raise; notes when it ends, and when it is cancelled."""
    name = seconds if name is None else name
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(f"{name} cancelled")
        raise
    note(f"{name} over")
    if fail:
        raise BoomError(name)
    return name


def run_until_idle(loop: WorkflowLoop, main: Callable[[], Any]) -> asyncio.Task[Any]:
    task = loop.create_task(main(), name="main")
    loop.run_ready(task)
    return task
