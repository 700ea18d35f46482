"""Masking: a revealed secret shows as `***` in whatever is recorded or printed.

The values that were revealed in this process are kept here, in memory only; so are those that a run was given a
reference to, since another process, or a shell step, may have revealed them. What passes to a history goes through
`mask_event`, what passes to a stream through `mask_text`. A value is found in text and in the strings of JSON payloads,
also as `repr`, JSON and URLs write it; what an author makes of it by hand (base64, a hash, a part of it) is not.

Masked is what comes from activities, and free text. What workflow code asks for and what comes from outside is left as
it is: neither can know a revealed value, and a replay or a repeated message compares it with what is recorded.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

from aion_cli.core import events as ev

MASK = "***"
_SHORTEST_LINE = 6

E = TypeVar("E", bound=ev.Event)


class Masks:
    """The values to hide, longest first, so that one which contains another is hidden whole."""

    def __init__(self) -> None:
        self._values: list[str] = []
        self._expected: dict[str, Callable[[], str | None]] = {}
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Hide a value from now on; of one with several lines, each line as well, since logs print line by line.

        Hidden, too, is how `repr`, JSON and URLs write it.
        """
        lines = [line.strip() for line in value.splitlines()]
        parts = {value, value.strip(), *(line for line in lines if len(line) >= _SHORTEST_LINE)} - {""}
        parts |= {form for part in parts for form in _written_forms(part)}
        with self._lock:
            self._values = sorted({*self._values, *parts}, key=lambda part: (-len(part), part))

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
            self._values = []
            self._expected = {}

    def mask_text(self, text: str) -> str:
        """Return text with every revealed value replaced."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        return text

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
                return value if masked == value else masked  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
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
                return {self.mask_text(str(k)): self._masked_plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON of any shape
            case list():
                return [self._masked_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
            case _:
                return value


def _written_forms(value: str) -> tuple[str, ...]:
    dumps: Any = importlib.import_module("json").dumps  # few processes reveal a secret
    return (
        repr(value)[1:-1],
        dumps(value)[1:-1],
        dumps(value, ensure_ascii=False)[1:-1],
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
    )


_MASKED: dict[type[Any], str] = {
    ev.ActivityCompleted: "result",
    ev.ActivityFailed: "error",
    ev.ActivityHeartbeat: "details",
    ev.WorkflowFailed: "error",
    ev.UpdateFailed: "error",
    ev.TagsSet: "tags",
    ev.ProgressSet: "text",
}

masks = Masks()
"""The values that were revealed in this process."""
