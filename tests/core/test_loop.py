"""The deterministic loop: no clock, no sockets, no threads; timers are commands; the order is that of creation."""

from __future__ import annotations

import asyncio
import gc
import math
import socket
import subprocess
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aion_cli.core.loop import RunClosed, WorkflowFuture, WorkflowLoop, WorldTouchedError
from tests.core.loops import Note, SkippingHost, on_workflow_loop


def run_until_idle(loop: WorkflowLoop, main: Callable[[], Any]) -> asyncio.Task[Any]:
    task = loop.create_task(main(), name="main")
    loop.run_ready(task)
    return task


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


# --- what is not durable is refused


async def opens_a_socket() -> None:
    await asyncio.open_connection("localhost", 9)


def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Nobody is served."""


async def listens() -> None:
    await asyncio.start_server(nobody, "localhost", 0)


async def resolves_a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 9)


async def reads_a_socket() -> None:
    left, right = socket.socketpair()
    with left, right:
        await asyncio.get_running_loop().sock_recv(left, 1)


async def starts_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


async def starts_a_shell() -> None:
    await asyncio.create_subprocess_shell("true")


async def uses_a_thread() -> None:
    await asyncio.to_thread(print)


async def uses_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def wakes_from_a_thread() -> None:
    asyncio.get_running_loop().call_soon_threadsafe(print)


async def watches_a_file() -> None:
    asyncio.get_running_loop().add_reader(0, print)


async def handles_a_signal() -> None:
    asyncio.get_running_loop().add_signal_handler(1, print)


async def runs_the_loop() -> None:
    asyncio.get_running_loop().run_forever()


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()


async def changes_how_tasks_are_made() -> None:
    asyncio.get_running_loop().set_task_factory(None)


@pytest.mark.parametrize(
    "touch",
    [
        opens_a_socket,
        listens,
        resolves_a_name,
        reads_a_socket,
        starts_a_process,
        starts_a_shell,
        uses_a_thread,
        uses_an_executor,
        wakes_from_a_thread,
        watches_a_file,
        handles_a_signal,
        runs_the_loop,
        stops_the_loop,
        changes_how_tasks_are_made,
    ],
)
def test_what_touches_the_machine_is_refused_and_the_way_is_named(touch: Callable[[], Awaitable[None]]) -> None:
    async def program(note: Note) -> object:
        with pytest.raises(WorldTouchedError) as caught:
            await touch()
        return caught.value.message, caught.value.hint

    outcome: Any = on_workflow_loop(program).outcome
    assert outcome[0] == "returned"
    message, hint = outcome[1]
    assert message.startswith("workflow code used loop.")
    assert "@activity" in hint


# --- closing


async def until_closed(note: Note, name: str) -> None:
    try:
        await asyncio.sleep(100)
    finally:
        note(f"{name} closed")
        try:
            await asyncio.sleep(0.001)
        except RunClosed:
            note(f"{name} refused")
            raise


def closed_while_suspended(main: Callable[[Note], Any]) -> tuple[list[object], list[str], SkippingHost]:
    """Run main until it waits, and close; returns what was noted, the names of tasks that resist, and the host."""
    host, log = SkippingHost(), list[object]()
    loop = WorkflowLoop(host)
    task = run_until_idle(loop, lambda: main(log.append))
    assert not task.done()
    started = list(host.started)
    resisting = loop.close_tasks()
    assert host.started == started, "a timer was started while closing"
    assert host.cancelled == [], "a timer was cancelled while closing"
    return log, resisting, host


def test_suspended_tasks_are_closed_oldest_first_and_what_they_await_then_is_refused() -> None:
    async def main(note: Note) -> None:
        note(asyncio.create_task(until_closed(note, "second")).get_name())
        await until_closed(note, "main")

    log, resisting, _ = closed_while_suspended(main)
    assert log == ["task-2", "main closed", "main refused", "second closed", "second refused"]
    assert resisting == []


@pytest.mark.parametrize("waits", ["timeout", "group", "gather", "shield", "wait", "lock", "queue"])
def test_whatever_a_task_waits_with_it_is_closed_without_another_step(waits: str) -> None:
    async def main(note: Note) -> None:
        inner = [until_closed(note, name) for name in "ab"]
        match waits:
            case "timeout":
                inner.pop().close()
                async with asyncio.timeout(50):
                    await inner[0]
            case "group":
                async with asyncio.TaskGroup() as group:
                    for one in inner:
                        group.create_task(one)
            case "gather":
                await asyncio.gather(*inner)
            case "shield":
                inner.pop().close()
                await asyncio.shield(inner[0])
            case "wait":
                await asyncio.wait([asyncio.ensure_future(one) for one in inner], timeout=50)
            case "lock":
                inner.pop().close()
                lock = asyncio.Lock()
                async with lock:
                    await inner[0]
            case _:
                for one in inner:
                    one.close()
                await asyncio.Queue[int]().get()

    log, resisting, _ = closed_while_suspended(main)
    assert sorted(set(map(str, log))) == sorted(
        {"queue": [], "timeout": ["a closed", "a refused"], "shield": ["a closed", "a refused"]}.get(
            waits, ["a closed", "a refused"] if waits == "lock" else ["a closed", "a refused", "b closed", "b refused"]
        )
    )
    assert resisting == []


def test_garbage_collection_never_resumes_what_was_closed() -> None:
    log: list[str] = []

    class Suspended:
        pass

    def suspended() -> weakref.ref[Suspended]:
        marker = Suspended()

        async def generator() -> AsyncIterator[int]:
            try:
                yield 1
                await asyncio.sleep(100)
            finally:
                log.append("generator resumed")

        async def main() -> None:
            kept = marker
            async for _ in generator():
                try:
                    await asyncio.sleep(100)
                except BaseException as error:
                    log.append(type(error).__name__)
                    raise
            del kept

        loop = WorkflowLoop(SkippingHost())
        run_until_idle(loop, main)
        loop.close_tasks()
        log.append("closed")
        return weakref.ref(marker)

    reference = suspended()
    gc.collect()
    assert reference() is None
    assert log == ["GeneratorExit", "closed"]


def test_a_task_that_swallows_everything_is_named_and_stays_where_it_is() -> None:
    steps: list[int] = []

    async def stubborn() -> None:
        for over in [asyncio.get_running_loop().create_future() for _ in range(1_000)]:
            try:
                await over
            except BaseException:  # noqa: BLE001 - that is what is tested
                steps.append(1)

    async def main(note: Note) -> None:
        await stubborn()

    _, resisting, _ = closed_while_suspended(main)
    assert resisting == ["main"]
    after_closing = len(steps)
    gc.collect()
    assert len(steps) == after_closing


def test_a_process_that_left_such_a_task_behind_ends_all_the_same() -> None:
    program = """
from aion_cli import Signal, workflow
from tests.builders import history, replay_of, started

go = Signal("go", int)

@workflow
async def stubborn():
    while True:
        try:
            await go.receive()
        except:
            continue

replay = replay_of(stubborn, history(started()))
replay.run()
replay.execution.close()
print(replay.execution.resisting)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['main']\n", "")


def test_closing_twice_does_nothing_more() -> None:
    loop = WorkflowLoop(SkippingHost())

    async def main() -> None:
        await loop.create_future()

    run_until_idle(loop, main)
    assert (loop.close_tasks(), loop.close_tasks()) == ([], [])


def test_what_begins_while_closing_is_refused_and_leaves_no_coroutine_behind() -> None:
    refused: list[str] = []

    async def other() -> None:
        refused.append("ran")

    async def main(note: Note) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            for make in (lambda: asyncio.create_task(other()), asyncio.get_running_loop().create_future):
                try:
                    make()
                except RunClosed:
                    refused.append("refused")

    closed_while_suspended(main)
    assert refused == ["refused", "refused"]


def test_a_cleanup_of_several_that_is_refused_leaves_no_warning_of_coroutines_never_awaited() -> None:
    async def cleans_up() -> None:
        """Never begins."""

    async def main(note: Note) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.gather(cleans_up(), cleans_up())

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        closed_while_suspended(main)
        gc.collect()
    assert warned == []


def test_an_async_generator_first_used_while_closing_is_not_left_to_the_loop_around_it() -> None:
    closed: list[str] = []

    async def generator() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("by the loop around it")

    async def around() -> None:
        async def main(note: Note) -> None:
            try:
                await asyncio.sleep(100)
            finally:
                async for _ in generator():
                    break

        asyncio.get_running_loop().call_soon(closed_while_suspended, main)
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0.0)

    asyncio.run(around())
    assert closed == []
