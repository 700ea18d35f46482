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


class _Condition(msgspec.Struct):
    predicate: Callable[[], bool]
    future: asyncio.Future[None]


class Conditions:
    """What the code of one run waits to become true, in the order in which it began to wait."""

    def __init__(self, host: ConditionHost) -> None:
        self._host = host
        self._waiting: list[_Condition] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Return once the predicate holds. It must not touch anything; what it raises is raised here."""
        if predicate():
            return
        condition = _Condition(predicate, self._host.new_waiter())
        self._waiting.append(condition)
        try:
            await condition.future
        finally:
            self._waiting = [other for other in self._waiting if other is not condition]

    def settle(self) -> bool:
        """Finish the waits whose predicates hold; returns whether there was one."""
        return any([_settle(condition) for condition in list(self._waiting)])  # noqa: C419 - all are asked


def _settle(condition: _Condition) -> bool:
    if condition.future.done():
        return False
    try:
        if not condition.predicate():
            return False
    except Exception as error:  # noqa: BLE001 - whatever a predicate raises goes to the code that waits for it
        condition.future.set_exception(error)
    else:
        condition.future.set_result(None)
    return True
