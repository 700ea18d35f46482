from __future__ import annotations

from pathlib import Path

import pytest

from aion_cli.core.ids import RunName
from aion_cli.errors import OwnedElsewhereError
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.starting import start_unowned
from aion_cli.runtime.wall import WallClock
from tests.storage import create, started


@pytest.fixture
def folder(tmp_path: Path) -> HistoriesFolder:
    return HistoriesFolder(tmp_path / "histories")


def start(folder: HistoriesFolder, wait_s: float = 5.0) -> bool:
    return start_unowned(folder, started("order-1"), role=Role.SIGNAL, clock=WallClock(), wait_s=wait_s)


def test_a_run_is_made_once_and_nobody_owns_it(folder: HistoriesFolder) -> None:
    assert [start(folder), start(folder)] == [True, False]
    take(folder, "order-1", Role.RUN).release()


def test_a_run_that_continued_is_there_even_if_its_first_history_is_not(folder: HistoriesFolder) -> None:
    create(folder.history(RunName("order-1", 2)), [started("order-1")]).close()
    assert not start(folder)
    assert not folder.history(RunName("order-1")).exists()


def test_an_owner_that_has_made_no_history_yet_is_waited_for(folder: HistoriesFolder) -> None:
    owner = take(folder, "order-1", Role.RUN)
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            create(folder.history(RunName("order-1")), [started("order-1")]).close()

    assert not start_unowned(folder, started("order-1"), role=Role.SIGNAL, clock=WallClock(), wait_s=60.0, sleep=nap)
    owner.release()
    assert len(naps) == 3


def test_an_owner_that_gives_up_leaves_the_run_to_be_made(folder: HistoriesFolder) -> None:
    owner = take(folder, "order-1", Role.RUN)

    def nap(seconds: float) -> None:
        del seconds
        owner.release()

    assert start_unowned(folder, started("order-1"), role=Role.SIGNAL, clock=WallClock(), wait_s=60.0, sleep=nap)


def test_an_owner_that_makes_none_for_long_is_named(folder: HistoriesFolder) -> None:
    with take(folder, "order-1", Role.RUN), pytest.raises(OwnedElsewhereError, match=r"order-1 is owned by process"):
        start(folder, wait_s=0.0)
