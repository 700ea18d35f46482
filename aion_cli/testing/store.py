"""A history in memory that can be cut anywhere, as a crash does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aion_cli.core import events as ev
from aion_cli.core.lines import LineChain
from aion_cli.runtime.journal import MemoryStore
from aion_cli.runtime.reading import Head

_DIGEST = slice(-34, -2)


class CuttableStore(MemoryStore):
    """A MemoryStore that decodes each line once. on_append: told (first seq, last seq) of every batch."""

    def __init__(self, on_append: Callable[[int, int], None]) -> None:
        super().__init__()
        self._chain = LineChain()
        self._events: list[Any] = []
        self._on_append = on_append

    @property
    def events(self) -> Sequence[Any]:
        """The history so far: members of `ev.AnyEvent`, as they were read back from their lines."""
        return self._events

    def append(self, events: Sequence[ev.Event], expected_seq: int) -> int:
        """Append one batch; see EventStore."""
        last = super().append(events, expected_seq)
        self._events += [self._chain.read(line) for line in self._lines[expected_seq:last]]
        self._on_append(expected_seq + 1, last)
        return last

    def read(self) -> Iterator[Any]:
        """Yield the history; see EventStore."""
        return iter(list(self._events))

    def check_attempt(self, ordinal: int, attempt: int) -> None:
        """Raise AssertionError unless an attempt at an activity is recorded as begun, and its activity has no end."""
        begun = False
        for event in reversed(self._events):
            match event:
                case ev.ActivityScheduled(activity_id=n) if n == ordinal:
                    break
                case ev.ActivityStarted(activity_id=n) if n == ordinal:
                    begun |= event.attempt == attempt
                case ev.ActivityCompleted(activity_id=n) | ev.ActivityCancelled(activity_id=n) if n == ordinal:
                    raise AssertionError(f"activity {ordinal} is done, and runs again")
                case ev.ActivityFailed(activity_id=n, next_attempt_at=None) if n == ordinal:
                    raise AssertionError(f"activity {ordinal} has failed for good, and runs again")
                case _:
                    pass
        if not begun:
            raise AssertionError(f"attempt {attempt} at activity {ordinal} runs before it is recorded")

    def cut(self, seq: int, on_append: Callable[[int, int], None]) -> CuttableStore:
        """Return another store that holds the events up to seq: what a crash may have left."""
        kept = CuttableStore(on_append)
        kept._lines = self._lines[:seq]
        kept._events = self._events[:seq]
        kept._chain.seq = seq
        if seq:
            kept._chain.digest = bytes.fromhex(kept._lines[-1][_DIGEST].decode())
            kept._chain.recorded_at = kept._events[-1].recorded_at
        size = sum(len(line) + 1 for line in kept._lines)
        kept._head = Head(seq, kept._chain.recorded_at, kept._chain.digest, size)
        return kept
