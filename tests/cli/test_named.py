"""What the words of `aion replay` mean: ids, paths, folders and globs."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.builders import started
from tests.cli.audited import ORDER, orders_in, write
from tests.cli.support import Project


@pytest.fixture
def orders(project: Project) -> Project:
    return orders_in(project)


def test_a_folder_means_all_that_is_below_it_but_nothing_in_hidden_folders(orders: Project) -> None:
    assert orders.here("run", "basket", "--id", "basket-1", "--input", '["C3"]').code == 0
    write(orders.root / "histories/golden/old.jsonl", started("A1"))
    write(orders.root / "histories/.aion/torn/order-1.jsonl", started("A1"))
    (orders.root / "histories/notes.txt").write_text("not a history")
    done = orders.here("replay", "histories")
    assert (done.code, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "histories/basket-1.1-2.jsonl" if name == "child" else f"histories/{name}.jsonl"
        for name in ("basket-1", "child", "order-1", "order-2", "waits-1", "golden/old")
    ]


def test_continuations_come_in_the_order_of_their_numbers(project: Project) -> None:
    project.write(ORDER)
    for name in ("order-1@10", "order-1@2", "order-1"):
        write(project.history(name), started("A1"))
    done = project.here("replay", "histories/")
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        f"histories/{name}.jsonl" for name in ("order-1", "order-1@2", "order-1@10")
    ]


def test_a_file_in_a_folder_that_holds_no_run_yet_is_mentioned_and_no_verdict(orders: Project) -> None:
    orders.history("empty").touch()
    done = orders.here("replay", "histories")
    assert (done.code, done.stderr) == (0, "histories/empty.jsonl holds no run yet\n")
    assert "empty" not in done.stdout
    assert orders.here("replay", "histories/empty.jsonl").code == 7


@pytest.mark.parametrize("folder", ["bare", "only-an-empty-file"])
def test_a_folder_without_a_run_is_no_such_run(project: Project, folder: str) -> None:
    (project.root / "bare").mkdir()
    (project.root / "only-an-empty-file").mkdir()
    (project.root / "only-an-empty-file/x.jsonl").touch()
    assert project.here("replay", folder).code == 7


def test_a_folder_that_cannot_be_read_does_not_pass_for_an_empty_one(
    orders: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (orders.root / "histories/closed").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = orders.here("replay", "histories")
    assert (done.code, done.stderr) == (10, "error[storage]: cannot list histories/closed: Permission denied\n")
    assert "not replayed  histories/closed" in done.stdout


def test_globs_match_ids_of_runs_and_paths(orders: Project) -> None:
    assert [line.split()[1] for line in orders.here("replay", "order-*").stdout.splitlines()] == ["order-1", "order-2"]
    paths = orders.here("replay", "hist*/order-[12].jsonl", "**/waits*.jsonl").stdout.splitlines()
    assert [line.split()[1] for line in paths] == [
        f"histories/{name}.jsonl" for name in ("order-1", "order-2", "waits-1")
    ]


def test_a_glob_that_matches_nothing_is_missing(orders: Project) -> None:
    done = orders.here("replay", "nope-*")
    assert (done.code, done.stdout.split()[:2]) == (7, ["missing", "nope-*"])
    assert "no run and no .jsonl file matches" in done.stderr


def test_an_id_wins_over_a_folder_of_that_name_and_a_slash_means_the_folder(orders: Project) -> None:
    (orders.root / "order-1").mkdir()
    assert orders.here("replay", "order-1").stdout.startswith("clean     order-1 ")
    assert orders.here("replay", "order-1/").code == 7
