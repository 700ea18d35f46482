"""`@workflow` and `@activity`: functions become definitions, and calls of definitions become Commands.

A definition is known to a history by its registered name alone (the function's name unless another is given). Calling
one gives a coroutine, typed as what the function returns; the command is emitted when that coroutine first runs. The
plain function stays reachable as `.fn`.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, overload

import msgspec

from aion_cli.api import given
from aion_cli.api.options import ActivityOptions, limit_s
from aion_cli.api.signature import Signature
from aion_cli.core.commands import Completed, Continued
from aion_cli.core.execution import Execution, current
from aion_cli.core.retry import Duration, RetryPolicy
from aion_cli.core.source import Site, call_site
from aion_cli.errors import AionError, ContinueAsNew, UsageError

P = ParamSpec("P")
R = TypeVar("R")

_MOST_OF_OPTIONS = 64 << 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,119}")


class Definition(Generic[P, R]):
    """What workflows and activities have in common: a function, the name histories know it by, and its signature."""

    def __init__(self, fn: Callable[P, Any], name: str | None) -> None:
        self.fn = fn
        self.name = name or getattr(fn, "__name__", "")
        self.module: str = getattr(fn, "__module__", "")
        self.__name__ = self.name
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn
        code = getattr(inspect.unwrap(fn), "__code__", None)
        self.file: str = getattr(code, "co_filename", "")
        self.line: int = getattr(code, "co_firstlineno", 0)
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
            raise UsageError(
                f"{given.shown(self.name)} cannot be the name of a workflow or an activity",
                where=(f"{self.file}:{self.line}",),
                hint='give it one of letters, digits, "_", "-" and ".": name="…"',
            )
        self.signature = Signature.of(fn)

    def reencode_input(self, recorded: msgspec.Raw) -> msgspec.Raw:
        """Decode a recorded input with today's types and encode it again. Raises PayloadError if it does not fit."""
        return self.signature.reencode_call(recorded)

    def reencode_result(self, recorded: msgspec.Raw) -> msgspec.Raw:
        """Decode a recorded result with today's type and encode it again. Raises PayloadError if it does not fit."""
        return self.signature.reencode_result(recorded)

    def _execution(self) -> Execution:
        """Return the execution whose code calls this. Raises AionError outside of workflow code."""
        try:
            return current()
        except AionError:
            raise AionError(
                f"{given.shown(self)} can only be called inside a running workflow",
                hint=f"elsewhere, as in an activity or a test, call its plain function: {self.name}.fn(…)",
            ) from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.file}:{self.line}>"


class ActivityDefinition(Definition[P, R]):
    """A function that touches the world. `await activity(...)` inside a workflow runs it once, durably.

    names: of all activities that this process has declared.
    """

    names: ClassVar[set[str]] = set()

    def __init__(self, fn: Callable[P, Any], name: str | None = None, settings: ActivityOptions | None = None) -> None:
        super().__init__(fn, name)
        self._apply(settings or ActivityOptions())
        self.is_async = inspect.iscoroutinefunction(fn)
        self.names.add(self.name)

    def _apply(self, settings: ActivityOptions) -> None:
        self.settings = settings
        self.recorded_options = settings.recorded()
        if self.recorded_options:
            given.require_size(f"what the activity {self.name} has of options", self.recorded_options, _MOST_OF_OPTIONS)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        run = self._run(args, kwargs, call_site())
        run.__qualname__ = self.name  # what Python says of a coroutine that nobody awaits
        return run

    async def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any], called_at: Site) -> R:
        execution = self._execution()
        self.signature.check()
        recorded_input = self.signature.encode_call(*args, **kwargs)
        return await execution.run_activity(
            self.name, recorded_input, self.recorded_options, self, self.signature.decode_result, called_at
        )

    def options(
        self,
        *,
        retry: RetryPolicy | None = None,
        timeout: Duration | None = None,
        total_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        at_most_once: bool | None = None,
        process: bool | None = None,
    ) -> ActivityDefinition[P, R]:
        """Return the same activity with other options for one call; what is not given stays as it is."""
        changes: dict[str, Any] = {
            "retry": retry,
            "timeout_s": limit_s("timeout", timeout),
            "total_timeout_s": limit_s("total_timeout", total_timeout),
            "heartbeat_timeout_s": limit_s("heartbeat_timeout", heartbeat_timeout),
            "at_most_once": at_most_once,
            "process": process,
        }
        same = copy.copy(self)  # with its signature, which is not read and checked again for each call
        same._apply(replace(self.settings, **{name: value for name, value in changes.items() if value is not None}))
        return same


class WorkflowDefinition(Definition[P, R]):
    """A durable function. `await workflow(...)` inside another workflow runs it as a child with its own history."""

    def __init__(self, fn: Callable[P, Any], name: str | None = None, timeout_s: float | None = None) -> None:
        super().__init__(fn, name)
        self.timeout_s = timeout_s
        if not inspect.iscoroutinefunction(fn):
            raise UsageError(
                f"workflow {self.name} is not an `async def` function",
                where=(f"{self.file}:{self.line}",),
                hint="declare it with `async def`",
            )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        spawn = self._spawn(args, kwargs, call_site())
        spawn.__qualname__ = self.name  # what Python says of a coroutine that nobody awaits
        return spawn

    async def _spawn(self, args: tuple[Any, ...], kwargs: dict[str, Any], called_at: Site) -> R:
        execution = self._execution()
        self.signature.check()
        recorded_input = self.signature.encode_call(*args, **kwargs)
        return await execution.spawn_child(
            self.name, recorded_input, self, self.signature.decode_result, called_at=called_at
        )

    def start(self, input: msgspec.Raw) -> Coroutine[Any, Any, Any]:
        """Decode a recorded input and make the workflow's coroutine. Raises PayloadError if it does not fit."""
        args, kwargs = self.signature.decode_call(input)
        return self.fn(*args, **kwargs)

    def completed(self, result: Any) -> Completed:
        """Encode what the workflow returned. Raises PayloadError if it cannot be recorded."""
        return Completed(self.signature.encode_result(result))

    def continued(self, request: ContinueAsNew) -> Continued:
        """Encode the input of the next run. Raises PayloadError or TypeError if it does not fit the parameters."""
        try:
            return Continued(self.signature.encode_call(*request.args_for_next, **request.kwargs_for_next))
        except TypeError as error:
            raise TypeError(f"ContinueAsNew(…) does not fit workflow {self.name}: {error}") from None


@overload
def activity(fn: Callable[P, Coroutine[Any, Any, R]], /) -> ActivityDefinition[P, R]: ...


@overload
def activity(fn: Callable[P, R], /) -> ActivityDefinition[P, R]: ...


@overload
def activity(
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: Duration | None = None,
    total_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    at_most_once: bool = False,
    process: bool = False,
) -> ActivityDecorator: ...


def activity(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    timeout: Duration | None = None,
    total_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    at_most_once: bool = False,
    process: bool = False,
) -> Any:
    """Make a function an activity: sync ones run in a thread, async ones on the process's event loop.

    retry: none unless given. timeout: limit of one attempt. total_timeout: limit of all attempts and waits between.
    heartbeat_timeout: longest time between two calls of `heartbeat`.
    at_most_once: after a crash, a started attempt without outcome is not repeated: ActivityInterrupted is raised.
    process: run each attempt in a process of its own, for work that only killing stops; the function must be defined at
    the top of its module.
    Durations are timedeltas or seconds. Raises UsageError for parameters or options that cannot be.
    """
    settings = ActivityOptions(
        **({} if retry is None else {"retry": retry}),
        timeout_s=limit_s("timeout", timeout),
        total_timeout_s=limit_s("total_timeout", total_timeout),
        heartbeat_timeout_s=limit_s("heartbeat_timeout", heartbeat_timeout),
        at_most_once=at_most_once,
        process=process,
    )
    decorate = ActivityDecorator(name, settings)
    return decorate if fn is None else decorate(fn)


class ActivityDecorator:
    """What `@activity(...)` with options gives: it turns the function below it into an activity."""

    def __init__(self, name: str | None, settings: ActivityOptions) -> None:
        self._name = name
        self._settings = settings

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> ActivityDefinition[P, R]: ...

    @overload
    def __call__(self, fn: Callable[P, R], /) -> ActivityDefinition[P, R]: ...

    def __call__(self, fn: Callable[..., Any], /) -> Any:
        made: ActivityDefinition[..., Any] = ActivityDefinition(fn, self._name, self._settings)
        return made


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> WorkflowDefinition[P, R]: ...


@overload
def workflow(*, name: str | None = None, timeout: Duration | None = None) -> WorkflowDecorator: ...


def workflow(
    fn: Callable[..., Awaitable[Any]] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: Duration | None = None,
) -> Any:
    """Make an `async def` function a durable workflow. Raises UsageError for a function that cannot be one.

    timeout: how long a run may take, from its start or last reopen, downtime included; then it is timed out.
    """
    decorate: Any = WorkflowDecorator(name, limit_s("timeout", timeout))
    return decorate if fn is None else decorate(fn)


class WorkflowDecorator:
    """What `@workflow(...)` with options gives: it turns the function below it into a workflow."""

    def __init__(self, name: str | None, timeout_s: float | None) -> None:
        self._name = name
        self._timeout_s = timeout_s

    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> WorkflowDefinition[P, R]:
        return WorkflowDefinition(fn, self._name, self._timeout_s)
