"""The process groups that activities have started. None of them outlives a step that is cut short.

A group is led by the process that was started in a session of its own, and has its id. It is known as soon as it is
there. asyncio's own subprocesses say which process was started only after some turns of the loop: an activity that
blocks the loop meanwhile would have one that nobody knows, and that outlives us.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

_running: set[int] = set()


def start(
    command: str | Sequence[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that leads a group. command: text for the system's shell, or a program with its arguments.

    The rest is as subprocess.Popen takes it. Raises OSError if it cannot be started.
    """
    process = subprocess.Popen(
        command,
        shell=isinstance(command, str),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    _running.add(process.pid)
    return process


def exit_of(process: subprocess.Popen[bytes]) -> asyncio.Event:
    """Return an event of the running loop that is set when a process has exited. To be called once."""
    loop, exited = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(exited.set)

    threading.Thread(target=wait, name="aion-exit", daemon=True).start()
    return exited


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
