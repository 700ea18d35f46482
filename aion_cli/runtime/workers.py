"""Where activities find room: slots for all of them, and daemon threads for those that are plain functions.

Threads of the standard pool are joined when the interpreter ends, so that one stuck activity would keep `aion` from
ending. These are daemons: a function that does not come back is left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

MOST_THREADS = 64


class _Turn(NamedTuple):
    """A place in the queue. number: in the order of asking. comes: done when there is room."""

    number: int
    comes: asyncio.Future[None]


class Slots:
    """How many activities run at once. limit: of all of them, None for no limit; threads: of those in threads."""

    def __init__(self, limit: int | None = None, threads: int = MOST_THREADS) -> None:
        self._limit = limit
        self._threads = threads
        self._taken = 0
        self._threads_taken = 0
        self._waiting: dict[bool, deque[_Turn]] = {False: deque(), True: deque()}
        self._turns = itertools.count()

    def try_take(self, *, threaded: bool) -> bool:
        """Take a slot if one is free; nobody who could use it waits then, since `give_back` hands it over at once."""
        if not self._is_free(threaded):
            return False
        self._take(threaded)
        return True

    async def take(self, *, threaded: bool) -> None:
        """Take a slot, first come first served."""
        if self.try_take(threaded=threaded):
            return
        turn = _Turn(next(self._turns), asyncio.get_running_loop().create_future())
        self._waiting[threaded].append(turn)
        try:
            await turn.comes
        except asyncio.CancelledError:
            if turn.comes.done() and not turn.comes.cancelled():
                self.give_back(threaded=threaded)
            raise

    def give_back(self, *, threaded: bool) -> None:
        """Free a slot, and hand it to the first who can use it."""
        self._taken -= 1
        self._threads_taken -= threaded
        while (wants_thread := self._first_to_go()) is not None:
            self._take(wants_thread)
            self._waiting[wants_thread].popleft().comes.set_result(None)

    def _first_to_go(self) -> bool | None:
        """Say whether the first of those who can go on now wants a thread; None if nobody can."""
        first: tuple[int, bool] | None = None
        for wants_thread, turns in self._waiting.items():
            while turns and turns[0].comes.done():  # was cancelled
                turns.popleft()
            if turns and self._is_free(wants_thread) and (first is None or turns[0].number < first[0]):
                first = turns[0].number, wants_thread
        return None if first is None else first[1]

    def _is_free(self, threaded: bool) -> bool:
        if self._limit is not None and self._taken >= self._limit:
            return False
        return not threaded or self._threads_taken < self._threads

    def _take(self, threaded: bool) -> None:
        self._taken += 1
        self._threads_taken += threaded


class Outcome:
    """What a function in a thread came to: exactly one of value and error counts, by `failed`."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


_Job = tuple[Callable[[], Any], contextvars.Context, asyncio.AbstractEventLoop, "asyncio.Future[Outcome]"]


class DaemonThreads:
    """Runs functions in daemon threads that are kept for the next one."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], Any], context: contextvars.Context) -> asyncio.Future[Outcome]:
        """Run a function in a thread, in context; the future always gets an Outcome, never an exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._work, name="aion-activity", daemon=True).start()
        self._jobs.put((function, context, loop, future))
        return future

    def _work(self) -> None:
        while True:
            function, context, loop, future = self._jobs.get()
            try:
                outcome = Outcome(value=context.run(function))
            except BaseException as error:  # noqa: BLE001 - whatever an activity raises, SystemExit too, is its outcome
                outcome = Outcome(error=error)
            with self._lock:
                self._idle += 1
            with suppress(RuntimeError):  # the loop is closed: the run went on without this function
                loop.call_soon_threadsafe(_deliver, future, outcome)
            del function, context, loop, future, outcome


def _deliver(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
