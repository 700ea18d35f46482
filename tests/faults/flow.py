"""A workflow for the real command line, whose activities write down what they find when they take effect."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from aion_cli import Signal, activity, activity_info, workflow
from tests.faults.promises import Effect, Entry, durable, has_outcome, is_announced

go = Signal("go", int)


def ledger() -> Path:
    """Where the world remembers; beside the folder of histories, on another disk where there is one."""
    return Path(os.environ["AION_TEST_LEDGER"])


def enter(*entries: Entry) -> None:
    """Write entries down in one piece."""
    fd = os.open(ledger(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # By a call that strace leaves alone when it kills or fails writes: no fault reaches the ledger.
        os.writev(fd, [msgspec.json.encode(entry) + b"\n" for entry in entries])
    finally:
        os.close(fd)


@activity
def work(size: int) -> str:
    """Have an effect; returns that many bytes."""
    info = activity_info()
    histories = {path.name: path.read_bytes() for path in Path(os.environ["AION_HISTORIES"]).glob("*.jsonl")}
    file = f"{info.workflow_id}.jsonl"
    data = histories.get(file, b"")
    repeated, announced = has_outcome(data, info.ordinal), is_announced(data, info.ordinal, info.attempt)
    enter(*(durable(name, each) for name, each in histories.items()), Effect(file, info.ordinal, repeated, announced))
    return "x" * size


@workflow
async def parcel(size: int) -> int:
    """A child."""
    return len(await work(size))


@workflow
async def order(sizes: list[int]) -> list[int]:
    """Work in turn, at once, and in a child; with a signal in between."""
    done = [len(await work(size)) for size in sizes]
    done += [len(each) for each in await asyncio.gather(work(7), work(8))]
    done.append(await go.receive())
    done.append(await parcel(9))
    return done
