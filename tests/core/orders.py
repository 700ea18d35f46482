"""A workflow, its whole history, and how it is replayed; shared by the tests of matching."""

from __future__ import annotations

import asyncio

import msgspec

from aion_cli import Signal, activity, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from tests.builders import (
    AnyWorkflow,
    at,
    attempted,
    completed,
    ended,
    fired,
    history,
    replayed,
    scheduled,
    started,
    timer,
    when,
)


@activity
def charge(sku: str) -> str:
    raise AssertionError(f"an activity ran: {sku}")


@activity
def bill(sku: str) -> int:
    raise AssertionError(f"an activity ran: {sku}")


@workflow
async def ship(sku: str) -> str:
    raise AssertionError(f"a child ran: {sku}")


go = Signal("go", int)


class Order(msgspec.Struct):
    sku: str
    express: bool = False


@workflow
async def order(sku: str) -> str:
    receipt = await charge(sku)
    await asyncio.sleep(60)
    await bill(receipt)
    return receipt


WHOLE = [
    started("A1"),
    scheduled(0, "charge", "A1"),
    attempted(0),
    completed(0, "r1"),
    timer(0, at(63)),
    when(63, fired(0)),
    scheduled(1, "bill", "r1"),
    attempted(1),
    completed(1, 7),
    ended("r1"),
]


def unmatched(definition: AnyWorkflow, *events: ev.Event) -> list[cmd.AnyCommand]:
    return replayed(definition, history(*events)).unmatched


def failing(error: BaseException) -> AnyWorkflow:
    @workflow
    async def order(sku: str) -> None:
        await charge(sku)
        raise error

    return order


FAILS = [started("A1"), scheduled(0, "charge", "A1"), completed(0, "r1")]
