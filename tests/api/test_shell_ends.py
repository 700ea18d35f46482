"""How a shell step ends when it is cut short: nothing of it is left in this process, whatever it started."""

from __future__ import annotations

import asyncio
import gc
import os
import select
from pathlib import Path

from aion_cli.api import process_groups, shell

run_command = shell._run_command  # pyright: ignore[reportPrivateUsage] - the activity behind `shell`


async def cancel_when_it_runs(command: str, started: Path) -> bool:
    """Returns whether the step ended as cancelled."""
    async with asyncio.timeout(30):
        step = asyncio.ensure_future(run_command(command, True, None, None))
        while not started.exists():
            await asyncio.sleep(0.001)
        step.cancel()
        await asyncio.wait([step])
        return step.cancelled()


async def cancel_after_ticks(ticks: int) -> bool:
    """Returns whether the step ended as cancelled."""
    async with asyncio.timeout(30):
        step = asyncio.ensure_future(run_command("sleep 60", True, None, None))
        for _ in range(ticks):
            await asyncio.sleep(0)
        step.cancel()
        await asyncio.wait([step])
        return step.cancelled()


def test_a_cancelled_step_does_not_wait_for_a_process_that_left_its_group(tmp_path: Path) -> None:
    started, over = tmp_path / "started", tmp_path / "over"
    escaped = f"setsid sh -c 'while [ ! -e {over} ]; do sleep 0.05; done' &"
    try:
        assert asyncio.run(cancel_when_it_runs(f"{escaped} touch {started}; sleep 60", started))
        gc.collect()  # a pipe that was left open would complain here, since its loop is gone
    finally:
        over.touch()


def test_a_step_can_be_cancelled_while_it_is_being_started() -> None:
    for ticks in range(1, 8):
        assert asyncio.run(cancel_after_ticks(ticks))
    gc.collect()


def test_a_cancelled_step_takes_along_what_an_ended_shell_left_in_the_background(tmp_path: Path) -> None:
    started, pipe = tmp_path / "started", tmp_path / "pipe"
    os.mkfifo(pipe)
    alive = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        in_background = f"while kill -0 $$; do sleep 0.01; done; touch {started}; exec sleep 60"
        assert asyncio.run(cancel_when_it_runs(f"({in_background}) 9>{pipe} & exit 0", started))
        assert select.select([alive], [], [], 10)[0]
        assert os.read(alive, 1) == b""  # whoever held the other end is gone
    finally:
        os.close(alive)


def test_all_that_a_step_prints_is_captured() -> None:
    done = asyncio.run(run_command("printf 'a\\nb'; seq 1 100000 >&2; exit 3", False, None, None))
    assert (done.exit_code, done.stdout, len(done.stderr.split())) == (3, "a\nb", 100_000)


def test_a_step_that_is_killed_has_the_number_of_the_signal_as_its_exit_code() -> None:
    assert asyncio.run(run_command("kill -9 $$", False, None, None)).exit_code == -9


def test_a_step_is_known_before_the_loop_turns_again() -> None:
    # An activity that blocks the loop from then on must not hide it from whoever ends the process.
    async def killed_at_once() -> int:
        async with asyncio.timeout(30):
            step = asyncio.ensure_future(run_command("sleep 60", False, None, None))
            await asyncio.sleep(0)
            process_groups.kill_all()
            return (await step).exit_code

    assert asyncio.run(killed_at_once()) == -9
