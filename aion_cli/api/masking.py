"""Masking: a revealed secret shows as `***` in whatever is recorded or printed.

The values that were revealed in this process are kept here, in memory only. What passes to a history goes through
`mask_event`, what passes to a stream through `mask_text`. A value is found in text and in the strings of JSON payloads;
an encoding of it that an author makes by hand (base64, a hash) is not.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

from aion_cli.core import events as ev

MASK = "***"
_SHORTEST_LINE = 6

E = TypeVar("E", bound=ev.Event)


class Masks:
    """The values to hide, longest first, so that one which contains another is hidden whole."""

    def __init__(self) -> None:
        self._values: list[str] = []
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Hide a value from now on; of one with several lines, each line as well, since logs print line by line."""
        lines = [line.strip() for line in value.splitlines()]
        parts = {value, value.strip(), *(line for line in lines if len(line) >= _SHORTEST_LINE)} - {""}
        with self._lock:
            self._values = sorted({*self._values, *parts}, key=lambda part: (-len(part), part))

    def clear(self) -> None:
        """Forget all values; for tests."""
        with self._lock:
            self._values = []

    def mask_text(self, text: str) -> str:
        """Return text with every revealed value replaced."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        return text

    def mask_event(self, event: E) -> E:
        """Return an event in which no string holds a revealed value. Numbers, keys of events and times stay."""
        if not self._values:
            return event
        changes = {
            name: masked
            for name in event.__struct_fields__
            if name not in _KEPT and (masked := self._masked(getattr(event, name))) is not getattr(event, name)
        }
        return msgspec.structs.replace(event, **changes) if changes else event

    def _masked(self, value: Any) -> Any:
        match value:
            case str():
                return self.mask_text(value)
            case msgspec.Raw():
                return self._masked_json(value)
            case ev.Failure():
                plain = msgspec.to_builtins(value)
                return msgspec.convert({**self._masked_plain(plain), "kind": plain["kind"]}, ev.Failure)
            case dict() | list():
                masked = self._masked_plain(value)
                return value if masked == value else masked  # pyright: ignore[reportUnknownVariableType] - JSON of any shape
            case _:
                return value

    def _masked_json(self, raw: msgspec.Raw) -> msgspec.Raw:
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


_KEPT = frozenset(
    {"seq", "recorded_at", "b", "workflow_id", "run_id", "definition", "runtime", "parent", "next_attempt_at"}
)

masks = Masks()
"""The values that were revealed in this process."""
