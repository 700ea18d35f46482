"""Recorder: the only appender of a run's history. It owns the sequence head; nothing else appends, ever.

What belongs here: stamping events with seq and time, and writing what was staged as one batch. What does not: clocks
(the caller brings the time), durability (`runtime.journal`), deciding what is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from aion_cli.api.masking import masks
from aion_cli.core import events as ev
from aion_cli.errors import StoreError
from aion_cli.runtime.journal import EventStore

EventT = TypeVar("EventT", bound=ev.Event)


class Recorder:
    """Stamps events and appends them to one store. Once a commit failed it refuses everything."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._staged: list[ev.Event] = []
        self._recorded_at = store.head.recorded_at
        self._failure: BaseException | None = None

    @property
    def head_seq(self) -> int:
        """Seq of the last event that was committed; 0 if none."""
        return self._store.head.seq

    @property
    def next_seq(self) -> int:
        """Seq that the next staged event gets."""
        return self._store.head.seq + len(self._staged) + 1

    @property
    def recorded_at(self) -> str:
        """Time of the last event, staged ones included; empty if there is none. The next one is not before it."""
        return self._recorded_at

    def stage(self, event: EventT, recorded_at: str) -> EventT:
        """Stamp an event and hold it for the next commit. Returns it with seq and recorded_at, secrets masked.

        recorded_at: an instant; if the clock went back, the time of the event before is repeated.
        """
        self._require_usable()
        self._recorded_at = max(self._recorded_at, recorded_at)
        masked = masks.mask_event(event)
        stamped = msgspec.structs.replace(masked, seq=self.next_seq, recorded_at=self._recorded_at, b=0)
        self._staged.append(stamped)
        return stamped

    def commit(self) -> int:
        """Write all that is staged as one batch, durably, and return the head's seq. Does nothing if nothing is staged.

        Raises what EventStore.append raises, and refuses everything from then on.
        """
        self._require_usable()
        if self._staged:
            try:
                self._store.append(self._staged, expected_seq=self._staged[0].seq - 1)
            except BaseException as error:
                self._failure = error
                raise
            self._staged = []
        return self.head_seq

    def append(self, events: Sequence[ev.Event], recorded_at: str) -> list[Any]:
        """Stage and commit, all as one batch. Returns the stamped events, members of `ev.AnyEvent`."""
        stamped: list[Any] = [self.stage(event, recorded_at) for event in events]
        self.commit()
        return stamped

    def _require_usable(self) -> None:
        if self._failure is not None:
            raise StoreError(
                f"nothing more is recorded: an earlier write to the history failed: {self._failure}",
                hint="run it again",
            )


def stamped_from_start(events: Sequence[ev.Event], recorded_at: str) -> list[Any]:
    """Stamp the first batch of a new history, for `JsonlStore.create`."""
    return [
        msgspec.structs.replace(masks.mask_event(event), seq=seq, recorded_at=recorded_at, b=0)
        for seq, event in enumerate(events, 1)
    ]
