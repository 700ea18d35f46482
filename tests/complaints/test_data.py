"""Data: types that come back, errors that name their cause, and time."""

from __future__ import annotations

import asyncio
import enum
import socket
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from aion_cli import ActivityError, PayloadError, activity, now, sleep_until, workflow
from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.runtime.journal import MemoryStore
from aion_cli.runtime.recorder import Recorder, stamped_from_start
from aion_cli.testing import crash_everywhere, run_workflow
from aion_cli.testing.loop import SkippingLoop
from tests.builders import at, signal, started
from tests.primitives.stage import Performance
from tests.runs import HastyClock, Place, a_while

# --- 17: types


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


@dataclass
class Line:
    sku: str
    price: Decimal
    tags: set[str] = field(default_factory=set[str])


@attrs.define
class Address:
    street: str
    since: date


class Customer(pydantic.BaseModel):
    name: str
    born: date


class Order(msgspec.Struct):
    lines: list[Line]
    at: datetime
    notes: tuple[str, ...] = ()


VALUES: dict[str, tuple[Any, Any]] = {
    "datetime": (datetime, datetime(2026, 3, 1, 9, 30, 0, 123456, timezone(timedelta(hours=2)))),
    "date": (date, date(2026, 3, 1)),
    "Decimal": (Decimal, Decimal("1250.10")),
    "UUID": (uuid.UUID, uuid.UUID(int=7)),
    "Enum": (Colour, Colour.RED),
    "IntEnum": (Size, Size.LARGE),
    "Path": (Path, Path("a/b.txt")),
    "bytes": (bytes, b"\x00\xff"),
    "dataclass": (Line, Line("A1", Decimal("0.10"), {"b", "a"})),
    "attrs": (Address, Address("Lange Gasse", date(2020, 2, 29))),
    "pydantic": (Customer, Customer(name="žluťoučký kůň", born=date(2000, 1, 1))),
    "Struct": (Order, Order([Line("A1", Decimal(1))], datetime(2026, 3, 1, tzinfo=UTC), ("x", "y"))),
    "a union": (int | str | None, "7"),
    "nested generics": (dict[str, list[tuple[int, Colour]]], {"a": [(1, Colour.RED)]}),
}


@pytest.mark.complaint(17)
@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_of_the_same_type_and_equal_live_and_on_every_replay(loop: SkippingLoop, name: str) -> None:
    """Row 17: what code gets has always been read from the record, live as well."""
    type_, value = VALUES[name]
    seen: list[Any] = []

    async def passes_on(given: Any) -> Any:
        return given

    passes_on.__annotations__ = {"given": type_, "return": type_}
    step = activity(passes_on)

    async def keeps(given: Any) -> Any:
        seen.append(given)
        seen.append(await step(given))
        return seen[-1]

    keeps.__annotations__ = {"given": type_, "return": type_}
    performance = Performance(loop, workflow(keeps), (value,), {}, ())
    assert performance.end[0] == "WorkflowCompleted"
    for replay in performance.replay():
        replay.execution.close()
    assert len(seen) == 4
    assert [(type(each), each) for each in seen] == [(type(value), value)] * 4


@pytest.mark.complaint(17)
def test_a_datetime_without_a_zone_is_refused_with_advice_before_anything_is_recorded() -> None:
    """Row 17: it would come back as another moment elsewhere."""

    @workflow
    async def takes(moment: datetime) -> None:
        raise AssertionError("it ran")

    with pytest.raises(PayloadError, match="time zone") as refused:
        run_workflow(takes, datetime(2026, 3, 1))
    assert "tzinfo=UTC" in refused.value.hint


# --- 18: errors of serialization


@activity
async def gives_a_socket() -> dict[str, Any]:
    with socket.socket() as found:
        return {"rows": [1, {"peer": found}]}


@pytest.mark.complaint(18)
def test_what_cannot_be_recorded_is_named_with_its_place_in_the_value_and_its_type() -> None:
    """Row 18: not just that something somewhere cannot be serialized."""

    @workflow
    async def asks() -> dict[str, Any]:
        return await gives_a_socket()

    with pytest.raises(ActivityError) as failed:
        run_workflow(asks)
    assert failed.value.type == "PayloadError"
    assert failed.value.message == "`socket.socket` cannot be recorded as JSON at $.rows[1].peer"


class DeclinedError(Exception):
    """An exception that nothing could make again from its arguments."""

    def __init__(self, order: Order, *, code: int, peer: socket.socket) -> None:
        super().__init__(f"declined with code {code}")
        self.order = order
        self.peer = peer
        self.details = {"code": code}


@activity
async def declines() -> None:
    with socket.socket() as peer:
        raise DeclinedError(Order([], datetime(2026, 3, 1, tzinfo=UTC)), code=51, peer=peer)


@pytest.mark.complaint(18)
def test_an_exception_with_a_constructor_of_its_own_arrives_as_data() -> None:
    """Row 18: class, message and details; it is never pickled."""

    @workflow
    async def tries() -> list[Any]:
        try:
            await declines()
        except ActivityError as error:
            return [error.type, error.message, error.details]
        return []

    assert crash_everywhere(tries) == ["DeclinedError", "declined with code 51", {"code": 51}]


# --- 19: causes and tracebacks


def reads_the_card() -> None:
    raise LookupError("no card")


@activity
async def charges() -> None:
    try:
        reads_the_card()
    except LookupError as error:
        raise RuntimeError("cannot charge") from error


@pytest.mark.complaint(19)
def test_causes_and_the_lines_where_an_activity_failed_are_the_same_on_every_replay(loop: SkippingLoop) -> None:
    """Row 19: they are recorded once and given back as recorded."""
    seen: list[list[Any]] = []

    @workflow
    async def tries() -> None:
        try:
            await charges()
        except ActivityError as error:
            cause = error.cause
            assert cause is not None
            seen.append([error.type, error.message, error.origin, cause.type, cause.message, cause.origin])

    performance = Performance(loop, tries, (), {}, ())
    for replay in performance.replay():
        replay.execution.close()
    live, replayed = seen
    assert live == replayed
    assert [live[0], live[1], live[3], live[4]] == ["RuntimeError", "cannot charge", "LookupError", "no card"]
    assert "in charges" in live[2]
    assert "in reads_the_card" in live[5]


# --- 22: time


@pytest.mark.complaint(22)
def test_recorded_time_never_goes_back_though_the_clock_does() -> None:
    """Row 22: then the last instant is repeated, and the time of workflow code stands still."""
    store = MemoryStore()
    store.append(stamped_from_start([started()], at(60)), 0)
    recorder = Recorder(store)
    for number, second in enumerate((90, 30, 0, 91)):
        recorder.append([signal("go", number, signal_id=f"s{number}")], at(second))
    assert [event.recorded_at for event in store.read()] == [at(60), at(90), at(90), at(90), at(91)]


@workflow
async def naps() -> list[float]:
    before = now()
    await asyncio.sleep(60)
    await sleep_until(before + timedelta(seconds=60))  # has passed
    return [(now() - before).total_seconds()]


@pytest.mark.complaint(22)
def test_a_timer_waits_for_its_instant_whatever_the_clock_does_meanwhile(tmp_path: Path) -> None:
    """Row 22: it is an absolute instant in UTC: a clock that goes back does not bring it nearer."""

    async def nap() -> None:
        run = asyncio.ensure_future(place.go(naps))
        await place.until_told(ev.TimerStarted)
        for second in (59.999999, -3600, 30, 59.999999):
            place.clock.set(begun + round(second * 1_000_000))
            await a_while()
            assert ev.TimerFired not in {type(event) for event in place.told}
        place.clock.set(begun + 60_000_000)
        await asyncio.wait_for(run, 30)

    place = Place(tmp_path)
    begun = place.clock.micros()
    asyncio.run(nap())
    (fired,) = [event for event in place.events() if isinstance(event, ev.TimerFired)]
    assert fired.recorded_at == clock.format_instant(begun + 60_000_000)


@pytest.mark.complaint(22)
def test_the_present_of_a_workflow_is_aware_and_a_naive_moment_is_refused(tmp_path: Path) -> None:
    """Row 22: the two cannot be mixed by accident."""

    @workflow
    async def mixes() -> str:
        assert now().tzinfo is UTC
        await sleep_until(datetime(2027, 1, 1))
        return "slept"

    end = Place(tmp_path, HastyClock()).run(mixes)
    assert isinstance(end.closed_by, ev.WorkflowFailed)
    assert (end.closed_by.error.type, "time zone" in end.closed_by.error.message) == ("ValueError", True)
