from __future__ import annotations

import ast
import errno
import os
from pathlib import Path

import pytest

from aion_cli.errors import StoreError
from aion_cli.runtime import files as files_module
from aion_cli.runtime.files import Files, FileTakenError, MissingFileError
from tests.storage import Failing


def test_a_new_file_is_private_and_its_name_is_taken_from_then_on(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        Files().write_new(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600
    with pytest.raises(FileTakenError):
        Files().write_new(tmp_path / "a", b"y")
    (tmp_path / "dangling").symlink_to(tmp_path / "target")
    with pytest.raises(FileTakenError):
        Files().create(tmp_path / "dangling")
    with pytest.raises(FileTakenError):
        Files().link(tmp_path / "a", tmp_path / "dangling")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert not (tmp_path / "target").exists()


def test_a_new_file_that_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    for step in (0, 1):
        with pytest.raises(StoreError):
            Files(Failing(step, errno.ENOSPC)).write_new(tmp_path / "a", b"x" * 100)
        assert not (tmp_path / "a").exists()


def test_short_writes_of_a_new_file_are_gone_on_with(tmp_path: Path) -> None:
    Files(Failing(0, short=True)).write_new(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_disk_that_takes_nothing_and_reports_nothing_is_not_asked_for_ever(tmp_path: Path) -> None:
    class Taking(Failing):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            return 0

    with pytest.raises(StoreError, match="nothing was taken"):
        Files(Taking()).write_new(tmp_path / "a", b"0123456789")
    assert not (tmp_path / "a").exists()


def test_a_disk_that_takes_less_of_a_new_file_than_it_says_is_noticed(tmp_path: Path) -> None:
    class Lying(Failing):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            return super().write(fd, data[:4]) + 3

    with pytest.raises(StoreError, match="7 of 10 bytes are there"):
        Files(Lying()).write_new(tmp_path / "a", b"0123456789")
    assert not (tmp_path / "a").exists()


def test_a_short_write_in_place_is_an_error(tmp_path: Path) -> None:
    files = Files(Failing(0, short=True))
    fd = files.create(tmp_path / "a")
    with pytest.raises(StoreError, match="only 5 of 10 bytes"):
        files.write_once(fd, b"0123456789", tmp_path / "a")
    files.close(fd)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_an_error_says_what_was_done_to_which_file_why_and_what_to_do(tmp_path: Path, code: int) -> None:
    files = Files(Failing(0, code))
    with pytest.raises(StoreError) as caught:
        files.rename(tmp_path / "a", tmp_path / "b")
    assert str(caught.value) == f"cannot rename to {tmp_path / 'b'}: {os.strerror(code)}"
    assert caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)


def test_a_missing_file_is_told_apart_and_may_be_unlinked(tmp_path: Path) -> None:
    files = Files()
    for opening in (files.open_read, files.open_append):
        with pytest.raises(MissingFileError):
            opening(tmp_path / "a")
    files.unlink(tmp_path / "a")
    assert files.names(tmp_path / "b") == []


def test_directories_are_made_private_with_their_parents_each_synced_once(tmp_path: Path) -> None:
    calls = Failing()
    files = Files(calls)
    target = tmp_path / "new" / "root" / ".aion" / "inbox"
    before = os.umask(0)
    try:
        files.ensure_directory(target, tmp_path / "new" / "root")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o7777 for path in (target, *list(target.parents)[:3])} == {0o700}
    made = len(calls.log)
    files.ensure_directory(target, tmp_path / "new" / "root")
    assert len(calls.log) == made
    # Another process cannot know whether the names are on the disk.
    again = Failing()
    Files(again).ensure_directory(target, tmp_path / "new" / "root")
    assert again.log == ["fsync_directory"] * 3


@pytest.mark.parametrize("code", [errno.EACCES, errno.EINVAL])
def test_a_root_that_was_there_may_lie_in_a_directory_that_cannot_be_synced(tmp_path: Path, code: int) -> None:
    calls = Failing(0, code)
    Files(calls).ensure_directory(tmp_path, tmp_path)
    assert calls.log == ["fsync_directory"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_root_whose_name_the_disk_refused_to_keep_is_not_used(tmp_path: Path, code: int) -> None:
    files = Files(Failing(0, code))
    with pytest.raises(StoreError, match="cannot sync the directory"):
        files.ensure_directory(tmp_path, tmp_path)


def test_the_chosen_root_may_be_a_link_and_nothing_below_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    Files().ensure_directory(tmp_path / "root" / "a", tmp_path / "root")
    (tmp_path / "real" / "b").symlink_to("a")
    (tmp_path / "real" / "c").write_text("x")
    for name in ("b", "c"):
        with pytest.raises(StoreError, match="not a directory"):
            Files().ensure_directory(tmp_path / "root" / name / "deep", tmp_path / "root")


CALLS_OF_OS = {
    *("open", "rename", "replace", "unlink", "remove", "link", "symlink", "mkdir", "makedirs", "rmdir", "mkfifo"),
    *("fsync", "fdatasync", "ftruncate", "truncate"),
}
METHODS_OF_PATH = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "touch"),
    *("unlink", "rename", "mkdir", "rmdir", "symlink_to", "hardlink_to"),
}
ELSEWHERE = {
    "__main__.py": "/dev/null",
    "api/secrets.py": "what a secret refers to",
    "cli/entry.py": "/dev/null",
    "cli/output.py": "/dev/null",
    "cli/inputs.py": "what a user names with @",
    "cli/reports.py": "the report that a user names",
    "runtime/files.py": "the seam",
    "runtime/loader.py": "code",
    "runtime/scan.py": "code",
    "testing/plugin.py": "which files are histories",
}
"""The modules that open, change or remove files, and which."""


def test_no_other_module_touches_files_past_the_seam() -> None:
    package = Path(files_module.__file__).parents[1]
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and touches_files(call.func)
    }
    assert found == set(ELSEWHERE)


def touches_files(function: ast.expr) -> bool:
    match function:
        case ast.Name(id="open"):
            return True
        case ast.Attribute(value=ast.Name(id="os"), attr=name):
            return name in CALLS_OF_OS
        case ast.Attribute(value=ast.Name(id="files" | "output" | "stream")):
            return False
        case ast.Attribute(value=ast.Attribute(attr="files" | "_files" | "calls" | "_codec")):
            return False
        case ast.Attribute(attr=name):
            return name in METHODS_OF_PATH
        case _:
            return False
