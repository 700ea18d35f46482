"""Lines of the author's code, without aion's own frames and without touching a file."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from aion_cli.core.source import SourcePaths
from tests.builders import line_of

HERE = SourcePaths()


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("/home/ada/shop/workflows/order.py", "workflows/order.py"),
        ("/home/ada/shop\\workflows\\order.py", "workflows\\order.py"),
        ("/home/ada/shopping/order.py", "/home/ada/shopping/order.py"),
        ("/srv/order.py", "/srv/order.py"),
    ],
)
def test_paths_below_the_root_are_shown_relative_to_it(filename: str, shown: str) -> None:
    assert SourcePaths("/home/ada/shop").shorten(filename) == shown


def test_without_a_root_paths_stay_as_they_are() -> None:
    assert SourcePaths().shorten("/srv/order.py") == "/srv/order.py"


def asks() -> str:
    return HERE.caller()


def test_the_caller_is_the_line_that_asks() -> None:
    assert asks() == line_of(asks, 1)


async def inner(over: asyncio.Future[None]) -> None:
    await asyncio.shield(over)


async def items(over: asyncio.Future[None]) -> AsyncIterator[int]:
    await inner(over)
    yield 1


async def directly(over: asyncio.Future[None]) -> None:
    await inner(over)


async def by_generator(over: asyncio.Future[None]) -> None:
    async for _ in items(over):
        pass


async def by_wait_for(over: asyncio.Future[None]) -> None:
    await asyncio.wait_for(over, 100)


def suspended_at(make: Any) -> str:
    loop = asyncio.new_event_loop()
    over: asyncio.Future[None] = loop.create_future()
    coroutine: Coroutine[Any, Any, None] = make(over)

    async def main() -> str:
        task = loop.create_task(coroutine)
        await asyncio.sleep(0)
        found = HERE.waiting_at(coroutine)
        task.cancel()
        await asyncio.wait([task])
        return found

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_coroutine_waits_at_its_innermost_line_of_the_authors() -> None:
    assert suspended_at(directly) == line_of(inner, 1)


def test_inside_an_async_generator_the_line_is_the_loop_over_it_since_python_shows_no_more() -> None:
    assert suspended_at(by_generator) == line_of(by_generator, 1)


def test_lines_of_asyncio_itself_are_passed_over() -> None:
    assert suspended_at(by_wait_for) == line_of(by_wait_for, 1)


def test_what_has_not_begun_or_has_ended_waits_nowhere_worse_than_its_first_line() -> None:
    nothing: Any = None
    coroutine = inner(nothing)
    assert HERE.waiting_at(coroutine).startswith(__file__)
    coroutine.close()
    assert HERE.waiting_at(coroutine) == ""
    assert HERE.waiting_at(None) == ""


def divide(by: int) -> float:
    return 1 / by


def test_an_error_is_located_at_the_authors_innermost_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        divide(0)
    assert HERE.raised_at(caught.value) == line_of(divide, 1)
    assert HERE.raised_at(ValueError("never raised")) == ""


def test_a_traceback_has_the_authors_frames_and_no_source_text() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        divide(0)
    lines = HERE.traceback(caught.value).splitlines()
    assert lines[-1] == f'  File "{__file__}", line {divide.__code__.co_firstlineno + 1}, in divide'
    assert not any("1 / by" in line for line in lines)


def test_the_last_line_of_a_frame_is_where_it_stands() -> None:
    frame = inspect.currentframe()
    assert frame is not None
    assert HERE.last_line(frame) == f"{__file__}:{frame.f_lineno}"
    assert HERE.last_line(None) == ""
