"""What a command tells of a history that another process wrote is on the disk before it is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from aion_cli.cli import output
from aion_cli.runtime.files import Calls
from tests.cli.support import Project

SOURCE = """
from aion_cli import update

go = Signal("go", int)

@workflow
async def order():
    @update
    async def add(n: int) -> int:
        return n + 1

    return await go.receive()
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A run that has answered an update, and ended."""
    project = Project(tmp_path)
    project.write(SOURCE)
    assert project.here("run", "order", "--id", "r", "--until-blocked").code == 3
    assert project.here("update", "r", "add", "1", "--id", "u").stdout == "2\n"
    return project


def steps_of(project: Project, monkeypatch: pytest.MonkeyPatch, *line: str) -> list[str]:
    """Type a line that tells what is recorded; returns what it brought to the disk of the history, and the telling."""
    steps: list[str] = []
    history = project.history("r").stat()
    fdatasync, fsync_directory, write = Calls.fdatasync, Calls.fsync_directory, output.write_json_line

    def sync(calls: Calls, fd: int) -> None:
        if os.path.samestat(os.fstat(fd), history):
            steps.append("bytes")
        fdatasync(calls, fd)

    def sync_directory(calls: Calls, path: Path) -> None:
        if path.name == "histories":
            steps.append("name")
        fsync_directory(calls, path)

    def tell(line: bytes) -> None:
        steps.append("told")
        write(line)

    monkeypatch.setattr(Calls, "fdatasync", sync)
    monkeypatch.setattr(Calls, "fsync_directory", sync_directory)
    monkeypatch.setattr(output, "write_json_line", tell)
    assert project.here(*line).code == 0
    return steps


@pytest.mark.parametrize("line", [["run", "order", "--id", "r"], ["result", "r"], ["result", "r", "--wait"]])
def test_a_recorded_result_is_on_the_disk_before_it_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    assert project.here("signal", "r", "go", "1").code == 0
    assert project.here("run", "order", "--id", "r").code == 0
    assert steps_of(project, monkeypatch, *line) == ["bytes", "name", "told"]


def test_so_is_an_answer_that_another_process_recorded(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of(project, monkeypatch, "update", "r", "add", "1", "--id", "u")
    assert steps[-3:] == ["bytes", "name", "told"]


@pytest.mark.parametrize("call", ["fdatasync", "fsync_directory"])
def test_a_result_that_the_disk_refuses_to_take_is_not_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    assert project.here("signal", "r", "go", "1").code == 0
    assert project.here("run", "order", "--id", "r").code == 0
    for code, ending in ((errno.EIO, (10, "")), (errno.EINVAL, (0, "1\n")), (errno.EROFS, (0, "1\n"))):

        def fail(*given: object, code: int = code) -> None:
            del given
            raise OSError(code, os.strerror(code))

        # What a read-only file system says that has no syncs, as squashfs: there is nothing to bring to that disk.
        monkeypatch.setattr(Calls, call, fail)
        done = project.here("run", "order", "--id", "r")
        assert (done.code, done.stdout) == ending
        assert ("error[" in done.stderr) == (done.code == 10)
