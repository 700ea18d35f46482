"""Torn tails and damage: every truncation, every flipped bit, and what opening to write does about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aion_cli.core import events as ev
from aion_cli.errors import DamagedHistoryError, NoSuchRunError, StoreError, UnsupportedFormatError
from aion_cli.runtime.files import Files
from aion_cli.runtime.journal import JsonlStore, SetAside, find_reopens, read_first_event, read_history, read_last_event
from aion_cli.runtime.reading import has_zeroed_sector
from tests.core.test_lines import forged
from tests.faults.tally import TRUNCATIONS, Tally
from tests.storage import Failing, Unsynced, completed, create, forty_events, scheduled, signal, started


def read(path: Path, files: Files) -> tuple[list[Any], Any]:
    reader = read_history(path, files)
    return list(reader), reader.torn


def read_all(path: Path) -> list[Any]:
    return list(read_history(path))


def torn_files(root: Path) -> list[Path]:
    directory = root / ".aion" / "torn"
    return sorted(directory.iterdir()) if directory.exists() else []


def test_every_truncation_length_is_handled_by_the_contract(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    files = Files(Unsynced())
    path = tmp_path / "order-1.jsonl"
    data = forty_events(path, files)
    assert data.count(b"\n") == 40
    for length in range(len(data)):
        path.write_bytes(data[:length])
        whole, cut = data[:length].count(b"\n"), data[:length].rpartition(b"\n")[2]
        if whole == 0 and cut != data.split(b"\n")[0]:
            with pytest.raises(NoSuchRunError):
                list(read_history(path, files))
            with pytest.raises(NoSuchRunError):
                JsonlStore.open_to_write(path, files)
            assert not path.exists()
            assert [kept.read_bytes() for kept in torn_files(tmp_path)] == ([cut] if cut else [])
            for kept in torn_files(tmp_path):
                kept.unlink()
            continue
        if whole:
            events, torn = read(path, files)
            assert len(events) == whole
            assert (torn.size if torn else 0) == len(cut)
        complete = data[length : length + 1] == b"\n"
        store = JsonlStore.open_to_write(path, files)
        assert store.head.seq == whole + complete
        assert path.read_bytes() == data[: length - len(cut)] + (cut + b"\n" if complete else b"")
        assert store.head.size == path.stat().st_size
        expected = SetAside(None, len(cut), whole + 1) if complete else None
        if cut and not complete:
            (kept,) = torn_files(tmp_path)
            assert kept.read_bytes() == cut
            expected = SetAside(kept, len(cut), whole + 1)
            kept.unlink()
        assert store.set_aside == expected
        store.close()
        again = JsonlStore.open_to_write(path, files)
        assert (again.set_aside, again.head) == (None, store.head)
        again.close()
    Tally(request.node.user_properties).add(TRUNCATIONS, len(data))


def flips(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_no_single_flipped_bit_is_silent_and_none_is_repaired(tmp_path: Path) -> None:
    files = Files(Unsynced())
    path = tmp_path / "order-1.jsonl"
    create(path, [started()], [scheduled(0)], [completed(0), signal("s")]).close()
    data = path.read_bytes()
    for flipped in flips(data):
        path.write_bytes(flipped)
        try:
            JsonlStore.open_to_write(path, files).close()
        except (DamagedHistoryError, UnsupportedFormatError):
            assert path.read_bytes() == flipped
        else:
            # Only the last newline: then the tail is unterminated, and is set aside.
            assert flipped[:-1] == data[:-1]
            assert len(torn_files(tmp_path)) == 1
            torn_files(tmp_path)[0].unlink()
        path.write_bytes(flipped)
        try:
            assert read(path, files)[1] is not None
        except (DamagedHistoryError, UnsupportedFormatError) as error:
            assert error.where


def test_damage_names_the_line_and_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    data = forty_events(path, Files(Unsynced()))
    lines = data.splitlines(keepends=True)
    lines[6] = lines[6].replace(b"charge", b"chargf").replace(b'"ok"', b'"OK"')
    path.write_bytes(b"".join(lines))
    for opening in (JsonlStore.open_to_write, read_all):
        with pytest.raises(DamagedHistoryError) as caught:
            opening(path)
        assert (caught.value.line, caught.value.where) == (7, (f"{path}:7",))
    assert path.read_bytes() == b"".join(lines)
    assert torn_files(tmp_path) == []


@pytest.mark.parametrize(
    "tail", [b"\n", b"x\n", b"{}\n", b"\0\n", b"x\ny", b'{"h":"00000000000000000000000000000000"}\n']
)
def test_a_terminated_bad_last_line_is_damage(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "order-1.jsonl"
    create(path, [started()], [scheduled(0)]).close()
    data = path.read_bytes() + tail
    path.write_bytes(data)
    with pytest.raises(DamagedHistoryError) as caught:
        JsonlStore.open_to_write(path)
    assert caught.value.line == 3
    assert path.read_bytes() == data


def batch_with_hole(path: Path, hole: tuple[int, int], after: bytes = b"") -> tuple[bytes, bytes]:
    """Make a history whose last batch is six long lines, then zero a part of it that is given in sectors of the file.

    Returns the bytes before that batch, and the whole file.
    """
    create(path, [started()], [scheduled(0)]).close()
    before = path.read_bytes()
    store = JsonlStore.open_to_write(path)
    path.unlink()
    store.close()
    create(path, [started()], [scheduled(0)], [completed(n, b'"' + b"x" * 900 + b'"') for n in range(6)]).close()
    data = bytearray(path.read_bytes())
    assert data.startswith(before)
    first, last = hole
    data[max(first * 512, len(before)) : last * 512] = bytes(last * 512 - max(first * 512, len(before)))
    path.write_bytes(bytes(data) + after)
    return before, bytes(data) + after


@pytest.mark.parametrize("hole", [(1, 3), (3, 4), (4, 9), (0, 2), (0, 1), (2, 11)])
def test_a_batch_with_a_sector_that_was_never_written_is_a_torn_tail(tmp_path: Path, hole: tuple[int, int]) -> None:
    path = tmp_path / "order-1.jsonl"
    before, data = batch_with_hole(path, hole)
    events, torn = read(path, Files())
    assert data[: torn.offset].endswith(b"\n")
    assert torn.offset >= len(before)
    assert read_last_event(path) == events[-1]
    store = JsonlStore.open_to_write(path)
    assert path.read_bytes() == data[: torn.offset]
    assert store.head.seq == len(events)
    (kept,) = torn_files(tmp_path)
    assert kept.read_bytes() == data[torn.offset :]
    store.close()


def test_a_zeroed_sector_under_a_batch_that_was_acknowledged_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    create(path, [started()], [completed(0, b'"' + b"x" * 2000 + b'"')], [signal("a")], [signal("b")]).close()
    data = bytearray(path.read_bytes())
    data[1024:1536] = bytes(512)
    path.write_bytes(data)
    with pytest.raises(DamagedHistoryError):
        JsonlStore.open_to_write(path)
    assert path.read_bytes() == data
    with pytest.raises(DamagedHistoryError):
        list(read_history(path))


def test_a_line_that_lost_only_its_first_bytes_is_not_taken_for_torn() -> None:
    assert not has_zeroed_sector(b"\0" * 7 + b"x" * 600, 512 - 7)
    assert has_zeroed_sector(b"\0" * 8 + b"x" * 600, 512 - 8)
    assert has_zeroed_sector(b"x" * 12 + b"\0" * 512 + b"x", 500)
    assert not has_zeroed_sector(b"x" * 13 + b"\0" * 512, 500)


def test_a_tail_longer_than_a_batch_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    create(path, [started()]).close()
    with path.open("ab") as file:
        file.write(b"x" * ((2 << 20) + 1))
    size = path.stat().st_size
    with pytest.raises(DamagedHistoryError, match="longer than"):
        JsonlStore.open_to_write(path)
    with pytest.raises(DamagedHistoryError):
        list(read_history(path))
    assert path.stat().st_size == size


def test_a_long_unterminated_tail_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    create(path, [started()]).close()
    with path.open("ab") as file:
        file.write(b"x" * (3 << 19))
    assert read(path, Files())[1].size == 3 << 19
    assert JsonlStore.open_to_write(path).head.seq == 1


def test_whatever_fails_while_a_tail_is_set_aside_it_can_be_done_again(tmp_path: Path) -> None:
    def torn(root: Path) -> Path:
        path = root / "order-1.jsonl"
        create(path, [started()], [scheduled(0)]).close()
        with path.open("ab") as file:
            file.write(b"torn")
        return path

    counting = Failing()
    JsonlStore.open_to_write(torn(tmp_path), Files(counting)).close()
    assert counting.log[-6:] == ["write", "fdatasync", "rename", "fsync_directory", "ftruncate", "fdatasync"]
    for step in range(len(counting.log)):
        path = torn(tmp_path / str(step))
        try:
            JsonlStore.open_to_write(path, Files(Failing(step))).close()
        except StoreError:
            store = JsonlStore.open_to_write(path)
            assert store.head.seq == 2
            assert [kept.read_bytes() for kept in torn_files(path.parent) if kept.name[0] != "."] == [b"torn"]


@pytest.mark.parametrize("body", [b'{"type":"Teleported","seq":1}', b'{"type":"WorkflowStarted","seq":1,"format":2}'])
def test_a_history_of_a_newer_aion_is_unsupported_and_says_where(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "order-1.jsonl"
    path.write_bytes(forged(body) + b"\n")
    for opening in (JsonlStore.open_to_write, read_first_event, read_last_event, read_all):
        with pytest.raises(UnsupportedFormatError) as caught:
            opening(path)
        assert caught.value.where == (f"{path}:1",)
        assert caught.value.hint


def test_a_record_of_a_newer_aion_that_lacks_its_newline_is_not_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    store = create(path, [started()])
    with path.open("ab") as file:
        file.write(forged(b'{"type":"Teleported","seq":2}', store.head.digest))
    before = path.read_bytes()
    with pytest.raises(UnsupportedFormatError):
        JsonlStore.open_to_write(path)
    assert path.read_bytes() == before


def test_reopens_are_found_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    lookalike = signal("s", b'"{\\"type\\":\\"WorkflowReopened\\""')
    cancelled, reopened = ev.WorkflowCancelled(), ev.WorkflowReopened(superseded_from=2)
    # Long lines, so that the scan meets reopens at many places of its chunks.
    rounds = [[cancelled], [reopened], [completed(0, b'"' + b"x" * 39_000 + b'"'), lookalike]] * 30
    create(path, [started()], *rounds, files=Files(Unsynced())).close()
    assert [event.seq for event in find_reopens(path)] == [
        event.seq for event in read_history(path) if isinstance(event, ev.WorkflowReopened)
    ]
    assert len(find_reopens(path)) == 30


def test_the_first_and_the_last_event_are_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    data = forty_events(path, Files(Unsynced()))
    lines = data.splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"damage\n" * 500, *lines[-2:]]))
    assert read_first_event(path).seq == 1
    assert read_last_event(path).seq == 40
    path.write_bytes(data[:-9])
    assert read_last_event(path).seq == 39
    path.write_bytes(data.replace(b'"seq":40', b'"seq":41'))
    with pytest.raises(DamagedHistoryError) as caught:
        read_last_event(path)
    assert caught.value.line == 40


def test_the_last_event_may_be_as_long_as_a_line(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    create(
        path, [started()], [completed(0, b'"' + b"x" * 200_000 + b'"')], [completed(1, b'"' + b"y" * 260_000 + b'"')]
    )
    assert read_last_event(path).activity_id == 1


def test_a_file_without_a_whole_line_is_no_run(tmp_path: Path) -> None:
    for content in (b"", b"{", b"\0" * 4096):
        path = tmp_path / "order-1.jsonl"
        path.write_bytes(content)
        for opening in (
            read_first_event,
            read_last_event,
            read_all,
            JsonlStore.open_to_write,
        ):
            with pytest.raises(NoSuchRunError):
                opening(path)
        assert not path.exists()
    with pytest.raises(NoSuchRunError):
        read_history(tmp_path / "missing.jsonl")


def test_a_blob_that_is_missing_or_changed_is_damage_of_the_line_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "order-1.jsonl"
    create(path, [started()], [completed(0, b'"' + b"x" * 300_000 + b'"')]).close()
    (blob,) = (tmp_path / ".aion" / "blobs" / "sha256").glob("*/*")
    for change in (lambda: blob.write_bytes(b"y" + blob.read_bytes()[1:]), blob.unlink):
        change()
        with pytest.raises(DamagedHistoryError, match="payload") as caught:
            list(read_history(path))
        assert caught.value.line == 2
    assert read_last_event(path).seq == 2
