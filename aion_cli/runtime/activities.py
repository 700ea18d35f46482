"""Running one attempt of an activity: a thread for a plain function, the process's event loop for an async one.

What belongs here: starting the function, its limit of time, telling it that it is cancelled, making its outcome data.
What does not: attempts and retries (`runtime.executor`), what is recorded (`runtime.handoff`).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from aion_cli.api.attempts import ActivityInfo, set_activity_info
from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.masking import masks
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.failures import failure_of
from aion_cli.core.source import SourcePaths
from aion_cli.errors import PayloadError
from aion_cli.runtime.heartbeats import Pulse
from aion_cli.runtime.processes import run_in_process
from aion_cli.runtime.results import recorded_result
from aion_cli.runtime.workers import DaemonThreads, Outcome, Slots

T = TypeVar("T")

_SILENT = ErrorKind.HEARTBEAT_TIMEOUT


class Limit(msgspec.Struct, frozen=True):
    """How long an attempt may take, and as what it fails when it takes longer."""

    seconds: float
    kind: ErrorKind


class CancelFlag:
    """Tells a function in a thread that it should end."""

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        self._requested = True

    def is_set(self) -> bool:
        return self._requested


class Attempt(msgspec.Struct, frozen=True):
    """One attempt to make. heartbeat_s: longest silence. stop: tells a function in a thread to end."""

    definition: ActivityDefinition[..., Any]
    input: msgspec.Raw
    info: ActivityInfo
    limit: Limit | None
    heartbeat_s: float | None
    stop: CancelFlag
    pulse: Pulse

    @property
    def has_no_limit(self) -> bool:
        """Whether it may take any time, in silence."""
        return self.limit is None and self.heartbeat_s is None


class ActivityRunner:
    """Runs attempts within slots. grace_s: how long a function that was told to end is waited for."""

    def __init__(self, paths: SourcePaths, *, max_concurrency: int | None = None, grace_s: float = 10.0) -> None:
        self._paths = paths
        self._slots = Slots(max_concurrency)
        self._threads = DaemonThreads()
        self._grace_s = grace_s

    def try_reserve(self, definition: ActivityDefinition[..., Any]) -> bool:
        """Take room for an attempt, if there is any now."""
        return self._slots.try_take(threaded=_needs_thread(definition))

    async def reserve(self, definition: ActivityDefinition[..., Any]) -> None:
        """Take room for an attempt, waiting for it."""
        await self._slots.take(threaded=_needs_thread(definition))

    def give_back(self, definition: ActivityDefinition[..., Any]) -> None:
        """Give back room that no attempt used."""
        self._slots.give_back(threaded=_needs_thread(definition))

    async def attempt(self, attempt: Attempt) -> msgspec.Raw | Failure:
        """Run the function once, in room that was reserved, which is given back. Returns its encoded result or failure.

        A cancellation of the caller reaches the function, and is raised once that has ended or grace has passed.
        """
        definition = attempt.definition
        if definition.settings.process:
            return await self._in_process(attempt)
        try:
            args, kwargs = definition.signature.decode_call(attempt.input)
        except PayloadError as error:
            self.give_back(definition)
            return self._failure_of(error, final=True)
        call = partial(definition.fn, *args, **kwargs)
        outcome = await (self._on_loop(attempt, call) if definition.is_async else self._in_thread(attempt, call))
        return outcome if isinstance(outcome, Failure) else self._recorded(definition, outcome)

    def _recorded(self, definition: ActivityDefinition[..., Any], outcome: Outcome) -> msgspec.Raw | Failure:
        error = outcome.error
        if error is None:
            try:
                return recorded_result(definition, outcome.value)
            except PayloadError as unfit:
                return self._failure_of(unfit, final=True)
        final = definition.settings.retry.refuses(type(error).__mro__)
        return self._failure_of(error, final=final)

    def _failure_of(self, error: BaseException, *, final: bool) -> Failure:
        kind = ErrorKind.NON_RETRYABLE if final else None
        return failure_of(error, self._paths, kind=kind, mask=masks.mask_text)

    async def _on_loop(self, attempt: Attempt, call: Callable[[], Any]) -> Outcome | Failure:
        set_activity_info(attempt.info)
        try:
            if attempt.has_no_limit:
                return await _outcome_of(call)
            task = asyncio.ensure_future(_outcome_of(call))
            return await self._within(task, attempt, task.cancel)
        finally:
            self.give_back(attempt.definition)

    async def _in_thread(self, attempt: Attempt, call: Callable[[], Any]) -> Outcome | Failure:
        context = contextvars.copy_context()
        context.run(set_activity_info, attempt.info)
        future = self._threads.submit(call, context)
        # The room is taken until the function has really ended, whatever became of whoever waits for it.
        future.add_done_callback(lambda _: self.give_back(attempt.definition))
        return await self._within(future, attempt, attempt.stop.set)

    async def _in_process(self, attempt: Attempt) -> msgspec.Raw | Failure:
        root, beat = self._paths.root, attempt.pulse.beat
        task = asyncio.ensure_future(run_in_process(attempt.definition, attempt.input, attempt.info, root, beat))
        try:
            return await self._within(task, attempt, task.cancel)
        finally:
            self.give_back(attempt.definition)

    async def _within(self, future: asyncio.Future[T], attempt: Attempt, stop: Callable[[], object]) -> T | Failure:
        """Wait for an outcome; if time runs out or the caller is cancelled, stop it and wait no longer than grace."""
        try:
            failure = await _outlast(future, attempt)
        except asyncio.CancelledError:
            stop()
            await asyncio.wait([future], timeout=self._grace_s)
            raise
        if failure is None:
            return future.result()
        stop()
        await asyncio.wait([future], timeout=self._grace_s)
        return failure


async def _ended(future: asyncio.Future[Any]) -> None:
    """Return when a future is done. A cancellation of the caller is not passed on to it, as awaiting it would."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    await waiter


async def _outlast(future: asyncio.Future[Any], attempt: Attempt) -> Failure | None:
    """Wait until the future is done (None), or until a limit of time is passed: then return the failure that it is."""
    if attempt.has_no_limit:
        await _ended(future)
        return None
    loop, pulse = asyncio.get_running_loop(), attempt.pulse
    begun = loop.time()
    while True:
        limits = [] if attempt.limit is None else [(begun + attempt.limit.seconds, attempt.limit)]
        if attempt.heartbeat_s is not None:
            limits.append((pulse.last_at + attempt.heartbeat_s, Limit(attempt.heartbeat_s, _SILENT)))
        ends_at, limit = min(limits, key=lambda each: each[0], default=(None, None))
        left = None if ends_at is None else max(0.0, ends_at - loop.time())
        done, _ = await asyncio.wait([future], timeout=left)
        if done:
            return None
        if limit is not None and limit.kind is not _SILENT:
            return Failure(kind=limit.kind, type="TimeoutError", message=f"took longer than {limit.seconds:g} s")
        if limit is not None and loop.time() - pulse.last_at >= limit.seconds:
            return Failure(kind=_SILENT, type="TimeoutError", message=f"gave no heartbeat for {limit.seconds:g} s")


def _needs_thread(definition: ActivityDefinition[..., Any]) -> bool:
    return not definition.is_async and not definition.settings.process


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
