"""What workflow code cannot do on its loop, since it is not durable."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aion_cli.core.loop import WorldTouchedError
from tests.core.loops import Note, on_workflow_loop


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


NAMED: dict[Callable[[], Awaitable[None]], str] = {
    opens_a_socket: "asyncio.open_connection, which",
    listens: "asyncio.start_server, which",
    starts_a_process: "asyncio.create_subprocess_exec, which",
    starts_a_shell: "asyncio.create_subprocess_shell, which",
    uses_a_thread: "asyncio.to_thread, which",
    uses_an_executor: "loop.run_in_executor, which",
}
"""As the author has written it."""


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
    used = NAMED.get(touch, "loop.")
    assert message.startswith(f"workflow code used {used}")
    assert "@activity" in hint
