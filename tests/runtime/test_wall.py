"""Waiting for the wall clock: never early, in the order of instants, and whatever is done to the clock meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from aion_cli.runtime import wall
from aion_cli.runtime.wall import WallClock

SECOND = 1_000_000


class SetClock(WallClock):
    """A wall clock that stands still until it is set, and is looked at a thousand times a second."""

    def __init__(self) -> None:
        super().__init__()
        self.present = 100 * SECOND

    def micros(self) -> int:
        return self.present


@pytest.fixture(autouse=True)
def naps_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wall, "_LONGEST_NAP_S", 0.001)


def woken(clock: SetClock, instants: list[int], meanwhile: Coroutine[Any, Any, None] | None = None) -> list[int]:
    """Wait for instants, in seconds, all at once; returns them in the order in which they were reached."""
    order: list[int] = []

    async def wait(instant: int) -> None:
        await clock.until(instant * SECOND)
        assert clock.present >= instant * SECOND
        order.append(instant)

    async def all_of_them() -> None:
        waits = [asyncio.create_task(wait(instant)) for instant in instants]
        if meanwhile is not None:
            await meanwhile
        await asyncio.wait_for(asyncio.gather(*waits), 10)

    asyncio.run(all_of_them())
    return order


def test_what_is_overdue_is_woken_at_once_in_the_order_of_instants() -> None:
    assert woken(SetClock(), [30, 10, 20, 10]) == [10, 10, 20, 30]


def test_a_clock_that_jumps_over_several_instants_wakes_them_in_their_order() -> None:
    clock = SetClock()

    async def jump() -> None:
        await asyncio.sleep(0)
        clock.present = 86_400 * SECOND

    assert woken(clock, [130, 110, 120], jump()) == [110, 120, 130]


def test_a_clock_that_is_set_back_makes_nothing_fire_early() -> None:
    clock = SetClock()
    seen: list[int] = []

    async def set_back_and_forward() -> None:
        waiting = asyncio.create_task(clock.until(101 * SECOND))
        await asyncio.sleep(0.005)
        clock.present = 40 * SECOND
        await asyncio.sleep(0.005)
        seen.append(waiting.done())
        clock.present = 101 * SECOND
        await asyncio.wait_for(waiting, 10)

    asyncio.run(set_back_and_forward())
    assert seen == [False]


def test_a_wait_that_was_withdrawn_delays_nobody() -> None:
    clock = SetClock()

    async def withdraw() -> None:
        first = asyncio.create_task(clock.until(101 * SECOND))
        await asyncio.sleep(0)
        first.cancel()
        clock.present = 102 * SECOND

    assert woken(clock, [102, 101], withdraw()) == [101, 102]


def test_withdrawn_waits_are_not_collected() -> None:
    clock = SetClock()

    async def withdraw_many() -> None:
        for _ in range(1_000):
            waiting = asyncio.create_task(clock.until(10_000 * SECOND))
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.sleep(0)

    asyncio.run(withdraw_many())
    assert len(clock._waiters) < 200  # pyright: ignore[reportPrivateUsage] - how much is kept shows nowhere else


def test_one_clock_serves_one_loop_after_another() -> None:
    clock = SetClock()

    async def leave_a_wait_behind() -> None:
        waiting = asyncio.create_task(clock.until(200 * SECOND))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(leave_a_wait_behind())
    clock.present = 300 * SECOND
    assert woken(clock, [250, 200]) == [200, 250]
