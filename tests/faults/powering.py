"""Processes whose file system is shut down under them, before, half-way through and after every operation.

    python -m tests.faults.powering SEED POINTS IMAGE FOLDER

IMAGE is mounted on FOLDER. A child plays a scene there; at one point the file system is shut down without writing
anything more, as if the power had gone. Then it is mounted again, and another child plays the scene to its end and
judges. The world's ledger lies elsewhere. Prints a report as JSON.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import msgspec

from aion_cli.runtime import blobs, journal
from tests.faults import killing
from tests.faults.clerk import ClerkScene
from tests.faults.killing import Points, RealMachine, Report, forked
from tests.faults.model import BATCH, INLINE
from tests.faults.scenes import RunScene, Scene

_SHUTDOWN = 0x8004587D
_WITHOUT_LOG = 2


class Device:
    """A file system that can lose its power."""

    def __init__(self, image: Path, folder: Path) -> None:
        self._image = image
        self._folder = folder

    def cut(self) -> None:
        """Shut it down, with nothing more written, and end this process."""
        fd = os.open(self._folder, os.O_RDONLY)
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        os._exit(0)

    def restore(self) -> None:
        """Mount it again, as after a boot."""
        subprocess.run(["umount", str(self._folder)], check=True)
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self._folder)], check=True)


def cut_everywhere(seed: int, wanted: int, image: Path, folder: Path) -> Report:
    """Cut the power so often, at each point of one scene after another."""
    blobs.INLINE_LIMIT = INLINE
    journal.MAX_BATCH = BATCH
    rng = random.Random(seed)
    report = Report()
    device = Device(image, folder)
    elsewhere = image.parent / "ledger"
    while report.kills < wanted and not report.broken:
        make = rng.choice((RunScene, ClerkScene))
        scene: Scene = make.random(rng, 2)
        points = Points()
        scene.play(RealMachine(folder / "unharmed", points, elsewhere))
        shutil.rmtree(folder / "unharmed")
        for at in range(points.count):
            place = folder / str(report.kills)
            elsewhere.unlink(missing_ok=True)
            os.sync()  # what was before is not what is tried
            killing.ending = device.cut
            forked(scene, place, at, elsewhere)
            device.restore()
            killing.ending = killing.die
            _, kind, story = forked(scene, place, None, elsewhere)
            report.kills += 1
            if kind:
                report.broken.append((kind, f"the power was cut at {at}, then {story}"))
                return report
            shutil.rmtree(place)
            if report.kills >= wanted:
                break
    return report


if __name__ == "__main__":
    given_seed, given_points, given_image, given_folder = sys.argv[1:]
    found = cut_everywhere(int(given_seed), int(given_points), Path(given_image), Path(given_folder))
    sys.stdout.buffer.write(msgspec.json.encode(found))
