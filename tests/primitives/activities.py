"""Activities of every kind, many at once, and shell steps."""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import timedelta
from pathlib import Path

from aion_cli import (
    ActivityError,
    ActivityInterrupted,
    ActivityTimeout,
    NonRetryable,
    RetryPolicy,
    activity,
    activity_info,
    heartbeat,
    map_activities,
    shell,
    workflow,
)
from tests.primitives.shop import PATIENCE_S, Tidying, bill, charge, hangs
from tests.primitives.stage import Cancelled, Changed, Primitive

_REAL_S = 0.02
"""When a run is cancelled whose activity is another process, begun or not: then a moment takes a moment."""

# --- where an activity runs


@workflow
async def activity_in_a_thread(sku: str) -> str:
    async with Tidying():
        return await charge(sku)


@workflow
async def bills_instead(sku: str) -> str:
    return await bill(sku)


@workflow
async def activity_on_the_loop(sku: str) -> str:
    async with Tidying():
        return await bill(sku)


@workflow
async def bills_something_else(sku: str) -> str:
    return await bill(sku + "!")


@activity(process=True)
def crunch(sku: str) -> str:
    """In a process of its own, whose program is the worker. "slow" has to be killed."""
    if sku == "slow":
        threading.Event().wait(PATIENCE_S)
    return f"crunched {sku} in {Path(sys.argv[0]).stem}"


@workflow
async def activity_in_a_process(sku: str) -> str:
    async with Tidying():
        return await crunch(sku)


@workflow
async def crunches_without_input(sku: str) -> str:
    return await crunch("")


# --- attempts


@activity(retry=RetryPolicy(max_attempts=3, initial=60, jitter=0, non_retryable=["KeyError"]))
async def flaky(sku: str) -> str:
    if activity_info().attempt < 3:
        raise ConnectionError("not now")
    return f"{sku}, at last"


@workflow
async def activity_with_retries(sku: str) -> str:
    async with Tidying():
        return await flaky(sku)


@workflow
async def tries_twice(sku: str) -> str:
    await flaky(sku)
    return await flaky(sku)


@activity(retry=RetryPolicy(max_attempts=3))
async def refuse(sku: str) -> str:
    raise NonRetryable(f"no {sku}", details={"sku": sku})


@workflow
async def activity_that_fails_for_good(sku: str) -> list[object]:
    async with Tidying():
        try:
            await refuse(sku)
        except ActivityError as error:
            return [error.type, error.message, error.details]
    return []


@workflow
async def lets_it_fail(sku: str) -> list[object]:
    await refuse(sku)
    return []


@activity(timeout=timedelta(seconds=30))
async def deliver(sku: str) -> str:
    return f"{sku} is there"


@workflow
async def activity_with_a_time_limit(sku: str) -> str:
    async with Tidying():
        try:
            return await deliver(sku)
        except ActivityTimeout:
            return "too slow"


@workflow
async def gives_up_at_once(sku: str) -> str:
    return "too slow"


@workflow
async def activity_with_options_of_one_call(sku: str) -> str:
    async with Tidying():
        try:
            return await bill.options(timeout=5, retry=RetryPolicy(max_attempts=2, initial=1))(sku)
        except ActivityTimeout:
            return "twice too slow"


@workflow
async def charges_with_options(sku: str) -> str:
    return await charge.options(timeout=5)(sku)


@activity(retry=RetryPolicy(max_attempts=None, initial=60, jitter=0), total_timeout=150)
async def never_works(sku: str) -> str:
    raise ConnectionError("not now")


@workflow
async def activity_with_a_limit_of_all_attempts(sku: str) -> str:
    async with Tidying():
        try:
            return await never_works(sku)
        except ActivityTimeout as error:
            return error.message


@workflow
async def expects_another_error(sku: str) -> str:
    try:
        return await never_works(sku)
    except ActivityInterrupted as error:
        return error.message


@activity(at_most_once=True)
async def pay(sku: str) -> str:
    return f"paid {sku}" + ("" if activity_info().attempt == 1 else ", and maybe once more")


@activity
async def look_up_payment(sku: str) -> str:
    return f"paid {sku}"


@workflow
async def activity_at_most_once(sku: str) -> str:
    async with Tidying():
        try:
            return await pay(sku)
        except ActivityInterrupted:
            return await look_up_payment(sku)


@workflow
async def only_looks_up(sku: str) -> str:
    return await look_up_payment(sku)


@activity(retry=RetryPolicy(initial=60, jitter=0), heartbeat_timeout=30)
async def copy(files: int) -> str:
    """Gives up half-way unless an attempt before it got there; "0 files" says nothing for a day."""
    begun: int | None = activity_info().heartbeat_details
    if begun is None:
        heartbeat(files // 2)
        raise ConnectionError("the line was cut")
    return f"copied {files - begun} of {files}"


@workflow
async def activity_with_heartbeats(files: int) -> str:
    async with Tidying():
        return await copy(files)


@workflow
async def copies_one_more(files: int) -> str:
    return await copy(files + 1)


@activity(heartbeat_timeout=30)
async def listen(station: int) -> str:
    raise AssertionError(f"{station} was really listened to")


async def listens_once(station: int) -> None:
    """A fake that says something after 20 s and never again."""
    await asyncio.sleep(20)
    heartbeat(station)
    await hangs()


@workflow
async def activity_that_falls_silent(station: int) -> str:
    async with Tidying():
        try:
            return await listen(station)
        except ActivityTimeout as error:
            return error.message


@workflow
async def listens_to_another_station(station: int) -> str:
    return await listen(station + 1)


# --- many, and shell steps


@workflow
async def activities_a_few_at_a_time(skus: list[str]) -> list[str]:
    async with Tidying():
        return await map_activities(bill, skus, limit=2)


@workflow
async def three_at_a_time(skus: list[str]) -> list[str]:
    return await map_activities(bill, skus, limit=3)


@workflow
async def shell_step(command: str) -> list[object]:
    async with Tidying():
        result = await shell(command, check=False)
        return [result.exit_code, result.stdout, result.stderr]


@workflow
async def shell_step_that_must_succeed(command: str) -> list[object]:
    result = await shell(command)
    return [result.exit_code, result.stdout, result.stderr]


PRIMITIVES = [
    Primitive(
        names=("activity",),
        workflow=activity_in_a_thread,
        args=("A1",),
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="receipt of A1, in the main thread: False",
        docs="`@activity` on a plain function runs it in a thread",
        changed=Changed(
            bills_instead, 2, 'activity "charge" (0) with "A1"', 'activity "bill" (0) with "A1"', "bill(sku)"
        ),
        cancelled=Cancelled(
            ("ActivityCancelled",), None, args=("slow",), told=("charge slow", "charge was told to end")
        ),
    ),
    Primitive(
        names=("activity",),
        workflow=activity_on_the_loop,
        args=("A1",),
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="bill of A1",
        docs="on an `async def` on the process's event loop",
        changed=Changed(
            bills_something_else, 2, 'activity "bill" (0) with "A1"', 'activity "bill" (0) with "A1!"', "bill(sku"
        ),
        cancelled=Cancelled(("ActivityCancelled",), None, args=("slow",), told=("bill slow", "bill was cancelled")),
    ),
    Primitive(
        names=("activity",),
        workflow=activity_in_a_process,
        args=("A1",),
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="crunched A1 in process_worker",
        docs="| `process=True` | each attempt in a process of its own",
        changed=Changed(
            crunches_without_input, 2, 'activity "crunch" (0) with "A1"', 'activity "crunch" (0) with ""', "crunch("
        ),
        cancelled=Cancelled(("ActivityCancelled",), _REAL_S, args=("slow",)),
    ),
    Primitive(
        names=("RetryPolicy",),
        workflow=activity_with_retries,
        args=("A1",),
        fakes={flaky: flaky.fn},
        records=(
            "ActivityScheduled ActivityStarted ActivityFailed ActivityStarted ActivityFailed "
            "ActivityStarted ActivityCompleted"
        ),
        result="A1, at last",
        docs="| `retry=RetryPolicy(max_attempts=3, initial=1.0, factor=2.0, cap=None, jitter=0.1",
        changed=Changed(
            tries_twice, 9, 'completion with "A1, at last"', 'activity "flaky" (1) with "A1"', "return await flaky"
        ),
        cancelled=Cancelled(("ActivityCancelled",), 30, fakes={flaky: flaky.fn}),
    ),
    Primitive(
        names=("NonRetryable", "ActivityError"),
        workflow=activity_that_fails_for_good,
        args=("A1",),
        fakes={refuse: refuse.fn},
        records="ActivityScheduled ActivityStarted ActivityFailed",
        result=["NonRetryable", "no A1", {"sku": "A1"}],
        docs='`NonRetryable("why")` in an activity to end its\nretries',
        changed=Changed(
            lets_it_fail,
            5,
            'completion with ["NonRetryable","no A1",{"sku":"A1"}]',
            'failure "NonRetryable" with no A1',
            "await refuse",
        ),
        cancelled=Cancelled(("ActivityCancelled",), fakes={refuse: hangs}),
    ),
    Primitive(
        names=("ActivityTimeout",),
        workflow=activity_with_a_time_limit,
        args=("A1",),
        fakes={deliver: hangs},
        records="ActivityScheduled ActivityStarted ActivityFailed",
        result="too slow",
        docs="| `timeout=` | limit of one attempt",
        changed=Changed(
            gives_up_at_once, 2, 'activity "deliver" (0) with "A1"', 'completion with "too slow"', "return"
        ),
        cancelled=Cancelled(("ActivityCancelled",), 29),
    ),
    Primitive(
        names=("ActivityTimeout",),
        workflow=activity_with_a_limit_of_all_attempts,
        args=("A1",),
        fakes={never_works: never_works.fn},
        records=(
            "ActivityScheduled ActivityStarted ActivityFailed ActivityStarted ActivityFailed "
            "ActivityStarted ActivityFailed ActivityFailed"
        ),
        result="all attempts together took longer than 150 s",
        docs="| `total_timeout=` | limit of all attempts and the waits between, downtime included",
        changed=Changed(
            expects_another_error,
            10,
            'completion with "all attempts together took longer than 150 s"',
            'failure "TimeoutError" with all attempts together took longer than 150 s',
            "await never_works",
        ),
        cancelled=Cancelled(("ActivityCancelled",), 149),
    ),
    Primitive(
        names=("ActivityTimeout", "heartbeat"),
        workflow=activity_that_falls_silent,
        args=(10,),
        fakes={listen: listens_once},
        records="ActivityScheduled ActivityStarted ActivityHeartbeat ActivityFailed",
        result="gave no heartbeat for 30 s",
        docs="| `heartbeat_timeout=` | longest time between two calls of `heartbeat(details)` |",
        changed=Changed(
            listens_to_another_station,
            2,
            'activity "listen" (0) with 10',
            'activity "listen" (0) with 11',
            "listen(station + 1)",
        ),
        cancelled=Cancelled(("ActivityCancelled",), 29),
    ),
    Primitive(
        names=("activity",),
        workflow=activity_with_options_of_one_call,
        args=("A1",),
        fakes={bill: hangs},
        records="ActivityScheduled ActivityStarted ActivityFailed ActivityStarted ActivityFailed",
        result="twice too slow",
        docs="`charge.options(timeout=5)(order)` changes options for one call",
        changed=Changed(
            charges_with_options,
            2,
            'activity "bill" (0) with "A1"',
            'activity "charge" (0) with "A1"',
            "charge.options",
        ),
        cancelled=Cancelled(("ActivityCancelled",), 7),
    ),
    Primitive(
        names=("ActivityInterrupted",),
        workflow=activity_at_most_once,
        args=("A1",),
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result="paid A1",
        docs="| `at_most_once=True` | an attempt that was started and whose end is unknown is not repeated",
        changed=Changed(
            only_looks_up,
            2,
            'activity "pay" (0) with "A1"',
            'activity "look_up_payment" (0) with "A1"',
            "look_up_payment",
        ),
        cancelled=Cancelled(("ActivityCancelled",), fakes={pay: hangs, look_up_payment: hangs}),
    ),
    Primitive(
        names=("heartbeat", "activity_info", "ActivityInfo"),
        workflow=activity_with_heartbeats,
        args=(10,),
        fakes={copy: copy.fn},
        records=(
            "ActivityScheduled ActivityStarted ActivityHeartbeat ActivityFailed ActivityStarted ActivityCompleted"
        ),
        result="copied 5 of 10",
        docs="| `heartbeat_timeout=` | longest time between two calls of `heartbeat(details)` |",
        changed=Changed(
            copies_one_more, 2, 'activity "copy" (0) with 10', 'activity "copy" (0) with 11', "copy(files + 1)"
        ),
        cancelled=Cancelled(("ActivityCancelled",), 20, fakes={copy: hangs}),
    ),
    Primitive(
        names=("map_activities",),
        workflow=activities_a_few_at_a_time,
        args=(["A1", "B2", "C3"],),
        records=(
            "ActivityScheduled ActivityStarted ActivityScheduled ActivityStarted ActivityCompleted "
            "ActivityScheduled ActivityStarted ActivityCompleted ActivityCompleted"
        ),
        result=["bill of A1", "bill of B2", "bill of C3"],
        docs="`await map_activities(charge, orders, limit=8)` runs many at once, a few at a time",
        changed=Changed(
            three_at_a_time,
            6,
            'outcome of activity "bill" (0)',
            'activity "bill" (2) with "C3"',
            "map_activities",
        ),
        cancelled=Cancelled(("ActivityCancelled", "ActivityCancelled"), fakes={bill: hangs}),
    ),
    Primitive(
        names=("shell", "ShellResult", "ShellError"),
        workflow=shell_step,
        args=("printf made; printf late >&2; exit 3",),
        records="ActivityScheduled ActivityStarted ActivityCompleted",
        result=[3, "made", "late"],
        docs='`await shell("make test", timeout=600)` runs a command with the system\'s shell',
        changed=Changed(
            shell_step_that_must_succeed,
            2,
            'activity "shell" (0) with {"command":"printf made; printf late >&2; exit 3","check":false,'
            '"cwd":null,"env":null}',
            'activity "shell" (0) with {"command":"printf made; printf late >&2; exit 3","check":true,'
            '"cwd":null,"env":null}',
            "await shell",
        ),
        cancelled=Cancelled(("ActivityCancelled",), _REAL_S, args=(f"sleep {PATIENCE_S}",)),
    ),
]
