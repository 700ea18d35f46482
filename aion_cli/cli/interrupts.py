"""Ctrl-C, told apart from workflow code that raises KeyboardInterrupt by itself.

The loop lets every KeyboardInterrupt through, since it is meant for the process. A command that looks at many runs must
not end because the code of one of them raises it: that is this run's own failure.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType
from typing import TYPE_CHECKING

from aion_cli.errors import WorkflowCodeError

if TYPE_CHECKING:  # every command imports this module, and asyncio, which that one needs, takes long
    from aion_cli.core.source import SourcePaths


class _Listening:
    """is_on: SIGINT comes here. has_come: it did."""

    is_on = False
    has_come = False


_listening = _Listening()


@contextlib.contextmanager
def listening() -> Generator[None]:
    """Take note of SIGINT, which raises KeyboardInterrupt as ever. Only where Python would have answered it."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    _listening.is_on, _listening.has_come = True, False
    signal.signal(signal.SIGINT, _on_signal)
    try:
        yield
    finally:
        _listening.is_on = False
        if signal.getsignal(signal.SIGINT) is _on_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _on_signal(number: int, frame: FrameType | None) -> None:
    _listening.has_come = True
    signal.default_int_handler(number, frame)


@contextlib.contextmanager
def own_failures(workflow_id: str, paths: SourcePaths) -> Generator[None]:
    """Turn a KeyboardInterrupt of workflow code into a WorkflowCodeError; Ctrl-C stays what it is."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not _listening.is_on or _listening.has_come:
            raise
        place = paths.raised_at(error)
        raise WorkflowCodeError(
            f"the code of {workflow_id} raised KeyboardInterrupt, which nobody can tell from Ctrl-C",
            where=(place,) if place else (),
            hint="raise another exception: this one ends whatever process runs the workflow, and is never recorded",
        ) from None
