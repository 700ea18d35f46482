"""Driving runs from the command line: a loop for them, and signals to this process that stop them.

A first signal stops the run, and leaves it open: what is in flight gets grace. A second one stops it at once. Either
way the process ends: neither code that blocks the loop nor a task that swallows its cancellation keeps it alive.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Protocol, TypeVar

from aion_cli.cli import output
from aion_cli.cli.descriptors import allow_many_open_files
from aion_cli.cli.durations import format_duration
from aion_cli.cli.leaving import departure
from aion_cli.cli.output import ExitCode
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.masked_output import secrets_kept_from_output
from aion_cli.runtime.stopping import CLEANUP_S

T = TypeVar("T")

_STOPS = {
    signal.SIGINT: (SuspendReason.INTERRUPTED, ExitCode.SIGINT),
    signal.SIGTERM: (SuspendReason.TERMINATED, ExitCode.SIGTERM),
    signal.SIGHUP: (SuspendReason.TERMINATED, ExitCode.SIGTERM),
}
_MARGIN_S = 2.0
_REPORT_S = 5.0
_SILENCE_S = 0.2


class Stoppable(Protocol):
    """What is driven; a `Runner` is one."""

    @property
    def is_live(self) -> bool:
        """Whether it works on the loop now, so that it can only be told from there."""
        ...

    def suspend(self, reason: SuspendReason) -> None:
        """Stop, leaving the run open; a second call does not wait for what is in flight."""
        ...


def drive(
    main: Coroutine[Any, Any, T],
    stoppable: Stoppable,
    *,
    grace_s: float,
    last_words: Callable[[], None],
    max_wait_s: float | None = None,
) -> T:
    """Run main to its end on a loop of its own, and return what it returns.

    grace_s: how long what is in flight may take after a first signal. last_words: said, from any thread, if the process
    has to end although main has not. max_wait_s: stop without a signal after that time.
    """
    allow_many_open_files()
    loop = asyncio.new_event_loop()
    if max_wait_s is not None:
        loop.call_later(max_wait_s, stoppable.suspend, SuspendReason.MAX_WAIT)
    departure.patience_s = grace_s
    signals = _Signals(loop, stoppable, grace_s, last_words)
    signals.install()
    try:
        asyncio.set_event_loop(loop)
        with secrets_kept_from_output():
            return loop.run_until_complete(main)
    finally:
        signals.end()
        _end(loop)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop. `asyncio.run` would wait, without limit, for tasks and threads that do not end."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            _, tasks = loop.run_until_complete(asyncio.wait(tasks, timeout=CLEANUP_S))
        if tasks:
            departure.is_stuck = True
            return
        loop.run_until_complete(asyncio.wait([loop.create_task(loop.shutdown_asyncgens())], timeout=CLEANUP_S))
        loop.close()
    finally:
        asyncio.set_event_loop(None)


class _Signals:
    """The signals that stop this process, while it drives. One that was ignored from the start stays so (`nohup`)."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stoppable: Stoppable, grace_s: float, last_words: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._stoppable = stoppable
        self._grace_s = grace_s
        self._last_words = last_words
        self._previous: dict[signal.Signals, Any] = {}
        self._seen = 0
        self._code = ExitCode.SIGTERM

    def install(self) -> None:
        """Answer signals from now on; in the main thread only, where Python allows it."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)

    def end(self) -> None:
        """Answer them as before; after one was seen, go on to ignore more of them: the process is about to end."""
        if self._seen:
            departure.leave_within(_REPORT_S, self._code, self._last_words)
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        reason, code = _STOPS[signal.Signals(number)]
        self._seen += 1
        self._code = code
        wait_s = self._grace_s + CLEANUP_S if self._seen == 1 else CLEANUP_S
        departure.leave_within(wait_s + _MARGIN_S, code, self._last_words)
        if self._stoppable.is_live:
            self._loop.call_soon_threadsafe(self._stoppable.suspend, reason)
            if self._seen == 1:
                self._loop.call_soon_threadsafe(self._loop.call_later, _SILENCE_S, self._say_why_it_takes_time)
        else:
            # It replays, or waits for the owner lock, and looks at this before it goes live.
            self._stoppable.suspend(reason)

    def _say_why_it_takes_time(self) -> None:
        if self._seen == 1:
            grace = format_duration(self._grace_s)
            output.warn(f"stopping: what is in flight has {grace} to end; interrupt again to stop at once")
