"""Load files that are dropped into a folder into a database, each once, until somebody says stop.

    mkdir -p playground/drop
    printf 'sensor,at,value\\nroof,2030-01-01T00:00:00Z,3.5\\n' > playground/drop/roof.csv
    aion run ingest --id readings --until-blocked
    aion query readings totals
    aion signal readings stop
    aion run ingest --id readings

Without `--until-blocked` it stays, and looks every ten seconds; drop files while it runs, and kill it as you like. A
file must be whole when its name ends in `.csv`: write it under another name, and rename it.

What was taken lies in taken/ beside the dropped files. A file with a line that is no reading is refused as a whole.
"""

import asyncio
import csv
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from aion_cli import (
    ActivityError,
    ContinueAsNew,
    NonRetryable,
    RetryPolicy,
    Signal,
    activity,
    activity_info,
    history_length,
    log,
    query,
    workflow,
)

AT_A_TIME = 100
TABLES = (
    "create table if not exists loads (key text primary key, file text, rows integer)",
    "create table if not exists readings (sensor text, at text, value real)",
)


class NotAReadingError(NonRetryable):
    """A file has a line that is none; it will be there the next time, too."""


class Reading(msgspec.Struct, frozen=True):
    """A line of a file."""

    sensor: str
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    value: float


class Totals(msgspec.Struct, frozen=True):
    """What has come of the files so far. refused: which, and why."""

    files: int = 0
    rows: int = 0
    refused: list[str] = []


NOTHING = Totals()

stop: Signal[None] = Signal("stop", None)


@activity(timeout=timedelta(minutes=1))
def look(drop: str) -> list[str]:
    """Return the names of some files that have been dropped; more of them come with the next look."""
    folder = Path(drop)
    folder.mkdir(parents=True, exist_ok=True)
    return sorted(path.name for path in folder.glob("*.csv"))[:AT_A_TIME]


@activity(timeout=timedelta(minutes=1))
def take(drop: str, name: str) -> str | None:
    """Move a file to where nobody drops another over it; returns its path, or None if somebody was faster.

    The path is made of the key. So another attempt finds what the first one took, and leaves alone what was dropped
    under the same name since then.
    """
    taken = Path(drop, "taken", f"{activity_info().idempotency_key.replace('/', '-')}-{name}")
    taken.parent.mkdir(exist_ok=True)
    try:
        if not taken.exists():
            Path(drop, name).rename(taken)
    except FileNotFoundError:
        return None
    return str(taken)


@activity(retry=RetryPolicy(max_attempts=5), timeout=timedelta(minutes=10))
def load(file: str, database: str) -> int:
    """Load a file in one transaction with this activity's key; if the key is there, it was loaded. Returns its rows."""
    key = activity_info().idempotency_key
    rows = [(reading.sensor, reading.at.isoformat(), reading.value) for reading in read(Path(file))]
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in TABLES:
            connection.execute(table)
        if connection.execute("select 1 from loads where key = ?", [key]).fetchone() is None:
            connection.executemany("insert into readings values (?, ?, ?)", rows)
            connection.execute("insert into loads values (?, ?, ?)", [key, file, len(rows)])
    return len(rows)


def read(file: Path) -> list[Reading]:
    """Read a file of readings. Raises NotAReadingError with the number of the first line that is none."""
    with file.open(encoding="utf-8", newline="") as stream:
        lines = csv.DictReader(stream)
        try:
            return [msgspec.convert(line, Reading, strict=False) for line in lines]
        except (msgspec.ValidationError, csv.Error, UnicodeDecodeError) as error:
            raise NotAReadingError(f"line {lines.line_num}: {error}") from error


@workflow
async def ingest(
    drop: str = "playground/drop",
    database: str = "playground/readings.sqlite",
    poll_s: float = 10.0,
    history_limit: int = 2_000,
    so_far: Totals = NOTHING,
) -> Totals:
    """Look, load, wait, and again; with a fresh history every now and then, so that none grows for ever."""
    totals = so_far
    query("totals", lambda: totals)
    while True:
        for name in await look(drop):
            totals = await loaded(drop, name, database, totals)
        if await stopped(within_s=poll_s):
            return totals
        if history_length() > history_limit:
            raise ContinueAsNew(drop, database, poll_s, history_limit, totals)


async def loaded(drop: str, name: str, database: str, totals: Totals) -> Totals:
    """Take and load a file; returns the totals with it. One that is refused must not hold up the others."""
    file = await take(drop, name)
    if file is None:
        return totals
    try:
        rows = await load(file, database)
    except ActivityError as error:
        if error.type != NotAReadingError.__qualname__:
            raise  # the fault is not the file's
        log.warning("%s is refused: %s", file, error.message)
        return Totals(totals.files, totals.rows, [*totals.refused, f"{file}: {error.message}"])
    return Totals(totals.files + 1, totals.rows + rows, totals.refused)


async def stopped(within_s: float) -> bool:
    """Wait for the word to stop. False if it does not come in time."""
    try:
        async with asyncio.timeout(within_s):
            await stop.receive()
    except TimeoutError:
        return False
    return True
