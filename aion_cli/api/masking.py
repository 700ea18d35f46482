"""Masking: a revealed secret shows as `***` in whatever is recorded or printed.

The values that were revealed in this process are kept here, in memory only; so are those that a run was given a
reference to, since another process, or a shell step, may have revealed them. What passes to a history goes through
`mask_event`, what passes to a stream through `mask_text`. A value is found in text and in the strings of JSON payloads,
also as `repr`, JSON, URLs and base64 (which is how bytes are recorded) write it; what else an author makes of it by
hand (a hash, a part of it) is not.

Masked is what comes from activities, and free text. What workflow code asks for and what comes from outside is left as
it is: neither can know a revealed value, and a replay or a repeated message compares it with what is recorded.
"""

from __future__ import annotations

import importlib
import threading
from binascii import b2a_base64
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

from aion_cli.core import events as ev

MASK = "***"
_MASK_IN_BASE64 = "Kioq"
_SHORTEST_LINE = 6
_SHORTEST_IN_BASE64 = 6
_LONGEST_SPLIT = 128 << 10

E = TypeVar("E", bound=ev.Event)


class Masks:
    """The values to hide, longest first, so that one which contains another is hidden whole."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._expected: dict[str, Callable[[], str | None]] = {}
        self._lock = threading.Lock()
        self._on_first: Callable[[], None] | None = None
        self._on_added: Callable[[str], None] | None = None

    def on_first(self, call: Callable[[], None] | None) -> None:
        """Have something called, once, when there is a value to hide: now, or when the first one is added."""
        self._on_first = call
        self._tell_of_first()

    def _tell_of_first(self) -> None:
        with self._lock:
            call = self._on_first if self._values else None
            if call is not None:
                self._on_first = None
        if call is not None:
            call()

    def on_added(self, call: Callable[[str], None]) -> None:
        """Have something told of each value that is added from now on."""
        self._on_added = call

    def add(self, value: str) -> None:
        """Hide a value from now on; of one with several lines, each line as well, since logs print line by line.

        Hidden, too, is how `repr`, JSON and URLs write it.
        """
        lines = [line.strip() for line in value.splitlines()]
        parts = {value, value.strip(), *(line for line in lines if len(line) >= _SHORTEST_LINE)} - {""}
        hidden = dict.fromkeys(parts | {form for part in parts for form in _written_forms(part)}, MASK)
        hidden |= {form: _mask_like(form) for part in parts for form in _forms_in_base64(part)}
        with self._lock:
            self._values = dict(sorted({**self._values, **hidden}.items(), key=lambda item: (-len(item[0]), item[0])))
        if self._on_added is not None:
            self._on_added(value)
        self._tell_of_first()

    def expect(self, reference: str, look: Callable[[], str | None]) -> None:
        """Hide a value that is only referred to so far. look: returns it, None while it is not there.

        It is looked for when something is recorded, so that a mere replay looks at nothing.
        """
        with self._lock:
            self._expected.setdefault(reference, look)

    def look_for_expected(self) -> None:
        """Hide from now on what was expected, and is there by now."""
        for reference, look in list(self._expected.items()):
            value = look()
            if value is not None:
                self.add(value)
                with self._lock:
                    self._expected.pop(reference, None)

    def clear(self) -> None:
        """Forget all values; for tests."""
        with self._lock:
            self._values = {}
            self._expected = {}

    def mask_text(self, text: str) -> str:
        """Return text with every revealed value replaced."""
        for value, mask in self._values.items():
            if value in text:
                text = text.replace(value, mask)
        return text

    def split(self, text: str) -> tuple[str, str]:
        """Cut text that goes on later so that no value is cut in two: what can be masked now, and what has to wait."""
        values = self._values
        cut = min((_begins_at(text, value) for value in values), default=len(text))
        before = len(text) + 1
        while cut < before:
            before = cut
            cut = min((_kept_whole(text, value, cut) for value in values), default=cut)
        return (text[:cut], text[cut:]) if len(text) - cut <= _LONGEST_SPLIT else (text, "")

    def mask_event(self, event: E) -> E:
        """Return an event in which no string from an activity holds a revealed value. Numbers stay."""
        if self._expected:
            self.look_for_expected()
        name = _MASKED.get(type(event)) if self._values else None
        if name is None:
            return event
        found = getattr(event, name)
        masked = self._masked(found)
        return event if masked is found else msgspec.structs.replace(event, **{name: masked})

    def _masked(self, value: Any) -> Any:
        match value:
            case str():
                return self.mask_text(value)
            case msgspec.Raw():
                return self.mask_json(value)
            case ev.Failure():
                return self.mask_failure(value)
            case dict() | list():
                masked = self._masked_plain(value)
                return value if masked == value else masked  # pyright: ignore[reportUnknownVariableType]  # JSON of any shape
            case _:
                return value

    def mask_failure(self, failure: ev.Failure) -> ev.Failure:
        """Return a failure in which no text holds a revealed value.

        Kind and class stay: retries and replays compare them, and both are the code's own words.
        """
        return msgspec.structs.replace(
            failure,
            message=self.mask_text(failure.message),
            details=self._masked_plain(failure.details),
            traceback=self.mask_text(failure.traceback),
            notes=[self.mask_text(note) for note in failure.notes],
            cause=None if failure.cause is None else self.mask_failure(failure.cause),
        )

    def mask_json(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Return JSON in which no string, keys among them, holds a revealed value."""
        text = bytes(raw).decode()
        # A backslash may hide a value behind an escape; else what is not in the text is not in its strings.
        if "\\" not in text and self.mask_text(text) == text:
            return raw
        return msgspec.Raw(msgspec.json.encode(self._masked_plain(msgspec.json.decode(bytes(raw)))))

    def _masked_plain(self, value: Any) -> Any:
        match value:
            case str():
                return self.mask_text(value)
            case dict():
                return {self.mask_text(str(k)): self._masked_plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON of any shape
            case list():
                return [self._masked_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # JSON of any shape
            case _:
                return value


def _written_forms(value: str) -> tuple[str, ...]:
    dumps: Any = importlib.import_module("json").dumps  # few processes reveal a secret
    return (
        repr(value)[1:-1],
        "".join(char if char.isprintable() else repr(char)[1:-1] for char in value),  # made harmless for a terminal
        dumps(value)[1:-1],
        dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
    )


def _forms_in_base64(value: str) -> set[str]:
    """What stands in base64 for a value, whatever stands before and after it: the characters that it alone decides."""
    data = value.encode("utf-8", "replace")
    forms: set[str] = set()
    for before, undecided in enumerate((0, 2, 3)):
        coded = b2a_base64(bytes(before) + data, newline=False).decode()
        forms.add(coded[undecided : 8 * (before + len(data)) // 6])
    forms |= {form.translate(_URL_SAFE) for form in forms}
    return {form for form in forms if len(form) >= _SHORTEST_IN_BASE64}


def _mask_like(form: str) -> str:
    """A mask that leaves base64 what it is: text whose length is the same but for whole groups of four."""
    return _MASK_IN_BASE64 + _MASK_IN_BASE64[: len(form) % 4]


def _begins_at(text: str, value: str) -> int:
    """Where, at the end of a text, a value may have begun that is not whole yet; the text's length if nowhere."""
    at = text.find(value[0], max(0, len(text) - len(value) + 1))
    while at >= 0 and not value.startswith(text[at:]):
        at = text.find(value[0], at + 1)
    return at if at >= 0 else len(text)


def _kept_whole(text: str, value: str, cut: int) -> int:
    """Where to cut a text, at the latest, if a value must not be cut in two."""
    at = text.find(value, max(0, cut - len(value) + 1), cut + len(value) - 1)
    return cut if at < 0 else at


_URL_SAFE = str.maketrans("+/", "-_")

_MASKED: dict[type[Any], str] = {
    ev.ActivityCompleted: "result",
    ev.ActivityFailed: "error",
    ev.ActivityHeartbeat: "details",
    ev.WorkflowFailed: "error",
    ev.WorkflowCancelled: "notes",
    ev.UpdateFailed: "error",
    ev.TagsSet: "tags",
    ev.ProgressSet: "text",
}

masks = Masks()
"""The values that were revealed in this process."""
