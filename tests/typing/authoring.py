"""What pyright makes of the authoring API. Checked by `make lint`, never run.

A line that must be refused says so in a suppression, and a suppression that is not needed is an error here.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

import msgspec

from aion_cli import (
    ActivityError,
    ChildHandle,
    RetryPolicy,
    Saga,
    ShellResult,
    Signal,
    activity,
    activity_info,
    map_activities,
    now,
    query,
    randint,
    random,
    send_signal,
    shell,
    sleep_until,
    start_child,
    update,
    uuid4,
    wait_until,
    workflow,
)


class Order(msgspec.Struct):
    sku: str
    cents: int


@dataclass
class Receipt:
    number: str


@activity
def charge(order: Order) -> Receipt:
    return Receipt(order.sku)


@activity(retry=RetryPolicy(max_attempts=5, non_retryable=[ValueError, "CardDeclined"]), timeout=timedelta(seconds=30))
async def refund(receipt: Receipt, cents: int = 0, *, why: str = "") -> None:
    assert_type(activity_info().idempotency_key, str)


@activity(at_most_once=True)
def tally() -> dict[str, list[int]]:
    return {}


approval = Signal("approval", bool)
orders = Signal("orders", Order)
anything = Signal("anything")


@workflow
async def ship(order: Order) -> str:
    return order.sku


@workflow(timeout=timedelta(days=1))
async def many(orders: list[Order]) -> list[Receipt]:
    return await map_activities(charge, orders, limit=4)


@workflow
async def order_saga(order: Order) -> Receipt | None:
    call: Coroutine[Any, Any, Receipt] = charge(order)
    receipt = await call
    assert_type(receipt, Receipt)
    assert_type(await charge.options(timeout=5)(order), Receipt)
    assert_type(await refund(receipt, 5, why="late"), None)
    assert_type(await tally(), dict[str, list[int]])
    assert_type(charge.fn(order), Any)

    task = asyncio.create_task(charge(order))
    assert_type(await task, Receipt)
    async with asyncio.TaskGroup() as group:
        inner = group.create_task(refund(receipt))
    assert_type(inner.result(), None)
    assert_type(await asyncio.gather(charge(order), ship(order)), tuple[Receipt, str])
    assert_type(await asyncio.wait_for(charge(order), 5), Receipt)

    assert_type(await approval.receive(), bool)
    async for arrived in orders:
        assert_type(arrived, Order)
        break
    assert_type(approval.pending(), int)
    assert_type(await anything.receive(), Any)
    await send_signal("order-2", approval, True)

    assert_type(await ship(order), str)
    handle = await start_child(ship, order, parent_close="abandon")
    assert_type(handle, ChildHandle[str])
    assert_type(await handle, str)
    assert_type(await many([order]), list[Receipt])

    await besides(order, receipt)
    return receipt


async def besides(order: Order, receipt: Receipt) -> None:
    assert_type(await shell("make test", timeout=60), ShellResult)
    assert_type((now(), random(), randint(1, 6), uuid4()), tuple[datetime, float, int, UUID])
    await sleep_until(now() + timedelta(hours=1))

    async with Saga() as saga:
        saga.compensate(refund, receipt, 5)
    try:
        await charge(order)
    except ActivityError as error:
        assert_type((error.type, error.message, error.attempts), tuple[str, str, int])

    state = {"ready": False}

    @query
    def status() -> str:
        return "ready" if state["ready"] else "not yet"

    @update
    async def set_ready(value: bool) -> bool:
        state["ready"] = value
        return value

    @set_ready.validator
    def check(value: bool) -> None:
        assert_type(value, bool)

    assert_type(status(), str)
    assert_type(await set_ready.fn(True), bool)
    await wait_until(lambda: state["ready"])


async def refused(order: Order, receipt: Receipt) -> None:
    await charge("A1")  # pyright: ignore[reportArgumentType]
    await charge()  # pyright: ignore[reportCallIssue]
    await charge(order, 5)  # pyright: ignore[reportCallIssue]
    await refund(receipt, "five")  # pyright: ignore[reportArgumentType]
    await refund(receipt, reason="late")  # pyright: ignore[reportCallIssue]
    await ship(receipt)  # pyright: ignore[reportArgumentType]
    await send_signal("order-2", approval, Order("A1", 5))  # pyright: ignore[reportArgumentType]
    await start_child(ship, order, parent_close="keep")  # pyright: ignore[reportArgumentType]
    await map_activities(charge, ["A1"])  # pyright: ignore[reportArgumentType]
    Saga().compensate(refund, order)  # pyright: ignore[reportArgumentType]
    charge.options(timeouts=5)  # pyright: ignore[reportCallIssue]
    activity(retries=5)  # pyright: ignore[reportCallIssue]


def plain() -> None: ...


workflow(plain)  # pyright: ignore[reportArgumentType]
