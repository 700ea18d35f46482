"""Child workflows."""

from __future__ import annotations

import asyncio

from aion_cli import ChildError, start_child, workflow
from tests.primitives.shop import Tidying, bill, hangs
from tests.primitives.stage import Cancelled, Changed, NeverWaits, Primitive, Unchangeable


@workflow
async def pack(sku: str) -> str:
    return f"box of {await bill(sku)}"


@workflow
async def wrap(sku: str) -> str:
    return f"paper around {await bill(sku)}"


@workflow
async def break_it(sku: str) -> str:
    raise ValueError(f"{await bill(sku)} is broken")


@workflow
async def child() -> str:
    async with Tidying():
        return await pack("A1")


@workflow
async def child_of_another_kind() -> str:
    return await wrap("A1")


@workflow
async def child_that_fails() -> list[object]:
    async with Tidying():
        try:
            await break_it("A1")
        except ChildError as error:
            return [error.type, error.message]
    return []


@workflow
async def lets_the_child_fail() -> list[object]:
    await break_it("A1")
    return []


@workflow
async def child_with_a_handle() -> list[str]:
    async with Tidying():
        packing = await start_child(pack, "A1", id="box-1")
        wrapped = await wrap("B2")
        return [wrapped, await packing]


@workflow
async def child_with_another_id() -> list[str]:
    packing = await start_child(pack, "A1", id="box-2")
    return [await packing]


@workflow(timeout=60)
async def slow() -> str:
    await asyncio.sleep(3600)
    return "slept"


@workflow
async def child_with_a_time_limit() -> str:
    async with Tidying():
        try:
            return await slow()
        except ChildError as error:
            return f"{error.type}: {error.message}"


@workflow
async def gives_up_a_child() -> str:
    try:
        async with asyncio.timeout(30):
            return await slow()
    except TimeoutError:
        return "given up"


@workflow
async def naps(hours: int) -> str:
    await asyncio.sleep(hours * 3600)
    return f"slept {hours} h"


@workflow
async def children_left_behind() -> str:
    await start_child(naps, 1, id="abandoned", parent_close="abandon")
    await start_child(naps, 2, id="terminated", parent_close="terminate")
    await start_child(naps, 3, id="cancelled")
    return "gone"


@workflow
async def children_left_behind_otherwise() -> str:
    await start_child(naps, 1, id="abandoned", parent_close="cancel")
    await start_child(naps, 2, id="terminated", parent_close="abandon")
    await start_child(naps, 3, id="cancelled", parent_close="terminate")
    return "gone"


PRIMITIVES = [
    Primitive(
        names=("workflow",),
        workflow=child_with_a_time_limit,
        records="ChildWorkflowStarted ChildWorkflowFailed",
        result="WorkflowTimedOut: took longer than 60 s",
        docs="limits a whole run (from its start or last reopen; then it ends as `timed_out`)",
        changed=Changed(
            gives_up_a_child,
            2,
            'child workflow "slow" (0) with null',
            "timer (0) with 2026-01-01T00:00:30.000000Z",
            "asyncio.timeout(30)",
        ),
        cancelled=Cancelled(("ChildCancelRequested",), 30),
    ),
    Primitive(
        names=("start_child",),
        workflow=children_left_behind,
        records="ChildWorkflowStarted ChildWorkflowStarted ChildWorkflowStarted",
        result="gone",
        docs="`parent_close` is `cancel` (default), `terminate` or `abandon`.",
        changed=Unchangeable(
            "what becomes of an open child is for the code of today", but=children_left_behind_otherwise
        ),
        cancelled=NeverWaits("it goes on as soon as the child is recorded"),
    ),
    Primitive(
        names=("workflow",),
        workflow=child,
        records="ChildWorkflowStarted ChildWorkflowCompleted",
        result="box of bill of A1",
        docs="`await other_workflow(x)` runs a child with a history of its own",
        changed=Changed(
            child_of_another_kind,
            2,
            'child workflow "pack" (0) with "A1"',
            'child workflow "wrap" (0) with "A1"',
            'wrap("A1")',
        ),
        cancelled=Cancelled(("ChildCancelRequested",), fakes={bill: hangs}),
    ),
    Primitive(
        names=("ChildError",),
        workflow=child_that_fails,
        records="ChildWorkflowStarted ChildWorkflowFailed",
        result=["ValueError", "bill of A1 is broken"],
        docs="A failure reaches the parent as `ChildError`.",
        changed=Changed(
            lets_the_child_fail,
            4,
            'completion with ["ValueError","bill of A1 is broken"]',
            'failure "ValueError" with bill of A1 is broken',
            "await break_it",
        ),
        cancelled=Cancelled(("ChildCancelRequested",), fakes={bill: hangs}),
    ),
    Primitive(
        names=("start_child", "ChildHandle"),
        workflow=child_with_a_handle,
        records="ChildWorkflowStarted ChildWorkflowStarted ChildWorkflowCompleted ChildWorkflowCompleted",
        result=["paper around bill of B2", "box of bill of A1"],
        docs='`handle = await start_child(other_workflow, x, id="…",',
        changed=Changed(
            child_with_another_id,
            2,
            'child workflow "pack as box-1" (0) with "A1"',
            'child workflow "pack as box-2" (0) with "A1"',
            "start_child",
        ),
        cancelled=Cancelled(("ChildCancelRequested",), fakes={bill: hangs}),
    ),
]
