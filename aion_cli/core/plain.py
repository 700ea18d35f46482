"""From any Python value to one that JSON can hold, or a refusal that says where and why.

What belongs here: which values can be recorded, and the form they take. What does not: bytes (`core.payload`).

msgspec writes NaN as null, drops the private attributes of attrs classes, rounds time zone offsets to minutes, turns
integer keys into text and lets datetimes without a time zone pass. A value that comes back as another one is worse than
a refusal, so every value is walked before msgspec sees it. The walk is bounded in depth and in size, and it notices
values that contain themselves. What msgspec writes faithfully is left as it is; the rest is replaced on the way.

A class that msgspec does not know (no Struct, dataclass or attrs class) may bring its own form: what
`__aion_payload__(self)` returns is recorded, and the class method `__from_aion_payload__(cls, value)` takes it back.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import inspect
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType
from typing import Any, cast
from uuid import UUID

import msgspec

MAX_DEPTH = 64
"""Deepest nesting of a payload: the number of arrays and objects around its innermost value."""

MAX_BYTES = 64 * 1024 * 1024
"""Size of the largest payload, in bytes of JSON."""

_MINUTE = timedelta(minutes=1)
_LEAVES = frozenset[type]({str, int, bool, NoneType})


class Refused(Exception):  # noqa: N818 - it is not an error for users; core.payload makes one of it
    """A value cannot be recorded. parts: steps of its JSON path, innermost first."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.parts: list[str] = []

    @property
    def path(self) -> str:
        return "$" + "".join(reversed(self.parts))


def step(key: str | int) -> str:
    """Write one step of a JSON path: `.name`, `[3]`, or `["any text"]`."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"


def type_name(kind: Any) -> str:
    """Name a type as its author would: `socket.socket`, `Order`, `int`."""
    if not isinstance(kind, type):
        return str(kind).removeprefix("typing.")
    home = kind.__module__
    return kind.__qualname__ if home in ("builtins", "__main__") else f"{home}.{kind.__qualname__}"


def simplify(value: object, *, check_leaves: bool = False) -> Any:
    """Return a value that msgspec writes as JSON without changing it.

    check_leaves: look into every text and integer too, for the place of one that msgspec refused.
    Raises Refused; also whatever the value's own code raises (a property, a `model_dump`).
    """
    if not check_leaves and type(value) in _LEAVES and not isinstance(value, str):
        return value
    return _Walk(check_leaves).visit(value)


def _class_of(value: Any) -> Any:
    return cast("Any", type(value))


class _Walk:
    """One walk over one value. open: ids of the containers around the current place."""

    def __init__(self, check_leaves: bool) -> None:
        self.open: set[int] = set()
        self.budget = MAX_BYTES
        self.leaves: frozenset[type] = frozenset() if check_leaves else _LEAVES

    def visit(self, value: Any) -> Any:
        kind = _class_of(value)
        if kind in self.leaves:
            if kind is str:
                self.spend(len(value))
            return value
        handler = _EXACT.get(kind) or _handler_of(value)
        return handler(self, value)

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise Refused(
                f"the value is larger than {MAX_BYTES // 1024**2} MiB of JSON",
                "keep large data in a file or an object store, and pass its path or address",
            )

    def enter(self, value: object, size: int) -> None:
        if id(value) in self.open:
            raise Refused("the value contains itself", "pass a copy without the reference back")
        if len(self.open) >= MAX_DEPTH:
            raise Refused(f"the value is nested more than {MAX_DEPTH} deep", "flatten it")
        self.spend(size)
        self.open.add(id(value))

    def leave(self, value: object) -> None:
        self.open.discard(id(value))

    def array(self, value: Any) -> list[Any]:
        self.enter(value, 2 * len(value))
        out: list[Any] = []
        try:
            for item in value:
                out.append(self.visit(item))
        except Refused as refused:
            refused.parts.append(step(len(out)))
            raise
        self.leave(value)
        return out

    def members(self, value: Any) -> list[Any]:
        """Sets iterate in another order in every process: their members are sorted by their JSON."""
        self.enter(value, 2 * len(value))
        try:
            out = [self.visit(item) for item in value]
        except Refused as refused:
            refused.parts.append("[*]")
            raise
        self.leave(value)
        return sorted(out, key=msgspec.json.encode)

    def mapping(self, value: Any) -> dict[str, Any]:
        return self.fields(value, value.items(), 4 * len(value))

    def fields(self, value: object, items: Iterable[tuple[Any, Any]], size: int) -> dict[str, Any]:
        self.enter(value, size)
        out: dict[str, Any] = {}
        key: Any = ""
        try:
            for key, item in items:
                name = key if type(key) is str else _key_text(key, out)
                out[name] = self.visit(item)
                self.spend(len(name))
        except Refused as refused:
            if isinstance(key, str):
                refused.parts.append(step(str.__str__(key)))
            raise
        if not self.leaves:
            _require_texts(out)
        self.leave(value)
        return out

    def struct(self, value: msgspec.Struct) -> msgspec.Struct:
        """Keep a Struct, so that msgspec writes its tag, names and layout; replace the fields that have to be."""
        self.enter(value, 0)
        changed: dict[str, Any] = {}
        for name, shown in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            item = getattr(value, name)
            if item is msgspec.UNSET:
                continue
            try:
                new = self.visit(item)
            except Refused as refused:
                refused.parts.append(step(shown))
                raise
            if new is not item:
                changed[name] = new
        self.leave(value)
        if not changed:
            return value
        clone = copy.copy(value)
        for name, new in changed.items():
            msgspec.structs.force_setattr(clone, name, new)
        return clone

    def record(self, value: Any) -> dict[str, Any]:
        """Dataclasses and attrs classes: an object of their fields, private ones included."""
        names = [f.name for f in getattr(_class_of(value), "__attrs_attrs__", None) or dataclasses.fields(value)]
        return self.fields(value, _present(value, names), 4 * len(names))

    def model(self, value: Any) -> Any:
        """Pydantic models: what they write themselves, with sets in order."""
        dumped = value.model_dump(mode="json", by_alias=True, round_trip=True)
        return self.visit(_aligned(value, dumped))

    def own_form(self, value: Any) -> Any:
        self.enter(value, 0)
        form = self.visit(value.__aion_payload__())
        self.leave(value)
        return form

    def member(self, value: enum.Enum) -> Any:
        return self.visit(value.value)

    def text(self, value: str) -> str:
        exact = str.__str__(value)
        self.spend(len(exact))
        if not self.leaves:
            _require_texts([exact])
        return exact

    def integer(self, value: int) -> int:
        exact = int.__int__(value)
        if exact.bit_length() > 64:
            digits = exact.bit_length() * 30103 // 100_000
            self.spend(digits)
            if not self.leaves:
                _require_writable(exact, digits)
        return exact

    def number(self, value: float) -> float:
        if not math.isfinite(value):
            raise Refused(f"JSON has no {float(value)!r}", "use None, or a text, for what is not a number")
        return float.__float__(value)

    def decimal(self, value: Decimal) -> Decimal:
        if not value.is_finite():
            raise Refused(f"JSON has no {value}", "use None, or a text, for what is not a number")
        return value if type(value) is Decimal else Decimal(value)

    def instant(self, value: datetime) -> datetime:
        offset = value.utcoffset()
        if offset is None:
            raise Refused(
                "a datetime without a time zone is no instant: it means another one on another machine",
                "use datetime(..., tzinfo=UTC), or .replace(tzinfo=UTC) if it is in UTC",
            )
        exact = datetime.combine(value.date(), _plain_time(value), value.tzinfo)
        if type(value) is not datetime and exact != value:
            raise Refused(f"`{type_name(type(value))}` holds more than a datetime can", "convert it, or pass text")
        return exact.astimezone(UTC) if offset % _MINUTE else (value if type(value) is datetime else exact)

    def clock_time(self, value: time) -> time:
        if value.tzinfo is None:
            return _plain_time(value)
        offset = value.utcoffset()
        if offset is None or offset % _MINUTE:
            raise Refused(
                "a time of day in this time zone has no fixed offset in minutes",
                "pass a datetime, or drop the time zone",
            )
        return value if type(value) is time else _plain_time(value).replace(tzinfo=value.tzinfo)

    def day(self, value: date) -> date:
        return value if type(value) is date else date(value.year, value.month, value.day)

    def duration(self, value: timedelta) -> timedelta:
        return value if type(value) is timedelta else timedelta(value.days, value.seconds, value.microseconds)

    def uuid(self, value: UUID) -> UUID:
        return value if type(value) is UUID else UUID(int=value.int)

    def octets(self, value: Any) -> bytes:
        exact = value if type(value) is bytes else bytes(value)
        self.spend(len(exact) * 4 // 3)
        return exact

    def path(self, value: Any) -> Any:
        return self.visit(value.__fspath__())

    def raw(self, value: msgspec.Raw) -> Any:
        """JSON that came as it stands is read, so that what is recorded is compact and well formed."""
        return self.visit(msgspec.json.decode(value))

    def refuse(self, value: Any) -> Any:
        name = type_name(type(value))
        if isinstance(value, type):
            raise Refused(f"a class (`{type_name(value)}`) cannot be recorded", "pass its name")
        if inspect.isawaitable(value):
            close = getattr(value, "close", None)
            if inspect.iscoroutine(value) and close is not None:
                close()
            raise Refused(f"`{name}` cannot be recorded", "did you forget `await`?")
        if isinstance(value, BaseException):
            raise Refused(f"an exception (`{name}`) cannot be recorded", "pass str(error), or raise it")
        if callable(value):
            raise Refused(f"`{name}` cannot be recorded: code is no data", "pass a name, and look it up")
        if isinstance(value, Iterator) or hasattr(_class_of(value), "__iter__"):
            raise Refused(f"`{name}` cannot be recorded", "make a list of it: list(...)")
        raise Refused(
            f"`{name}` cannot be recorded as JSON",
            "pass plain values, a msgspec.Struct, a dataclass, an attrs class, a TypedDict or a pydantic model",
        )


_Handler = Callable[[_Walk, Any], Any]

_EXACT: dict[type, _Handler] = {
    NoneType: lambda _walk, value: value,
    bool: lambda _walk, value: value,
    str: _Walk.text,
    int: _Walk.integer,
    float: _Walk.number,
    list: _Walk.array,
    tuple: _Walk.array,
    dict: _Walk.mapping,
    set: _Walk.members,
    frozenset: _Walk.members,
    datetime: _Walk.instant,
    time: _Walk.clock_time,
    date: _Walk.day,
    timedelta: _Walk.duration,
    Decimal: _Walk.decimal,
    UUID: _Walk.uuid,
    bytes: _Walk.octets,
    bytearray: _Walk.octets,
    memoryview: _Walk.octets,
    msgspec.Raw: _Walk.raw,
}

_BY_BASE: tuple[tuple[type, _Handler], ...] = (
    (enum.Enum, _Walk.member),
    (msgspec.Struct, _Walk.struct),
    (str, _Walk.text),
    (int, _Walk.integer),
    (float, _Walk.number),
    (datetime, _Walk.instant),
    (time, _Walk.clock_time),
    (date, _Walk.day),
    (timedelta, _Walk.duration),
    (Decimal, _Walk.decimal),
    (UUID, _Walk.uuid),
    (bytes, _Walk.octets),
    (bytearray, _Walk.octets),
)

_BY_SHAPE: tuple[tuple[type, _Handler], ...] = (
    (list, _Walk.array),
    (tuple, _Walk.array),
    (Set, _Walk.members),
    (Mapping, _Walk.mapping),
)


def _handler_of(value: Any) -> _Handler:
    """Find the handler of a value whose exact type is none of the common ones."""
    kind = _class_of(value)
    if issubclass(kind, type):
        return _Walk.refuse
    if hasattr(kind, "__aion_payload__"):
        return _Walk.own_form
    for base, handler in _BY_BASE:
        if issubclass(kind, base):
            return handler
    if hasattr(kind, "model_dump"):
        return _Walk.model
    if hasattr(kind, "__attrs_attrs__") or hasattr(kind, "__dataclass_fields__"):
        return _Walk.record
    for base, handler in _BY_SHAPE:
        if issubclass(kind, base):
            return handler
    return _Walk.path if hasattr(kind, "__fspath__") else _Walk.refuse


def _present(value: Any, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for name in names:
        item = getattr(value, name, msgspec.UNSET)
        if item is not msgspec.UNSET:
            yield name, item


def _plain_time(value: time | datetime) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, fold=value.fold)


def _key_text(key: Any, taken: Mapping[str, Any]) -> str:
    """Return the text of a mapping key that is a kind of text."""
    text = key.value if isinstance(key, enum.Enum) else key
    if not isinstance(text, str):
        raise Refused(
            f"a mapping key of type `{type_name(type(key))}` cannot be recorded: keys of JSON objects are text",
            "use str(key), or a list of pairs",
        )
    exact = str.__str__(text)
    if exact in taken:
        raise Refused(f"two keys of a mapping are both {json.dumps(exact)} as text", "use a list of pairs")
    return exact


def _require_texts(texts: Iterable[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            found = f"\\u{ord(text[error.start]):04x}"
            raise Refused(
                f"a text holds half a character (the lone surrogate {found}), which UTF-8 cannot hold",
                "pass bytes, or text made with errors='replace'",
            ) from None


def _require_writable(value: int, digits: int) -> None:
    try:
        str(value)
    except ValueError:
        raise Refused(f"an integer of {digits} digits is too long", "pass it as text, e.g. hex(n)") from None


def _aligned(value: Any, dumped: Any) -> Any:
    """Return what a pydantic model dumped, with sets sorted; refuse naive datetimes inside, which it let pass."""
    if isinstance(value, datetime) and value.utcoffset() is None and isinstance(dumped, str):
        return _Walk(False).instant(value)
    if hasattr(_class_of(value), "model_dump"):
        return _aligned_model(value, dumped)
    if isinstance(dumped, list):
        parts = cast("list[Any]", dumped)
        if isinstance(value, Set):
            return sorted(parts, key=msgspec.json.encode)
        if isinstance(value, list | tuple):
            items = cast("list[Any]", value)
            if len(items) == len(parts):
                return [_at(step(i), *pair) for i, pair in enumerate(zip(items, parts, strict=True))]
    if isinstance(dumped, dict) and (names := getattr(_class_of(value), "__dataclass_fields__", None)):
        return _aligned_fields(value, cast("dict[str, Any]", dumped), {name: name for name in names})
    if isinstance(dumped, dict) and isinstance(value, Mapping):
        entries, values = cast("dict[str, Any]", dumped), cast("Mapping[Any, Any]", value)
        if len(entries) == len(values):
            return {k: _at(step(k), v, d) for (k, d), v in zip(entries.items(), values.values(), strict=True)}
    return cast("Any", dumped)


def _aligned_model(value: Any, dumped: Any) -> Any:
    fields: dict[str, Any] = _class_of(value).model_fields
    if not isinstance(dumped, dict):
        return _aligned(value.root, dumped) if list(fields) == ["root"] else dumped
    shown = {name: info.serialization_alias or info.alias or name for name, info in fields.items()}
    return _aligned_fields(value, cast("dict[str, Any]", dumped), shown)


def _aligned_fields(value: Any, dumped: dict[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    out = dict(dumped)
    for name, key in shown.items():
        if key in out:
            out[key] = _at(step(key), getattr(value, name), out[key])
    return out


def _at(part: str, value: Any, dumped: Any) -> Any:
    try:
        return _aligned(value, dumped)
    except Refused as refused:
        refused.parts.append(part)
        raise
