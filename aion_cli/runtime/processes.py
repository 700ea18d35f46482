"""Running an attempt in a process of its own, in a process group that is killed whole."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from aion_cli.api import process_groups
from aion_cli.api.attempts import ActivityInfo
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.masking import masks
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.runtime.process_worker import Answer, Beat, Failed, Result, Revealed, WorkOrder

_LONGEST_LINE = 128 << 20
_WORKER = (sys.executable, "-m", "aion_cli.runtime.process_worker")


async def run_in_process(
    definition: ActivityDefinition[..., Any],
    input: msgspec.Raw,
    info: ActivityInfo,
    root: str,
    beat: Callable[[msgspec.Raw], None],
) -> msgspec.Raw | Failure:
    """Run one attempt; returns its encoded result or its failure. A cancellation kills the process group.

    root: where paths in tracebacks are shortened against. beat: told of heartbeats.
    """
    process = process_groups.start(_WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    exited = process_groups.exit_of(process)
    try:
        outcome = await _ask(process, msgspec.json.encode(_order(definition, input, info, root)), beat)
        await exited.wait()
    finally:
        process_groups.kill(process.pid)
        for pipe in (process.stdin, process.stdout):  # a cancellation may have come before they were connected
            if pipe is not None:
                pipe.close()
        await exited.wait()
    return _died(process.wait()) if outcome is None else outcome


async def _ask(
    process: subprocess.Popen[bytes], order: bytes, beat: Callable[[msgspec.Raw], None]
) -> msgspec.Raw | Failure | None:
    """Hand an order over, and return the outcome; None if the process ends without one."""
    loop = asyncio.get_running_loop()
    answers = asyncio.StreamReader(limit=_LONGEST_LINE)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(answers), process.stdout)
    try:
        writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
        try:
            writing.write(order)
            writing.close()  # once all of it is written
            return await _outcome(answers, beat)
        finally:
            if writing.get_write_buffer_size():
                writing.abort()
    finally:
        reading.close()


async def _outcome(lines: asyncio.StreamReader, beat: Callable[[msgspec.Raw], None]) -> msgspec.Raw | Failure | None:
    """Read answers up to the outcome; None if the process ends without one."""
    async for line in lines:
        answer: Answer = msgspec.json.decode(line, type=Answer)
        match answer:
            case Beat(details=details):
                beat(details)
            case Revealed(value=value):
                masks.add(value)
            case Result(value=value):
                return value
            case Failed(failure=failure):
                return failure
    return None


def _order(definition: ActivityDefinition[..., Any], input: msgspec.Raw, info: ActivityInfo, root: str) -> WorkOrder:
    return WorkOrder(
        path=list(sys.path),
        module=definition.module,
        activity=definition.name,
        input=input,
        workflow_id=info.workflow_id,
        run_id=info.run_id,
        ordinal=info.ordinal,
        attempt=info.attempt,
        idempotency_key=info.idempotency_key,
        heartbeat=info.heartbeat_details,
        root=root,
    )


def _died(code: int) -> Failure:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return Failure(kind=ErrorKind.ERROR, type="ProcessDied", message=f"the process of the activity {how}")
