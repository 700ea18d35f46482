"""`wait_until`: code that waits for a predicate over its own state, asked after every step of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec


class ConditionHost(Protocol):
    """What conditions need from the execution."""

    def new_waiter(self) -> asyncio.Future[None]:
        """Make a future of the workflow's loop. Raises RunClosed once the code has ended."""
        ...

    def here_and_now(self) -> tuple[str, str]:
        """Return the line of the author's code that is being run, and the instant."""
        ...


class Condition(msgspec.Struct):
    """A predicate that code waits for. where: the line that does, "file:line" or "". since: when it began to."""

    predicate: Callable[[], bool]
    future: asyncio.Future[None]
    where: str
    since: str


class Conditions:
    """What the code of one run waits to become true, in the order in which it began to wait."""

    def __init__(self, host: ConditionHost) -> None:
        self._host = host
        self._waiting: list[Condition] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def waiting(self) -> list[Condition]:
        """Return what does not hold yet, in the order in which code began to wait for it."""
        return [condition for condition in self._waiting if not condition.future.done()]

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Return once the predicate holds. It must not touch anything; what it raises is raised here."""
        if predicate():
            return
        condition = Condition(predicate, self._host.new_waiter(), *self._host.here_and_now())
        self._waiting.append(condition)
        try:
            await condition.future
        finally:
            self._waiting = [other for other in self._waiting if other is not condition]

    def settle(self) -> bool:
        """Finish the waits whose predicates hold; returns whether there was one."""
        return any([_settle(condition) for condition in list(self._waiting)])  # noqa: C419 - all are asked


def _settle(condition: Condition) -> bool:
    if condition.future.done():
        return False
    try:
        if not condition.predicate():
            return False
    except StopIteration as error:
        refused = RuntimeError("what is waited for raised StopIteration")  # as a coroutine would
        refused.__cause__ = error
        condition.future.set_exception(refused)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a predicate raises goes to the code that waits for it
        condition.future.set_exception(error)
    else:
        condition.future.set_result(None)
    return True
