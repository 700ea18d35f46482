"""`await shell("make test")`: a shell step as an activity.

The command gets a process group of its own, and the whole group is killed when the step is cancelled or times out.
Standard input is empty. Output is captured whole and recorded with the step's result; whoever watches sees it at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from aion_cli.api import process_groups
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.masking import masks
from aion_cli.api.step_output import LineCutter, step_output
from aion_cli.core.retry import Duration, RetryPolicy

_TAIL = 2_000


class ShellResult(msgspec.Struct, frozen=True):
    """exit_code: 0 to 255, or minus the number of the signal that killed it. stdout, stderr: as UTF-8 text."""

    exit_code: int
    stdout: str
    stderr: str


class ShellError(Exception):
    """A command ended with another exit code than 0. details: {exit_code, stdout, stderr}, the last lines of both."""

    def __init__(self, command: str, result: ShellResult) -> None:
        last = (result.stderr.strip() or result.stdout.strip()).rpartition("\n")[2]
        super().__init__(f"exit code {result.exit_code}: {command}" + (f": {last}" if last else ""))
        self.details: dict[str, Any] = {
            "exit_code": result.exit_code,
            # Masked before it is cut: what is left of half a secret would not be found.
            "stdout": masks.mask_text(result.stdout)[-_TAIL:],
            "stderr": masks.mask_text(result.stderr)[-_TAIL:],
        }


class _Capture(asyncio.SubprocessProtocol):
    """Collects what a command prints. exited: set when it has ended; ended: when its pipes are closed as well.

    tell: gets the lines as they are printed.
    """

    def __init__(self, tell: Callable[[list[str]], None]) -> None:
        self.printed = {1: bytearray(), 2: bytearray()}
        self._lines = {fd: LineCutter(tell) for fd in self.printed}
        self.exited = asyncio.Event()
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.printed[fd] += data
        self._lines[fd].feed(data)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        for lines in self._lines.values():
            lines.end()
        self.ended.set()

    def text(self, fd: int) -> str:
        return self.printed[fd].decode("utf-8", "replace")


async def _run_command(command: str, check: bool, cwd: str | None, env: dict[str, str] | None) -> ShellResult:
    starting = asyncio.ensure_future(
        asyncio.get_running_loop().subprocess_shell(
            partial(_Capture, step_output.teller()),
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
    )
    try:
        transport, capture = await asyncio.shield(starting)
        process_groups.begun(transport.get_pid())
        await capture.ended.wait()
    finally:
        await _end(starting)
    exit_code = transport.get_returncode()
    result = ShellResult(
        exit_code=-1 if exit_code is None else exit_code, stdout=capture.text(1), stderr=capture.text(2)
    )
    if check and result.exit_code != 0:
        raise ShellError(command, result)
    return result


async def _end(starting: asyncio.Future[tuple[asyncio.SubprocessTransport, _Capture]]) -> None:
    """Kill what is left of a command, and close our ends of its pipes.

    One that is just being started is waited for: asyncio can hang on a start that is cancelled. Pipes are closed
    whoever else holds them: something that left the process group may go on, and is not waited for.
    """
    transport, capture = await starting
    if capture.ended.is_set():
        process_groups.over(transport.get_pid())
    else:
        # Also if the shell itself has exited: what it started in the background may hold the pipes.
        process_groups.kill(transport.get_pid())
    await capture.exited.wait()
    transport.close()
    await capture.ended.wait()


_shell: ActivityDefinition[[str, bool, str | None, dict[str, str] | None], ShellResult] = ActivityDefinition(
    _run_command, "shell"
)


async def shell(
    command: str,
    *,
    timeout: Duration | None = None,
    check: bool = True,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    retry: RetryPolicy | None = None,
) -> ShellResult:
    """Run a command with the system's shell, durably.

    timeout: limit of one attempt. check: raise ActivityError (of type "ShellError") if the exit code is not 0.
    cwd: directory to run in, by default that of the process. env: variables to set besides those of the process.
    """
    step = _shell.options(timeout=timeout, retry=retry)
    return await step(command, check, cwd, None if env is None else dict(env))
