"""Real processes on real files, killed with -9 before, half-way through and after every operation."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.faults.killing import Report
from tests.faults.tally import KILLS, TORTURE, Tally

SHARDS = 8
POINTS = (20_000 if TORTURE else 10_000) // SHARDS
REPOSITORY = Path(__file__).resolve().parents[2]
_MEMORY = Path("/dev/shm")


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing that the kernel has, so no disk is needed."""
    with tempfile.TemporaryDirectory(prefix="aion-kills-", dir=_MEMORY if _MEMORY.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_acknowledged_is_lost_and_nothing_completed_repeated_wherever_a_process_is_killed(
    fast_folder: Path, shard: int, tally: Tally
) -> None:
    command = [sys.executable, "-m", "tests.faults.killing", str(6000 + shard), str(POINTS), str(fast_folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr.decode()
    report = msgspec.json.decode(done.stdout, type=Report)
    tally.add(KILLS, report.kills)
    for kind, _ in report.broken:
        tally.add(kind)
    assert not report.broken, "\n".join(f"{kind}: {story}" for kind, story in report.broken)
    assert report.kills >= POINTS
