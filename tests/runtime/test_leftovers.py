from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from aion_cli.core.ids import RunName
from aion_cli.errors import StoreError
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.leftovers import OLD_S, sweep
from tests.storage import Failing, create, signal, started

NOW_S = 1_772_357_400
NOW_MICROS = NOW_S * 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> HistoriesFolder:
    return HistoriesFolder(tmp_path / "histories")


class Dying(Calls):
    """Ends a process where a file gets its name."""

    def rename(self, source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    def link(self, source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    def unlink(self, path: Path) -> None:
        raise KeyboardInterrupt


def left_over(folder: HistoriesFolder, age_s: float) -> list[Path]:
    """Have a creator and a sender killed before what they wrote had its name."""
    create(folder.history(RunName("order-1")), [started()]).close()
    dying = HistoriesFolder(folder.root, Files(Dying()))
    with pytest.raises(KeyboardInterrupt):
        create(dying.history(RunName("order-2")), [started("order-2")], files=dying.files)
    with pytest.raises(KeyboardInterrupt):
        Inbox(dying, "order-1").accept(signal("a"), chosen_id=False)
    found = [*(folder.root / ".aion" / "tmp").iterdir(), *folder.inbox("order-1").glob(".tmp-*")]
    assert len(found) == 2
    for path in found:
        os.utime(path, (NOW_S - age_s, NOW_S - age_s))
    return found


def test_what_killed_processes_left_is_removed_once_nobody_can_be_writing_it(folder: HistoriesFolder) -> None:
    found = left_over(folder, OLD_S + 1)
    Inbox(folder, "order-1").accept(signal("b"), chosen_id=False)
    sweep(folder, "order-1", NOW_MICROS)
    assert [path for path in found if path.exists()] == []
    assert [message.event.signal_id for message in Inbox(folder, "order-1").list()] == ["b"]


@pytest.mark.parametrize("age_s", [0, OLD_S - 1, -OLD_S])
def test_what_may_still_be_written_stays(folder: HistoriesFolder, age_s: float) -> None:
    found = left_over(folder, age_s)
    sweep(folder, "order-1", NOW_MICROS)
    assert all(path.exists() for path in found)


def test_a_folder_without_anything_left_is_left_alone(folder: HistoriesFolder) -> None:
    sweep(folder, "order-1", NOW_MICROS)
    assert not folder.root.exists()


def test_what_cannot_be_removed_harms_nothing(folder: HistoriesFolder) -> None:
    found = left_over(folder, OLD_S + 1)
    sweep(HistoriesFolder(folder.root, Files(Failing(0, errno.EACCES, lasting=True))), "order-1", NOW_MICROS)
    assert all(path.exists() for path in found)


def test_a_sender_whose_file_is_gone_is_told_so_and_its_message_was_not_accepted(folder: HistoriesFolder) -> None:
    class Slow(Calls):
        def rename(self, source: Path, target: Path) -> None:
            os.utime(source, (NOW_S - OLD_S - 1, NOW_S - OLD_S - 1))
            sweep(folder, "order-1", NOW_MICROS)
            super().rename(source, target)

    create(folder.history(RunName("order-1")), [started()]).close()
    with pytest.raises(StoreError):
        Inbox(HistoriesFolder(folder.root, Files(Slow())), "order-1").accept(signal("a"), chosen_id=False)
    assert Inbox(folder, "order-1").list() == []
