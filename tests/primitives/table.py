"""All primitives."""

from __future__ import annotations

from tests.primitives import activities, children, life, messages, waiting
from tests.primitives.stage import Primitive

PRIMITIVES: list[Primitive] = [
    *activities.PRIMITIVES,
    *waiting.PRIMITIVES,
    *messages.PRIMITIVES,
    *children.PRIMITIVES,
    *life.PRIMITIVES,
]
