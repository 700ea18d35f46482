"""The real command line in processes of its own, on a real folder, with a ledger outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.faults.flow import enter
from tests.faults.promises import LOST, UNCLEAR, Accepted, BrokenPromise, Ended, Entry, hold_against

RUN = "order-1"
REPOSITORY = Path(__file__).resolve().parents[2]
_FLOW = REPOSITORY / "tests" / "faults" / "flow.py"
_LEDGER = msgspec.json.Decoder(Entry)


class RealShell:
    """Gives commands. sizes: of what the run makes. ledger: a file that no fault reaches."""

    def __init__(self, histories: Path, ledger: Path, sizes: Sequence[int] = (20, 300)) -> None:
        self.histories = histories
        self.ledger = ledger
        self.sizes = list(sizes)
        self.expected = json.dumps([*sizes, 7, 8, 5, 9])

    def give(self, arguments: Sequence[str], wrapper: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        """Give one command; wrapper: what to run it under."""
        command = [*wrapper, sys.executable, "-m", "aion_cli", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment(), capture_output=True, timeout=120, check=False
        )

    def environment(self) -> dict[str, str]:
        """What commands find in their environment."""
        return {
            **os.environ,
            "AION_HISTORIES": str(self.histories),
            "AION_TEST_LEDGER": str(self.ledger),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, wrapper: Sequence[str] = ()) -> int:
        """`aion run` up to where only a signal helps, or to the end; returns its exit code."""
        target = f"{_FLOW}:order"
        done = self.give(["run", target, "--id", RUN, "--input", json.dumps(self.sizes), "--until-blocked"], wrapper)
        if done.returncode == 0:
            self._enter(Ended(RUN, json.dumps(json.loads(done.stdout))))
        self._require_clear(done)
        return done.returncode

    def signal(self, wrapper: Sequence[str] = ()) -> int:
        """`aion signal`, under an id."""
        done = self.give(["signal", RUN, "go", "5", "--id", "go-1", "--force"], wrapper)
        if done.returncode == 0:
            self._enter(Accepted(RUN, "go-1"))
        self._require_clear(done)
        return done.returncode

    def _enter(self, entry: Entry) -> None:
        os.environ["AION_TEST_LEDGER"] = str(self.ledger)
        enter(entry)

    def _require_clear(self, done: subprocess.CompletedProcess[bytes]) -> None:
        if b"Traceback" in done.stderr or (done.returncode == 10 and b"error[" not in done.stderr):
            raise BrokenPromise(UNCLEAR, f"exit {done.returncode}: {done.stderr.decode()}")

    def finish(self) -> None:
        """Go on from whatever there is to the end, with nothing in the way, and judge."""
        code = self.run()
        if code == 3:
            self.signal()
            code = self.run()
        if code != 0:
            raise BrokenPromise(LOST, f"recovery ended with exit {code}")
        self.judge()

    def judge(self) -> None:
        """Hold what the world remembers against the histories."""
        entries = self.entries()
        histories = {path.name: path.read_bytes() for path in self.histories.glob("*.jsonl")}
        own = self.histories / ".aion"
        blobs = {path.parent.name + path.name: path.read_bytes() for path in (own / "blobs" / "sha256").glob("*/*")}
        torn = [path.read_bytes() for path in (own / "torn").glob("*")]
        hold_against(entries, histories, blobs, torn)
        results = {entry.result for entry in entries if isinstance(entry, Ended)}
        if results != {self.expected}:
            raise BrokenPromise(LOST, f"the run came to {results}, not to {self.expected}")

    def entries(self) -> list[Entry]:
        """All that the world remembers."""
        if not self.ledger.exists():
            return []
        return [_LEDGER.decode(line) for line in self.ledger.read_bytes().splitlines()]
