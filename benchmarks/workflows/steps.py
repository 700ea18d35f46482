"""The workflows that are measured. None of their activities does anything, so what is measured is aion."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from aion_cli import Signal, activity, workflow

nudge = Signal("nudge", int)


@activity
async def count(number: int) -> int:
    """An async activity; it gives control to the loop once, as one that does something would."""
    await asyncio.sleep(0)
    return number


@activity
def count_in_thread(number: int) -> int:
    """The same in a thread."""
    return number


@workflow
async def one_step(number: int) -> int:
    """What P2 runs."""
    return await count(number)


@workflow
async def sequence(steps: int) -> int:
    """One async step after the other."""
    total = 0
    for number in range(steps):
        total += await count(number)
    return total


@workflow
async def sequence_in_threads(steps: int) -> int:
    """One sync step after the other."""
    total = 0
    for number in range(steps):
        total += await count_in_thread(number)
    return total


@workflow
async def fan_out(steps: int) -> int:
    """All steps at once."""
    return sum(await asyncio.gather(*[count(number) for number in range(steps)]))


@workflow
async def listen() -> int:
    """Sums up signals until a negative one; idle in between."""
    total = 0
    while (number := await nudge.receive()) >= 0:
        total += number
    return total


@activity
async def count_until_killed(number: int) -> int:
    """Kills the process at step AION_BENCH_KILL_AT, after it wrote down when that was."""
    if number == int(os.environ["AION_BENCH_KILL_AT"]):
        Path(os.environ["AION_BENCH_MARK"]).write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@workflow
async def killed_sequence(steps: int) -> int:
    """A sequence that never gets past one step: P11 measures the way back to it."""
    total = 0
    for number in range(steps):
        total += await count_until_killed(number)
    return total
