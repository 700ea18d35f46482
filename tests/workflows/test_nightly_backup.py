"""The backup: what it archives and removes, and which nights it makes one in."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path

import pytest

from aion_cli import ActivityError, ShellError, ShellResult, shell
from aion_cli.testing import crash_everywhere, run_workflow
from tests.cli.support import Project
from tests.workflows.attempts import WORKFLOWS
from workflows.nightly_backup import TWO_O_CLOCK, Night, next_time, nightly_backup

EVENING = datetime(2030, 1, 31, 22, 30, tzinfo=UTC)
OLD = [f"2020010{day}T020000Z.tar.gz" for day in range(1, 5)]


class Machine:
    """A shell that knows the commands of the backup. It stays as it is: old archives are there in each night again."""

    def __init__(self, *, fails_at: frozenset[int] = frozenset()) -> None:
        self.archived: list[str] = []
        self.removed: list[str] = []
        self._fails_at = fails_at

    def run(self, command: str, check: bool, cwd: str | None, env: Mapping[str, str] | None) -> ShellResult:
        """Do as if the command had been run."""
        del check, cwd, env
        words = command.split()
        if words[0] == "mkdir":
            name = words[words.index("-czf") + 1].removesuffix(".part")
            if name not in self.archived:
                self.archived.append(name)
            if self.archived.index(name) in self._fails_at:
                raise ShellError(command, ShellResult(2, "", "tar: no space"))
        elif words[0] == "rm":
            self.removed += words[3:]
        printed = {"gzip": "12\n", "ls": "\n".join([*reversed(OLD), "letter.txt"])}
        return ShellResult(0, printed.get(words[0], ""), "")


@pytest.mark.parametrize(
    ("at", "after", "expected"),
    [
        (TWO_O_CLOCK, EVENING, datetime(2030, 2, 1, 2, tzinfo=UTC)),
        (time(22, 30), EVENING, EVENING + timedelta(days=1)),
        (time(23), EVENING, datetime(2030, 1, 31, 23, tzinfo=UTC)),
        (time(0, 15, tzinfo=timezone(timedelta(hours=2))), EVENING, datetime(2030, 2, 1, 22, 15, tzinfo=UTC)),
        (time(0, 45, tzinfo=timezone(timedelta(hours=2))), EVENING, datetime(2030, 1, 31, 22, 45, tzinfo=UTC)),
        (time(18, tzinfo=timezone(timedelta(hours=-5))), EVENING, datetime(2030, 1, 31, 23, tzinfo=UTC)),
    ],
)
def test_the_next_time_is_the_first_one_that_the_clock_there_shows(
    at: time, after: datetime, expected: datetime
) -> None:
    assert next_time(at, after) == expected


def test_there_is_a_backup_now_and_one_every_night() -> None:
    machine = Machine()
    night = run_workflow(nightly_backup, "docs", "archives", 2, TWO_O_CLOCK, 3, activities={shell: machine.run})
    assert night == Night(machine.archived[-1].removeprefix("archives/"), 12, removed=OLD[:2])
    assert len(machine.archived) == 3
    assert [name.endswith("T020000Z.tar.gz") for name in machine.archived[1:]] == [True, True]


def test_a_night_without_a_backup_removes_nothing_and_is_followed_by_others() -> None:
    machine = Machine(fails_at=frozenset({0, 1}))
    run_workflow(nightly_backup, "docs", "archives", 3, TWO_O_CLOCK, 3, activities={shell: machine.run})
    assert len(machine.archived) == 3
    assert machine.removed == [f"archives/{OLD[0]}"]


def test_the_run_fails_with_its_last_night() -> None:
    machine = Machine(fails_at=frozenset({0}))
    with pytest.raises(ActivityError, match="no space") as failed:
        run_workflow(nightly_backup, "docs", "archives", 3, TWO_O_CLOCK, 1, activities={shell: machine.run})
    assert failed.value.attempts == 3


def test_a_crash_changes_nothing() -> None:
    given = ("docs", "archives", 2, TWO_O_CLOCK, 2)
    expected = run_workflow(nightly_backup, *given, activities={shell: Machine().run})
    assert crash_everywhere(nightly_backup, *given, activities={shell: Machine().run}) == expected


def test_a_folder_is_archived_and_what_is_too_old_removed(tmp_path: Path) -> None:
    source, into = tmp_path / "it's mine", tmp_path / "the archives"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "letter.txt").write_text("Dear reader\n")
    into.mkdir()
    for name in [*OLD, f"{OLD[0]}.part", "20200101.tar.gz", "letter.txt"]:
        (into / name).touch()

    words = ["-p", f"source={source.name}", "-p", f"into={into.name}", "-p", "keep:=3", "-p", "nights:=1"]
    done = Project(tmp_path).aion("--workflows", WORKFLOWS, "run", "nightly_backup", "--id", "backup", *words)
    assert done.code == 0, done.stderr
    archive = done.document["archive"]
    assert done.document == {"archive": archive, "entries": 3, "removed": [*OLD[:2], f"{OLD[0]}.part"]}
    assert {path.name for path in into.iterdir()} == {*OLD[2:], archive, "20200101.tar.gz", "letter.txt"}
    subprocess.run(["tar", "-xzf", into / archive, "-C", tmp_path], check=True)
    assert (tmp_path / "deep" / "letter.txt").read_text() == "Dear reader\n"


def test_the_next_night_is_waited_for_by_no_process(tmp_path: Path) -> None:
    (tmp_path / "playground" / "documents").mkdir(parents=True)
    project = Project(tmp_path)
    words = ["--workflows", WORKFLOWS]
    done = project.aion(*words, "run", "nightly_backup", "--id", "nightly", "--until-blocked")
    assert done.code == 3, done.stderr
    assert done.document["next_wake_at"].endswith("T02:00:00.000000Z")
    following = project.aion(*words, "query", "nightly", "next").document
    assert datetime.fromisoformat(following) == datetime.fromisoformat(done.document["next_wake_at"])
    due = project.aion(*words, "resume", "--due")
    assert (due.code, due.stdout) == (0, "")
