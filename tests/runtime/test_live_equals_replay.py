"""What workflow code sees live, in types and values, is what it sees on every replay."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from aion_cli import Signal, activity, workflow
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus
from tests.runtime.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Decimal


@attrs.define
class Box:
    size: int
    tags: frozenset[str]


class Model(pydantic.BaseModel):
    when: datetime
    who: str = "ada"


class Entry(TypedDict):
    id: UUID
    amount: Decimal


class Pair(NamedTuple):
    left: int
    right: str


class Tree(msgspec.Struct):
    name: str
    parts: list[Tree] = []


VALUES: list[tuple[Any, Any]] = [
    (datetime, datetime(2026, 3, 1, 9, 30, 0, 123, tzinfo=UTC)),
    (date, date(2026, 3, 1)),
    (timedelta, timedelta(days=1, microseconds=5)),
    (Decimal, Decimal("10.100")),
    (UUID, UUID("12345678123456781234567812345678")),
    (Colour, Colour.RED),
    (Path, Path("/srv/x")),
    (bytes, b"\x00\xff"),
    (Point, Point(1, Decimal("2.50"))),
    (Box, Box(3, frozenset({"a", "b"}))),
    (Model, Model(when=datetime(2026, 3, 1, tzinfo=UTC))),
    (Entry, Entry(id=UUID(int=7), amount=Decimal("0.10"))),
    (tuple[int, ...], (1, 2, 3)),
    (tuple[int, str], (1, "a")),
    (Pair, Pair(1, "a")),
    (set[int], {3, 1, 2}),
    (Tree, Tree("root", [Tree("leaf")])),
    (dict[str, list[Point]], {"a": [Point(1, Decimal("2"))]}),
    (int | None, None),
    (Literal["a", "b"], "b"),
    (float, 0.1),
    (int, 2**70),
    (str, "ä\u2028\x00"),
]


def seen_by(value_type: Any, value: Any, seen: list[object]) -> Any:
    """A workflow that gets a value as its input, from an activity, from a child, and as a signal, and notes each."""

    def same(given: Any) -> Any:
        seen.append(given)
        return given

    same.__annotations__ = {"given": value_type, "return": value_type}
    echo = activity(name="echo")(same)
    arrives = Signal("arrives", value_type)

    async def looks(given: Any) -> Any:
        seen.extend([given, await echo(given), await arrives.receive()])
        return given

    looks.__annotations__ = {"given": value_type, "return": value_type}
    return workflow(name="looks")(looks), arrives


@pytest.mark.parametrize(("value_type", "value"), VALUES, ids=[str(value_type) for value_type, _ in VALUES])
def test_what_code_sees_live_is_what_it_sees_on_every_replay(shop: Shop, value_type: Any, value: Any) -> None:
    live: list[object] = []
    definition, arrives = seen_by(value_type, value, live)
    encoded = arrives.encode(value)
    first = shop.shop.first_event(definition, "order-1", encoded)
    shop.write(first)
    shop.send(ev.SignalReceived(name="arrives", payload=encoded, signal_id="s1"))
    assert shop.run(definition).status is RunStatus.COMPLETED
    replayed: list[object] = []
    again, _ = seen_by(value_type, value, replayed)
    replay = shop.shop.open_replay(shop.folder.latest("order-1"), again)
    replay.run()
    replay.execution.close()
    activity_saw, *live = live
    assert [(type(one), one) for one in live] == [(type(one), one) for one in replayed] == [(type(value), value)] * 3
    assert (type(activity_saw), activity_saw) == (type(value), value)


@activity
def anything(given: Any) -> Any:
    return (given, {"nested": (1, 2)})


def test_without_an_annotation_a_tuple_is_a_list_live_as_well(shop: Shop) -> None:
    seen: list[object] = []

    @workflow
    async def looks() -> None:
        seen.append(await anything((1, 2)))

    shop.run(looks)
    assert seen == [[[1, 2], {"nested": [1, 2]}]]
    replay = shop.shop.open_replay(shop.folder.latest("order-1"), looks)
    replay.run()
    replay.execution.close()
    assert seen[0] == seen[1]
