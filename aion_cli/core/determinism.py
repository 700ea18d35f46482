"""DeterminismContext: time, randomness and ids as workflow code sees them, all derived from the history.

Time is the `recorded_at` of the event that is being applied. Randomness is BLAKE2b in counter mode, keyed with the
workflow id and the run id: the same on every machine and every Python version, with nothing recorded for it.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

from aion_cli.core import clock

_WORD_BITS = 64
_FLOAT_BITS = 53


class DeterminismContext:
    """What one run derives from its history instead of asking the machine."""

    def __init__(self, workflow_id: str, run_id: str, recorded_at: str) -> None:
        self.workflow_id = workflow_id
        self.run_id = run_id
        self._seed = hashlib.blake2b(f"{workflow_id}\0{run_id}".encode(), digest_size=32).digest()
        self._draws = 0
        self._instant = recorded_at
        self._micros: int | None = None

    def advance(self, recorded_at: str) -> None:
        """Make recorded_at, an instant, the present."""
        self._instant = recorded_at
        self._micros = None

    @property
    def instant(self) -> str:
        """The present as an instant."""
        return self._instant

    @property
    def micros(self) -> int:
        """The present in microseconds since the epoch."""
        if self._micros is None:
            self._micros = clock.parse_instant(self._instant)
        return self._micros

    def now(self) -> datetime:
        """The present as an aware datetime in UTC."""
        return clock.to_datetime(self._instant)

    def _draw(self, size: int) -> bytes:
        self._draws += 1
        counter = self._draws.to_bytes(8, "big")
        return hashlib.blake2b(counter, digest_size=size, key=self._seed).digest()

    def random(self) -> float:
        """A float in [0, 1) with 53 random bits, as `random.random` gives."""
        word = int.from_bytes(self._draw(8), "big")
        return (word >> (_WORD_BITS - _FLOAT_BITS)) / (1 << _FLOAT_BITS)

    def randint(self, low: int, high: int) -> int:
        """An integer in [low, high], each equally likely. Raises ValueError if low > high."""
        if low > high:
            raise ValueError(f"randint: the range {low}..{high} is empty")
        span = high - low + 1
        bits = span.bit_length()
        size = (bits + 7) // 8
        while True:
            if size <= hashlib.blake2b.MAX_DIGEST_SIZE:
                word = int.from_bytes(self._draw(size), "big")
            else:
                word = int.from_bytes(hashlib.shake_256(self._draw(32)).digest(size), "big")
            value = word >> (size * 8 - bits)
            if value < span:
                return low + value

    def uuid4(self) -> uuid.UUID:
        """A version 4 UUID."""
        return uuid.UUID(bytes=self._draw(16), version=4)
