"""What a run says about itself: tags and progress."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import query, set_progress, set_tags, workflow
from aion_cli.errors import AionError
from tests.builders import at, history, replay_of, started, timer


@workflow
async def leaves_a_task_behind() -> None:
    async def resists() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            set_progress(0, 1)

    async def resists_too() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            set_tags(state="torn down")

    set_tags(state="done")
    set_progress(1, 1)
    tasks = [asyncio.create_task(resists()), asyncio.create_task(resists_too())]
    await asyncio.sleep(0)
    assert tasks


def test_code_that_is_torn_down_changes_neither_tags_nor_progress() -> None:
    replay = replay_of(leaves_a_task_behind, history(started()))
    replay.run()
    assert replay.execution.tags == {"state": "done"}
    assert replay.execution.progress == (1, 1, "")
    replay.execution.close()


@workflow
async def is_asked() -> None:
    query("tags", lambda: set_tags(state="asked"))
    query("progress", lambda: set_progress(1, 1))
    await asyncio.sleep(1)


@pytest.mark.parametrize("name", ["tags", "progress"])
def test_a_query_that_sets_either_is_an_error(name: str) -> None:
    replay = replay_of(is_asked, history(started(), timer(0, at(1))))
    replay.run()
    with pytest.raises(AionError, match="a query tried to change its run"):
        replay.execution.ask(name, None)
    assert (replay.execution.tags, replay.execution.progress) == ({}, None)
    replay.execution.close()
