"""Parcels that are shipped by children of orders, for tests of children."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import ChildError, Signal, activity, workflow

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@activity
async def note(what: str) -> str:
    CALLS.append(what)
    return what


go = Signal("go", int)


@workflow
async def ship(sku: str) -> str:
    return await note(f"ship {sku}")


@workflow
async def ship_when_told(sku: str) -> str:
    try:
        await go.receive()
        return await note(f"ship {sku}")
    except asyncio.CancelledError:
        await note(f"unpack {sku}")
        raise


@workflow
async def order(sku: str) -> str:
    parcel = await ship(sku)
    await note(f"bill {parcel}")
    return parcel


@workflow
async def order_slowly(sku: str) -> str:
    try:
        return await ship_when_told(sku)
    except ChildError as error:
        return f"{error.type}: {error.message}"


CHILD = "order-1.1-2"
