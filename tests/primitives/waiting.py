"""Time, what is derived from it and from the run's ids, and tasks side by side."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from aion_cli import history_length, now, randint, random, sleep_until, uuid4, wait_until, workflow
from tests.primitives.shop import Tidying, approval, bill, charge, hangs
from tests.primitives.stage import Cancelled, Changed, NeverWaits, Primitive

# --- timers


@workflow
async def sleep() -> str:
    async with Tidying():
        await asyncio.sleep(3600)
    return "slept"


@workflow
async def sleeps_longer() -> str:
    await asyncio.sleep(7200)
    return "slept"


@workflow
async def sleep_until_a_moment() -> str:
    async with Tidying():
        await sleep_until(datetime(2027, 1, 1, tzinfo=UTC))
    return now().isoformat()


@workflow
async def sleeps_until_another_moment() -> str:
    await sleep_until(datetime(2028, 1, 1, tzinfo=UTC))
    return now().isoformat()


@workflow
async def deadline() -> str:
    async with Tidying():
        try:
            async with asyncio.timeout(60):
                await approval.receive()
        except TimeoutError:
            return "nobody came"
    return "somebody came"


@workflow
async def no_deadline() -> str:
    await approval.receive()
    return "somebody came"


@workflow
async def deadline_of_one_wait() -> str:
    async with Tidying():
        try:
            return await asyncio.wait_for(bill("A1"), 60)
        except TimeoutError:
            return "too slow"


@workflow
async def waits_before_the_deadline_begins() -> str:
    billing = asyncio.ensure_future(bill("A1"))
    await asyncio.sleep(0)
    try:
        return await asyncio.wait_for(billing, 60)
    except TimeoutError:
        return "too slow"


@workflow
async def condition() -> list[str]:
    found: list[str] = []

    async def look() -> None:
        found.append(await bill("A1"))

    async with Tidying():
        looking = asyncio.ensure_future(look())
        await wait_until(lambda: bool(found))
        await looking
    return found


@workflow
async def waits_for_more() -> list[str]:
    found: list[str] = []

    async def look() -> None:
        found.append(await bill("A1"))

    looking = asyncio.ensure_future(look())
    await wait_until(lambda: len(found) == 2)
    await looking
    return found


# --- what is derived


@workflow
async def derived_values() -> list[object]:
    length, die, id, chance = history_length(), randint(1, 6), uuid4(), random()
    await bill(f"die {die}")
    return [now().isoformat(), length, die, str(id), chance]


@workflow
async def draws_another_number_first() -> list[object]:
    length, chance, id, die = history_length(), random(), uuid4(), randint(1, 6)
    await bill(f"die {die}")
    return [now().isoformat(), length, die, str(id), chance]


# --- side by side


@workflow
async def gather() -> list[str]:
    async with Tidying():
        return list(await asyncio.gather(bill("A1"), bill("B2")))


@workflow
async def one_after_the_other() -> list[str]:
    return [await bill("A1"), await bill("B2")]


@workflow
async def task_group() -> list[str]:
    async with Tidying(), asyncio.TaskGroup() as group:
        tasks = [group.create_task(bill(sku)) for sku in ("A1", "B2")]
    return [task.result() for task in tasks]


@workflow
async def task_group_in_another_order() -> list[str]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bill(sku)) for sku in ("B2", "A1")]
    return [task.result() for task in tasks]


async def slower(sku: str) -> str:
    """A fake of bill: A1 takes a minute, B2 half of it."""
    await asyncio.sleep(60 if sku == "A1" else 30)
    return f"bill of {sku}"


@workflow
async def the_first_of_several() -> str:
    async with Tidying():
        tasks = [asyncio.create_task(bill(sku), name=sku) for sku in ("A1", "B2")]
        try:
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return f"{[task.get_name() for task in done]}, not {[task.get_name() for task in pending]}"


@workflow
async def all_of_several() -> str:
    tasks = [asyncio.create_task(bill(sku), name=sku) for sku in ("A1", "B2")]
    done, _ = await asyncio.wait(tasks)
    return f"{[task.get_name() for task in done]}"


@workflow
async def one_as_it_completes() -> list[str]:
    async with Tidying():
        return [await each for each in asyncio.as_completed([bill("A1"), bill("B2")])]


@workflow
async def those_that_complete_are_charged() -> list[str]:
    return [await charge(await each) for each in asyncio.as_completed([bill("A1"), bill("B2")])]


async def through_a_queue(skus: tuple[str, ...]) -> list[str]:
    """Bill in one task, and collect in this one."""
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=1)
    lock, all_billed = asyncio.Lock(), asyncio.Event()

    async def produce() -> None:
        for sku in skus:
            async with lock:
                await queue.put(await bill(sku))
        all_billed.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        found = [await queue.get() for _ in skus]
        await all_billed.wait()
    return found


@workflow
async def queue_lock_and_event() -> list[str]:
    async with Tidying():
        return await through_a_queue(("A1", "B2"))


@workflow
async def queue_in_another_order() -> list[str]:
    return await through_a_queue(("B2", "A1"))


@workflow
async def shielded_activity() -> str:
    async with Tidying():
        return await asyncio.shield(bill("A1"))


@workflow
async def shields_another() -> str:
    return await asyncio.shield(bill("B2"))


PRIMITIVES = [
    Primitive(
        names=("asyncio.sleep",),
        workflow=sleep,
        records="TimerStarted TimerFired",
        result="slept",
        docs="`asyncio.sleep`, `asyncio.timeout`, `asyncio.wait_for` are durable in a workflow",
        changed=Changed(
            sleeps_longer,
            2,
            "timer (0) with 2026-01-01T01:00:00.000000Z",
            "timer (0) with 2026-01-01T02:00:00.000000Z",
            "asyncio.sleep(7200)",
        ),
        cancelled=Cancelled(("TimerCancelled",)),
    ),
    Primitive(
        names=("sleep_until",),
        workflow=sleep_until_a_moment,
        records="TimerStarted TimerFired",
        result="2027-01-01T00:00:00+00:00",
        docs="`sleep_until(moment)` sleeps until an aware",
        changed=Changed(
            sleeps_until_another_moment,
            2,
            "timer (0) with 2027-01-01T00:00:00.000000Z",
            "timer (0) with 2028-01-01T00:00:00.000000Z",
            "sleep_until(",
        ),
        cancelled=Cancelled(("TimerCancelled",)),
    ),
    Primitive(
        names=("asyncio.timeout",),
        workflow=deadline,
        records="TimerStarted TimerFired",
        result="nobody came",
        docs="`asyncio.sleep`, `asyncio.timeout`, `asyncio.wait_for` are durable in a workflow",
        changed=Changed(
            no_deadline,
            2,
            "timer (0) with 2026-01-01T00:01:00.000000Z",
            'wait for signal "approval" (0)',
            "approval.receive()",
        ),
        cancelled=Cancelled(("TimerCancelled",), 59),
    ),
    Primitive(
        names=("asyncio.wait_for",),
        workflow=deadline_of_one_wait,
        fakes={bill: hangs},
        records="TimerStarted ActivityScheduled ActivityStarted TimerFired ActivityCancelled",
        result="too slow",
        docs="`asyncio.sleep`, `asyncio.timeout`, `asyncio.wait_for` are durable in a workflow",
        changed=Changed(
            waits_before_the_deadline_begins,
            2,
            "timer (0) with 2026-01-01T00:01:00.000000Z",
            'activity "bill" (0) with "A1"',
            'bill("A1")',
        ),
        cancelled=Cancelled(("ActivityCancelled", "TimerCancelled"), 59),
    ),
    Primitive(
        names=("wait_until",),
        workflow=condition,
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result=["bill of A1"],
        docs="`await wait_until(lambda: state.ready)` waits for what updates and other tasks change.",
        changed=Changed(waits_for_more, 5, 'completion with ["bill of A1"]', "wait for condition", "await wait_until"),
        cancelled=Cancelled(fakes={bill: hangs}),
    ),
    Primitive(
        names=("now", "random", "randint", "uuid4", "history_length"),
        workflow=derived_values,
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result=["2026-01-01T00:00:00+00:00", 1, 5, "5b05e214-cbba-4019-bae0-1b618a0162e8", 0.1613429101614462],
        docs="`now()` is the time of the event that is being applied",
        changed=Changed(
            draws_another_number_first,
            2,
            'activity "bill" (0) with "die 5"',
            'activity "bill" (0) with "die 6"',
            "await bill",
        ),
        cancelled=NeverWaits("they answer at once"),
    ),
    Primitive(
        names=("asyncio.gather",),
        workflow=gather,
        records=(
            "ActivityScheduled ActivityStarted ActivityScheduled ActivityStarted ActivityCompleted ActivityCompleted"
        ),
        result=["bill of A1", "bill of B2"],
        docs="`asyncio.gather`, `TaskGroup`, `wait`, `as_completed`, `Queue`, `Event`, `Lock` work as always",
        changed=Changed(
            one_after_the_other, 4, 'activity "bill" (1) with "B2"', 'wait for activity "bill" (0)', 'bill("A1")'
        ),
        cancelled=Cancelled(("ActivityCancelled", "ActivityCancelled"), fakes={bill: hangs}),
    ),
    Primitive(
        names=("asyncio.TaskGroup",),
        workflow=task_group,
        records=(
            "ActivityScheduled ActivityStarted ActivityScheduled ActivityStarted ActivityCompleted ActivityCompleted"
        ),
        result=["bill of A1", "bill of B2"],
        docs="`asyncio.gather`, `TaskGroup`, `wait`, `as_completed`, `Queue`, `Event`, `Lock` work as always",
        changed=Changed(
            task_group_in_another_order,
            2,
            'activity "bill" (0) with "A1"',
            'activity "bill" (0) with "B2"',
            "create_task(bill(sku))",
        ),
        cancelled=Cancelled(("ActivityCancelled", "ActivityCancelled"), fakes={bill: hangs}),
    ),
    Primitive(
        names=("asyncio.wait",),
        workflow=the_first_of_several,
        fakes={bill: slower},
        records=(
            "ActivityScheduled ActivityStarted ActivityScheduled ActivityStarted ActivityCompleted ActivityCancelled"
        ),
        result="['B2'], not ['A1']",
        docs="`asyncio.gather`, `TaskGroup`, `wait`, `as_completed`, `Queue`, `Event`, `Lock` work as always",
        changed=Changed(
            all_of_several,
            7,
            'cancellation of activity "bill" (0)',
            'wait for activity "bill" (0)',
            "create_task(bill(sku)",
        ),
        cancelled=Cancelled(("ActivityCancelled", "ActivityCancelled"), 15),
    ),
    Primitive(
        names=("asyncio.as_completed",),
        workflow=one_as_it_completes,
        fakes={bill: slower},
        records=(
            "ActivityScheduled ActivityStarted ActivityScheduled ActivityStarted ActivityCompleted ActivityCompleted"
        ),
        result=["bill of B2", "bill of A1"],
        docs="`asyncio.gather`, `TaskGroup`, `wait`, `as_completed`, `Queue`, `Event`, `Lock` work as always",
        changed=Changed(
            those_that_complete_are_charged,
            7,
            'outcome of activity "bill" (0)',
            'activity "charge" (2) with "bill of B2"',
            "charge(await each)",
        ),
        cancelled=Cancelled(fakes={bill: hangs}),
    ),
    Primitive(
        names=("asyncio.Queue", "asyncio.Lock", "asyncio.Event"),
        workflow=queue_lock_and_event,
        records=(
            "ActivityScheduled ActivityStarted ActivityCompleted ActivityScheduled ActivityStarted ActivityCompleted"
        ),
        result=["bill of A1", "bill of B2"],
        docs="`asyncio.gather`, `TaskGroup`, `wait`, `as_completed`, `Queue`, `Event`, `Lock` work as always",
        changed=Changed(
            queue_in_another_order,
            2,
            'activity "bill" (0) with "A1"',
            'activity "bill" (0) with "B2"',
            "queue.put(await bill(sku))",
            within=through_a_queue,
        ),
        cancelled=Cancelled(("ActivityCancelled",), fakes={bill: hangs}),
    ),
    Primitive(
        names=("asyncio.shield",),
        workflow=shielded_activity,
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="bill of A1",
        docs="`try/finally` and `asyncio.shield` work, and cleanup may",
        changed=Changed(
            shields_another, 2, 'activity "bill" (0) with "A1"', 'activity "bill" (0) with "B2"', 'bill("B2")'
        ),
        cancelled=Cancelled(fakes={bill: hangs}),
    ),
]
