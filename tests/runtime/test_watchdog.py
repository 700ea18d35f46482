"""The watchdog: it names the line that keeps a run from moving, once, and no line of a run that moves."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

import msgspec
import pytest

from aion_cli import activity, workflow
from aion_cli.core import events as ev
from aion_cli.core.source import SourcePaths
from aion_cli.errors import UsageError
from aion_cli.runtime.watchdog import DEFAULT_LIMIT_S, VARIABLE, Watchdog, limit_from_environment
from tests.builders import history, line_of, raw, replay_of, started
from tests.runs import AnyWorkflow, Place
from tests.runtime.shop import Shop

warned = threading.Event()
again = threading.Event()


@workflow
async def blocks() -> bool:
    return warned.wait(30)


@workflow
async def goes_on_blocking() -> bool:
    warned.wait(30)
    return again.wait(0.1)


@workflow
async def moves() -> bool:
    return warned.is_set()


def watched(place: Place, workflow: AnyWorkflow, limit_s: float) -> list[str]:
    """Run a workflow under a watchdog, and return what that says."""
    said: list[str] = []

    def notice(text: str) -> None:
        said.append(text)
        (again if warned.is_set() else warned).set()

    place.shop = msgspec.structs.replace(place.shop, watchdog_s=limit_s, notice=notice)
    assert isinstance(place.run(workflow).closed_by, ev.WorkflowCompleted)
    return said


def test_a_step_that_takes_longer_than_the_limit_is_named_with_its_line(tmp_path: Path) -> None:
    warned.clear()
    (text,) = watched(Place(tmp_path), blocks, 0.01)
    place = re.escape(line_of(blocks.fn, 2))
    assert re.match(rf"order-1: workflow code has been busy for \d+\.\d s at {place}; ", text), text


def test_a_step_is_named_once_however_long_it_takes(tmp_path: Path) -> None:
    warned.clear()
    again.clear()
    assert len(watched(Place(tmp_path), goes_on_blocking, 0.004)) == 1


def patrols() -> int:
    return sum(thread.name == "aion-watchdog" for thread in threading.enumerate())


def until_nobody_watches() -> None:
    give_up_at = time.monotonic() + 30
    while patrols():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def test_one_thread_watches_all_runs_of_a_process_and_ends_with_the_last(tmp_path: Path) -> None:
    counts: list[int] = []

    @activity
    async def count() -> None:
        counts.append(patrols())

    @workflow
    async def counts_too() -> None:
        await count()

    @workflow
    async def has_children() -> None:
        await asyncio.gather(*(counts_too() for _ in range(5)))

    Shop(tmp_path / "histories").run(has_children)
    assert counts == [1] * 5
    until_nobody_watches()


def test_a_run_with_a_shorter_limit_is_watched_as_often_as_it_asks(tmp_path: Path) -> None:
    warned.clear()
    execution = replay_of(moves, history(started())).execution
    with Watchdog(execution, SourcePaths(), lambda _: None, 3600):
        assert len(watched(Place(tmp_path), blocks, 0.01)) == 1


def test_without_a_limit_nobody_watches(tmp_path: Path) -> None:
    @workflow
    async def says_who_watches() -> int:
        return patrols()

    until_nobody_watches()
    warned.set()
    place = Place(tmp_path)
    assert watched(place, says_who_watches, 0) == []
    assert place.events()[-1].result == raw(0)


@pytest.mark.parametrize(
    ("given", "limit_s"), [("", DEFAULT_LIMIT_S), ("0", 0), ("0.5", 0.5), ("10", 10)], ids=lambda value: str(value)
)
def test_the_limit_can_be_set(monkeypatch: pytest.MonkeyPatch, given: str, limit_s: float) -> None:
    monkeypatch.setenv(VARIABLE, given)
    assert limit_from_environment() == limit_s


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_what_is_no_limit_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(UsageError, match="which is no number of seconds"):
        limit_from_environment()
