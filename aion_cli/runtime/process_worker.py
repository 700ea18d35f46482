"""The other end of `@activity(process=True)`: one attempt in a process of its own, killed with all that it started.

It is told on stdin what to run, as one JSON document, and answers on what was its stdout, one JSON object a line:
heartbeats and secrets that were revealed, then the outcome. What the activity and its child processes print goes to
stderr, secrets masked. It does not outlive the process that asked, which would make the attempt again beside it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from aion_cli.api.attempts import ActivityInfo, set_activity_info
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.masking import masks
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.failures import failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.masked_output import MaskedOutput
from aion_cli.runtime.results import recorded_result


class WorkOrder(msgspec.Struct, frozen=True):
    """What to run. path: `sys.path` of the asking process. heartbeat: details of an earlier attempt, or null."""

    path: list[str]
    module: str
    activity: str
    input: msgspec.Raw
    workflow_id: str
    run_id: str
    ordinal: int
    attempt: int
    idempotency_key: str
    heartbeat: Any = None
    root: str = ""


class Beat(msgspec.Struct, frozen=True, tag=True):
    """A heartbeat."""

    details: msgspec.Raw


class Result(msgspec.Struct, frozen=True, tag=True):
    """The attempt succeeded."""

    value: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The attempt failed."""

    failure: Failure


class Revealed(msgspec.Struct, frozen=True, tag=True):
    """A secret was revealed; it is to be masked wherever it turns up from now on."""

    value: str


Answer = Beat | Revealed | Result | Failed
"""One line of answer."""


def main() -> None:
    """Do the work that stdin orders."""
    answers = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkOrder)
    threading.Thread(target=_end_when_nobody_listens, args=(answers,), daemon=True).start()
    lock = threading.Lock()

    def answer(line: Answer) -> None:
        rest = memoryview(msgspec.json.encode(line) + b"\n")
        with lock:  # heartbeats may come from several threads
            while rest:
                rest = rest[os.write(answers, rest) :]

    masks.on_added(lambda value: answer(Revealed(value)))
    printed = MaskedOutput()
    try:
        outcome = _attempt(order, lambda details: answer(Beat(masks.mask_json(details))))
    finally:
        printed.close()
    answer(outcome)


def _end_when_nobody_listens(answers: int) -> None:
    """Kill this process, and what it started, once nobody holds the other end of the pipe for answers."""
    poller = select.poll()
    poller.register(answers, 0)  # an end that is gone is reported unasked
    poller.poll()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _attempt(order: WorkOrder, report: Callable[[msgspec.Raw], None]) -> Answer:
    paths = SourcePaths(order.root)
    definition: ActivityDefinition[..., Any] | None = None
    try:
        definition = _find(order)
        set_activity_info(
            ActivityInfo(
                workflow_id=order.workflow_id,
                run_id=order.run_id,
                ordinal=order.ordinal,
                attempt=order.attempt,
                idempotency_key=order.idempotency_key,
                heartbeat_details=order.heartbeat,
                report=report,
            )
        )
        args, kwargs = definition.signature.decode_call(order.input)
        value = definition.fn(*args, **kwargs)
        if definition.is_async:
            value = asyncio.run(value)
        return Result(recorded_result(definition, value))
    except BaseException as error:  # noqa: BLE001 - whatever an activity raises, SystemExit too, is its outcome
        final = definition is None or definition.settings.retry.refuses(type(error).__mro__)
        failure = failure_of(error, paths, kind=ErrorKind.NON_RETRYABLE if final else None, mask=masks.mask_text)
        return Failed(masks.mask_failure(failure))


def _find(order: WorkOrder) -> ActivityDefinition[..., Any]:
    sys.path[:] = order.path
    module = importlib.import_module(order.module)
    for value in vars(module).values():
        if isinstance(value, ActivityDefinition) and value.name == order.activity:
            return value  # pyright: ignore[reportUnknownVariableType]  # a definition's parameters are not known here
    raise LookupError(f"the module {order.module} has no activity {order.activity} at its top level")


if __name__ == "__main__":
    main()
