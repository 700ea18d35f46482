from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.errors import HistoryShapeError, NoSuchRunError, PayloadError, StoreError, UsageError, WrongStateError
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Accepted, AlreadyKnown, Inbox, MessageId, drain
from aion_cli.runtime.journal import JsonlStore, read_history
from aion_cli.runtime.recorder import Recorder
from tests.storage import Failing, at, create, done, scheduled, signal, started

SENDER = """
import sys
from contextlib import suppress
from pathlib import Path
import msgspec
from aion_cli.core import events as ev
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
inbox = Inbox(HistoriesFolder(Path(sys.argv[1])), "order-1")
for n in range(int(sys.argv[3])):
    event = ev.SignalReceived(name=sys.argv[2], payload=msgspec.Raw(b"%d" % n), signal_id=f"{sys.argv[2]}-{n}")
    for _ in range(1 + n % 2):
        inbox.accept(event, chosen_id=True)
        inbox.ring()
"""


@pytest.fixture
def folder(tmp_path: Path) -> HistoriesFolder:
    return HistoriesFolder(tmp_path / "histories")


@pytest.fixture
def store(folder: HistoriesFolder) -> JsonlStore:
    return create(folder.history(RunName("order-1")), [started()])


@pytest.fixture
def inbox(folder: HistoriesFolder, store: JsonlStore) -> Inbox:
    return Inbox(folder, "order-1")


def ids(inbox: Inbox) -> list[str]:
    return [message.event.signal_id for message in inbox.list()]


def test_an_accepted_message_waits_in_the_inbox_as_it_was_sent(inbox: Inbox) -> None:
    outcome = inbox.accept(signal("a", b'{"x":[1]}'), chosen_id=False)
    (message,) = inbox.list()
    assert isinstance(outcome, Accepted)
    assert message == (outcome.name, signal("a", b'{"x":[1]}'))


def test_a_message_is_synced_before_it_gets_its_name_and_its_name_before_it_is_accepted(
    folder: HistoriesFolder,
) -> None:
    create(folder.history(RunName("order-1")), [started()])
    calls = Failing()
    Inbox(folder, "order-1", Files(calls)).accept(signal("a"), chosen_id=True)
    assert calls.log[-5:] == ["write", "fdatasync", "rename", "unlink", "fsync_directory"]
    assert set(calls.log[:-5]) == {"fsync_directory"}


def test_whatever_fails_in_accepting_nothing_half_is_left_and_a_repeat_is_accepted(folder: HistoriesFolder) -> None:
    create(folder.history(RunName("order-1")), [started()])
    counting = Failing()
    Inbox(folder, "order-1", Files(counting)).accept(signal("first"), chosen_id=True)
    for step in range(len(counting.log)):
        sent = signal(f"s{step}")
        try:
            Inbox(folder, "order-1", Files(Failing(step))).accept(sent, chosen_id=True)
        except StoreError:
            inbox = Inbox(folder, "order-1")
            inbox.accept(sent, chosen_id=True)
            assert ids(inbox).count(f"s{step}") == 1


class Watched(Failing):
    """Says of each renaming and listing whether the inbox lock was held then."""

    def __init__(self, lock: Path) -> None:
        super().__init__()
        self.lock = lock
        self.held: list[tuple[str, bool]] = []

    def _watch(self, name: str) -> None:
        with suppress(FileNotFoundError), self.lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.held.append((name, False))
            except BlockingIOError:
                self.held.append((name, True))

    def rename(self, source: Path, target: Path) -> None:
        self._watch("rename")
        super().rename(source, target)

    def listdir(self, path: Path) -> list[str]:
        if path == self.lock.parent:
            self._watch("list")
        return super().listdir(path)


def test_the_inbox_lock_is_held_while_a_message_is_named_and_while_the_owner_lists(
    folder: HistoriesFolder, store: JsonlStore
) -> None:
    calls = Watched(folder.inbox("order-1") / ".lock")
    inbox = Inbox(folder, "order-1", Files(calls))
    inbox.accept(signal("a"), chosen_id=True)
    assert set(calls.held) == {("rename", True), ("list", True)}
    calls.held.clear()
    inbox.names()
    # The first look is only whether there is anything at all.
    assert calls.held == [("list", False), ("list", True)]


def test_messages_keep_their_order_when_the_clock_goes_back(inbox: Inbox) -> None:
    for n, now in enumerate([500, 100, 100, 700, 1]):
        inbox.accept(signal(f"s{n}"), chosen_id=False, now_ns=now)
    assert ids(inbox) == ["s0", "s1", "s2", "s3", "s4"]


def test_a_repeated_message_is_known_and_not_accepted_again(inbox: Inbox, store: JsonlStore) -> None:
    inbox.accept(signal("a", b'{"x":1,"y":2}'), chosen_id=True)
    assert inbox.accept(signal("a", b'{"y":2, "x":1}'), chosen_id=True) == AlreadyKnown(recorded=False)
    drain(inbox, Recorder(store), set(), at(1))
    assert inbox.accept(signal("a", b'{"x":1,"y":2}'), chosen_id=True) == AlreadyKnown(recorded=True)
    assert inbox.list() == []
    assert inbox.is_recorded(MessageId("SignalReceived", "a"))
    assert not inbox.is_recorded(MessageId("UpdateRequested", "a"))


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("other", [signal("a", b"true"), signal("a", b"1.0"), signal("a", b"1", name="stop")])
def test_an_id_that_was_used_for_another_message_is_refused(
    inbox: Inbox, store: JsonlStore, drained: bool, other: ev.Event
) -> None:
    inbox.accept(signal("a", b"1"), chosen_id=True)
    if drained:
        drain(inbox, Recorder(store), set(), at(1))
    with pytest.raises(UsageError, match="used before"):
        inbox.accept(other, chosen_id=True)
    assert len(inbox.list()) == 1 - drained


def test_ids_are_looked_up_in_all_runs_of_the_workflow_id(folder: HistoriesFolder) -> None:
    create(
        folder.history(RunName("order-1")),
        [started()],
        [signal("old"), ev.WorkflowContinuedAsNew(input=msgspec.Raw(b"1"), new_run_id="r2")],
    )
    create(folder.history(RunName("order-1", 2)), [started()])
    assert Inbox(folder, "order-1").accept(signal("old"), chosen_id=True) == AlreadyKnown(recorded=True)


def test_what_the_same_sender_repeats_later_is_found_in_a_history_that_grew(inbox: Inbox, store: JsonlStore) -> None:
    recorder = Recorder(store)
    for n in range(5):
        inbox.accept(signal(f"s{n}"), chosen_id=True)
        drain(inbox, recorder, set(), at(1))
        for known in range(n + 1):
            assert inbox.accept(signal(f"s{known}"), chosen_id=True) == AlreadyKnown(recorded=True)


def test_a_closed_run_refuses_a_new_message_and_knows_an_old_one(folder: HistoriesFolder) -> None:
    create(folder.history(RunName("order-1")), [started()], [signal("a")], [done()])
    inbox = Inbox(folder, "order-1")
    assert inbox.accept(signal("a"), chosen_id=True) == AlreadyKnown(recorded=True)
    with pytest.raises(WrongStateError, match="ends with WorkflowCompleted"):
        inbox.accept(signal("b"), chosen_id=True)
    assert [name for name in os.listdir(folder.inbox("order-1")) if name != ".lock"] == []


def test_a_run_between_two_files_accepts_messages_for_the_next(folder: HistoriesFolder) -> None:
    continued = ev.WorkflowContinuedAsNew(input=msgspec.Raw(b"1"), new_run_id="r2")
    create(folder.history(RunName("order-1")), [started()], [continued])
    assert isinstance(Inbox(folder, "order-1").accept(signal("a"), chosen_id=True), Accepted)


def test_a_reopened_run_accepts_messages(folder: HistoriesFolder) -> None:
    reopened = ev.WorkflowReopened(superseded_from=2)
    create(folder.history(RunName("order-1")), [started()], [ev.WorkflowCancelled()], [reopened])
    assert isinstance(Inbox(folder, "order-1").accept(signal("a"), chosen_id=True), Accepted)


def test_a_message_to_no_run_is_refused_and_leaves_nothing(folder: HistoriesFolder) -> None:
    with pytest.raises(NoSuchRunError):
        Inbox(folder, "order-1").accept(signal("a"), chosen_id=False)
    assert not folder.root.exists()


@pytest.mark.parametrize("event", [done(), started(), scheduled(0), ev.WorkflowReopened(superseded_from=1)])
def test_what_is_no_message_is_refused(inbox: Inbox, event: ev.Event) -> None:
    with pytest.raises(HistoryShapeError):
        inbox.accept(event, chosen_id=False)


def test_after_a_termination_is_accepted_nothing_else_is(inbox: Inbox, store: JsonlStore) -> None:
    inbox.accept(signal("a"), chosen_id=False)
    inbox.accept(ev.WorkflowTerminated(reason="enough"), chosen_id=False)
    with pytest.raises(WrongStateError, match="being terminated"):
        inbox.accept(ev.WorkflowPaused(), chosen_id=False)
    stamped = drain(inbox, Recorder(store), set(), at(1))
    assert [type(event).__name__ for event in stamped] == ["SignalReceived", "WorkflowTerminated"]


def test_draining_records_and_then_removes(inbox: Inbox, store: JsonlStore) -> None:
    for n in range(3):
        inbox.accept(signal(f"s{n}"), chosen_id=False)
    known: set[MessageId] = set()
    stamped = drain(inbox, Recorder(store), known, at(1))
    assert [(event.seq, event.signal_id) for event in stamped] == [(2, "s0"), (3, "s1"), (4, "s2")]
    assert known == {MessageId("SignalReceived", f"s{n}") for n in range(3)}
    assert inbox.list() == []
    assert drain(inbox, Recorder(store), known, at(1)) == []


def test_a_message_that_the_history_holds_is_removed_and_not_recorded_again(inbox: Inbox, store: JsonlStore) -> None:
    for name in ("a", "b"):
        inbox.accept(signal(name), chosen_id=True)
    stamped = drain(inbox, Recorder(store), {MessageId("SignalReceived", "a")}, at(1))
    assert [event.signal_id for event in stamped] == ["b"]
    assert inbox.list() == []


@pytest.mark.parametrize("step", [0, 1])
def test_a_message_that_could_not_be_recorded_stays_in_the_inbox(folder: HistoriesFolder, step: int) -> None:
    path = folder.history(RunName("order-1"))
    create(path, [started()]).close()
    inbox, calls = Inbox(folder, "order-1"), Failing()
    inbox.accept(signal("a"), chosen_id=True)
    store = JsonlStore.open_to_write(path, Files(calls))
    calls.fail_at = len(calls.log) + step
    with pytest.raises(StoreError):
        drain(inbox, Recorder(store), set(), at(1))
    assert ids(inbox) == ["a"]
    assert len(drain(inbox, Recorder(JsonlStore.open_to_write(path)), set(), at(1))) == 1


def test_a_closed_history_takes_no_message_and_what_it_holds_is_removed(inbox: Inbox, store: JsonlStore) -> None:
    inbox.accept(signal("a"), chosen_id=True)
    inbox.accept(signal("b"), chosen_id=True)
    inbox.accept(ev.WorkflowTerminated(), chosen_id=False)
    recorder = Recorder(store)
    recorder.append([signal("a"), ev.WorkflowTerminated()], at(1))
    assert drain(inbox, recorder, {MessageId("SignalReceived", "a")}, at(1), closed=True) == []
    assert ids(inbox) == ["b"]


def test_a_big_payload_goes_through_the_inbox_as_a_blob(
    inbox: Inbox, store: JsonlStore, folder: HistoriesFolder
) -> None:
    big = b'"' + b"x" * 3_000_000 + b'"'
    inbox.accept(signal("a", big), chosen_id=True)
    assert inbox.accept(signal("a", big), chosen_id=True) == AlreadyKnown(recorded=False)
    drain(inbox, Recorder(store), set(), at(1))
    assert inbox.accept(signal("a", big), chosen_id=True) == AlreadyKnown(recorded=True)
    assert store.path.stat().st_size < 2000
    assert list(read_history(store.path))[-1].payload == msgspec.Raw(big)
    with pytest.raises(PayloadError, match="64 MiB"):
        inbox.accept(signal("b", b'"' + b"x" * (64 << 20) + b'"'), chosen_id=False)


def test_a_damaged_message_is_a_clear_error_and_is_not_removed(inbox: Inbox, folder: HistoriesFolder) -> None:
    inbox.accept(signal("a"), chosen_id=False)
    (path,) = folder.inbox("order-1").glob("*.json")
    content = path.read_bytes()
    for damaged in (b"", content[:-9], content.replace(b'"a"', b'"b"'), b"null\n"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="is damaged") as caught:
            inbox.list()
        assert caught.value.where == (str(path),)
    assert path.exists()


def test_a_stray_file_in_the_inbox_is_a_clear_error(inbox: Inbox, folder: HistoriesFolder) -> None:
    inbox.accept(signal("a"), chosen_id=False)
    (folder.inbox("order-1") / "notes.txt").touch()
    with pytest.raises(StoreError, match=r"notes\.txt is no message"):
        inbox.list()


def test_symbolic_links_in_the_inbox_are_refused(inbox: Inbox, folder: HistoriesFolder, tmp_path: Path) -> None:
    inbox.accept(signal("a"), chosen_id=False)
    directory = folder.inbox("order-1")
    (path,) = directory.glob("*.json")
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(StoreError, match="symbolic link"):
        inbox.list()
    (directory / ".lock").unlink()
    (directory / ".lock").symlink_to(tmp_path / "lock")
    with pytest.raises(StoreError):
        inbox.accept(signal("b"), chosen_id=False)
    assert not (tmp_path / "lock").exists()
    (tmp_path / "histories" / ".aion" / "inbox" / "order-2").symlink_to(directory)
    create(folder.history(RunName("order-2")), [started("order-2")])
    with pytest.raises(StoreError, match="symbolic link"):
        Inbox(folder, "order-2").accept(signal("b"), chosen_id=False)


def test_everything_in_the_inbox_is_private(inbox: Inbox, folder: HistoriesFolder) -> None:
    before = os.umask(0)
    try:
        bell = inbox.open_doorbell()
        inbox.accept(signal("a"), chosen_id=False)
    finally:
        os.umask(before)
    assert bell
    bell.close()
    directory = folder.inbox("order-1")
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def readable(bell: Any) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_a_doorbell_rings_until_it_is_silenced_and_no_ringer_waits(inbox: Inbox) -> None:
    inbox.ring()
    bell = inbox.open_doorbell()
    assert bell
    assert not readable(bell)
    for _ in range(3):
        inbox.ring()
    assert readable(bell)
    bell.silence()
    assert not readable(bell)
    bell.close()
    inbox.ring()


def test_something_else_in_place_of_the_doorbell_is_refused(inbox: Inbox, folder: HistoriesFolder) -> None:
    inbox.accept(signal("a"), chosen_id=False)
    bell = folder.inbox("order-1") / ".bell"
    bell.write_text("precious")
    inbox.ring()
    assert bell.read_text() == "precious"
    with pytest.raises(StoreError, match="not a FIFO"):
        inbox.open_doorbell()


def test_a_supervisor_that_asked_for_it_learns_which_run_was_signalled(inbox: Inbox, folder: HistoriesFolder) -> None:
    inbox.ring()
    assert not folder.wake.exists()
    folder.wake.mkdir()
    inbox.ring()
    assert os.listdir(folder.wake) == ["order-1"]


def test_a_supervisors_place_that_leads_elsewhere_is_left_alone(
    inbox: Inbox, folder: HistoriesFolder, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.wake.parent.mkdir(exist_ok=True)
    folder.wake.symlink_to(tmp_path / "elsewhere")
    inbox.ring()
    assert os.listdir(tmp_path / "elsewhere") == []


def test_listing_under_the_lock_sees_what_was_accepted_before(inbox: Inbox) -> None:
    with inbox.locked():
        assert inbox.names() == []
        with inbox.locked():
            assert inbox.list() == []
    inbox.accept(signal("a"), chosen_id=False)
    with inbox.locked():
        assert ids(inbox) == ["a"]


def test_two_processes_send_with_repeats_and_every_message_arrives_once_and_in_order(
    inbox: Inbox, store: JsonlStore, folder: HistoriesFolder
) -> None:
    bell = inbox.open_doorbell()
    assert bell
    command = [sys.executable, "-c", SENDER, str(folder.root)]
    senders = [subprocess.Popen([*command, name, "40"], cwd=Path(__file__).parents[2]) for name in ("a", "b")]
    recorder, known, received = Recorder(store), set[MessageId](), list[Any]()
    while len(received) < 80:
        assert select.select([bell], [], [], 20)[0], "no ring came"
        bell.silence()
        received += drain(inbox, recorder, known, at(1))
    assert [sender.wait() for sender in senders] == [0, 0]
    assert drain(inbox, recorder, known, at(1)) == []
    recorded = list(store.read())[1:]
    assert [event.seq for event in recorded] == list(range(2, 82))
    for name in ("a", "b"):
        assert [event.signal_id for event in recorded if event.name == name] == [f"{name}-{n}" for n in range(40)]
    bell.close()
