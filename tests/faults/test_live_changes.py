"""A history that something else changes under a live run: the run stops, appends nothing, and says what it found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aion_cli.cli.output import ExitCode, exit_code_of
from aion_cli.errors import DamagedHistoryError, StoreError
from aion_cli.runtime.files import Calls
from aion_cli.runtime.journal import read_history
from tests.faults.promises import Accepted, Effect, Ended, Entry, hold_against
from tests.faults.scenes import RUN, Plan, Shell
from tests.faults.tally import DAMAGED, Tally

Change = Callable[[Path], object]
PLAN = Plan([("work", 20), ("work", 30)])


class ChangedMachine:
    """A real folder, whose history is changed while its first activity runs. Implements Machine."""

    def __init__(self, root: Path, change: Change) -> None:
        self.root = root
        self.history = root / f"{RUN}.jsonl"
        self.entries: list[Entry] = []
        self._change: Change | None = change

    def calls(self) -> Calls:
        return Calls()

    def histories(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.root.glob("*.jsonl")}

    def remember(self, entry: Entry) -> None:
        self.entries.append(entry)
        if isinstance(entry, Effect) and self._change is not None:
            change, self._change = self._change, None
            change(self.history)

    def remembers(self, entry: Entry) -> bool:
        return entry in self.entries

    def everything(self) -> dict[str, bytes]:
        """All histories anywhere beside the folder, too."""
        return {str(path): path.read_bytes() for path in self.root.parent.rglob("*.jsonl*")}


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x\n")


def replace_by_copy(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".copy"))
    os.replace(path.with_suffix(".copy"), path)


def move_away(path: Path) -> None:
    os.rename(path, path.with_suffix(".jsonl-moved"))


def move_away_and_copy_back(path: Path) -> None:
    move_away(path)
    shutil.copy2(path.with_suffix(".jsonl-moved"), path)


def replace_by_link(path: Path) -> None:
    move_away(path)
    path.symlink_to(path.with_suffix(".jsonl-moved").name)


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_folder(path: Path) -> None:
    os.rename(path.parent, path.parent.with_name("elsewhere"))


CHANGES: tuple[tuple[Change, str], ...] = (
    (Path.unlink, "was removed"),
    (truncate, "bytes, not"),
    (append, "bytes, not"),
    (replace_by_copy, "is another file"),
    (move_away, "was removed"),
    (move_away_and_copy_back, "is another file"),
    (replace_by_link, "is another file"),
    (remove_folder, "was removed"),
    (move_folder, "was removed"),
)


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_live_run_stops_when_something_else_changes_its_history(
    tmp_path: Path, change: Change, said: str, tally: Tally
) -> None:
    after: list[dict[str, bytes]] = []

    def change_and_look(path: Path) -> None:
        change(path)
        after.append(machine.everything())

    machine = ChangedMachine(tmp_path / "histories", change_and_look)
    with pytest.raises(StoreError, match=said) as caught:
        Shell(machine).run(PLAN)
    assert exit_code_of(caught.value) is ExitCode.STORAGE
    assert caught.value.hint
    assert machine.everything() == after[0]
    assert [entry.ordinal for entry in machine.entries if isinstance(entry, Effect)] == [0]
    tally.add(DAMAGED)


@pytest.mark.parametrize("signalled", [False, True])
def test_a_live_run_whose_bookkeeping_is_removed_stops_and_loses_nothing(
    tmp_path: Path, signalled: bool, tally: Tally
) -> None:
    """With its lock gone another process can own the run; with its inbox gone it cannot know that nothing waits."""

    def remove(path: Path) -> None:
        shutil.rmtree(path.parent / ".aion")
        if signalled:
            Shell(machine).signal(RUN, "go", 1, "meanwhile")

    machine = ChangedMachine(tmp_path / "histories", remove)
    with pytest.raises(StoreError, match="bytes, not" if signalled else "cannot") as caught:
        Shell(machine).run(PLAN)
    assert exit_code_of(caught.value) is ExitCode.STORAGE
    Shell(machine).run(PLAN)
    hold_against(machine.entries, machine.histories(), {}, [])
    assert any(isinstance(entry, Ended) for entry in machine.entries)
    assert any(isinstance(entry, Accepted) for entry in machine.entries) is signalled
    tally.add(DAMAGED)


def test_an_activity_that_changes_the_working_directory_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    machine = ChangedMachine(Path("histories"), lambda path: os.chdir("/"))
    machine.histories = dict  # it would look in the wrong place
    end = Shell(machine).run(Plan([("work", 20), ("child", 300_000)]))
    assert end.closed_by is not None
    folder = tmp_path / "histories"
    assert len(list(folder.glob("*.jsonl"))) == 2
    assert len(list(read_history(folder / f"{RUN}.jsonl"))) == len((folder / f"{RUN}.jsonl").read_bytes().splitlines())
    assert list((folder / ".aion" / "blobs").rglob("*/*"))
    assert not Path("histories").exists()


def test_an_edit_in_place_under_a_live_run_is_found_by_whoever_reads_it_next(tmp_path: Path, tally: Tally) -> None:
    def edit(path: Path) -> None:
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.write(data.replace(b'["work",20]', b'["work",21]'))

    machine = ChangedMachine(tmp_path / "histories", edit)
    Shell(machine).run(PLAN)
    assert any(isinstance(entry, Ended) for entry in machine.entries)
    with pytest.raises(DamagedHistoryError) as caught:
        list(read_history(machine.history))
    assert caught.value.line == 1
    tally.add(DAMAGED)
