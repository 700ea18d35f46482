"""An oracle: the same programs on asyncio alone, without histories, commands or replays.

What asyncio does with a program is what aion has to do with it, at the same instants. Where several things are due at
one instant, which of them comes first is promised by nobody: the oracle tells whether that matters.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from aion_cli.testing.loop import START, SkippingLoop
from tests.programs import nodes
from tests.programs.interpreter import MAIN, jitter_micros, run
from tests.programs.plain_chain import PlainChain
from tests.programs.plain_run import PlainRun
from tests.programs.simulation import Outcome, message

_SECOND = 1_000_000


class SettlingLoop(SkippingLoop):
    """A SkippingLoop that asks whether nothing can be made ready before it lets time pass. settle: says so, or does."""

    def restart(self, micros: int) -> None:
        super().restart(micros)
        self.settle: Callable[[], bool] = _nothing_to_settle

    def idle(self) -> float | None:
        return 0.0 if self.settle() else super().idle()


def _nothing_to_settle() -> bool:
    return False


class PlainWorld:
    """Runs one case on asyncio. Implements `plain_run.Around`.

    luck: what is due at one instant comes in any order; None: in the order in which it was asked for.
    arrivals: how many there were; what the code does because of one is a step. outlasting: children that were open for
    a while after their parent ended, where aion may take its time: it gives a child that was told to end some grace
    before anybody else hears of the parent's end, and lets one that was abandoned finish what it does before somebody
    else goes on with it.
    """

    def __init__(self, case: nodes.Case, loop: SettlingLoop, luck: random.Random | None = None) -> None:
        loop.restart(START)
        loop.on_stuck = self._give_up
        loop.settle = self._settle
        loop.set_exception_handler(_nobody_looks)
        loop.set_task_factory(_tasks_of_runs)
        self.case = case
        self.loop = loop
        self.arrivals = 0
        self.ids: set[str] = set()
        self.answers: dict[str, Outcome] = {}
        self.outlasting: set[Any] = set()
        self._luck = luck
        self._runs: dict[str, PlainRun] = {}
        self._never_ran: dict[str, Outcome] = {}
        self._next: deque[Callable[[], object]] = deque()
        self._soon: list[Callable[[], object]] = []
        self._over: asyncio.Future[None] = loop.create_future()

    def outcomes(self) -> dict[str, Outcome]:
        """Run everything, and say how each run came out, by its path, and how updates were answered, by their ids."""
        self.main = PlainChain(self, MAIN, self.case.program, _nobody_asks)
        for number, stimulus in enumerate(self.case.outside):
            micros = START + round(stimulus.ms * 1000) + jitter_micros("outside", number)
            self.at(micros, self.main.take, message(stimulus, number))
        self.loop.run_until_complete(self._over)
        outcomes = {path: run.outcome for path, run in self._runs.items()} | self._never_ran | self.answers
        self.loop.run_until_complete(self._cancel_all())
        self.loop.set_task_factory(None)
        return outcomes

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call something at this instant, as an arrival of its own: once nothing else is ready."""
        self._soon.append(lambda: callback(*args))

    def next(self, callback: Callable[..., object], *args: Any) -> None:
        """Call something as `soon` does, but before all that is not asked for in this way."""
        self._next.append(lambda: callback(*args))

    def comes_first(self) -> bool:
        """Decide between two orders of what happens at one instant."""
        return self._luck is None or self._luck.random() < 0.5

    def at(self, micros: int, callback: Callable[..., object], *args: Any) -> None:
        """Call something as an arrival of its own, at an instant."""
        self.loop.call_at(micros / _SECOND, lambda: self._arrive(lambda: callback(*args)))

    def _arrive(self, callback: Callable[[], object]) -> None:
        self.arrivals += 1
        callback()

    def _settle(self) -> bool:
        """Nothing is ready: finish waits whose condition holds by now, or let the next thing of this instant arrive."""
        if any([run.settle() for run in self._runs.values()]):  # noqa: C419 - all are asked
            return True
        if self._next:
            self._arrive(self._next.popleft())
        elif self._soon:
            self._arrive(self._soon.pop(self._luck.randrange(len(self._soon)) if self._luck else 0))
        else:
            return False
        return True

    def begin(self, one: PlainRun, body: nodes.Node) -> asyncio.Task[Any]:
        """Start the code of a run."""
        self._runs[one.path] = one
        return self.loop.create_task(_under(one, body), context=Context())

    def record(self, path: str, outcome: Outcome) -> None:
        """Take note of how a run came out that never ran any code."""
        self._never_ran[path] = outcome

    def _give_up(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _cancel_all(self) -> None:
        for one in self._runs.values():
            one.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _nobody_looks(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception that no task retrieved is nobody's business, as in a workflow."""


def _nobody_asks(ended: PlainRun) -> None:
    """Nobody has started the main run."""


_current: ContextVar[PlainRun | None] = ContextVar("run", default=None)


def _tasks_of_runs(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    one = _current.get() if "context" not in options else None
    if one is not None:
        one.tasks.append(task)
    return task


async def _under(one: PlainRun, body: nodes.Node) -> Any:
    _current.set(one)
    try:
        return await run(body, one)
    finally:
        one.freeze()
