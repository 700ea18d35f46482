"""Room for activities, and the threads that run them."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from aion_cli.runtime.workers import DaemonThreads, Outcome, Slots


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


# --- slots


@pytest.mark.parametrize(
    ("slots", "threaded", "room"),
    [(Slots(), False, 1_000), (Slots(3), False, 3), (Slots(3), True, 3), (Slots(threads=2), True, 2)],
)
def test_there_is_as_much_room_as_was_asked_for(slots: Slots, threaded: bool, room: int) -> None:
    taken = sum(slots.try_take(threaded=threaded) for _ in range(1_000))
    assert taken == room


def test_what_needs_no_thread_has_room_when_all_threads_are_taken() -> None:
    slots = Slots(threads=1)
    assert slots.try_take(threaded=True)
    assert not slots.try_take(threaded=True)
    assert slots.try_take(threaded=False)


def test_those_who_wait_are_served_first_come_first_served() -> None:
    async def scenario() -> None:
        slots, served = Slots(1), list[int]()

        async def wants(n: int) -> None:
            await slots.take(threaded=False)
            served.append(n)

        assert slots.try_take(threaded=False)
        waiting = [asyncio.create_task(wants(n)) for n in range(3)]
        await settle()
        assert not slots.try_take(threaded=False)
        for n in range(3):
            slots.give_back(threaded=False)
            await settle()
            assert served == list(range(n + 1))
        await asyncio.gather(*waiting)

    run(scenario)


def test_one_who_waits_for_a_thread_does_not_keep_out_those_who_need_none() -> None:
    async def scenario() -> None:
        slots = Slots(threads=1)
        assert slots.try_take(threaded=True)
        waiting = asyncio.create_task(slots.take(threaded=True))
        await settle()
        assert slots.try_take(threaded=False)
        await slots.take(threaded=False)
        slots.give_back(threaded=True)
        await waiting

    run(scenario)


def test_those_with_a_thread_and_those_without_are_served_in_one_order() -> None:
    async def scenario() -> None:
        slots, served = Slots(1), list[int]()

        async def wants(n: int, *, threaded: bool) -> None:
            await slots.take(threaded=threaded)
            served.append(n)
            slots.give_back(threaded=threaded)

        assert slots.try_take(threaded=False)
        waiting = [asyncio.create_task(wants(n, threaded=n % 3 == 0)) for n in range(8)]
        await settle()
        slots.give_back(threaded=False)
        await asyncio.gather(*waiting)
        assert served == list(range(8))

    run(scenario)


def test_one_who_gives_up_leaves_the_room_to_the_next() -> None:
    async def scenario() -> None:
        slots = Slots(1)
        assert slots.try_take(threaded=False)
        first, second = (asyncio.create_task(slots.take(threaded=False)) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        slots.give_back(threaded=False)
        await second
        slots.give_back(threaded=False)
        assert slots.try_take(threaded=False)

    run(scenario)


def test_one_who_gives_up_as_the_room_is_handed_over_hands_it_on() -> None:
    async def scenario() -> None:
        slots = Slots(1)
        assert slots.try_take(threaded=False)
        first, second = (asyncio.create_task(slots.take(threaded=False)) for _ in range(2))
        await settle()
        slots.give_back(threaded=False)
        first.cancel()
        await second
        assert first.cancelled()
        assert not slots.try_take(threaded=False)

    run(scenario)


# --- threads


def test_a_function_runs_in_a_thread_and_its_value_or_error_is_its_outcome() -> None:
    def fails() -> None:
        raise SystemExit(3)

    async def scenario() -> None:
        threads = DaemonThreads()
        value = await threads.submit(threading.get_ident, contextvars.copy_context())
        assert value.error is None
        assert value.value != threading.get_ident()
        assert isinstance((await threads.submit(fails, contextvars.copy_context())).error, SystemExit)

    run(scenario)


def test_a_function_runs_in_the_context_that_came_with_it() -> None:
    name: ContextVar[str] = ContextVar("name", default="nobody")

    async def scenario() -> None:
        threads, context = DaemonThreads(), contextvars.copy_context()
        context.run(name.set, "ada")
        assert (await threads.submit(name.get, context)).value == "ada"
        assert (await threads.submit(name.get, contextvars.copy_context())).value == "nobody"

    run(scenario)


def test_a_thread_is_kept_for_the_next_function_and_more_are_made_when_they_are_needed() -> None:
    async def scenario() -> None:
        threads = DaemonThreads()
        one_by_one = {(await threads.submit(threading.get_ident, contextvars.copy_context())).value for _ in range(5)}
        assert len(one_by_one) == 1
        together = threading.Barrier(4)
        outcomes = [threads.submit(lambda: together.wait(30), contextvars.copy_context()) for _ in range(4)]
        assert sorted(outcome.value for outcome in await asyncio.gather(*outcomes)) == [0, 1, 2, 3]

    run(scenario)


def test_an_outcome_that_nobody_waits_for_any_more_is_dropped_and_the_thread_goes_on() -> None:
    async def scenario() -> None:
        threads, over = DaemonThreads(), threading.Event()
        forgotten = threads.submit(over.wait, contextvars.copy_context())
        forgotten.cancel()
        over.set()
        outcomes = [await threads.submit(threading.get_ident, contextvars.copy_context()) for _ in range(3)]
        assert all(outcome.error is None for outcome in outcomes)

    run(scenario)


def test_threads_serve_a_later_loop_although_the_one_that_asked_is_closed() -> None:
    threads, begun, over = DaemonThreads(), threading.Event(), threading.Event()
    worker: list[threading.Thread] = []

    def stuck() -> None:
        worker.append(threading.current_thread())
        begun.set()
        over.wait(30)

    async def leaves() -> None:
        threads.submit(stuck, contextvars.copy_context())
        begun.wait(30)

    asyncio.run(leaves())
    over.set()
    worker[0].join(0.05)  # a thread that ended instead would now be missed

    async def later() -> Outcome:
        async with asyncio.timeout(10):
            return await threads.submit(threading.get_ident, contextvars.copy_context())

    assert asyncio.run(later()).error is None


def test_a_function_that_never_returns_does_not_keep_the_process_alive() -> None:
    program = """
import asyncio, contextvars, threading
from aion_cli.runtime.workers import DaemonThreads

async def main():
    DaemonThreads().submit(threading.Event().wait, contextvars.copy_context())

asyncio.run(main())
print("over")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
