"""Many activities, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from aion_cli.api import given
from aion_cli.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")


async def map_activities(
    function: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], *, limit: int = 8
) -> list[R]:
    """Call an activity (or any coroutine function) on each item, at most limit at a time; results in the items' order.

    The first failure is raised, with a note of which item it is, after the calls in flight were cancelled; no further
    ones begin.
    """
    if given.whole_number("limit", limit) < 1:
        raise UsageError(f"limit is {limit}, it must be at least 1")
    todo = list(items)
    results: dict[int, R] = {}
    numbered = iter(enumerate(todo))
    workers = [
        asyncio.ensure_future(_work(function, numbered, results, len(todo))) for _ in range(min(limit, len(todo)))
    ]
    try:
        await asyncio.gather(*workers)
    except BaseException:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        raise
    return [results[index] for index in range(len(todo))]


async def _work(
    function: Callable[[T], Coroutine[Any, Any, R]],
    numbered: Iterator[tuple[int, T]],
    results: dict[int, R],
    count: int,
) -> None:
    for index, item in numbered:
        try:
            results[index] = await function(item)
        except Exception as error:
            error.add_note(f"it was raised for items[{index}] of {count} in map_activities")
            raise
