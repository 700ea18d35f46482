"""Bytes that are not what was written: whatever is changed, cut off, lost, doubled or swapped, no reader is silent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from aion_cli.errors import DamagedHistoryError, NoSuchRunError, UnsupportedFormatError
from aion_cli.runtime.files import Files
from aion_cli.runtime.journal import HistoryReader, JsonlStore
from tests.faults.disk import Disk, ModelCalls
from tests.faults.model import ROOT
from tests.faults.promises import SILENT, BrokenPromise, kept_lines
from tests.faults.tally import DAMAGED, Tally
from tests.storage import completed, create, scheduled, signal, started

PATH = ROOT / "order-1.jsonl"
REFUSED = (DamagedHistoryError, UnsupportedFormatError, NoSuchRunError)


class Copy:
    """One history on a model disk, whose bytes can be set."""

    def __init__(self) -> None:
        self._disk = Disk()
        self.files = Files(ModelCalls(self._disk))
        self.files.ensure_directory(ROOT, ROOT)
        self.files.write_new(PATH, b"")
        self._node = self._disk.names_of(str(ROOT))[PATH.name]

    def set(self, data: bytes) -> None:
        """Put other bytes in its place."""
        self._node.data = data

    def is_silent(self) -> bool:
        """Whether a reader takes all of it for what was written."""
        reader = HistoryReader(PATH, self.files)
        try:
            deque(reader, maxlen=0)
        except REFUSED:
            return False
        return reader.torn is None


@pytest.fixture
def history(tmp_path: Path) -> bytes:
    """A history of five lines in three batches."""
    return make_history(tmp_path)


def make_history(folder: Path) -> bytes:
    """The same, made in a folder."""
    path = folder / "order-1.jsonl"
    create(path, [started()], [scheduled(0)], [completed(0), signal("s"), scheduled(1)]).close()
    return path.read_bytes()


def noticed(damaged: Iterator[bytes], tally: Tally) -> int:
    """Read each; returns how many there were. Raises BrokenPromise for one that is read without complaint."""
    copy, count = Copy(), 0
    for data in damaged:
        copy.set(data)
        if copy.is_silent():
            raise BrokenPromise(SILENT, f"{data!r} was read without complaint")
        count += 1
    tally.add(DAMAGED, count)
    return count


def test_every_flipped_bit_is_noticed(history: bytes, tally: Tally) -> None:
    count = noticed(
        (
            history[:at] + bytes([history[at] ^ 1 << bit]) + history[at + 1 :]
            for at in range(len(history))
            for bit in range(8)
        ),
        tally,
    )
    assert count == 8 * len(history)


def test_every_other_value_of_every_byte_of_the_last_line_is_noticed(history: bytes, tally: Tally) -> None:
    first, *_, last = history.splitlines(keepends=True)
    assert last.endswith(b"\n")
    short = first + resealed(first, last)
    count = noticed(
        (
            short[:at] + bytes([value]) + short[at + 1 :]
            for at in range(len(first), len(short))
            for value in range(256)
            if value != short[at]
        ),
        tally,
    )
    assert count == 255 * (len(short) - len(first))


def resealed(first: bytes, last: bytes) -> bytes:
    """A last line as the second of a history: there is less to read each time."""
    path = ROOT / "short.jsonl"
    files = Files(ModelCalls(Disk()))
    assert b'"activity_id":1' in last
    create(path, [started()], [scheduled(1)], files=files).close()
    data = files.read_whole(path, 1 << 20)
    assert data.startswith(first)
    return data[len(first) :]


def test_every_lost_doubled_or_swapped_line_is_noticed(history: bytes, tally: Tally) -> None:
    lines = history.splitlines(keepends=True)
    numbers = range(len(lines))
    lost = [[n for n in numbers if n != gone] for gone in numbers[:-1]]  # the last is a batch that was not written
    doubled = [[*numbers[:n], n, *numbers[n:]] for n in numbers]
    swapped = [list(order) for order in permutations(numbers) if list(order) != list(numbers)]
    orders = [*lost, *doubled, *swapped]
    assert noticed((b"".join(lines[n] for n in order) for order in orders), tally) == 4 + 5 + 119


def test_whatever_is_cut_off_is_noticed_unless_it_is_whole_lines(history: bytes, tally: Tally) -> None:
    whole = [len(kept_lines(history[:length])) for length in range(len(history))]
    cut = [history[:length] for length in range(1, len(history)) if whole[length] != length]
    assert noticed(iter(cut), tally) >= len(history) - 5


def test_whatever_is_damaged_nothing_is_rewritten(history: bytes, tally: Tally) -> None:
    count = 0
    for at in range(0, len(history) - 1, 3):
        copy = Copy()
        damaged = history[:at] + bytes([history[at] ^ 0x40]) + history[at + 1 :]
        copy.set(damaged)
        with pytest.raises(REFUSED):
            JsonlStore.open_to_write(PATH, copy.files)
        if copy.files.read_whole(PATH, 1 << 20) != damaged:
            raise BrokenPromise(SILENT, f"a history with damage at byte {at} was rewritten")
        count += 1
    tally.add(DAMAGED, count)
