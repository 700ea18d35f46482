"""The deterministic loop: no clock, no sockets, no threads; timers are commands; the order is that of creation."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aion_cli.core.loop import WorkflowFuture, WorkflowLoop
from tests.core.loops import Note, SkippingHost, on_workflow_loop, run_until_idle

# --- timers


def test_a_deadline_that_is_not_in_the_future_is_due_at_once_and_no_timer() -> None:
    host = SkippingHost()
    host.now = 5_000_000

    async def program(note: Note) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(4, note, "past")
        loop.call_at(5, note, "now")
        loop.call_later(0, note, "no delay")
        loop.call_later(-1, note, "negative delay")
        loop.call_later(0.000_000_4, note, "less than a microsecond")
        await asyncio.sleep(0)

    ran = on_workflow_loop(program, host)
    assert [what for _, what in ran.log] == ["past", "now", "no delay", "negative delay", "less than a microsecond"]
    assert host.started == []


def test_time_is_the_present_of_the_host_in_seconds() -> None:
    host = SkippingHost()
    loop = WorkflowLoop(host)
    host.now = 1_772_357_400_123_456
    assert loop.time() == 1_772_357_400.123456


def test_a_timer_asks_for_its_exact_microsecond_far_from_the_epoch_too() -> None:
    host = SkippingHost()
    loop = WorkflowLoop(host)
    host.now = 1_772_357_400_123_457
    loop.call_later(0.1, print)
    loop.call_at(loop.time() + 0.000_001, print)
    assert host.started == [host.now + 100_000, host.now + 1]


def test_a_fired_timer_runs_exactly_its_own_handle() -> None:
    host = SkippingHost()
    loop = WorkflowLoop(host)
    ran: list[str] = []

    async def main() -> None:
        loop.call_later(1, ran.append, "first")
        loop.call_later(1, ran.append, "second")
        await loop.create_future()

    task = run_until_idle(loop, main)
    host.now = 9_000_000
    loop.fire(1)
    loop.run_ready(task)
    assert ran == ["second"]
    loop.close_tasks()


def test_a_cancelled_timer_is_withdrawn_once_and_a_fired_one_never() -> None:
    host = SkippingHost()
    loop = WorkflowLoop(host)

    async def main() -> None:
        await loop.create_future()

    task = run_until_idle(loop, main)
    cancelled, fired = loop.call_later(1, print), loop.call_later(2, print)
    cancelled.cancel()
    cancelled.cancel()
    loop.fire(host.next_timer())
    fired.cancel()
    loop.run_ready(task)
    assert host.cancelled == [0]
    loop.close_tasks()


@pytest.mark.parametrize("seconds", [math.inf, math.nan])
def test_a_timer_without_end_is_refused_with_a_reason(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"end|NaN"):
        WorkflowLoop(SkippingHost()).call_later(seconds, print)


# --- stepping


def test_it_stops_in_the_middle_as_soon_as_main_is_done() -> None:
    loop = WorkflowLoop(SkippingHost())
    ran: list[str] = []

    async def main() -> str:
        loop.call_soon(ran.append, "never")
        return "done"

    assert run_until_idle(loop, main).result() == "done"
    assert ran == []
    assert loop.close_tasks() == []


def test_callbacks_run_in_the_order_in_which_they_became_ready() -> None:
    async def program(note: Note) -> None:
        loop = asyncio.get_running_loop()
        for n in range(3):
            loop.call_soon(note, n)
        loop.call_soon(lambda: loop.call_soon(note, "nested"))
        loop.call_soon(note, "last")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert [what for _, what in on_workflow_loop(program).log] == [0, 1, 2, "last", "nested"]


def test_a_loop_that_runs_around_it_is_the_running_one_again_afterwards() -> None:
    inside: list[object] = []

    async def main() -> None:
        inside.append(asyncio.get_running_loop())

    async def around() -> None:
        loop = WorkflowLoop(SkippingHost())
        asyncio.get_running_loop().call_soon(run_until_idle, loop, main)
        hooks = sys.get_asyncgen_hooks()
        await asyncio.sleep(0)
        assert inside == [loop]
        assert sys.get_asyncgen_hooks() == hooks
        assert (loop.is_running(), loop.is_closed()) == (False, False)
        loop.close_tasks()
        assert loop.is_closed()

    asyncio.run(around())


def test_stepped_from_inside_a_task_of_another_loop_that_task_stands_aside_meanwhile() -> None:
    # Python 3.14 refuses to enter a task while another one runs, also one of another loop.
    seen: list[object] = []

    async def around() -> None:
        outer, task = asyncio.get_running_loop(), asyncio.current_task()

        async def main() -> None:
            seen.append(asyncio.current_task(outer))
            seen.append(asyncio.current_task() is not None)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                seen.append(asyncio.current_task(outer))

        loop = WorkflowLoop(SkippingHost())
        run_until_idle(loop, main)
        assert asyncio.current_task() is task
        loop.close_tasks()
        assert asyncio.current_task() is task

    asyncio.run(around())
    assert seen == [None, True, None]


def test_system_exit_in_a_task_is_its_outcome_and_does_not_end_the_process() -> None:
    async def exits() -> None:
        raise SystemExit(3)

    async def program(note: Note) -> object:
        try:
            await asyncio.create_task(exits())
        except SystemExit as error:
            return error.code

    assert on_workflow_loop(program).outcome == ("returned", 3)
    assert on_workflow_loop(lambda _: exits()).outcome == ("raised", "SystemExit", "3")


def test_an_interrupt_from_the_keyboard_passes_through() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    loop = WorkflowLoop(SkippingHost())
    with pytest.raises(KeyboardInterrupt):
        run_until_idle(loop, interrupted)
    loop.close_tasks()


def test_an_exception_that_nobody_retrieves_is_handed_to_whoever_listens() -> None:
    loop = WorkflowLoop(SkippingHost())
    seen: list[dict[str, Any]] = []
    loop.on_unhandled = seen.append

    async def main() -> None:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    run_until_idle(loop, main)
    assert [type(context["exception"]) for context in seen] == [ZeroDivisionError]


# --- order


def test_tasks_and_futures_hash_by_the_order_of_their_creation() -> None:
    loop = WorkflowLoop(SkippingHost())
    made: list[asyncio.Future[Any]] = [WorkflowFuture[None](loop=loop), loop.create_future()]

    async def main() -> None:
        made.append(asyncio.create_task(asyncio.sleep(0)))
        await made[-1]

    made.append(run_until_idle(loop, main))
    assert [hash(one) for one in made] == [1, 2, 4, 3]
    assert len(set(made)) == 4


def test_a_set_of_tasks_iterates_in_the_same_order_in_every_run() -> None:
    async def program(note: Note) -> None:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=f"t{n}") for n in range(200)}
        done, _ = await asyncio.wait(tasks)
        note([task.get_name() for task in done])

    first = on_workflow_loop(program)
    ballast = [object() for _ in range(999)]
    assert on_workflow_loop(program) == first
    del ballast


def test_names_of_tasks_are_the_same_in_every_run() -> None:
    async def program(note: Note) -> object:
        return [asyncio.create_task(asyncio.sleep(0)).get_name() for _ in range(3)]

    assert (
        on_workflow_loop(program).outcome
        == on_workflow_loop(program).outcome
        == (
            "returned",
            ["task-2", "task-3", "task-4"],
        )
    )


_ORDER_PROGRAM = """
import asyncio, random, sys
choose = random.SystemRandom().randrange
ballast = [bytes(size) for size in range(1, 513, 16) for _ in range(choose(200))]
from tests.core.loops import on_workflow_loop

async def cleans_up(note, n):
    try:
        await asyncio.sleep(100 + n)
    finally:
        note(("cleanup", n))

async def starts(note, n):
    note(("starts", n))
    await asyncio.sleep(1)
    return n

async def fails():
    await asyncio.sleep(1)
    raise ValueError

async def program(note):
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(8):
                group.create_task(cleans_up(note, n))
            group.create_task(fails())
    except* ValueError:
        pass
    for one in asyncio.as_completed([starts(note, n) for n in range(20)]):
        note(await one)
    tasks = {asyncio.create_task(starts(note, n)) for n in range(20)}
    done, _ = await asyncio.wait(tasks)
    for task in done:
        note(("done", task.result()))
    gathered = {asyncio.gather(starts(note, n), starts(note, -n)) for n in range(20)}
    done, _ = await asyncio.wait(gathered)
    for one in done:
        note(("gathered", one.result()))

print(on_workflow_loop(program).log)
"""


def test_the_order_is_the_same_in_twenty_fresh_processes() -> None:
    root = Path(__file__).parents[2]
    running = [
        subprocess.Popen([sys.executable, "-c", _ORDER_PROGRAM], cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    printed = {process.communicate()[0] for process in running}
    assert len(printed) == 1
    assert "gathered" in printed.pop()
