"""What workflow code prints and logs: on stderr when it happens, not again when it is replayed."""

from __future__ import annotations

import importlib
from typing import Any

from aion_cli.cli.output import mute_while
from aion_cli.core.execution import is_replaying


def _never() -> bool:
    return False


def connect_output(*, show_replay: bool = False) -> None:
    """Hold back what workflow code prints while it is replayed, unless show_replay; then what it logs is shown, too."""
    mute_while(_never if show_replay else is_replaying)
    if show_replay:
        # Loading `logging` costs every start, and only this needs it here.
        api: Any = importlib.import_module("aion_cli.api.telling")
        for silence in [each for each in api.log.filters if isinstance(each, api.SilentInReplay)]:
            api.log.removeFilter(silence)
