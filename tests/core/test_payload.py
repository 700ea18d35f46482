"""Payloads come back as what they were, or are refused with the place and the reason."""

from __future__ import annotations

import collections
import enum
import math
import re
import socket
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, NamedTuple, NoReturn, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion_cli.core import payload
from aion_cli.core.payload import decode, encode, equal
from aion_cli.errors import PayloadError

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Shade(enum.StrEnum):
    DARK = "dark"


class Level(enum.IntEnum):
    LOW = 1


class Line(msgspec.Struct):
    sku: str
    price: Any = 0


class Order(msgspec.Struct, tag=True, omit_defaults=True, rename="camel"):
    order_id: str
    paid_at: datetime | None = None
    tags: set[str] = set()
    home: Path | None = None
    lines: list[Line] = []


class Compact(msgspec.Struct, array_like=True, frozen=True):
    name: str
    marks: frozenset[str] = frozenset()


@dataclass
class Box:
    width: int
    _secret: str = "s"
    marks: set[str] = field(default_factory=set[str])


@dataclass
class Holder(Generic[T]):
    held: T


@attrs.define
class Crate:
    weight: int
    _seal: str = "unbroken"


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    fast: bool
    limit: int


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    name: str
    ratio: float = 1.0
    labels: set[str] = set()
    when: datetime | None = None
    data: bytes = b""
    aliased: int = pydantic.Field(default=1, alias="al")
    box: Box | None = None
    inner: list[Model] = []


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Token:
    """A class of its own form."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __aion_payload__(self) -> object:
        return {"token": self.text}

    @classmethod
    def __from_aion_payload__(cls, value: Any) -> Token:
        return cls(value["token"])


class Grumpy(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        if self.n == 13:
            raise LookupError("not that one")


def refusal(action: Callable[[], object]) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        action()
    return caught.value


ROUND_TRIPS: list[tuple[object, Any]] = [
    (None, None),
    (True, bool),
    (0, int),
    (-(10**40), int),
    (2.5, float),
    ("Zürich ☃", str),
    (b"\x00\xff", bytes),
    (bytearray(b"ab"), bytearray),
    (datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC), datetime),
    (datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))), datetime),
    (datetime(1890, 1, 1, tzinfo=timezone(timedelta(minutes=53, seconds=28))), datetime),
    (date(2026, 2, 28), date),
    (time(23, 59, 59, 999999), time),
    (time(1, 2, tzinfo=UTC), time),
    (timedelta(days=-1, microseconds=5), timedelta),
    (timedelta.max, timedelta),
    (Decimal("1.10"), Decimal),
    (Decimal("-1E+50"), Decimal),
    (uuid.UUID(int=7), uuid.UUID),
    (Colour.BLUE, Colour),
    (Shade.DARK, Shade),
    (Level.LOW, Level),
    (Path("a/b"), Path),
    (PurePosixPath("/etc"), PurePosixPath),
    ({"b", "a"}, set[str]),
    (frozenset({3, 1}), frozenset[int]),
    ((1, "x"), tuple[int, str]),
    (Point(1, 2), Point),
    ({Shade.DARK: 1}, dict[Shade, int]),
    ({"fast": True}, Options),
    (Line("A1", 5), Line),
    (Order("1", datetime(2026, 1, 1, tzinfo=UTC), {"x", "y"}, Path("/h"), [Line("A")]), Order),
    (Compact("n", frozenset({"b", "a"})), Compact),
    (Box(1, "t", {"q"}), Box),
    (Holder(Colour.RED), Holder[Colour]),
    (Crate(2, "broken"), Crate),
    (Model(name="m", labels={"x"}, al=3, data=b"raw", box=Box(1)), Model),
    (Model(name="m", when=datetime(2026, 1, 1, tzinfo=UTC), inner=[Model(name="i")]), Model),
    ([Model(name="m"), None], list[Model | None]),
    (Numbers([1, 2]), Numbers),
    (Token("t"), Token),
    ([Token("t")], list[Token]),
    ([1, "a", None], list[int | str | None]),
    ("a", Literal["a", "b"]),
    (3, Annotated[int, msgspec.Meta(ge=1)]),
    ({"a": [1]}, Mapping[str, Sequence[int]]),
    ({"$ref": 1, "x": 2}, dict[str, int]),
    ({"any": [1, {"b": None}]}, object),
]


# Not named by their values: a set of strings is written in another order in every process.
ROUND_TRIP_NAMES = [
    f"{n} {re.sub(' at 0x[0-9a-f]+', '', repr(type_))}"[:60] for n, (_, type_) in enumerate(ROUND_TRIPS)
]


@pytest.mark.parametrize(("value", "type_"), ROUND_TRIPS, ids=ROUND_TRIP_NAMES)
def test_a_value_comes_back_as_what_it_was(value: object, type_: Any) -> None:
    raw = encode(value, type_)
    back = decode(raw, type_)
    assert back == value
    assert type(back) is type(value)
    assert bytes(encode(back, type_)) == bytes(raw)
    payload.check_type(type_)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("$lit"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_value_comes_back_equal_and_is_written_the_same_again(value: Any) -> None:
    raw = encode(value)
    back = decode(raw)
    assert back == value
    assert bytes(encode(back)) == bytes(raw)
    assert b"\n" not in bytes(raw)
    assert equal(raw, encode(back))


offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
zones = offsets.map(timezone) | st.just(UTC)
rich_values = st.fixed_dictionaries(
    {
        "at": st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones),
        "day": st.dates(),
        "clock": st.times(),
        "took": st.timedeltas(),
        "price": st.decimals(allow_nan=False, allow_infinity=False),
        "id": st.uuids(),
        "blob": st.binary(max_size=20),
        "tags": st.frozensets(st.text(max_size=4)),
        "size": st.integers(-(10**60), 10**60),
        "path": st.text(string.ascii_letters + "./ ", max_size=9).map(Path),
    }
)


class Rich(TypedDict):
    at: datetime
    day: date
    clock: time
    took: timedelta
    price: Decimal
    id: uuid.UUID
    blob: bytes
    tags: frozenset[str]
    size: int
    path: Path


@given(rich_values)
@settings(max_examples=200, deadline=None)
def test_typed_values_come_back_equal_and_are_written_the_same_again(value: dict[str, Any]) -> None:
    raw = encode(value, Rich)
    back = decode(raw, Rich)
    assert back == value
    assert bytes(encode(back, Rich)) == bytes(raw)


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:0123456789.eE-+\\u tdnrufalsNI$', max_size=40).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_arbitrary_bytes_are_decoded_or_refused_as_a_payload_error(data: bytes) -> None:
    for type_ in (Any, Order, dict[str, int], list[Model], Rich):
        try:
            value = decode(data, type_)
        except PayloadError:
            continue
        assert decode(encode(value, type_), type_) == value


def nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["again"] = [value]
    return value


def cyclic_struct() -> Any:
    line = Line("A")
    line.price = {"of": line}
    return line


async def unawaited() -> None: ...


REFUSED: list[tuple[Callable[[], object], str, str]] = [
    (lambda: {"items": [{"price": 1}, {"price": math.nan}]}, "$.items[1].price", "nan"),
    (lambda: math.inf, "$", "inf"),
    (lambda: [Decimal("NaN")], "$[0]", "NaN"),
    (lambda: Line("A", [float("-inf")]), "$.price[0]", "-inf"),
    (lambda: {"a b": "\ud800"}, '$["a b"]', "surrogate \\ud800"),
    (lambda: {"x": {"\udc00": 1}}, "$.x", "surrogate"),
    (lambda: {"x": Shade.DARK, "y": {1: 2}}, "$.y", "`int`"),
    (lambda: {"x": {None: 2}}, "$.x", "`NoneType`"),
    (lambda: {"d": datetime(2026, 1, 1)}, "$.d", "time zone"),
    (lambda: Order("1", datetime(2026, 1, 1)), "$.paidAt", "time zone"),
    (lambda: Model(name="m", inner=[Model(name="n", when=datetime(2026, 1, 1))]), "$.inner[0].when", "time zone"),
    (lambda: Model(name="m", ratio=math.nan), "$.ratio", "nan"),
    (lambda: [10**5000], "$[0]", "digits"),
    (lambda: [len], "$[0]", "builtin_function"),
    (lambda: {"f": lambda: 1}, "$.f", "function"),
    (lambda: ValueError("x"), "$", "`ValueError`"),
    (lambda: [int], "$[0]", "`int`"),
    (lambda: {"s": {socket.AF_INET, object()}}, "$.s[*]", "object"),
    (lambda: range(3), "$", "`range`"),
    (lambda: collections.deque([1]), "$", "`collections.deque`"),
    (lambda: 1j, "$", "`complex`"),
    (unawaited, "$", "coroutine"),
    (cyclic, "$.again[0]", "contains itself"),
    (cyclic_struct, "$.price.of", "contains itself"),
    (lambda: nested(65), "$" + "[0]" * 64, "64"),
    (lambda: {"big": "x" * (64 * 1024 * 1024 + 1)}, "$.big", "64 MiB"),
    (lambda: ["\0" * (11 * 1024 * 1024)], "$", "64 MiB"),
]


@pytest.mark.parametrize(("make", "path", "said"), REFUSED, ids=lambda v: repr(v)[:40] if isinstance(v, str) else "")
def test_what_json_cannot_hold_is_refused_with_its_place_and_reason(
    make: Callable[[], object], path: str, said: str
) -> None:
    error = refusal(lambda: encode(make()))
    assert error.path == path
    assert said in error.message
    error.message.encode()


def test_refusals_of_common_mistakes_say_what_to_do() -> None:
    assert "tzinfo=UTC" in refusal(lambda: encode(datetime(2026, 1, 1))).hint
    assert "await" in refusal(lambda: encode(unawaited())).hint
    assert "list(" in refusal(lambda: encode(x for x in "ab")).hint
    assert "str(key)" in refusal(lambda: encode({1: 2})).hint


def test_a_socket_is_refused_by_name() -> None:
    with socket.socket() as opened:
        assert "`socket.socket`" in refusal(lambda: encode({"s": opened})).message


def test_a_shared_value_that_would_be_written_without_end_is_refused_at_once() -> None:
    value: list[Any] = ["x" * 1000]
    for _ in range(60):
        value = [value] * 1000
    assert "MiB" in refusal(lambda: encode(value)).message


def test_the_same_value_twice_is_no_cycle() -> None:
    line = {"a": 1}
    assert decode(encode([line, line])) == [line, line]


def test_what_may_be_written_at_the_deepest_can_be_read() -> None:
    assert decode(encode(nested(64))) == nested(64)
    assert bytes(encode({"$x": nested(63)})).startswith(b'{"$lit":')
    assert decode(encode({"$x": nested(63)})) == {"$x": nested(63)}


def test_code_of_the_values_own_that_raises_is_a_payload_error() -> None:
    class Broken(dict[str, int]):
        def items(self) -> Any:
            raise OSError("gone")

    assert "OSError: gone" in refusal(lambda: encode([Broken(a=1)])).message


def test_subclasses_of_plain_types_are_recorded_as_what_they_are() -> None:
    class Name(str): ...

    class Count(int): ...

    class Ratio(float): ...

    value: list[Any] = [
        Name("x"),
        Count(3),
        Ratio(1.5),
        collections.OrderedDict(a=1),
        MappingProxyType({"b": 2}),
        Level.LOW,
    ]
    assert decode(encode(value)) == ["x", 3, 1.5, {"a": 1}, {"b": 2}, 1]


def test_sets_are_written_in_the_order_of_their_json_wherever_they_are() -> None:
    names = ["b", "a", "c", "aa"]
    expected = b'["a","aa","b","c"]'
    assert bytes(encode(set(names))) == expected
    for holder in (Box(1, marks=set(names)), Order("1", tags=set(names)), Model(name="m", labels=set(names))):
        assert expected in bytes(encode(holder))
    assert expected in bytes(encode(Model(name="m", box=Box(1, marks=set(names)))))
    assert bytes(encode(Compact("n", frozenset(names)))) == b'["n",' + expected + b"]"
    assert bytes(encode({None, 1, "a"})) == b'["a",1,null]'


def test_encoding_leaves_the_value_as_it_was() -> None:
    order = Order("1", tags={"b", "a"}, lines=[Line("A", (1, {2}))])
    encode(order)
    assert order == Order("1", tags={"b", "a"}, lines=[Line("A", (1, {2}))])
    assert isinstance(order.tags, set)


def test_raw_json_is_read_before_it_is_recorded() -> None:
    assert bytes(encode(msgspec.Raw(b'{"a":\n 1}'))) == b'{"a":1}'
    assert refusal(lambda: encode([msgspec.Raw(b"]")])).path == "$"


def test_an_object_with_dollar_keys_is_the_users_own_not_a_reference() -> None:
    value = {"$blob": "sha256:00", "size": 1}
    raw = encode(value)
    assert bytes(raw) == b'{"$lit":{"$blob":"sha256:00","size":1}}'
    assert decode(raw) == value
    assert decode(encode({"$lit": {"$lit": 1}})) == {"$lit": {"$lit": 1}}
    assert bytes(encode({"a": {"$b": 1}})) == b'{"a":{"$b":1}}'
    assert payload.parse(b'{"$lit":1}') == {"$lit": 1}


def test_a_reference_that_nobody_resolved_never_reaches_code() -> None:
    assert "$blob" in refusal(lambda: decode(b'{"$blob":"sha256:00","size":1}')).message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "too early"),
        (b"[1", "too early"),
        (b"NaN", "malformed"),
        (b"[Infinity]", "malformed"),
        (b"[1] 2", "malformed"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\\ud800"', "surrogate \\ud800"),
        (b'"\\udc00x"', "surrogate \\udc00"),
        (b'["\\ud800\\ud800"]', "surrogate"),
        (b"1e999", "range"),
        (b"1" * 5000, "range"),
        (b"[" * 100_000, "64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64"),
        (b'{"$x":' + b"[" * 100_000, "64"),
    ],
)
def test_what_is_not_sound_json_is_refused(data: bytes, said: str) -> None:
    assert said in refusal(lambda: decode(data)).message


def test_brackets_inside_text_are_no_nesting() -> None:
    assert decode(b'["' + b"[{" * 100 + b'\\"["]') == ["[{" * 100 + '"[']
    assert decode(b"[" + b"[]," * 100 + b"[]]") == [[]] * 101


@pytest.mark.parametrize(
    ("data", "type_", "path", "said"),
    [
        (b'{"sku":5}', Line, "$.sku", "Expected `str`, got `int`"),
        (b"[{}]", list[Line], "$[0].sku", "missing required field `sku`"),
        (b'{"cents":"x"}', dict[str, int], "$.cents", "Expected `int`"),
        (b'{"a":{"x":1},"b":{"x":1,"y z":["q"],"w":"r"}}', dict[str, dict[str, Any | int]], "", ""),
        (b'{"a":{"x":1},"b":{"x":1,"y z":"q","w":"r"}}', dict[str, dict[str, int]], '$.b["y z"]', "Expected `int`"),
        (b'{"q":{"dark":1,"light":2}}', dict[str, dict[Shade, int]], "$.q.light", "enum"),
        (b'[{"name":"m","inner":[{"name":1}]}]', list[Model], "$[0].inner[0].name", "valid string"),
        (b'{"p":{"n":13}}', dict[str, Grumpy], "$", "LookupError: not that one"),
        (b"[[1]]", set[list[int]], "$", "unhashable"),
        (b"[5]", list[Path], "$[0]", "Path"),
        (b"0", Annotated[int, msgspec.Meta(ge=1)], "$", "Expected `int` >= 1"),
    ],
)
def test_a_misfit_names_the_exact_place(data: bytes, type_: Any, path: str, said: str) -> None:
    if not path:
        decode(data, type_)
        return
    error = refusal(lambda: decode(data, type_))
    assert error.path == path
    assert said in error.message


def test_a_value_that_does_not_fit_its_type_is_not_recorded() -> None:
    error = refusal(lambda: encode({"sku": 5}, Line))
    assert (error.path, error.message) == ("$.sku", "Expected `str`, got `int`")


def test_adopted_json_is_compact_complete_and_recordable() -> None:
    assert bytes(payload.adopt(b' {"sku" :\n"A"}', Line)) == b'{"sku":"A","price":0}'
    assert bytes(payload.adopt(b'{"$x":1}')) == b'{"$lit":{"$x":1}}'
    assert "time zone" in refusal(lambda: payload.adopt(b'"2026-01-01T00:00:00"', datetime)).message


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a":1,"b":[2]}', b'{"b":[2],"a":1}', True),
        (b"1", b"1.0", True),
        (b"9007199254740993", b"9007199254740992.0", False),
        (b"true", b"1", False),
        (b"0", b"false", False),
        (b"null", b"0", False),
        (b"[1,2]", b"[2,1]", False),
        (b'{"a":1}', b'{"a":1,"b":2}', False),
        (b'"1"', b"1", False),
        (b'"\\u0041"', b'"A"', True),
    ],
)
def test_payloads_are_equal_as_json_values(one: bytes, other: bytes, same: bool) -> None:
    assert equal(msgspec.Raw(one), msgspec.Raw(other)) is same
    assert equal(msgspec.Raw(other), msgspec.Raw(one)) is same


def test_a_field_with_a_default_can_be_added_to_what_was_recorded() -> None:
    recorded, today = msgspec.Raw(b'{"sku":"A"}'), msgspec.Raw(b'{"sku":"A","price":0}')
    assert not equal(recorded, today)
    assert equal(recorded, today, Line)
    assert equal(recorded, today, reencode=lambda raw: encode(decode(raw, Line)))
    assert not equal(msgspec.Raw(b'{"sku":5}'), today, Line)


@pytest.mark.parametrize(
    ("type_", "path", "said"),
    [
        (socket.socket, "$", "`socket.socket`"),
        (list[socket.socket], "$[*]", "`socket.socket`"),
        (dict[str, tuple[int, socket.socket]], "$[*][1]", "`socket.socket`"),
        (Holder[socket.socket], "$.held", "`socket.socket`"),
        (socket.socket | None, "$", "`socket.socket`"),
        (Callable[[int], int], "$", "Callable"),
        (dict[int, str], "$", "keys"),
        (list[dict[date, str]], "$[*]", "keys"),
        (Model | Line, "$", "not supported"),
        (datetime | date, "$", "not supported"),
        (NoReturn, "$", "not supported"),
        (msgspec.msgpack.Ext, "$", "Ext"),
    ],
)
def test_types_whose_values_cannot_be_recorded_are_refused(type_: Any, path: str, said: str) -> None:
    error = refusal(lambda: payload.check_type(type_))
    assert error.path == path
    assert said in error.message


class Tree(msgspec.Struct):
    children: list[Tree] = []


def test_a_recursive_type_can_be_checked_and_recorded() -> None:
    payload.check_type(Tree)
    assert decode(encode(Tree([Tree()]), Tree), Tree) == Tree([Tree()])
