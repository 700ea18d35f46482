"""Messages to runs: before anybody listens, under a wrong name, and across the end of a file."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import ContinueAsNew, Signal, activity, update, wait_until, workflow
from aion_cli.core import events as ev
from aion_cli.testing import crash_everywhere
from aion_cli.testing.loop import SkippingLoop
from tests.builders import raw
from tests.cli.support import Project
from tests.primitives.stage import Message, Performance, sends

words = Signal("words", str)
numbers = Signal("numbers", int)


@activity
async def prepare() -> None:
    await asyncio.sleep(0)


@workflow
async def listens_late() -> list[object]:
    await prepare()
    await asyncio.sleep(3600)
    return [await words.receive(), await numbers.receive(), await words.receive(), words.pending()]


@pytest.mark.complaint(11)
def test_signals_that_come_before_anybody_listens_wait_in_the_order_of_the_file_wherever_the_run_crashes() -> None:
    """Row 11: nothing is dropped because nobody asked for it yet."""
    early = [(words, "one"), (words, "two"), (numbers, 3), (words, "three")]
    assert crash_everywhere(listens_late, signals=early) == ["one", 3, "two", 1]


LISTENS = """
    approval = Signal("approval", bool)
    refusal = Signal("refusal", str)

    @workflow
    async def listens() -> bool:
        return await approval.receive()
"""


@pytest.mark.complaint(12)
def test_a_signal_of_a_name_that_nobody_declares_is_refused_with_the_names_there_are(project: Project) -> None:
    """Row 12: a typing error does not look like success."""
    project.write(LISTENS)
    assert project.here("run", "listens", "--id", "l1", "--until-blocked").code == 3
    before = project.history("l1").read_bytes()
    done = project.here("signal", "l1", "aproval", "true")
    assert (done.code, done.stdout) == (2, "")
    assert "approval" in done.stderr and "refusal" in done.stderr
    assert project.history("l1").read_bytes() == before


@pytest.mark.complaint(12)
def test_a_run_that_is_closed_and_one_that_is_not_there_have_codes_of_their_own(project: Project) -> None:
    """Row 12: 8 and 7, for every kind of message."""
    project.write(LISTENS)
    assert project.here("run", "listens", "--id", "l1", "--until-blocked").code == 3
    assert project.here("signal", "l1", "approval", "true").code == 0
    assert project.here("run", "listens", "--id", "l1").code == 0
    for message in (["signal", "approval", "true"], ["cancel"], ["terminate"], ["pause"]):
        command, *rest = message
        assert project.here(command, "l1", *rest).code == 8, message
        assert project.here(command, "l2", *rest).code == 7, message


@workflow
async def in_chapters(chapter: int) -> list[str]:
    items: list[str] = []

    @update
    async def add(item: str) -> int:
        await wait_until(lambda: chapter == 2)
        items.append(item)
        return len(items)

    if chapter < 2:
        await numbers.receive()
        raise ContinueAsNew(chapter + 1)
    await wait_until(lambda: len(items) == 1)
    return [*items, await words.receive(), await words.receive()]


def asks_to_add(item: str, *, after_s: float) -> Message:
    return Message(after_s, ev.UpdateRequested(update_id="u1", name="add", args=raw(item)))


@pytest.mark.complaint(13)
def test_messages_to_a_run_that_continues_as_new_are_there_in_the_next_file_wherever_it_crashes(
    loop: SkippingLoop,
) -> None:
    """Row 13: signals that nobody took and updates that nobody answered are carried over with the next first event."""
    early = (sends("words", "one"), asks_to_add("an item", after_s=2), sends("words", "two", after_s=3))
    turns = (sends("numbers", 1, after_s=4), sends("numbers", 2, after_s=5))
    performance = Performance(loop, in_chapters, (0,), {}, (*early, *turns))
    assert performance.end == ("WorkflowCompleted", ["an item", "one", "two"])
    assert len(performance.histories) == 3
    ends = dict(performance.crashes())
    assert ends == dict.fromkeys(ends, performance.ends)
