"""What a stranger would write: text that steers terminals, events in any order. For Hypothesis and for plain loops."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.core.lines import ZERO_DIGEST, encode_line, seal

KINDS: tuple[type[ev.Event], ...] = get_args(ev.AnyEvent)

PIECES = (
    "plain",
    " ",
    "\x1b[2J",
    "\x1b]52;c;aGk=\x07",
    "\x1b]8;;http://shop.example\x1b\\",
    "\x1bP1$r\x1b\\",
    "\x9b31m",
    "\x00",
    "\x07",
    "\x08\x08",
    "\x7f",
    "\x85",
    "\r",
    "\n",
    "\r\n",
    "\t",
    "\u2028",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u200f",
    "\ufeff",
    "\U000e0041",
    "[/nope]",
    "[bold red]",
    "[link=http://shop.example]",
    "\\[",
    ":smile:",
    "%s%n{0}{x}",
    "::error::",
    "<b>&amp;]]>",
    "é",
    "日本",
    "👩‍👩‍👧",
    "e\u0301",
    '"',
    "\\",
    "'",
)

RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What must not reach a terminal: C0 except the newline, DEL, C1, and what turns the direction of text round."""

COLOR = re.compile("\x1b\\[[0-9;]*m")
"""What aion itself may write around text."""


def nasty_text(chance: random.Random) -> str:
    """Some text out of PIECES and code points of all sorts."""
    parts: list[str] = []
    for _ in range(chance.randrange(1, 6)):
        if chance.random() < 0.7:
            parts.append(chance.choice(PIECES))
        else:
            top = chance.choice((0x20, 0xA0, 0x2100, 0xD7FF, 0x10FFFF))
            char = chr(chance.randrange(top))
            parts.append("?" if "\ud800" <= char <= "\udfff" else char)
    return "".join(parts)


texts = st.one_of(st.sampled_from(PIECES), st.text(max_size=6), st.lists(st.sampled_from(PIECES)).map("".join))
names = st.one_of(st.sampled_from(["charge", "go", "order"]), texts)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
raws = json_values.map(lambda value: msgspec.Raw(msgspec.json.encode(value)))
instants = st.integers(0, 10**15).map(clock.format_instant)
failures = st.recursive(
    st.builds(ev.Failure, kind=st.sampled_from(ev.ErrorKind), type=names, message=texts, details=json_values),
    lambda inner: st.builds(
        ev.Failure,
        kind=st.sampled_from(ev.ErrorKind),
        type=names,
        message=texts,
        traceback=texts,
        notes=st.lists(texts, max_size=2),
        cause=inner,
    ),
    max_leaves=3,
)
_BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 3),
    float: st.floats(0, 1e6),
    str: names,
    bool: st.booleans(),
    msgspec.Raw: raws,
    ev.Failure: failures,
    ev.ParentRef: st.builds(ev.ParentRef, names, names, st.integers(0, 3)),
    ev.DefinitionRef: st.builds(ev.DefinitionRef, names, names, names),
    ev.RuntimeRef: st.builds(ev.RuntimeRef, names, names),
    ev.ParentClose: st.sampled_from(ev.ParentClose),
    list[ev.AttachedChild]: st.lists(st.builds(ev.AttachedChild, names, names, st.integers(0, 3)), max_size=2),
    dict[str, str]: st.dictionaries(texts, texts, max_size=2),
}
_INSTANTS = frozenset({"fire_at", "next_attempt_at"})
_STAMPED = frozenset({"seq", "recorded_at", "b"})


def _of_type(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in _BY_TYPE:
        return _BY_TYPE[annotation]
    return st.one_of(*(st.none() if part is type(None) else _of_type(part) for part in get_args(annotation)))


def events_of(kind: type[ev.Event]) -> st.SearchStrategy[Any]:
    """Events of one type, unstamped, whose fields are of the right types and mean nothing."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind) if field.name not in _STAMPED}
    values = {name: instants if name in _INSTANTS else _of_type(type_) for name, type_ in fields.items()}
    if kind is ev.WorkflowStarted:
        values["format"] = st.just(ev.FORMAT)
    if kind is ev.ActivityFailed:
        values["next_attempt_at"] = st.none() | instants
    return st.builds(kind, **values)


any_event: st.SearchStrategy[Any] = st.one_of(*(events_of(kind) for kind in KINDS if kind is not ev.WorkflowStarted))
nonsense: st.SearchStrategy[list[Any]] = st.lists(any_event, max_size=12)
"""What may stand below the first line of a history, in an order that no run would ever write."""


def stamped(events: Sequence[ev.Event]) -> list[Any]:
    """Number events from 1, a second apart."""
    at = clock.parse_instant("2026-03-01T09:30:00.000000Z")
    return [
        msgspec.structs.replace(event, seq=n, recorded_at=clock.format_instant(at + n * 1_000_000))
        for n, event in enumerate(events, start=1)
    ]


def written(path: Path, events: Sequence[ev.Event]) -> Path:
    """Write stamped events as a history whose chain is whole, past everything that would refuse them."""
    digest, lines = ZERO_DIGEST, list[bytes]()
    for event in events:
        line, digest = encode_line(event, digest)
        lines.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def written_bodies(path: Path, bodies: Sequence[bytes]) -> Path:
    """The same with JSON as it stands, each without its closing brace."""
    digest, lines = ZERO_DIGEST, list[bytes]()
    for body in bodies:
        line, digest = seal(body, digest, 0)
        lines.append(line)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path
