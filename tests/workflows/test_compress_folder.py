"""The batch: what it makes of real files, how many at a time, and what it does about those that resist."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
from collections import Counter
from pathlib import Path

import pytest

from aion_cli.core import events as ev
from aion_cli.testing import crash_everywhere, run_workflow
from tests.cli.support import Project
from tests.workflows.attempts import WORKFLOWS, attempt
from workflows.compress_folder import (
    CancelledInTheMiddleError,
    LeftOut,
    Packed,
    Report,
    compress,
    compress_folder,
    find,
    list_checksums,
)

NAMES = [f"day-{number}.log" for number in range(6)]


class Disk:
    """Files that are none. most: how many were compressed at the same time."""

    def __init__(self, **refused: Exception) -> None:
        self.tries: Counter[str] = Counter()
        self.most = 0
        self._now = 0
        self._refused = refused
        self.does = {find: self._find, compress: self._compress, list_checksums: self._list}

    def _find(self, folder: str, pattern: str) -> list[str]:
        del folder, pattern
        return NAMES

    async def _compress(self, folder: str, name: str, into: str) -> Packed:
        del folder, into
        self.tries[name] += 1
        if error := self._refused.get(name.partition(".")[0].replace("-", "_")):
            raise error
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(1)
        finally:
            self._now -= 1
        return Packed(name, 100, 10, "0" * 64)

    def _list(self, into: str, packed: list[Packed]) -> str:
        return f"{into}/{len(packed)}"


def test_every_file_is_packed_and_its_checksum_listed(tmp_path: Path) -> None:
    for number, name in enumerate(["a.log", "deep/b.log", "c.log"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{number}\n" * 10_000)
    (tmp_path / "other.txt").touch()
    into = tmp_path / "packed"

    report = run_workflow(compress_folder, str(tmp_path), "**/*.log", str(into))
    assert (report.packed, report.left_out, report.checksums) == (3, [], str(into / "SHA256SUMS"))
    lines = [line.split("  ") for line in (into / "SHA256SUMS").read_text().splitlines()]
    assert [name for _, name in lines] == ["a.log.gz", "c.log.gz", "deep/b.log.gz"]
    for checksum, name in lines:
        data = (into / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == checksum
        assert gzip.decompress(data) == (tmp_path / name.removesuffix(".gz")).read_bytes()
    assert not list(into.rglob("*.part"))


def test_a_folder_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="there is no folder"):
        find.fn(str(tmp_path / "nowhere"), "*")


@pytest.mark.parametrize("limit", [1, 4, 20])
def test_no_more_than_the_limit_are_compressed_at_a_time(limit: int) -> None:
    disk = Disk()
    report = run_workflow(compress_folder, "logs", "*.log", "packed", limit, activities=disk.does)
    assert report == Report(packed=6, saved_bytes=540, left_out=[], checksums="packed/6")
    assert disk.most == min(limit, len(NAMES))


def test_a_file_that_cannot_be_compressed_does_not_keep_the_others_waiting() -> None:
    disk = Disk(day_1=FileNotFoundError("gone"), day_4=OSError("no space"))
    report = run_workflow(compress_folder, activities=disk.does)
    assert report.packed == 4
    assert report.left_out == [
        LeftOut("day-1.log", "FileNotFoundError: gone"),
        LeftOut("day-4.log", "OSError: no space"),
    ]
    assert [disk.tries[name] for name in NAMES] == [1, 1, 1, 1, 3, 1]


def test_a_crash_changes_nothing() -> None:
    report = crash_everywhere(compress_folder, activities=Disk(day_1=FileNotFoundError("gone")).does)
    assert report.left_out == [LeftOut("day-1.log", "FileNotFoundError: gone")]


def test_another_attempt_comes_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("line\n" * 1_000)
    packed = [attempt(n, "r1/2", lambda: compress.fn(str(tmp_path), "a.log", str(tmp_path))) for n in (1, 2)]
    assert packed[0] == packed[1]
    assert (tmp_path / "a.log.gz").read_bytes()[4:8] == bytes(4), "the time of the attempt"


def test_a_file_that_nobody_wants_any_more_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("line\n" * 1_000)
    with pytest.raises(CancelledInTheMiddleError):
        attempt(1, "r1/2", lambda: compress.fn(str(tmp_path), "a.log", str(tmp_path)), cancelled=True)
    assert not (tmp_path / "a.log.gz").exists()


def test_a_killed_batch_goes_on_with_the_files_that_are_left(tmp_path: Path) -> None:
    logs = tmp_path / "playground" / "logs"
    logs.mkdir(parents=True)
    for name in NAMES:
        (logs / name).write_bytes(random.Random(name).randbytes(4 << 20))
    project = Project(tmp_path)
    words = ["--workflows", WORKFLOWS, "run", "compress_folder", "--id", "logs-1", "-p", "limit:=1"]
    with project.start(*words) as running:
        running.until_stderr_says("2 of 6")
        running.process.kill()
    done = project.aion(*words)
    assert (done.code, done.document["packed"]) == (0, 6)

    starts = Counter(event.activity_id for event in project.events("logs-1") if isinstance(event, ev.ActivityStarted))
    assert [starts[0], starts[1], starts[2]] == [1, 1, 1], "what was done before the kill"
    for name in NAMES:
        packed = tmp_path / "playground" / "packed" / f"{name}.gz"
        assert gzip.decompress(packed.read_bytes()) == (logs / name).read_bytes()
