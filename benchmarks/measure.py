"""Running things and taking their time. Repetitions are interleaved, because the machine is shared and drifts."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
WORKFLOW_FILE = HERE / "workflows" / "steps.py"
PEER_PYTHON = HERE / ".peers" / "bin" / "python"
NOT_INSTALLED = "not installed: make bench-peers"
AION = Path(sys.executable).with_name("aion")
_DISAGREEMENT = 1.5
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


class BenchmarkError(Exception):
    """A process that was to be measured failed."""


@dataclass(frozen=True)
class Bench:
    """Where benchmarks write, and how long they may take. scratch: on the file system that is measured."""

    scratch: Path
    full: bool = False

    def repetitions(self, quick: int) -> int:
        """Return how often to repeat: as given, or three times that with --full."""
        return quick * 3 if self.full else quick

    def folder(self, name: str) -> Path:
        """Return an empty folder of its own for a benchmark."""
        path = self.scratch / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


@dataclass(frozen=True)
class Finished:
    """A process that ended. seconds: wall time from before the fork."""

    seconds: float
    stdout: str


@dataclass
class Samples:
    """What was measured of several things, by name, a figure for each repetition."""

    of: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def median(self, name: str) -> float:
        """Return the median of one thing."""
        return statistics.median(self.of[name])

    def ratio(self, name: str, to: str) -> float:
        """Return the median of the ratios that one thing had to another in each repetition."""
        return statistics.median(self._ratios(name, to))

    def unrest(self, name: str, to: str) -> list[str]:
        """Return a remark if the repetitions did not agree."""
        ratios = sorted(self._ratios(name, to))
        if ratios[-1] < _DISAGREEMENT * ratios[0]:
            return []
        return [f"the repetitions do not agree, from {ratios[0]:.3g} to {ratios[-1]:.3g}: the machine was busy."]

    def _ratios(self, name: str, to: str) -> list[float]:
        return [one / other for one, other in zip(self.of[name], self.of[to], strict=True)]


def interleaved(repetitions: int, things: Mapping[str, Callable[[], float]]) -> Samples:
    """Measure several things in turn, there and back, again and again.

    So a slow minute slows all of them, and one that gets slower by and by does not favour the first.
    """
    samples = Samples({name: [] for name in things})
    for _ in range(repetitions):
        there = {name: measure() for name, measure in things.items()}
        back = {name: things[name]() for name in reversed(list(things))}
        for name in things:
            samples.of[name].append((there[name] + back[name]) / 2)
    return samples


def run(command: Sequence[str | Path], cwd: Path, *, env: Mapping[str, str] | None = None, expect: int = 0) -> Finished:
    """Run a process to its end; stderr goes to a file, as in CI. Raises BenchmarkError for another exit code."""
    log = cwd / "stderr.txt"
    with log.open("wb") as stderr:
        began = time.perf_counter()
        process = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            check=False,
        )
        seconds = time.perf_counter() - began
    if process.returncode != expect:
        told = " | ".join(log.read_text().splitlines()[-3:])
        raise BenchmarkError(f"{' '.join(map(str, command))} ended with {process.returncode}: {told}")
    return Finished(seconds, process.stdout.decode())


def peak_bytes(command: Sequence[str | Path], cwd: Path) -> int:
    """Run a process, and return its largest resident set.

    Its parent is a fresh small process: a process is charged with the size of whoever started it.
    """
    peak = int(run([sys.executable, "-c", _PEAK, *command], cwd).stdout)
    return peak * (1 if sys.platform == "darwin" else 1024)


def aion(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, expect: int = 0) -> Finished:
    """Run the installed `aion`, histories in cwd."""
    return run([AION, *arguments], cwd, env=env, expect=expect)


@contextmanager
def stdout_to(fd: int) -> Generator[None]:
    """Let what is written to file descriptor 1 go elsewhere meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(fd, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def has_peers() -> bool:
    """Say whether `make bench-peers` was run."""
    return PEER_PYTHON.exists()


def peer(script: str, cwd: Path, *arguments: str, env: Mapping[str, str] | None = None, expect: int = 0) -> Finished:
    """Run a script of benchmarks/peers in the peers' environment."""
    return run([PEER_PYTHON, HERE / "peers" / script, *arguments], cwd, env=env, expect=expect)
