"""Running one attempt of an activity: a thread for a plain function, the process's event loop for an async one.

What belongs here: starting the function, its limit of time, telling it that it is cancelled, making its outcome data.
What does not: attempts and retries (`runtime.executor`), what is recorded (`runtime.handoff`).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from aion_cli.api.attempts import ActivityInfo, set_activity_info
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.failures import failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.errors import PayloadError
from aion_cli.runtime.workers import DaemonThreads, Outcome, Slots


class Limit(msgspec.Struct, frozen=True):
    """How long an attempt may take, and as what it fails when it takes longer."""

    seconds: float
    kind: ErrorKind


class ActivityRunner:
    """Runs attempts within slots. grace_s: how long a function that was told to end is waited for."""

    def __init__(self, paths: SourcePaths, *, max_concurrency: int | None = None, grace_s: float = 10.0) -> None:
        self._paths = paths
        self._slots = Slots(max_concurrency)
        self._threads = DaemonThreads()
        self._grace_s = grace_s

    def try_reserve(self, definition: ActivityDefinition[..., Any]) -> bool:
        """Take room for an attempt, if there is any now."""
        return self._slots.try_take(threaded=not definition.is_async)

    async def reserve(self, definition: ActivityDefinition[..., Any]) -> None:
        """Take room for an attempt, waiting for it."""
        await self._slots.take(threaded=not definition.is_async)

    def give_back(self, definition: ActivityDefinition[..., Any]) -> None:
        """Give back room that no attempt used."""
        self._slots.give_back(threaded=not definition.is_async)

    async def attempt(
        self, definition: ActivityDefinition[..., Any], input: msgspec.Raw, info: ActivityInfo, limit: Limit | None
    ) -> msgspec.Raw | Failure:
        """Run the function once, in room that was reserved, which is given back. Returns its encoded result or failure.

        A cancellation of the caller reaches the function, and is raised once that has ended or grace has passed.
        """
        try:
            args, kwargs = definition.signature.decode_call(input)
        except PayloadError as error:
            self.give_back(definition)
            return failure_of(error, self._paths, kind=ErrorKind.NON_RETRYABLE)
        if definition.is_async:
            outcome = await self._on_loop(definition, partial(definition.fn, *args, **kwargs), info, limit)
        else:
            outcome = await self._in_thread(definition, partial(definition.fn, *args, **kwargs), info, limit)
        return outcome if isinstance(outcome, Failure) else self._recorded(definition, outcome)

    def _recorded(self, definition: ActivityDefinition[..., Any], outcome: Outcome) -> msgspec.Raw | Failure:
        error = outcome.error
        if error is None:
            try:
                return definition.signature.encode_result(outcome.value)
            except PayloadError as unfit:
                return failure_of(unfit, self._paths, kind=ErrorKind.NON_RETRYABLE)
        final = definition.settings.retry.refuses(type(error).__mro__)
        return failure_of(error, self._paths, kind=ErrorKind.NON_RETRYABLE if final else None)

    async def _on_loop(
        self, definition: ActivityDefinition[..., Any], call: Callable[[], Any], info: ActivityInfo, limit: Limit | None
    ) -> Outcome | Failure:
        set_activity_info(info)
        try:
            if limit is None:
                return await _outcome_of(call)
            task = asyncio.ensure_future(_outcome_of(call))
            return await self._within(task, limit, task.cancel)
        finally:
            self.give_back(definition)

    async def _in_thread(
        self, definition: ActivityDefinition[..., Any], call: Callable[[], Any], info: ActivityInfo, limit: Limit | None
    ) -> Outcome | Failure:
        cancelled = CancelFlag()
        context = contextvars.copy_context()
        context.run(set_activity_info, ActivityInfo(**_fields(info), cancel_requested=cancelled.is_set))
        future = self._threads.submit(call, context)
        # The room is taken until the function has really ended, whatever became of whoever waits for it.
        future.add_done_callback(lambda _: self.give_back(definition))
        return await self._within(future, limit, cancelled.set)

    async def _within(
        self, future: asyncio.Future[Outcome], limit: Limit | None, stop: Callable[[], object]
    ) -> Outcome | Failure:
        """Wait for an outcome; if time runs out or the caller is cancelled, stop it and wait no longer than grace."""
        try:
            done, _ = await asyncio.wait([future], timeout=None if limit is None else limit.seconds)
        except asyncio.CancelledError:
            stop()
            await asyncio.wait([future], timeout=self._grace_s)
            raise
        if done:
            return future.result()
        assert limit is not None
        stop()
        await asyncio.wait([future], timeout=self._grace_s)
        return Failure(kind=limit.kind, type="TimeoutError", message=f"took longer than {limit.seconds:g} s")


class CancelFlag:
    """Tells a function in a thread that it should end."""

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        self._requested = True

    def is_set(self) -> bool:
        return self._requested


def _fields(info: ActivityInfo) -> dict[str, Any]:
    return {
        "workflow_id": info.workflow_id,
        "run_id": info.run_id,
        "ordinal": info.ordinal,
        "attempt": info.attempt,
        "idempotency_key": info.idempotency_key,
    }


async def _outcome_of(call: Callable[[], Any]) -> Outcome:
    """Await an async function. What it raises is its outcome, except a cancellation that was meant for it."""
    task = asyncio.current_task()
    try:
        return Outcome(value=await call())
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise
        return Outcome(error=error)
    except BaseException as error:  # noqa: BLE001 - whatever an activity raises, SystemExit too, is its outcome
        return Outcome(error=error)
