"""Children that are told of the end of their parent, whatever became of both before; and runs that are no children."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aion_cli import ChildError, ContinueAsNew, Signal, start_child, workflow
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.reopening import reopen
from aion_cli.runtime.runner import Runner
from tests.builders import raw, signal, started
from tests.runtime.shop import Shop

go = Signal("go", int)
stop = Signal("stop", int)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


@workflow
async def parcel(sku: str) -> str:
    if await go.receive() < 0:
        raise ValueError("lost")
    return sku


@workflow
async def fails_beside_its_child() -> str:
    await start_child(parcel, "A1", id="kid")
    await stop.receive()
    raise ValueError("broken")


@workflow
async def awaits_its_child() -> str:
    kid = await start_child(parcel, "A1", id="kid")
    result = await kid
    await stop.receive()
    return result


@workflow
async def continues_beside_its_child(first: bool = True) -> str:
    if first:
        await start_child(parcel, "A1", id="kid")
        raise ContinueAsNew(False)
    await stop.receive()
    return "stopped"


def reopened(shop: Shop, workflow_id: str, from_seq: int | None = None) -> None:
    reopen(
        shop.folder,
        workflow_id,
        from_seq=from_seq,
        reason="",
        clock=shop.shop.clock,
        notice=shop.notices.append,
    )


def test_a_child_that_was_reopened_is_told_of_the_second_end_of_its_parent(shop: Shop) -> None:
    shop.until_blocked(fails_beside_its_child)
    shop.send(signal("stop", 1))
    assert shop.run(fails_beside_its_child).status is RunStatus.FAILED
    assert shop.names("kid")[-1] == "WorkflowCancelled"
    reopened(shop, "kid")
    reopened(shop, "order-1")
    assert shop.run(fails_beside_its_child).status is RunStatus.FAILED
    assert shop.names("kid")[-2:] == ["WorkflowCancelRequested", "WorkflowCancelled"]


def reopened_with_its_child(shop: Shop) -> None:
    """Both failed, and are open again."""
    shop.until_blocked(awaits_its_child)
    shop.send(signal("go", -1), "kid")
    assert shop.run(awaits_its_child).status is RunStatus.FAILED
    reopened(shop, "kid")
    (failed,) = [event.seq for event in shop.events() if isinstance(event, ev.ChildWorkflowFailed)]
    reopened(shop, "order-1", failed)


def test_a_child_whose_failure_a_reopen_took_back_is_told_when_its_parent_is_terminated(shop: Shop) -> None:
    reopened_with_its_child(shop)
    shop.send(ev.WorkflowTerminated())
    assert shop.names()[-1] == "WorkflowTerminated"
    assert shop.names("kid")[-1] == "WorkflowCancelRequested"


def test_a_termination_between_two_runs_reaches_the_children_that_go_on_beside_both(shop: Shop) -> None:
    shop.until_blocked(continues_beside_its_child, True)
    shop.path(number=2).unlink()
    shop.send(ev.WorkflowTerminated())
    again = Shop(shop.folder.root, find_code=lambda first: parcel)
    assert again.run(continues_beside_its_child, True).status is RunStatus.TERMINATED
    assert "WorkflowCancelRequested" in shop.names("kid")


def test_a_strangers_run_that_appears_while_its_lock_is_held_is_never_taken_for_a_child(shop: Shop) -> None:
    @workflow
    async def wants_a_child() -> str:
        try:
            return await (await start_child(parcel, "A1", id="kid"))
        except ChildError as error:
            return error.type

    elsewhere = take(shop.folder, "kid", Role.RUN)

    async def meanwhile(runner: Runner) -> None:
        await shop.until("order-1", ev.ChildWorkflowStarted)
        while not runner.is_blocked:
            await asyncio.sleep(0.001)
        shop.write(started("B2"), ev.WorkflowCompleted(result=raw("a stranger's secret")), workflow_id="kid")
        elsewhere.release()

    shop.run(wants_a_child, meanwhile=meanwhile)
    assert shop.events()[-1].result == raw("ChildIdTaken")
