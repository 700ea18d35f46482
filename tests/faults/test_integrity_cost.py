"""What integrity costs: a share of an append, and lines verified a second. The best of several tries counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aion_cli.core.lines import ZERO_DIGEST, encode_body, seal
from aion_cli.runtime.files import Files
from aion_cli.runtime.reading import HistoryReader
from tests.faults.tally import Tally
from tests.storage import Unsynced, completed, create, started

LINES = 20_000
TRIES = 7
pytestmark = [pytest.mark.torture, pytest.mark.alone]


def best_s(act: Callable[[], object], tries: int = TRIES) -> float:
    """The shortest time that an act took, in seconds."""
    found: list[float] = []
    for _ in range(tries):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return min(found)


def test_a_hundred_and_fifty_thousand_lines_are_verified_a_second(tmp_path: Path, tally: Tally) -> None:
    path = tmp_path / "order-1.jsonl"
    files = Files(Unsynced())
    result = b'"%b"' % (b"x" * 150)
    create(path, [started()], *[[completed(n, result) for n in range(at, at + 1000)] for at in range(0, LINES, 1000)])
    fd = files.open_read(path)
    rate = (LINES + 1) / best_s(lambda: HistoryReader(path, files).verify(fd))
    files.close(fd)
    tally.say(f"G11: {rate:,.0f} lines of {path.stat().st_size // LINES} bytes verified a second (150,000 wanted)")
    assert rate >= 150_000


def test_the_digest_of_a_line_is_under_two_hundredths_of_an_append(tmp_path: Path, tally: Tally) -> None:
    body = encode_body(completed(1, b'"%b"' % (b"x" * 150)))
    unsealed = body + b',"h":"' + bytes(32) + b'"}\n'
    count = 2000

    def with_digest() -> None:
        for _ in range(count):
            seal(body, ZERO_DIGEST, 0)

    def without() -> None:
        for _ in range(count):
            bytes.__mod__(b'%b,"h":"%b"}\n', (body, b"0" * 32))

    digest_s = (best_s(with_digest) - best_s(without)) / count
    with (tmp_path / "log").open("ab", buffering=0) as log:

        def append() -> None:
            os.write(log.fileno(), unsealed)
            os.fdatasync(log.fileno())

        append_s = best_s(append, 200)
    share = digest_s / append_s
    tally.say(f"G11: a digest is {share:.2%} of a write and its sync ({append_s * 1e6:.0f} µs); 2% allowed")
    assert share < 0.02
