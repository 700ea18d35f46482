from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aion_cli.errors import OwnedElsewhereError, StoreError
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.ownership import Role, read_owner, take

HOLD = """
import os, sys
from pathlib import Path
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.ownership import Role, take
held = take(HistoriesFolder(Path(sys.argv[1])), "order-1", Role.RUN)
if sys.argv[2] == "fork":
    begun, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(begins, b"x")
        sys.stdin.read()
        os._exit(0)
    os.read(begun, 1)  # before its first step it has a copy of everything, whatever anybody does about that
if sys.argv[2] == "exec":
    import subprocess
    subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], close_fds=False)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> HistoriesFolder:
    return HistoriesFolder(tmp_path / "histories")


def other(folder: HistoriesFolder) -> HistoriesFolder:
    return HistoriesFolder(folder.root)


def test_the_second_owner_is_told_who_holds_it(folder: HistoriesFolder) -> None:
    with take(folder, "order-1", Role.RUN), pytest.raises(OwnedElsewhereError) as caught:
        take(other(folder), "order-1", Role.SIGNAL)
    assert (caught.value.pid, caught.value.host, caught.value.role) == (os.getpid(), os.uname().nodename, "run")
    assert caught.value.since.endswith("Z")
    take(folder, "order-1", Role.SIGNAL).release()


def test_runs_do_not_stand_in_each_others_way(folder: HistoriesFolder) -> None:
    with take(folder, "order-1", Role.RUN), take(folder, "order-2", Role.RUN):
        for run in ("order-1", "order-2"):
            assert read_owner(folder.lock(run), folder.files).pid == os.getpid()


def test_the_lock_file_is_private_stays_and_is_never_the_history(folder: HistoriesFolder) -> None:
    before = os.umask(0)
    try:
        take(folder, "order-1", Role.RUN).release()
    finally:
        os.umask(before)
    path = folder.lock("order-1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.suffix == ".lock"


def test_a_brief_owner_is_waited_for(folder: HistoriesFolder) -> None:
    held = take(folder, "order-1", Role.SIGNAL)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        held.release()

    take(other(folder), "order-1", Role.RUN, wait_s=5.0, sleep=sleep).release()
    assert len(naps) == 1


def test_a_lasting_owner_is_not_waited_for(folder: HistoriesFolder) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError("waited")

    with take(folder, "order-1", Role.RUN), pytest.raises(OwnedElsewhereError):
        take(other(folder), "order-1", Role.RUN, wait_s=5.0, sleep=sleep)


def test_waiting_for_a_brief_owner_ends(folder: HistoriesFolder) -> None:
    with take(folder, "order-1", Role.SIGNAL), pytest.raises(OwnedElsewhereError):
        take(other(folder), "order-1", Role.RUN, wait_s=0.01)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"pid":"x"}', b"x" * 9999])
def test_a_lock_file_that_says_nothing_is_read_leniently(folder: HistoriesFolder, content: bytes) -> None:
    with take(folder, "order-1", Role.RUN):
        folder.lock("order-1").write_bytes(content)
        with pytest.raises(OwnedElsewhereError) as caught:
            take(other(folder), "order-1", Role.RUN)
    assert (caught.value.pid, caught.value.role) == (0, "")
    assert read_owner(folder.root / "missing", Files()).pid == 0


def test_a_symbolic_link_in_place_of_the_lock_is_refused(folder: HistoriesFolder, tmp_path: Path) -> None:
    folder.lock("order-1").parent.mkdir(parents=True)
    target = tmp_path / "precious"
    target.write_text("precious")
    folder.lock("order-1").symlink_to(target)
    with pytest.raises(StoreError):
        take(folder, "order-1", Role.RUN)
    assert target.read_text() == "precious"


def test_a_symbolic_link_in_place_of_the_directory_of_locks_is_refused(folder: HistoriesFolder, tmp_path: Path) -> None:
    (folder.root / ".aion").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (folder.root / ".aion" / "locks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        take(folder, "order-1", Role.RUN)


@pytest.mark.parametrize("child", ["none", "fork", "exec"])
def test_a_killed_owners_lock_is_free_at_once_though_its_child_lives(folder: HistoriesFolder, child: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.root), child],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OwnedElsewhereError) as caught:
            take(folder, "order-1", Role.RUN)
        assert caught.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        take(folder, "order-1", Role.RUN).release()
        holder.stdin.close()
