"""The conformance suite of every EventStore, and what only files can do: creation, batches, failures."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.errors import HistoryShapeError, NoSuchRunError, PayloadError, SequenceConflictError, StoreError
from aion_cli.runtime import journal
from aion_cli.runtime.files import Calls, Files, FileTakenError
from aion_cli.runtime.journal import Durability, EventStore, JsonlStore, MemoryStore, read_first_event, read_history
from aion_cli.runtime.recorder import stamped_from_start
from tests.storage import Failing, at, completed, create, done, scheduled, started

MakeStore = Callable[[], EventStore]


def stamp(event: Any, seq: int, second: int = 1) -> Any:
    return msgspec.structs.replace(event, seq=seq, recorded_at=at(second))


def without_b(events: Any) -> list[Any]:
    return [msgspec.structs.replace(event, b=0) for event in events]


@pytest.fixture(params=["memory", "jsonl"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EventStore:
    """A store that holds one WorkflowStarted."""
    first = stamped_from_start([started()], at(0))
    if request.param == "jsonl":
        return JsonlStore.create(tmp_path / "order-1.jsonl", first)
    memory = MemoryStore()
    memory.append(first, 0)
    return memory


def test_what_is_appended_is_read_in_order(store: EventStore) -> None:
    batch = [stamp(scheduled(0), 2), stamp(completed(0), 3, 2)]
    assert store.append(batch, 1) == 3
    assert store.append([stamp(done(), 4, 3)], 3) == 4
    assert without_b(store.read()) == [*stamped_from_start([started()], at(0)), *batch, stamp(done(), 4, 3)]
    assert [event.b for event in store.read()] == [0, 1, 0, 0]
    assert (store.head.seq, store.head.recorded_at) == (4, at(3))


def test_a_payload_over_the_inline_limit_reads_as_it_was_written(store: EventStore) -> None:
    big = stamp(completed(0, b'"' + b"x" * 400_000 + b'"'), 2)
    store.append([big], 1)
    assert list(store.read())[-1] == big


def test_a_batch_over_two_mebibytes_is_split_and_reads_as_one(store: EventStore) -> None:
    batch = [stamp(completed(n, b'"' + b"x" * 250_000 + b'"'), n + 2) for n in range(20)]
    assert store.append(batch, 1) == 21
    assert without_b(store.read())[1:] == batch
    assert [event.b for event in store.read()].count(0) == 4


def test_an_empty_batch_changes_nothing(store: EventStore) -> None:
    head = store.head
    assert store.append([], 1) == 1
    assert store.head == head


@pytest.mark.parametrize("expected", [0, 2])
def test_a_writer_that_saw_another_head_is_told_so_and_the_store_goes_on(store: EventStore, expected: int) -> None:
    with pytest.raises(SequenceConflictError) as caught:
        store.append([stamp(scheduled(0), expected + 1)], expected)
    assert (caught.value.expected_seq, caught.value.found_seq) == (expected, 1)
    assert store.append([stamp(scheduled(0), 2)], 1) == 2


@pytest.mark.parametrize(
    "event",
    [
        stamp(scheduled(0), 3),
        stamp(scheduled(0), 1),
        stamp(started(), 2),
        scheduled(0),
        msgspec.structs.replace(scheduled(0), seq=2, recorded_at="soon"),
        msgspec.structs.replace(scheduled(0), seq=2, recorded_at="2020-01-01T00:00:00.000000Z"),
    ],
)
def test_an_event_that_does_not_continue_the_head_is_refused_before_it_is_written(
    store: EventStore, event: Any
) -> None:
    with pytest.raises(HistoryShapeError):
        store.append([stamp(scheduled(0), 2), event] if event.seq == 3 and event.recorded_at == "" else [event], 1)
    assert len(list(store.read())) == 1


def test_an_event_that_no_line_can_hold_is_refused_with_its_whole_batch(store: EventStore) -> None:
    failure = ev.Failure(ev.ErrorKind.ERROR, "E", "x" * (1 << 20))
    too_long = ev.ActivityFailed(activity_id=0, attempt=1, error=failure)
    with pytest.raises(PayloadError):
        store.append([stamp(scheduled(0), 2), stamp(too_long, 3)], 1)
    assert store.head.seq == 1
    assert store.append([stamp(scheduled(0), 2)], 1) == 2


def test_a_closed_store_takes_nothing_more(store: EventStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.append([stamp(scheduled(0), 2)], 1)


def test_reading_stops_at_the_head_of_when_it_began(store: EventStore) -> None:
    reading = store.read()
    next(reading)
    store.append([stamp(scheduled(0), 2)], 1)
    assert list(reading) == []


def test_both_stores_hold_the_same_chain(tmp_path: Path) -> None:
    memory = MemoryStore()
    first = stamped_from_start([started(), scheduled(0)], at(0))
    memory.append(first, 0)
    assert JsonlStore.create(tmp_path / "a.jsonl", first).head == memory.head


# Files alone


def test_a_history_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create(tmp_path / "h" / "a.jsonl", [started()]).close()
        os.umask(0o777)
        create(tmp_path / "h" / "b.jsonl", [started("b")]).close()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in [tmp_path / "h", *(tmp_path / "h").rglob("*")]}
    assert modes == {"h": 0o700, ".aion": 0o700, "tmp": 0o700, "a.jsonl": 0o600, "b.jsonl": 0o600}


def test_creating_over_an_existing_history_is_refused_and_leaves_it_alone(tmp_path: Path) -> None:
    create(tmp_path / "a.jsonl", [started("a")]).close()
    before = (tmp_path / "a.jsonl").read_bytes()
    with pytest.raises(FileTakenError):
        create(tmp_path / "a.jsonl", [started("b")])
    assert (tmp_path / "a.jsonl").read_bytes() == before
    assert list((tmp_path / ".aion" / "tmp").iterdir()) == []


def test_creating_where_an_empty_file_stands_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    create(tmp_path / "a.jsonl", [started("a")]).close()
    assert len(list(read_history(tmp_path / "a.jsonl"))) == 1


class Overtaken(Calls):
    """Somebody else makes the same history just before a step of this process, once."""

    def __init__(self, path: Path, step: str) -> None:
        self._path = path
        self._step = step

    def _overtake(self, step: str) -> None:
        if step == self._step:
            self._step = ""
            create(self._path, [msgspec.structs.replace(started("a"), run_id="theirs")]).close()

    def flock(self, fd: int, operation: int) -> None:
        self._overtake("flock")
        super().flock(fd, operation)

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        if path.name == self._path.name:
            self._overtake("link")


@pytest.mark.parametrize("step", ["flock", "link"])
def test_of_two_who_replace_an_empty_file_one_is_told_that_it_is_taken(tmp_path: Path, step: str) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    with pytest.raises(FileTakenError):
        create(path, [started("a")], files=Files(Overtaken(path, step)))
    assert read_first_event(path).run_id == "theirs"


def test_an_owner_who_finds_an_empty_file_does_not_remove_what_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    with pytest.raises(NoSuchRunError):
        JsonlStore.open_to_write(path, Files(Overtaken(path, "flock")))
    assert read_first_event(path).run_id == "theirs"


def test_a_history_is_synced_before_it_gets_its_name_and_its_name_before_it_is_used(tmp_path: Path) -> None:
    calls = Failing()
    create(tmp_path / "a.jsonl", [started("a"), scheduled(0)], files=Files(calls)).close()
    assert calls.log[-5:] == ["write", "fdatasync", "link", "unlink", "fsync_directory"]
    assert set(calls.log[:-5]) == {"fsync_directory"}


def test_an_append_is_one_write_and_one_sync(tmp_path: Path) -> None:
    calls = Failing()
    store = create(tmp_path / "a.jsonl", [started("a")], files=Files(calls))
    calls.log.clear()
    store.append([stamp(scheduled(0), 2), stamp(completed(0), 3)], 1)
    assert calls.log == ["write", "fdatasync"]


def test_durability_process_leaves_the_sync_out(tmp_path: Path) -> None:
    calls = Failing()
    create(tmp_path / "a.jsonl", [started("a")]).close()
    store = JsonlStore.open_to_write(tmp_path / "a.jsonl", Files(calls), Durability.PROCESS)
    calls.log.clear()
    store.append([stamp(scheduled(0), 2)], 1)
    assert calls.log == ["write"]


def test_what_an_append_left_out_can_be_made_up_for_once(tmp_path: Path) -> None:
    calls = Failing()
    create(tmp_path / "a.jsonl", [started("a")]).close()
    store = JsonlStore.open_to_write(tmp_path / "a.jsonl", Files(calls), Durability.PROCESS)
    store.append([stamp(scheduled(0), 2)], 1)
    calls.log.clear()
    store.settle()
    assert calls.log == ["fdatasync"]
    calls.fail_at = 1
    with pytest.raises(StoreError, match="sync"):
        store.settle()
    with pytest.raises(StoreError, match="could not be brought to the disk"):
        store.append([stamp(completed(0), 3)], 2)
    assert calls.log == ["fdatasync", "fdatasync"]


def test_a_blob_is_on_the_disk_before_the_line_that_names_it(tmp_path: Path) -> None:
    calls = Failing()
    store = create(tmp_path / "a.jsonl", [started("a")], files=Files(calls))
    calls.log.clear()
    store.append([stamp(completed(0, b'"' + b"x" * 300_000 + b'"'), 2)], 1)
    blob = ["write", "fdatasync", "rename", "fsync_directory"]
    assert calls.log[-6:] == [*blob, "write", "fdatasync"]
    assert set(calls.log[:-6]) == {"fsync_directory"}


FAILURES = [errno.EIO, errno.ENOSPC, errno.EDQUOT]


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize(("step", "short"), [(0, False), (0, True), (1, False)])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_failed_write_or_sync_poisons_the_store_and_loses_nothing_acknowledged(
    tmp_path: Path, code: int, step: int, short: bool, lasting: bool
) -> None:
    path = tmp_path / "a.jsonl"
    calls = Failing()
    store = create(path, [started("a"), scheduled(0)], files=Files(calls))
    acknowledged = path.read_bytes()
    calls.log.clear()
    calls.fail_at, calls.error, calls.short, calls.lasting = step, code, short, lasting
    with pytest.raises(StoreError) as caught:
        store.append([stamp(completed(0), 3)], 2)
    assert str(path) in str(caught.value)
    assert calls.log == [*["write", "fdatasync"][: step + 1], "ftruncate"]
    if not lasting:
        assert path.read_bytes() == acknowledged
    calls.fail_at = None
    calls.log.clear()
    with pytest.raises(StoreError, match="earlier write"):
        store.append([stamp(completed(0), 3)], 2)
    assert calls.log == []
    store.close()
    again = JsonlStore.open_to_write(path)
    assert without_b(again.read())[:2] == stamped_from_start([started("a"), scheduled(0)], at(0))
    again.close()


def test_whatever_fails_while_a_history_is_made_there_is_a_whole_one_or_none(tmp_path: Path) -> None:
    counting = Failing()
    create(tmp_path / "a.jsonl", [started("a"), scheduled(0)], files=Files(counting)).close()
    for step in range(len(counting.log)):
        root = tmp_path / str(step)
        root.mkdir()
        try:
            create(root / "a.jsonl", [started("a"), scheduled(0)], files=Files(Failing(step))).close()
        except StoreError:
            pass
        else:
            # The folder's own parent is synced as well as may be: it may not be ours to open.
            assert (step, counting.log[step]) == (0, "fsync_directory")
        with suppress(NoSuchRunError):
            assert len(list(read_history(root / "a.jsonl"))) == 2


def test_an_interrupt_in_the_middle_of_an_append_poisons_the_store(tmp_path: Path) -> None:
    class Interrupted(Failing):
        def fdatasync(self, fd: int) -> None:
            if self.fail_at is not None:
                raise KeyboardInterrupt

    calls = Interrupted()
    store = create(tmp_path / "a.jsonl", [started("a")], files=Files(calls))
    calls.fail_at = 99
    with pytest.raises(KeyboardInterrupt):
        store.append([stamp(scheduled(0), 2)], 1)
    with pytest.raises(StoreError):
        store.append([stamp(scheduled(0), 2)], 1)
    assert len(list(read_history(tmp_path / "a.jsonl"))) == 1


def test_a_file_that_something_else_changed_takes_no_more_and_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    store = create(path, [started("a")])
    with path.open("ab") as other:
        other.write(b"x")
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match="chang"):
            store.append([stamp(scheduled(0), 2)], 1)
    assert path.read_bytes() == before


def test_a_file_that_was_removed_takes_no_more(tmp_path: Path) -> None:
    store = create(tmp_path / "a.jsonl", [started("a")])
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(StoreError, match="removed"):
        store.append([stamp(scheduled(0), 2)], 1)


def test_opening_to_write_syncs_what_a_killed_process_may_have_left(tmp_path: Path) -> None:
    create(tmp_path / "a.jsonl", [started("a")]).close()
    calls = Failing()
    JsonlStore.open_to_write(tmp_path / "a.jsonl", Files(calls)).close()
    assert calls.log == ["fdatasync", "fsync_directory", "fsync_directory"]


def test_a_symbolic_link_in_place_of_a_history_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "a.jsonl", [started("a")]).close()
    (tmp_path / "b.jsonl").symlink_to("a.jsonl")
    for opening in (read_history, JsonlStore.open_to_write, journal.read_first_event, journal.read_last_event):
        with pytest.raises(StoreError, match="symbolic link"):
            opening(tmp_path / "b.jsonl")


def test_a_fifo_in_place_of_a_history_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    for opening in (read_history, JsonlStore.open_to_write):
        with pytest.raises(StoreError, match="not a regular file"):
            opening(tmp_path / "a.jsonl")


def test_no_descriptor_reaches_a_child_process(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set[str]()
    store = create(tmp_path / "a.jsonl", [started("a")])
    opened = set(os.listdir("/proc/self/fd")) - before if before else set[str]()
    assert not any(os.get_inheritable(int(fd)) for fd in opened if os.path.exists(f"/proc/self/fd/{fd}"))
    store.close()
