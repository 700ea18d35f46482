"""Disks that are really full, files that may not grow, folders that may not be written to: by the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.promises import UNCLEAR, BrokenPromise
from tests.faults.shell import REPOSITORY, RealShell
from tests.faults.tally import FULL_DISKS, TORTURE, Tally

FILE_LIMITS = range(100, 3000, 100) if TORTURE else (100, 900, 1500)
"""Sizes, in bytes, over which no file may grow."""

_LIMITED = """
import resource, signal, os, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def under(limit: int) -> list[str]:
    """A wrapper under which no file grows over so many bytes."""
    return [sys.executable, "-c", _LIMITED, str(limit)]


@pytest.mark.parametrize("limit", FILE_LIMITS)
def test_a_history_that_may_not_grow_stops_the_run_with_10_and_is_gone_on_with_later(
    tmp_path: Path, limit: int, tally: Tally
) -> None:
    shell = RealShell(tmp_path / "histories", tmp_path / "ledger", (500, 500))
    assert shell.run(under(limit)) == 10
    tally.add(FULL_DISKS)
    shell.finish()


def test_a_result_that_stdout_does_not_take_is_exit_10_and_is_there_the_next_time(tmp_path: Path, tally: Tally) -> None:
    shell = RealShell(tmp_path / "histories", tmp_path / "ledger", (1,))
    assert shell.run() == 3
    assert shell.signal() == 0
    command = [sys.executable, "-m", "aion_cli", "run", f"{REPOSITORY}/tests/faults/flow.py:order", "--id", "order-1"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, cwd=REPOSITORY, env=shell.environment(), check=False
        )
    assert (done.returncode, b"error[" in done.stderr) == (10, True)
    tally.add(FULL_DISKS)
    shell.finish()


def mount(place: Path, options: str) -> None:
    """Mount a small file system in memory. Skips where that cannot be done."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr}")


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    place = tmp_path / "disk"
    mount(place, "size=64k")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)


@pytest.mark.torture
@pytest.mark.parametrize("filled", range(0, 64, 4))
def test_a_full_disk_stops_the_run_with_10_and_with_more_room_it_goes_on(
    small_disk: Path, tmp_path: Path, filled: int, tally: Tally
) -> None:
    (small_disk / "ballast").write_bytes(bytes(filled << 10))
    shell = RealShell(small_disk / "histories", tmp_path / "ledger", (9000, 20_000, 20_000))
    code = shell.run()
    if code == 3:
        code = shell.signal()
    if code == 0:
        code = shell.run()
    if code not in (0, 10):
        raise BrokenPromise(UNCLEAR, f"exit {code} on a full disk")
    tally.add(FULL_DISKS, code == 10)
    remount(small_disk, "size=4m")
    shell.finish()
    assert shell.run() == 0


@pytest.mark.torture
def test_a_folder_that_may_only_be_read_can_be_read(small_disk: Path, tmp_path: Path, tally: Tally) -> None:
    shell = RealShell(small_disk / "histories", tmp_path / "ledger", (1,))
    assert shell.run() == 3
    remount(small_disk, "ro")
    before = {path: path.read_bytes() for path in shell.histories.rglob("*.jsonl")}
    for arguments, code in (
        (["run", f"{REPOSITORY}/tests/faults/flow.py:order", "--id", "order-1", "--until-blocked"], 10),
        (["signal", "order-1", "go", "1", "--force"], 10),
        (["show", "order-1"], 0),
        (["list"], 0),
        (["verify", "order-1"], 0),
        (["replay", "order-1", "--workflow", f"{REPOSITORY}/tests/faults/flow.py:order"], 0),
    ):
        done = shell.give(arguments)
        assert done.returncode == code, (arguments, done.stderr.decode())
        assert code == 0 or b"error[" in done.stderr
    assert before == {path: path.read_bytes() for path in shell.histories.rglob("*.jsonl")}
    remount(small_disk, "rw")
    tally.add(FULL_DISKS, 2)
    shell.finish()
