"""The process groups that activities have started. None of them outlives a step that is cut short.

A group is led by the process that was started in a session of its own, and has its id.
"""

from __future__ import annotations

import os
import signal

_running: set[int] = set()


def begun(pid: int) -> None:
    """Take note of a group, so that `kill_all` knows it."""
    _running.add(pid)


def over(pid: int) -> None:
    """Forget a group whose step has ended by itself: what it left behind on purpose may go on."""
    _running.discard(pid)


def kill(pid: int) -> None:
    """Kill a group, its leader and all that it started; it may be gone already."""
    _running.discard(pid)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:
        # macOS answers so for a group of which only a zombie is left.
        return


def kill_all() -> None:
    """Kill every group that is known: this process is about to end without cleaning up."""
    for pid in list(_running):
        kill(pid)
