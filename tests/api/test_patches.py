"""Code that changes under open runs: who takes the new way, and who the old one."""

from __future__ import annotations

import asyncio

import msgspec

from aion_cli import activity, deprecate_patch, patched, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.replay import Boundary
from tests.builders import at, completed, divergence, ended, fired, history, replayed, scheduled, started, timer


@activity
async def old_check() -> None: ...


@activity
async def new_check() -> None: ...


@workflow
async def order() -> str:
    if patched("fraud"):
        await new_check()
        return "new"
    await old_check()
    return "old"


def marker(name: str = "fraud") -> ev.MarkerRecorded:
    return ev.MarkerRecorded(kind="patch", name=name, value=msgspec.Raw(b"true"))


def asked_for(boundary: Boundary) -> list[str]:
    return [
        command.activity_type if isinstance(command, cmd.RunActivity) else type(command).__name__
        for command in boundary.unmatched
    ]


def test_a_run_that_gets_there_first_takes_the_new_way_and_records_it() -> None:
    assert asked_for(replayed(order, history(started()))) == ["RecordMarker", "new_check"]


def test_a_run_from_before_the_change_keeps_the_old_way() -> None:
    events = history(started(), scheduled(0, "old_check"), completed(0), ended("old"))
    assert replayed(order, events).closed_by is not None


def test_a_run_that_recorded_the_patch_takes_the_new_way_again() -> None:
    events = history(started(), marker(), scheduled(0, "new_check"), completed(0), ended("new"))
    assert replayed(order, events).closed_by is not None


def test_a_crash_right_after_the_marker_does_not_change_the_way() -> None:
    assert asked_for(replayed(order, history(started(), marker()))) == ["new_check"]


@workflow
async def looping() -> list[bool]:
    answers: list[bool] = []
    for _ in range(2):
        answers.append(patched("loop"))
        await asyncio.sleep(1)
    return answers


def test_a_loop_gets_the_same_answer_every_time_and_one_marker() -> None:
    fresh = history(started(), marker("loop"), timer(0, at(1)), fired(0), timer(1, at(4)), fired(1))
    (end,) = replayed(looping, history(*fresh)).unmatched
    assert isinstance(end, cmd.CompleteWorkflow)
    assert end.outcome == cmd.Completed(msgspec.Raw(b"[true,true]"))


def test_an_old_run_in_the_middle_of_a_loop_keeps_to_the_old_way() -> None:
    old = history(started(), timer(0, at(1)), fired(0))
    boundary = replayed(looping, old)
    assert asked_for(boundary) == ["StartTimer"]


def test_two_patches_in_one_step_are_told_apart() -> None:
    @workflow
    async def both() -> list[bool]:
        answers = [patched("a"), patched("b")]
        await new_check()
        return answers

    only_b = history(started(), marker("b"), scheduled(0, "new_check"), completed(0), ended([False, True]))
    assert replayed(both, only_b).closed_by is not None
    fresh = history(started(), marker("a"), marker("b"), scheduled(0, "new_check"), completed(0), ended([True, True]))
    assert replayed(both, fresh).closed_by is not None


@workflow
async def cleaned_up() -> str:
    deprecate_patch("fraud")
    await new_check()
    return "new"


def test_a_deprecated_patch_accepts_old_markers_and_writes_no_new_ones() -> None:
    with_marker = history(started(), marker(), scheduled(0, "new_check"), completed(0), ended("new"))
    assert replayed(cleaned_up, with_marker).closed_by is not None
    assert asked_for(replayed(cleaned_up, history(started()))) == ["new_check"]


def test_a_marker_that_code_no_longer_knows_is_a_divergence() -> None:
    @workflow
    async def forgot() -> str:
        await new_check()
        return "new"

    assert divergence(forgot, history(started(), marker(), scheduled(0, "new_check"))).seq == 2
