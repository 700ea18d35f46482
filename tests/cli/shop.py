"""A workflow file for tests of `aion run`: something of every kind that a run can come to."""

from __future__ import annotations

from tests.cli.support import Project

SHOP = """
    import os
    import subprocess
    import sys

    approval = Signal("approval", bool)

    class Declined(Exception):
        pass

    @activity
    def charge(sku: str) -> str:
        note("charge")
        if sku == "broken":
            raise Declined("no funds")
        return "r1"

    @activity
    def ship(receipt: str) -> str:
        note("ship")
        return "tracking of " + receipt

    @workflow
    async def order(sku: str) -> str:
        receipt = await charge(sku)
        if not await approval.receive():
            raise ValueError("not approved")
        return await ship(receipt)

    @workflow
    async def hello(name: str = "žluťoučký kůň") -> str:
        return name

    @workflow
    async def nothing() -> None: ...

    @workflow
    async def failing(cents: int) -> str:
        return check(cents)

    def check(cents: int) -> str:
        error = ValueError(f"{cents} is too little")
        error.add_note("ask for more")
        raise error

    @workflow
    async def sleeper(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @workflow
    async def unfit() -> int:
        return "seven"

    print("imported")

    @activity
    def noisy_thread() -> None:
        print("thread")
        os.write(1, b"descriptor\\n")
        subprocess.run([sys.executable, "-c", "print('child process')"], check=True)

    @activity
    async def noisy_task() -> None:
        print("task")
        sys.__stdout__.write("original stdout\\n")

    @workflow
    async def noisy() -> str:
        print("workflow")
        await asyncio.gather(noisy_thread(), noisy_task())
        return "result"

    busy = 0

    @activity
    async def crowded() -> int:
        global busy
        busy += 1
        seen = busy
        for _ in range(20):
            await asyncio.sleep(0)
        seen = max(seen, busy)
        busy -= 1
        return seen

    @workflow
    async def crowd(size: int) -> int:
        return max(await asyncio.gather(*[crowded() for _ in range(size)]))

    @workflow
    async def sequence(length: int) -> int:
        for _ in range(length):
            await crowded()
        return length

    @activity
    def work(name: str) -> str:
        note("begun")
        while not os.path.exists("may-end"):
            pass
        note("ended")
        return name

    @workflow
    async def worker() -> str:
        first = await work("one")
        await approval.receive()
        return first
"""


def approved(project: Project, payload: str = "true", run: str = "order-1") -> None:
    """Start an order, and have it approved."""
    assert project.here("run", "order", "--id", run, "--input", '"A1"', "--until-blocked").code == 3
    assert project.here("signal", run, "approval", payload).code == 0


def without_import(stderr: str) -> str:
    """Leave out what the workflow file prints when it is imported."""
    return stderr.replace("imported\n", "")
