"""Activities as plain functions, called as an attempt of a run would call them."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from aion_cli.api.attempts import ActivityInfo, set_activity_info

R = TypeVar("R")
WORKFLOWS = str(Path(__file__).parents[2] / "workflows")


def attempt(number: int, key: str, activity: Callable[[], R], *, cancelled: bool = False) -> R:
    """Call an activity's function under a key; cancelled: nobody wants what it does any more."""
    context = contextvars.copy_context()
    context.run(set_activity_info, ActivityInfo("o-1", "r1", 0, number, key, cancel_requested=lambda: cancelled))
    return context.run(activity)
