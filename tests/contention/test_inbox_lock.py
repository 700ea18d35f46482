"""What happens under the short inbox lock: naming and listing. A race that shows a missing lock takes hours to meet."""

from __future__ import annotations

import fcntl
from pathlib import Path

from aion_cli.core.ids import RunName
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from tests.storage import create, signal, started


class Logging(Calls):
    """Real calls; `log` holds which of them were made on the inbox, in their order."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def flock(self, fd: int, operation: int) -> None:
        super().flock(fd, operation)
        self.log.append("lock" if operation == fcntl.LOCK_EX else "unlock")

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.log.append("name")

    def listdir(self, path: Path) -> list[str]:
        if path.parent.name == "inbox":
            self.log.append("list")
        return super().listdir(path)


def inbox_and_log(root: Path) -> tuple[Inbox, list[str]]:
    create(root / "order-1.jsonl", [started()]).close()
    calls = Logging()
    return Inbox(HistoriesFolder(root), "order-1", Files(calls)), calls.log


def test_a_message_is_looked_up_and_named_under_one_hold_of_the_lock(tmp_path: Path) -> None:
    inbox, log = inbox_and_log(tmp_path)
    inbox.accept(signal("a"), chosen_id=True)
    assert log == ["lock", "list", "list", "name", "unlock"]


def test_messages_are_listed_under_the_lock(tmp_path: Path) -> None:
    inbox, log = inbox_and_log(tmp_path)
    inbox.accept(signal("a"), chosen_id=False)
    del log[:]
    assert len(inbox.list()) == 1
    assert log[-3:] == ["lock", "list", "unlock"]


def test_an_owner_that_is_about_to_end_holds_the_lock_from_its_last_look_on(tmp_path: Path) -> None:
    inbox, log = inbox_and_log(tmp_path)
    with inbox.locked():
        assert inbox.list() == []
        log.append("the terminal event")
    assert log == ["lock", "list", "the terminal event", "unlock"]


def test_the_lock_of_one_inbox_is_no_lock_of_another(tmp_path: Path) -> None:
    inbox, _ = inbox_and_log(tmp_path)
    create(tmp_path / "order-2.jsonl", [started("order-2")]).close()
    with inbox.locked():
        Inbox(HistoriesFolder(tmp_path), "order-2").accept(signal("a"), chosen_id=False)
    assert Inbox(HistoriesFolder(tmp_path), RunName("order-2").workflow_id).names()
