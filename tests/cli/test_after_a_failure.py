"""What `run` and `result` say about a failed run: the commands that go on with it, which do when they are typed."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.cli.support import Done, Project

CODE = """
from pathlib import Path

@activity
def ship(sku):
    if not Path("truck").exists():
        raise LookupError("no truck")
    note(f"ship {sku}")

@workflow
async def parcel(sku: str) -> str:
    await ship(sku)
    return sku

@workflow
async def order(sku: str) -> str:
    await asyncio.sleep(0)
    return await parcel(sku)

@workflow
async def hides(sku: str) -> str:
    try:
        return await parcel(sku)
    except Exception as error:
        raise ValueError("the order is lost") from error

@workflow
async def own(sku: str) -> str:
    if not Path("truck").exists():
        raise ValueError("not like this")
    return sku
"""


@pytest.fixture
def failing(project: Project) -> Project:
    project.write(CODE)
    return project


def hinted(stderr: str) -> list[str]:
    """The commands of the hint, as typed."""
    (hint,) = re.findall(r"hint: .*?: (aion .*)", stderr)
    return hint.split(" && ")


def started(project: Project, workflow: str) -> Done:
    return project.here("run", f"order.py:{workflow}", "--id", "o1", "-p", "sku=A1")


def typed(project: Project, commands: list[str]) -> list[int]:
    return [project.here(*shlex.split(command)[1:]).code for command in commands]


def test_a_run_whose_activity_failed_is_told_how_to_try_that_again(failing: Project) -> None:
    done = started(failing, "parcel")
    assert done.code == 1
    assert "hint: to try the activity again: aion reopen o1 --from 4 && aion resume o1" in done.stderr
    (failing.root / "truck").touch()
    assert typed(failing, hinted(done.stderr)) == [0, 0]
    assert failing.here("result", "o1").document == "A1"
    assert failing.world == ["ship A1"]


@pytest.mark.parametrize("workflow", ["order", "hides"])
def test_a_run_whose_child_failed_is_told_to_begin_with_the_child(failing: Project, workflow: str) -> None:
    done = started(failing, workflow)
    assert done.code == 1
    assert "hint: reopen o1.1-2 first (aion result o1.1-2 says how), then: aion reopen o1 --from 3" in done.stderr
    assert "in ship" in done.stderr
    (failing.root / "truck").touch()
    of_child = failing.here("result", "o1.1-2")
    assert typed(failing, hinted(of_child.stderr)) == [0, 0]
    assert typed(failing, hinted(done.stderr)) == [0, 0]
    assert failing.here("result", "o1").document == "A1"
    assert failing.world == ["ship A1"]
    assert failing.here("replay", "histories").code == 0


def test_a_run_whose_own_code_failed_is_told_to_mend_it(failing: Project) -> None:
    done = started(failing, "own")
    assert "hint: once its code is mended: aion reopen o1 && aion resume o1" in done.stderr
    (failing.root / "truck").touch()
    assert typed(failing, hinted(done.stderr)) == [0, 0]
    assert failing.here("result", "o1").document == "A1"


def test_a_failed_run_outside_the_folder_is_not_offered_to_be_reopened(failing: Project) -> None:
    started(failing, "own")
    history = failing.root / "histories" / "o1.jsonl"
    history.rename(failing.root / "o1.jsonl")
    done = failing.here("result", "./o1.jsonl")
    assert (done.code, "hint" in done.stderr) == (1, False)
