from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aion_cli.core.ids import RunName
from aion_cli.errors import NoSuchRunError, UsageError
from aion_cli.runtime.folder import HistoriesFolder
from tests.storage import create, started


@pytest.fixture
def folder(tmp_path: Path) -> HistoriesFolder:
    found = HistoriesFolder(tmp_path / "histories")
    for name in (RunName("order-1"), RunName("order-1", 2), RunName("order-1", 10), RunName("order-2"), RunName("b.c")):
        create(found.history(name), [started(name.workflow_id)]).close()
    (found.root / "notes.txt").write_text("x")
    (found.root / "not a run.jsonl").write_text("x")
    return found


def test_runs_are_listed_by_id_and_number(folder: HistoriesFolder) -> None:
    assert [run.path.name for run in folder.runs()] == [
        *("b.c.jsonl", "order-1.jsonl", "order-1@2.jsonl", "order-1@10.jsonl", "order-2.jsonl")
    ]


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("order-1", "order-1@10"),
        ("order-1@1", "order-1"),
        ("order-1@2", "order-1@2"),
        ("order-2", "order-2"),
        ("order-1.jsonl", "order-1"),
        ("order-1@2.jsonl", "order-1@2"),
    ],
)
def test_a_run_is_found_by_id_number_and_file_name(folder: HistoriesFolder, run: str, name: str) -> None:
    assert folder.find(run).name.stem == name
    assert folder.find(run).path == folder.root / f"{name}.jsonl"


def test_a_run_is_found_by_path_whatever_it_is_called(folder: HistoriesFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "My Copy.jsonl"
    shutil.copy(folder.root / "order-2.jsonl", elsewhere)
    assert folder.find(str(elsewhere)).path == elsewhere
    with pytest.raises(UsageError, match="does not lie in"):
        folder.require_own(folder.find(str(elsewhere)))


@pytest.mark.parametrize("run", ["order-3", "order-1@3", "orders", "./order-1.jsonl", "x.jsonl"])
def test_a_missing_run_is_named_with_a_hint(folder: HistoriesFolder, run: str) -> None:
    with pytest.raises(NoSuchRunError) as caught:
        folder.find(run)
    assert caught.value.run == run
    assert caught.value.hint


@pytest.mark.parametrize("run", ["a" * 300 + ".jsonl", "./" + "a" * 300])
def test_a_path_that_is_too_long_for_the_disk_names_no_run(folder: HistoriesFolder, run: str) -> None:
    with pytest.raises(NoSuchRunError):
        folder.find(run)


def test_a_near_name_is_suggested(folder: HistoriesFolder) -> None:
    with pytest.raises(NoSuchRunError) as caught:
        folder.find("ordre-2")
    assert "order-2" in caught.value.hint


def test_an_empty_file_is_no_run_and_does_not_hide_the_one_before(folder: HistoriesFolder) -> None:
    (folder.root / "order-1@11.jsonl").touch()
    (folder.root / "empty.jsonl").touch()
    assert folder.latest("order-1").name.number == 10
    for run in ("empty", "order-1@11", str(folder.root / "empty.jsonl")):
        with pytest.raises(NoSuchRunError):
            folder.find(run)


def test_a_folder_that_does_not_exist_holds_no_runs(tmp_path: Path) -> None:
    folder = HistoriesFolder(tmp_path / "none")
    assert folder.runs() == []
    with pytest.raises(NoSuchRunError):
        folder.find("a")
    assert not folder.root.exists()


@pytest.mark.parametrize("run", ["../x", "a/../b", "/etc/passwd", "a b", "a@x", ""])
def test_what_is_no_name_never_becomes_a_path_in_the_folder(folder: HistoriesFolder, run: str) -> None:
    with pytest.raises((NoSuchRunError, UsageError)):
        location = folder.find(run)
        folder.require_own(location)


def test_an_id_that_differs_only_in_case_is_refused(folder: HistoriesFolder) -> None:
    assert folder.require_new("order-1") == "order-1"
    assert folder.require_new("order-9") == "order-9"
    with pytest.raises(UsageError, match="only in case from order-2"):
        folder.require_new("Order-2")


def test_a_file_that_holds_another_run_can_only_be_read(folder: HistoriesFolder) -> None:
    shutil.copy(folder.root / "order-2.jsonl", folder.root / "order-7.jsonl")
    with pytest.raises(UsageError, match="is the history of order-2, not of order-7"):
        folder.require_own(folder.find("order-7"))
    folder.require_own(folder.find("order-2"))
