"""`await shell("make test")`: a shell step as an activity.

The command gets a process group of its own, and the whole group is killed when the step is cancelled or times out.
Standard input is empty. Output is captured whole and recorded with the step's result; whoever watches sees it at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from aion_cli.api.captured import MOST_KEPT, CapturedCommand
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.masking import masks
from aion_cli.api.step_output import step_output
from aion_cli.core.execution import current
from aion_cli.core.retry import Duration, RetryPolicy
from aion_cli.errors import NonRetryable

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


class OutputTooLongError(NonRetryable):
    """A command printed more than can be recorded. It has run to its end all the same."""


async def _run_command(command: str, check: bool, cwd: str | None, env: dict[str, str] | None) -> ShellResult:
    running = CapturedCommand(
        command, cwd=cwd, env=None if env is None else {**os.environ, **env}, tell=step_output.teller()
    )
    try:
        exit_code = await running.ended()
    finally:
        await running.close()
    if running.longest > MOST_KEPT:
        raise OutputTooLongError(
            f"it printed {running.longest:,} bytes, and at most {MOST_KEPT:,} can be recorded; "
            f"have it write to a file: {command}"
        )
    result = ShellResult(exit_code, running.stdout, running.stderr)
    if check and exit_code != 0:
        raise ShellError(command, result)
    return result


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
    Raises AionError outside of workflow code.
    """
    current("shell()")
    step = _shell.options(timeout=timeout, retry=retry)
    return await step(command, check, cwd, None if env is None else dict(env))
