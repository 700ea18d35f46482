"""Going on with runs that a reopen, a chain or a backoff left in a particular state."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.cli.support import Project

OVERDUE = """
import aion_cli

@activity(retry=aion_cli.RetryPolicy(initial=0.05, jitter=0))
async def knock() -> str:
    if aion_cli.activity_info().attempt == 1:
        raise ConnectionError("nobody opens")
    return "open"

@workflow
async def order() -> str:
    return await knock()
"""


def test_an_attempt_that_is_overdue_is_made_by_whoever_goes_on_with_the_run(project: Project) -> None:
    project.write(OVERDUE)
    done = project.here("run", "order", "--id", "o1", "--until-blocked")
    due = datetime.fromisoformat(done.document["next_wake_at"])
    while datetime.now(UTC) <= due:
        time.sleep(0.01)
    assert project.here("resume", "o1").document["result"] == "open"


ONCE = """
import pathlib, aion_cli

@activity(at_most_once=True)
async def pay() -> str:
    note("pay")
    if not pathlib.Path("funds").exists():
        raise ValueError("no funds")
    return "paid"

@workflow
async def order() -> str:
    return await pay()
"""


def test_an_at_most_once_activity_whose_failure_is_reopened_is_tried_again(project: Project) -> None:
    project.write(ONCE)
    assert project.here("run", "order", "--id", "o1").code == 1
    assert project.here("reopen", "o1", "--from", "4").code == 0
    (project.root / "funds").touch()
    assert project.here("resume", "o1").document["result"] == "paid"
    assert project.world == ["pay", "pay"]
    assert project.here("replay", "o1").code == 0


CHAIN = """
import aion_cli

go = Signal("go", int)

@workflow
async def order(n: int = 1) -> str:
    if n:
        raise aion_cli.ContinueAsNew(n - 1)
    await go.receive()
    raise ValueError("broken")
"""


@pytest.mark.parametrize("command", ["cancel", "terminate", "pause", "unpause", "reopen"])
def test_a_run_that_another_one_continued_is_not_operated_on_by_its_name(project: Project, command: str) -> None:
    project.write(CHAIN)
    project.here("run", "order", "--id", "o1", "--until-blocked")
    done = project.here(command, "o1@1")
    assert (done.code, "the latest one is o1@2" in done.stderr) == (8, True)
    assert project.names("o1@2") == ["WorkflowStarted"]


UNDOES = """
import aion_cli

go = Signal("go", int)

@activity
async def refund() -> None:
    raise ConnectionError("the bank is closed")

@workflow
async def order() -> None:
    async with aion_cli.Saga() as saga:
        saga.compensate(refund)
        await go.receive()
"""


def test_a_compensation_that_fails_is_told_with_the_end_of_a_cancelled_run(project: Project) -> None:
    project.write(UNDOES)
    project.here("run", "order", "--id", "o1", "--until-blocked")
    project.here("cancel", "o1", "--reason", "changed my mind")
    done = project.here("run", "order", "--id", "o1", "-o", "json")
    assert (done.code, done.document["error"]["message"]) == (9, "changed my mind")
    (note,) = done.document["error"]["notes"]
    assert "the bank is closed" in note
    assert f"note: {note}" in project.here("result", "o1").stderr
