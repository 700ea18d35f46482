"""DBOS on its default SQLite database, doing the steps of benchmarks/workflows/steps.py.

Run by the peers' Python: `dbos_steps.py sequence|sequence_async STEPS` prints its rate as JSON; `killed_sequence STEPS`
kills itself at step AION_BENCH_KILL_AT and, started again, recovers and does the same there.
"""
# What is imported here is installed in the peers' environment alone.
# pyright: basic, reportMissingImports=false

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import sqlalchemy
from dbos import DBOS, SetWorkflowID

WORKFLOW_ID = "measured"


@DBOS.step()
def count(number: int) -> int:
    return number


@DBOS.workflow()
def sequence(steps: int) -> int:
    return sum(count(number) for number in range(steps))


@DBOS.step()
async def count_async(number: int) -> int:
    await asyncio.sleep(0)
    return number


@DBOS.workflow()
async def sequence_async(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await count_async(number)
    return total


@DBOS.step()
def count_until_killed(number: int) -> int:
    if number == int(os.environ["AION_BENCH_KILL_AT"]):
        Path(os.environ["AION_BENCH_MARK"]).write_text(str(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@DBOS.workflow()
def killed_sequence(steps: int) -> int:
    return sum(count_until_killed(number) for number in range(steps))


async def run_async(steps: int) -> None:
    await sequence_async(steps)


def durability(database: Path) -> str:
    """Ask a connection made the way DBOS makes its own; what it sets beyond that is printed by DBOS itself."""
    with sqlalchemy.create_engine(f"sqlite:///{database}").connect() as connection:
        journal = connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar()
        synchronous = connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar()
    levels = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
    return f"{str(journal).upper()} {levels[int(str(synchronous))]}"


def main() -> None:
    kind, steps = sys.argv[1], int(sys.argv[2])
    database = Path.cwd() / "dbos.sqlite"
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{database}", "log_level": "ERROR"})
    DBOS.launch()
    if kind == "killed_sequence":
        with SetWorkflowID(WORKFLOW_ID):
            killed_sequence(steps)
        return
    began = time.perf_counter()
    if kind == "sequence":
        sequence(steps)
    else:
        asyncio.run(run_async(steps))
    rate = steps / (time.perf_counter() - began)
    print(json.dumps({"steps_per_s": rate, "durability": durability(database)}))
    sys.stdout.flush()
    DBOS.destroy()


main()
