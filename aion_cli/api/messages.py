"""Queries, updates and conditions: how a run answers those outside, and how its own code waits for what they change."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from aion_cli.api import given
from aion_cli.api.signature import Signature
from aion_cli.core.execution import current
from aion_cli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class _Query:
    """A query handler: see core.handlers."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._signature = Signature.of(fn)

    def answer(self, args: msgspec.Raw | None) -> msgspec.Raw:
        """Decode the arguments, call the function, encode what it returns."""
        given, named = self._signature.decode_call(self._signature.complete_input(args))
        return self._signature.encode_result(self._fn(*given, **named))


@overload
def query(fn: F, /) -> F: ...


@overload
def query(name: str, fn: Callable[..., Any], /) -> None: ...


def query(name: Any, fn: Any = None, /) -> Any:
    """Offer a read-only question, inside a workflow: `@query` on a function, or `query("status", lambda: state)`.

    It is answered by `aion query`, by replaying, also after the run has ended. It may look and must not touch.
    Raises UsageError for an `async def` function.
    """
    handler: Callable[..., Any] = name if fn is None else fn
    if not callable(handler):
        raise UsageError(f"@query takes a function, and got {given.shown(handler)}")
    known_as = handler.__name__ if fn is None else str(name)
    if inspect.iscoroutinefunction(handler):
        raise UsageError(f"query {known_as} is an `async def` function", hint="a query answers at once: use `def`")
    current("@query").handlers.queries[known_as] = _Query(handler)
    return handler if fn is None else None


class UpdateDefinition(Generic[P, R]):
    """An update that a workflow offers. `@name.validator` adds a check that may refuse it before it begins."""

    def __init__(self, fn: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self.fn = fn
        self.name = fn.__name__
        code = inspect.unwrap(fn).__code__
        self.site = (code.co_filename, code.co_firstlineno)
        self._signature = Signature.of(fn)
        self._validator: Callable[..., Any] | None = None

    def validator(self, fn: Callable[P, None]) -> Callable[P, None]:
        """Check the arguments with a plain function; what it raises is why the update is rejected.

        Raises UsageError for one that is `async def`, or that does not take what the update takes.
        """
        check: Any = fn
        if not callable(check):
            raise UsageError(f"the validator of update {self.name} is {given.shown(check)}, it must be a function")
        if inspect.iscoroutinefunction(check) or inspect.isasyncgenfunction(check):
            raise UsageError(
                f"the validator of update {self.name} is an `async def` function",
                hint="a validator answers at once: use `def`, and await what has to be awaited in the update",
            )
        try:
            self._signature.require_same_call(check)
        except TypeError as error:
            raise UsageError(
                f"the validator of update {self.name} does not take what the update takes: {error}",
                hint=f"give it the parameters of the update: {', '.join(self._signature.parameter_names) or 'none'}",
            ) from None
        self._validator = fn
        return fn

    def accept(self, args: msgspec.Raw) -> Coroutine[Any, Any, msgspec.Raw]:
        """Decode and validate the arguments, and make the coroutine that does it and encodes the answer."""
        given, named = self._signature.decode_call(args)
        if self._validator is not None:
            found: Any = self._validator(*given, **named)
            if inspect.isawaitable(found):
                if inspect.iscoroutine(found):
                    found.close()
                raise UsageError(f"the validator of update {self.name} has to be awaited, and it must answer at once")
        return self._do(given, named)

    async def _do(self, given: tuple[Any, ...], named: dict[str, Any]) -> msgspec.Raw:
        call: Callable[..., Coroutine[Any, Any, R]] = self.fn
        return self._signature.encode_result(await call(*given, **named))

    def reencode_result(self, recorded: msgspec.Raw) -> msgspec.Raw:
        """Decode a recorded answer with today's type and encode it again. Raises PayloadError if it does not fit."""
        return self._signature.reencode_result(recorded)

    def complete_input(self, given: msgspec.Raw | None) -> msgspec.Raw:
        """Validate arguments that a user gave and fill in defaults. Raises PayloadError."""
        return self._signature.complete_input(given)


def update(fn: Callable[P, Coroutine[Any, Any, R]], /) -> UpdateDefinition[P, R]:
    """Offer a validated request that the workflow answers, inside a workflow: `@update` on an `async def` function.

    It runs as a task of the run, may change its state and await anything, and its return value is the answer.
    """
    if not callable(fn):
        raise UsageError(f"@update takes an `async def` function, and got {given.shown(fn)}")
    if not inspect.iscoroutinefunction(fn):
        raise UsageError(f"update {fn.__name__} is not an `async def` function", hint="declare it with `async def`")
    definition = UpdateDefinition(fn)
    current("@update").handlers.declare_update(definition.name, definition)
    return definition


async def wait_until(predicate: Callable[[], bool]) -> None:
    """Return once predicate() holds; it is asked after every step of the run. `asyncio.timeout` bounds the wait."""
    await current("wait_until()").conditions.wait_until(predicate)
