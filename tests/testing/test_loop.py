"""The loop whose time skips."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from aion_cli.testing.loop import START, SkippingClock, SkippingLoop

SECOND = 1_000_000


@pytest.fixture
def loop() -> Iterator[SkippingLoop]:
    made = SkippingLoop()
    yield made
    made.close()


def test_time_jumps_to_what_is_due_and_stands_still_otherwise(loop: SkippingLoop) -> None:
    async def sleeps() -> list[float]:
        began = loop.time()
        await asyncio.sleep(0)
        now = loop.time()
        await asyncio.sleep(365 * 86_400)
        return [now - began, loop.time() - began]

    assert loop.run_until_complete(sleeps()) == [0, 365 * 86_400]


def test_what_is_due_is_let_go_one_by_one_with_all_its_consequences_in_the_order_of_asking(loop: SkippingLoop) -> None:
    seen: list[str] = []

    async def two_steps(name: str) -> None:
        await asyncio.sleep(1)
        seen.append(f"{name} first")
        await asyncio.sleep(0)
        seen.append(f"{name} second")

    async def main() -> None:
        await asyncio.gather(two_steps("a"), two_steps("b"))

    loop.run_until_complete(main())
    assert seen == ["a first", "a second", "b first", "b second"]
    assert loop.ties == 1


def test_in_bursts_all_that_is_due_at_one_instant_goes_at_once(loop: SkippingLoop) -> None:
    seen: list[str] = []

    async def two_steps(name: str) -> None:
        await asyncio.sleep(1)
        seen.append(f"{name} first")
        await asyncio.sleep(0)
        seen.append(f"{name} second")

    async def main() -> None:
        await asyncio.gather(two_steps("a"), two_steps("b"))

    loop.bursts = True
    loop.run_until_complete(main())
    assert seen == ["a first", "b first", "a second", "b second"]


def test_what_is_cancelled_takes_no_time(loop: SkippingLoop) -> None:
    async def main() -> int:
        async with asyncio.timeout(1000):
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        return loop.micros - START

    assert loop.run_until_complete(main()) == 2 * SECOND


def test_the_clock_waits_for_instants_of_which_those_that_have_passed_are_there(loop: SkippingLoop) -> None:
    clock = SkippingClock(loop)

    async def main() -> list[int]:
        await clock.until(START - SECOND)
        first = clock.micros()
        await clock.until(START + 7)
        return [first - START, clock.micros() - START]

    assert loop.run_until_complete(main()) == [0, 7]


def test_whoever_is_told_that_nothing_can_move_decides_what_happens(loop: SkippingLoop) -> None:
    async def main() -> str:
        waits: asyncio.Future[str] = loop.create_future()
        loop.on_stuck = lambda: waits.set_result("stuck")
        return await waits

    assert loop.run_until_complete(main()) == "stuck"


def test_if_nobody_is_told_that_nothing_can_move_it_is_an_error(loop: SkippingLoop) -> None:
    future = loop.create_future()
    with pytest.raises(RuntimeError, match="nothing is due"):
        loop.run_until_complete(future)


def test_real_work_is_waited_for_and_time_passes_meanwhile_but_does_not_jump(loop: SkippingLoop) -> None:
    may_end = threading.Event()

    async def main() -> list[int]:
        with loop.real_work():
            loop.call_later(0.001, may_end.set)
            loop.call_later(60, lambda: pytest.fail("it was skipped to"))
            assert await asyncio.to_thread(may_end.wait, 60)
        return [loop.micros - START >= 1000, loop.micros - START < 60 * SECOND]

    assert loop.run_until_complete(main()) == [True, True]


def test_what_becomes_due_while_real_work_goes_on_is_let_go(loop: SkippingLoop) -> None:
    async def main() -> int:
        with loop.real_work():
            await asyncio.sleep(0.001)
        return loop.micros - START

    assert loop.run_until_complete(main()) == 1000


def test_a_restart_forgets_what_was_due(loop: SkippingLoop) -> None:
    loop.call_later(5, lambda: pytest.fail("it was let go"))
    loop.restart(START + 9)

    async def main() -> int:
        await asyncio.sleep(60)
        return loop.micros - START

    assert loop.run_until_complete(main()) == 60 * SECOND + 9
