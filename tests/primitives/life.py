"""What becomes of a run: undoing, continuing as new, changed code, and what it tells about itself."""

from __future__ import annotations

from aion_cli import (
    ActivityError,
    ContinueAsNew,
    Saga,
    activity,
    deprecate_patch,
    log,
    patched,
    set_progress,
    set_tags,
    workflow,
)
from tests.primitives.shop import Tidying, approval, bill, hangs, refund, tidy
from tests.primitives.stage import Cancelled, Changed, NeverWaits, Primitive, Unchangeable, sends


@activity
async def ship(sku: str) -> str:
    raise ConnectionError(f"no ship for {sku}")


@workflow
async def saga() -> str:
    async with Tidying():
        try:
            async with Saga() as undo:
                for sku in ("A1", "B2"):
                    undo.compensate(refund, await bill(sku))
                return await ship("A1")
        except ActivityError as error:
            return error.message


@workflow
async def saga_that_forgets_a_step() -> str:
    try:
        async with Saga() as undo:
            undo.compensate(refund, await bill("A1"))
            await bill("B2")
            return await ship("A1")
    except ActivityError as error:
        return error.message


@workflow
async def saga_that_ends_well() -> str:
    async with Saga() as undo:
        undo.compensate(tidy)
        return await bill("A1")


@workflow
async def saga_that_does_something_else() -> str:
    async with Saga() as undo:
        undo.compensate(tidy)
        return await bill("B2")


@workflow
async def continue_as_new(left: int) -> str:
    async with Tidying():
        approved = await approval.receive()
    if left:
        raise ContinueAsNew(left - 1)
    return f"approved: {approved}"


@workflow
async def continues_with_something_else(left: int) -> str:
    await approval.receive()
    raise ContinueAsNew(left)


@workflow
async def patched_code() -> list[bool]:
    found: list[bool] = []
    async with Tidying():
        for _ in range(2):
            found.append(patched("fraud-check"))
            await bill("A1")
    return found


@workflow
async def code_without_the_patch() -> list[bool]:
    for _ in range(2):
        await bill("A1")
    return [True, True]


@workflow
async def deprecated_patch() -> str:
    async with Tidying():
        deprecate_patch("fraud-check")
        return await bill("A1")


@workflow
async def patched_in_another_place() -> str:
    patched("another-check")
    return await bill("A1")


@workflow
async def tags_and_progress() -> str:
    set_tags(customer="acme")
    set_progress(1, 2, "billed")
    log.info("billing")
    print("billing")
    return await bill("A1")


@workflow
async def other_tags_and_progress() -> str:
    set_tags(customer="other", more="yes")
    set_progress(2, 2)
    log.info("billing on")
    return await bill("A1")


PRIMITIVES = [
    Primitive(
        names=("Saga",),
        workflow=saga,
        records=(
            "ActivityScheduled ActivityStarted ActivityCompleted ActivityScheduled ActivityStarted "
            "ActivityCompleted ActivityScheduled ActivityStarted ActivityFailed ActivityScheduled "
            "ActivityStarted ActivityCompleted ActivityScheduled ActivityStarted ActivityCompleted"
        ),
        result="no ship for A1",
        docs="Compensations run in reverse when the block fails or is cancelled, each a recorded activity.",
        changed=Changed(
            saga_that_forgets_a_step,
            11,
            'activity "refund" (3) with "bill of B2"',
            'activity "refund" (3) with "bill of A1"',
            "async with Saga() as undo",
        ),
        cancelled=Cancelled(("ActivityCancelled",), fakes={bill: hangs}),
    ),
    Primitive(
        names=("Saga",),
        workflow=saga_that_ends_well,
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="bill of A1",
        docs="Compensations run in reverse when the block fails or is cancelled, each a recorded activity.",
        changed=Changed(
            saga_that_does_something_else,
            2,
            'activity "bill" (0) with "A1"',
            'activity "bill" (0) with "B2"',
            'bill("B2")',
        ),
        cancelled=Cancelled(("ActivityCancelled",), fakes={bill: hangs}),
    ),
    Primitive(
        names=("ContinueAsNew",),
        workflow=continue_as_new,
        args=(1,),
        messages=(sends("approval", False), sends("approval", True)),
        records="SignalReceived WorkflowContinuedAsNew WorkflowStarted SignalReceived",
        result="approved: True",
        docs="`raise ContinueAsNew(input)` goes on as a new run with a fresh history",
        changed=Changed(
            continues_with_something_else,
            3,
            "continue-as-new with 0",
            "continue-as-new with 1",
            "raise ContinueAsNew(left)",
        ),
        cancelled=Cancelled(messages=(sends("approval", False),)),
    ),
    Primitive(
        names=("patched",),
        workflow=patched_code,
        records=(
            "MarkerRecorded ActivityScheduled ActivityStarted ActivityCompleted ActivityScheduled "
            "ActivityStarted ActivityCompleted"
        ),
        result=[True, True],
        docs='`if patched("fraud-check"):` lets open runs keep the old way and new ones take the new way',
        changed=Changed(
            code_without_the_patch,
            2,
            'patch marker "fraud-check" with true',
            'activity "bill" (0) with "A1"',
            "await bill",
        ),
        cancelled=NeverWaits("it answers at once"),
    ),
    Primitive(
        names=("deprecate_patch",),
        workflow=deprecated_patch,
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="bill of A1",
        docs='remove the old branch and leave `deprecate_patch("fraud-check")`',
        changed=Unchangeable("a run from before a patch keeps to its way", but=patched_in_another_place),
        cancelled=NeverWaits("it only accepts what is recorded"),
    ),
    Primitive(
        names=("set_tags", "set_progress", "log"),
        workflow=tags_and_progress,
        records="ActivityScheduled ActivityStarted TagsSet ProgressSet ActivityCompleted",
        result="bill of A1",
        docs='`set_tags(customer="acme")` and `set_progress(done, total, "text")` show in `aion list`.',
        changed=Unchangeable("tags and progress are notes, which no code has to match", but=other_tags_and_progress),
        cancelled=NeverWaits("they only note something"),
    ),
]
