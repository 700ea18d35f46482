"""The ingest: each file once, whatever is dropped, refused, killed or repeated."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aion_cli import ActivityError, activity_info, send_signal, start_child, workflow
from aion_cli.testing import crash_everywhere, run_workflow
from tests.cli.support import Project
from tests.workflows.attempts import WORKFLOWS, attempt
from workflows.ingest import AT_A_TIME, NotAReadingError, Totals, ingest, load, look, read, stop, take

HEAD = "sensor,at,value\n"
ROOF = HEAD + "roof,2030-01-01T00:00:00Z,3.5\nroof,2030-01-01T01:00:00+01:00,3\n"
PATIENCE_S = 30


def readings(database: Path) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("select sensor, at, value from readings order by sensor, at").fetchall()


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


class Belt:
    """A folder into which a file is dropped for each look. It answers by what it is asked, so it can be asked again."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.loads = 0
        self._error = error
        self.does = {look: self._look, take: self._take, load: self._load}

    def _look(self, drop: str) -> list[str]:
        info = activity_info()
        return [f"{info.run_id.partition('@')[2] or 1}-{info.ordinal}.csv"]

    def _take(self, drop: str, name: str) -> str | None:
        return f"{drop}/{name}"

    def _load(self, file: str, database: str) -> int:
        self.loads += 1
        if self._error is not None:
            raise self._error("line 2: no reading")
        return 10


@workflow
async def ingest_that_is_stopped_after(seconds: float, history_limit: int) -> Totals:
    """Start to ingest, and say stop so many seconds later."""
    feed = await start_child(ingest, "drop", "db", 10.0, history_limit, id="feed")
    await asyncio.sleep(seconds)
    await send_signal("feed", stop, None)
    return await feed


def test_files_are_loaded_and_put_away(drop: Path) -> None:
    (drop / "roof.csv").write_text(ROOF)
    (drop / "unfinished.part").write_text(HEAD)
    database = drop.parent / "deep" / "readings.sqlite"
    assert run_workflow(ingest, str(drop), str(database), signals=[(stop, None)]) == Totals(files=1, rows=2)
    assert readings(database) == [("roof", "2030-01-01T00:00:00+00:00", 3.5), ("roof", "2030-01-01T01:00:00+01:00", 3)]
    assert sorted(path.name for path in drop.iterdir()) == ["taken", "unfinished.part"]


@pytest.mark.parametrize("history_limit", [10, 35, 2_000])
def test_it_looks_until_somebody_says_stop(history_limit: int) -> None:
    totals = run_workflow(ingest_that_is_stopped_after, 95.0, history_limit, activities=Belt().does)
    assert totals == Totals(files=10, rows=100)


@pytest.mark.parametrize("history_limit", [10, 2_000])
def test_a_crash_changes_nothing(history_limit: int) -> None:
    totals = crash_everywhere(ingest_that_is_stopped_after, 25.0, history_limit, activities=Belt().does)
    assert totals == Totals(files=3, rows=30)


def test_a_bad_file_does_not_hold_up_the_others(drop: Path) -> None:
    (drop / "a.csv").write_text(ROOF.replace("3.5", "cold"))
    (drop / "b.csv").write_text(ROOF)
    totals = run_workflow(ingest, str(drop), str(drop.parent / "db"), signals=[(stop, None)])
    assert (totals.files, totals.rows) == (1, 2)
    (refused,) = totals.refused
    assert "a.csv: line 2: " in refused
    assert "$.value" in refused
    assert len(readings(drop.parent / "db")) == 2


def test_a_database_that_fails_is_tried_again_and_fails_the_run() -> None:
    belt = Belt(sqlite3.OperationalError)
    with pytest.raises(ActivityError) as failed:
        run_workflow(ingest, activities=belt.does, signals=[(stop, None)])
    assert (failed.value.type, belt.loads) == ("OperationalError", 5)


@pytest.mark.parametrize(
    "line",
    ["roof,2030-01-01T00:00:00,1", "roof,yesterday,1", "roof,2030-01-01T00:00:00Z", "a,2030-01-01T00:00:00Z,1,2"],
)
def test_a_line_that_is_no_reading_is_named(drop: Path, line: str) -> None:
    (drop / "a.csv").write_text(f"{ROOF}{line}\n")
    with pytest.raises(NotAReadingError, match="line 4"):
        read(drop / "a.csv")


def test_a_second_attempt_loads_nothing_twice(drop: Path) -> None:
    (drop / "a.csv").write_text(ROOF)
    database = drop.parent / "db"

    def loaded() -> int:
        return load.fn(str(drop / "a.csv"), str(database))

    assert [attempt(1, "r1/8", loaded), attempt(2, "r1/8", loaded)] == [2, 2]
    assert len(readings(database)) == 2
    attempt(1, "r1/11", loaded)
    assert len(readings(database)) == 4


def test_there_are_no_readings_without_the_key_that_says_so(drop: Path) -> None:
    (drop / "a.csv").write_text(ROOF)
    database = drop.parent / "db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table loads (key text primary key, file text, rows integer check (rows < 0))")
    with pytest.raises(sqlite3.IntegrityError):
        attempt(1, "r1/8", lambda: load.fn(str(drop / "a.csv"), str(database)))
    assert readings(database) == []


def test_a_second_attempt_takes_what_the_first_one_took(drop: Path) -> None:
    def taken() -> str | None:
        return take.fn(str(drop), "a.csv")

    (drop / "a.csv").write_text("first")
    files = [attempt(1, "r1/5", taken)]
    (drop / "a.csv").write_text("second")
    files += [attempt(2, "r1/5", taken), attempt(1, "r1/9", taken), attempt(1, "r1/12", taken)]
    assert files[0] == files[1] != files[2]
    assert [Path(file).read_text() for file in files[1:] if file is not None] == ["first", "second"]
    assert files[3] is None


def test_a_look_does_not_see_more_than_a_history_can_bear(drop: Path) -> None:
    for number in range(AT_A_TIME + 1):
        (drop / f"{number:03}.csv").touch()
    assert len(look.fn(str(drop))) == AT_A_TIME


def until(condition: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < PATIENCE_S
        time.sleep(0.01)


def test_files_that_come_before_and_after_a_kill_are_loaded_once(tmp_path: Path) -> None:
    drop = tmp_path / "playground" / "drop"
    drop.mkdir(parents=True)
    project = Project(tmp_path)
    words = ["--workflows", WORKFLOWS, "run", "ingest", "--id", "feed", "-p", "poll_s:=0.05", "-p", "history_limit:=30"]
    for number in range(3):
        (drop / f"{number}.csv").write_text(HEAD + f"s{number},2030-01-01T00:00:00Z,{number}\n")
        with project.start(*words) as running:
            until(lambda: not list(drop.glob("*.csv")))  # taken, and perhaps not loaded yet
            running.process.kill()
    assert project.aion("--workflows", WORKFLOWS, "signal", "feed", "stop").code == 0
    done = project.aion(*words)
    assert (done.code, done.document) == (0, {"files": 3, "rows": 3, "refused": []})
    assert [sensor for sensor, *_ in readings(tmp_path / "playground" / "readings.sqlite")] == ["s0", "s1", "s2"]
