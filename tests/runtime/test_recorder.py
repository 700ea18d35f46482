from __future__ import annotations

from pathlib import Path

import pytest

from aion_cli.core import events as ev
from aion_cli.errors import SequenceConflictError, StoreError
from aion_cli.runtime.files import Files
from aion_cli.runtime.journal import JsonlStore, MemoryStore
from aion_cli.runtime.recorder import Recorder, stamped_from_start
from tests.storage import Failing, at, completed, create, scheduled, started


def recording() -> tuple[MemoryStore, Recorder]:
    store = MemoryStore()
    store.append(stamped_from_start([started()], at(5)), 0)
    return store, Recorder(store)


def test_staged_events_are_stamped_at_once_and_written_as_one_batch_at_commit() -> None:
    store, recorder = recording()
    assert recorder.stage(scheduled(0), at(6)) == ev.ActivityScheduled(
        seq=2, recorded_at=at(6), activity_id=0, activity_type="charge", input=scheduled(0).input
    )
    recorder.stage(completed(0), at(7))
    assert (recorder.head_seq, recorder.next_seq, store.head.seq) == (1, 4, 1)
    assert recorder.commit() == 3
    assert (recorder.head_seq, recorder.next_seq) == (3, 4)
    assert [event.b for event in store.read()] == [0, 1, 0]


def test_time_never_goes_back_also_across_commits_and_owners() -> None:
    store, recorder = recording()
    stamped = recorder.append([scheduled(0)], at(1)) + recorder.append([completed(0)], at(9))
    stamped += Recorder(store).append([scheduled(1)], at(2))
    assert [event.recorded_at for event in stamped] == [at(5), at(9), at(9)]
    assert len(list(store.read())) == 4


def test_a_commit_of_nothing_writes_nothing() -> None:
    store, recorder = recording()
    head = store.head
    assert recorder.commit() == 1
    assert store.head == head


def test_a_conflict_is_surfaced_as_it_is_and_never_tried_again() -> None:
    store, recorder = recording()
    recorder.stage(scheduled(0), at(6))
    Recorder(store).append([scheduled(0)], at(6))
    with pytest.raises(SequenceConflictError) as caught:
        recorder.commit()
    assert (caught.value.expected_seq, caught.value.found_seq) == (1, 2)
    for act in (
        recorder.commit,
        lambda: recorder.append([scheduled(1)], at(7)),
        lambda: recorder.stage(started(), at(7)),
    ):
        with pytest.raises(StoreError):
            act()
    assert store.head.seq == 2


def test_a_recorder_whose_commit_failed_writes_nothing_more(tmp_path: Path) -> None:
    calls = Failing()
    create(tmp_path / "a.jsonl", [started("a")]).close()
    recorder = Recorder(JsonlStore.open_to_write(tmp_path / "a.jsonl", Files(calls)))
    calls.fail_at = len(calls.log) + 1
    with pytest.raises(StoreError, match="sync"):
        recorder.append([scheduled(0)], at(1))
    before = len(calls.log)
    with pytest.raises(StoreError, match=r"nothing more is recorded.*cannot sync"):
        recorder.append([scheduled(0)], at(1))
    assert len(calls.log) == before
