"""Child workflows."""

from __future__ import annotations

from aion_cli import ChildError, start_child, workflow
from tests.primitives.shop import Tidying, bill, hangs
from tests.primitives.stage import Cancelled, Changed, Primitive


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


PRIMITIVES = [
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
