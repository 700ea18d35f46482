"""Real power cuts: a file system on a loop device is shut down in the middle of a call, and mounted again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.faults.killing import Report
from tests.faults.shell import REPOSITORY
from tests.faults.tally import POWER_CUTS_EXT4, POWER_CUTS_XFS, Tally

POINTS = int(os.environ.get("AION_POWER_CUTS", "600"))
"""Of each file system."""

COUNTED = {"ext4": POWER_CUTS_EXT4, "xfs": POWER_CUTS_XFS}
_SIZES = {"ext4": "16M", "xfs": "320M"}


def do(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def missing(system: str) -> str:
    """Why a file system cannot be tried here, if it cannot."""
    if os.geteuid() != 0:
        return "needs root, to mount"
    if shutil.which(f"mkfs.{system}") is None:
        return f"mkfs.{system} is not installed"
    return ""


@pytest.fixture(params=["ext4", "xfs"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An image of a file system; mounted, but for when the test has unmounted it, on the folder beside it."""
    system = request.param
    why = missing(system)
    if why:
        pytest.skip(why)
    image = tmp_path / system
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    do("truncate", "-s", _SIZES[system], str(image))
    made = do(f"mkfs.{system}", "-q", str(image))
    tried = do("mount", "-o", "loop", str(image), str(mounted))
    if made.returncode or tried.returncode:
        pytest.skip(f"{system} cannot be mounted here: {made.stderr}{tried.stderr}")
    try:
        yield image
    finally:
        do("umount", str(mounted))


@pytest.mark.torture
def test_nothing_acknowledged_is_lost_wherever_the_power_is_cut(image: Path, tmp_path: Path, tally: Tally) -> None:
    command = [sys.executable, "-m", "tests.faults.powering", "1", str(POINTS), str(image), str(tmp_path / "mounted")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr.decode()
    report = msgspec.json.decode(done.stdout, type=Report)
    tally.add(COUNTED[image.name], report.kills)
    for kind, _ in report.broken:
        tally.add(kind)
    assert not report.broken, "\n".join(f"{kind}: {story}" for kind, story in report.broken)
    assert report.kills >= POINTS
