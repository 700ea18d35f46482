"""An order: charge the card, wait for somebody's approval, ship; or else give the money back.

    aion run order_saga --id order-42 -p sku=A1 -p cents:=1250 --until-blocked
    aion signal order-42 approval true
    aion run order_saga --id order-42
    aion replay order-42

Kill it wherever you like, with -9 too, and type the `run` line again: it goes on where it was. Say `false` instead, or
let two seconds pass with `-p approve_within_s:=2`, and the card is refunded.

The shop is make-believe. It lies in the folder shop/ of the directory that you work in:

    cat shop/ledger.jsonl        what its bank, warehouse and carrier were asked, one request a line
    echo A1 >> shop/sold-out     there is no A1 left: the order cannot be shipped, and the card is refunded
    touch shop/carrier-closed    the carrier turns everybody away: it is asked again until you remove the file
    echo 5 > shop/slow           answers take 5 seconds (0.7 without that file): time enough to kill it by hand
"""

import asyncio
import fcntl
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from aion_cli import ChildError, NonRetryable, RetryPolicy, Saga, Signal, activity, activity_info, workflow

SHOP = Path("shop")


class Order(msgspec.Struct, frozen=True):
    """What is bought, for how much, and how long it waits for an approval."""

    sku: str
    cents: Annotated[int, msgspec.Meta(ge=1)]
    approve_within_s: float = 86_400.0


class Shipped(msgspec.Struct, frozen=True, tag="shipped", tag_field="status"):
    """The parcel is on its way, and paid."""

    receipt: str
    tracking: str


class Refunded(msgspec.Struct, frozen=True, tag="refunded", tag_field="status"):
    """The order came to nothing, and the money went back."""

    receipt: str
    reason: str


class NotApprovedError(Exception):
    """Somebody said no, or nobody said anything in time."""


class CarrierClosedError(Exception):
    """The carrier takes no bookings now. It will."""


class Entry(msgspec.Struct, frozen=True):
    """One request in the shop's ledger. repeated: it was there under this key already, so nothing more was done."""

    key: str
    request: str
    attempt: int
    repeated: bool
    sku: str
    cents: int


approval = Signal("approval", bool)


# What touches the world is an activity. Once its outcome is recorded, it never runs again. But a crash can come between
# its effect and the record; then it does run again. So each asks under a key that all of its attempts share.


@activity(timeout=timedelta(seconds=30))
def charge(order: Order) -> str:
    """Take the money; returns the number of the receipt."""
    return f"receipt-{ask('charge', order)}"


@activity(timeout=timedelta(seconds=30))
def refund(order: Order, receipt: str) -> None:
    """Give the money back."""
    ask(f"refund {receipt}", order)


@activity(timeout=timedelta(seconds=30))
def pick(order: Order) -> None:
    """Fetch the article from the shelf."""
    sold_out = SHOP / "sold-out"
    if sold_out.exists() and order.sku in sold_out.read_text().split():
        raise NonRetryable(f"{order.sku} is sold out")
    ask("pick", order)


@activity(retry=RetryPolicy(max_attempts=None, initial=timedelta(seconds=0.5), cap=timedelta(minutes=5)))
def book_carrier(order: Order) -> str:
    """Hand the parcel over; returns its tracking number. A closed carrier is asked again, ever more rarely."""
    if (SHOP / "carrier-closed").exists():
        raise CarrierClosedError("the carrier is closed")
    return f"parcel-{ask('book', order)}"


def ask(request: str, order: Order) -> int:
    """Ask the shop for something, once; returns the line of the ledger where it was first asked under this key."""
    info = activity_info()
    SHOP.mkdir(exist_ok=True)
    with (SHOP / "ledger.jsonl").open("a+b") as ledger:
        fcntl.flock(ledger, fcntl.LOCK_EX)
        ledger.seek(0)
        keys = [msgspec.json.decode(line, type=Entry).key for line in ledger]
        repeated = info.idempotency_key in keys
        entry = Entry(info.idempotency_key, request, info.attempt, repeated, order.sku, order.cents)
        ledger.write(msgspec.json.encode(entry) + b"\n")
        ledger.flush()
        os.fsync(ledger.fileno())
    time.sleep(answers_after_s())  # killed here, the request has arrived and its answer is lost
    return [*keys, entry.key].index(entry.key) + 1


def answers_after_s() -> float:
    """Return how long the shop takes to answer."""
    slow = SHOP / "slow"
    return float(slow.read_text()) if slow.exists() else 0.7


# What decides is a workflow: it may wait for days, and is replayed from its history as often as it takes.


@workflow
async def shipping(order: Order) -> str:
    """Pick and hand over; returns the tracking number."""
    await pick(order)
    return await book_carrier(order)


@workflow
async def order_saga(order: Order) -> Shipped | Refunded:
    """Charge, get an approval, ship. If that fails after the charge, or is cancelled, refund."""
    receipt = await charge(order)
    try:
        async with Saga() as saga:
            saga.compensate(refund, order, receipt)
            await approved(within_s=order.approve_within_s)
            return Shipped(receipt, tracking=await shipping(order))  # a child, with a history of its own
    except (NotApprovedError, ChildError) as error:
        return Refunded(receipt, reason=str(error))


async def approved(within_s: float) -> None:
    """Return when the order is approved. Raises NotApprovedError if it is refused, or if nobody answers in time."""
    try:
        async with asyncio.timeout(within_s):  # a durable deadline: it passes while no process runs, too
            answer = await approval.receive()
    except TimeoutError:
        raise NotApprovedError(f"nobody answered within {within_s:g} s") from None
    if not answer:
        raise NotApprovedError("it was refused")
