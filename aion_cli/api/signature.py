"""How the parameters of a function become one payload, and how a payload becomes a call.

One rule for workflows, activities and updates: a function without parameters takes nothing (null), one with a single
parameter takes the value itself, one with several takes an object keyed by parameter name. Defaults are applied before
anything is recorded, so a default that changes later does not change what was recorded. A call that was recorded before
the function got further parameters, with defaults, is still read, although the form of its payload is another now.

Annotations are resolved when they are first needed, not when the function is decorated: they may name what is defined
further down in the module.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter
from typing import Any, NoReturn, cast

import msgspec

from aion_cli.core import payload
from aion_cli.core.plain import step, type_name
from aion_cli.errors import PayloadError, UsageError

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


class Signature:
    """The parameters and the result of one function, as payloads.

    name: the function's `__qualname__`. where: "file:line" of its definition; the line is 0 if there is no source.
    """

    def __init__(self, fn: Callable[..., Any], parameters: Mapping[str, Parameter], where: str) -> None:
        self.fn = fn
        self.name: str = getattr(fn, "__qualname__", type_name(type(fn)))
        self.where = where
        self._parameters = dict(parameters)
        self._all_by_position = all(parameter.kind in _BY_POSITION for parameter in parameters.values())
        self._is_checked = False
        self._bindable = inspect.Signature(list(parameters.values()))

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Signature:
        """Read the signature of a function. Raises UsageError, with file:line, for `*args` and `**kwargs`."""
        where = _place_of(fn)
        name = getattr(fn, "__qualname__", type_name(type(fn)))
        try:
            parameters = inspect.signature(fn).parameters
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name} has no signature that can be read: {error}", where=(where,)) from None
        for parameter in parameters.values():
            if parameter.kind in _VARIABLE:
                raise UsageError(
                    f"{name} takes {_VARIABLE[parameter.kind]}{parameter.name}: its input would have no fixed form",
                    where=(where,),
                    hint="name every parameter; pass a list or a dict for a variable number of values",
                )
        return cls(fn, parameters, where)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(self._parameters)

    @property
    def required_names(self) -> tuple[str, ...]:
        """Names of the parameters without a default."""
        return tuple(name for name, p in self._parameters.items() if p.default is Parameter.empty)

    @functools.cached_property
    def types(self) -> Mapping[str, Any]:
        """The annotation of every parameter, resolved; Any where there is none.

        Raises PayloadError if an annotation names something that is not defined.
        """
        return {name: self._hints.get(name, Any) for name in self._parameters}

    @functools.cached_property
    def return_type(self) -> Any:
        """The annotated result, resolved; Any if there is none, or if the function never returns."""
        hint = self._hints.get("return", Any)
        return Any if hint in (typing.NoReturn, typing.Never) else hint

    def check(self) -> None:
        """Raise PayloadError, naming the place, for an annotated type of which no value could be recorded.

        Costs next to nothing once it has passed. What cannot be resolved is left to whoever needs it.
        """
        if self._is_checked:
            return
        try:
            types = {**self.types, "return": self.return_type}
        except PayloadError:
            types = {}
        for name, type_ in types.items():
            self._located(name, partial(payload.check_type, partly=True), type_)
        self._is_checked = True

    def require_same_call(self, other: Callable[..., Any]) -> None:
        """Raise TypeError unless another function can be called with what `decode_call` gives."""
        keyword = {name: None for name, p in self._parameters.items() if p.kind is Parameter.KEYWORD_ONLY}
        try:
            parameters = inspect.signature(other)
        except ValueError:  # a builtin that does not tell
            return
        parameters.bind(*[None] * (len(self._parameters) - len(keyword)), **keyword)

    def encode_call(self, *args: Any, **kwargs: Any) -> msgspec.Raw:
        """Write a call as one payload, defaults included.

        Raises TypeError, like a call of the function itself, if the arguments do not match its parameters, and
        PayloadError if one does not fit its annotation or cannot be recorded.
        """
        values = self._bound(args, kwargs)
        if not values:
            return payload.NULL
        if len(values) == 1:
            (name,) = values
            return self._located(name, payload.encode, values[name], self.types[name])
        raw = self._located("", payload.encode, values)
        self._decode_several(raw)
        return raw

    def decode_call(self, raw: msgspec.Raw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Read a payload as the arguments of a call: positional ones, and keyword-only ones by name.

        A parameter that the payload lacks takes its default. Raises PayloadError for what does not fit, with its JSON
        path: an unknown key, or a missing one, is `$.name`.
        """
        try:
            values = self._decoded(raw, payload.decode)
        except PayloadError:
            before = self._decoded_as_before(raw)
            if before is None:
                raise
            values = before
        if self._all_by_position:
            return tuple(values.values()), {}
        keyword = {n: values.pop(n) for n, p in self._parameters.items() if p.kind is Parameter.KEYWORD_ONLY}
        return tuple(values.values()), keyword

    def reencode_call(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Read a recorded call with today's types and defaults, and write it again: for `payload.equal`."""
        args, kwargs = self.decode_call(raw)
        return self.encode_call(*args, **kwargs)

    def complete_input(self, given: msgspec.Raw | bytes | None) -> msgspec.Raw:
        """Turn the JSON that a user gave (None: nothing) into the payload to record: validated, with defaults.

        Raises PayloadError, with the JSON path, for what does not fit, and for a parameter without a value.
        """
        if given is None:
            values = self._filled({})
        elif not self._parameters and bytes(given).strip() != b"null":
            raise PayloadError(f"{self.name} takes no input", where=(self.where,))
        else:
            values = self._decoded(given, lambda raw, type_: payload.parse(bytes(raw), type_))
        keyword = {n: values.pop(n) for n, p in self._parameters.items() if p.kind is Parameter.KEYWORD_ONLY}
        return self.encode_call(*values.values(), **keyword)

    def encode_result(self, value: object) -> msgspec.Raw:
        """Write what the function returned. Raises PayloadError if it does not fit the return annotation."""
        return self._located("return", payload.encode, value, self.return_type)

    def decode_result(self, raw: msgspec.Raw) -> Any:
        """Read a recorded result as the return annotation. Raises PayloadError if it does not fit."""
        return self._located("return", payload.decode, raw, self.return_type)

    def reencode_result(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Read a recorded result with today's type, and write it again: for `payload.equal`."""
        return self.encode_result(self.decode_result(raw))

    @functools.cached_property
    def _hints(self) -> Mapping[str, Any]:
        try:
            return typing.get_type_hints(self.fn, include_extras=True)
        except Exception as error:  # noqa: BLE001 - evaluating an annotation runs what its author wrote
            raise PayloadError(
                f"an annotation of {self.name} cannot be resolved: {error}",
                where=(self.where,),
                hint="define or import the type at the top of the module, not under `if TYPE_CHECKING`",
            ) from None

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if not kwargs and len(args) == len(self._parameters) and self._all_by_position:
            return dict(zip(self._parameters, args, strict=True))  # what bind would give, at a tenth of its cost
        try:
            bound = self._bindable.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None
        bound.apply_defaults()
        return bound.arguments

    def _decoded(self, raw: msgspec.Raw | bytes, read: Callable[[msgspec.Raw | bytes, Any], Any]) -> dict[str, Any]:
        match list(self._parameters):
            case []:
                self._located("", read, raw, None)
                return {}
            case [name]:
                return {name: self._located(name, read, raw, self.types[name])}
            case _:
                return self._decode_several(raw)

    def _decoded_as_before(self, raw: msgspec.Raw) -> dict[str, Any] | None:
        """Read a call of what had one parameter or none, before it got more that have defaults; None if it is none."""
        if not self.required_names and bytes(raw) == bytes(payload.NULL):
            return self._filled({})
        first = next(iter(self._parameters), "")
        if len(self._parameters) < 2 or any(name != first for name in self.required_names):
            return None
        if self._is_keyed_by_parameter(raw):  # it had several, of which one is gone: that is for its author to know
            return None
        try:
            return self._filled({first: payload.decode(raw, self.types[first])})
        except PayloadError:
            return None

    def _is_keyed_by_parameter(self, raw: msgspec.Raw) -> bool:
        try:
            parts: dict[str, msgspec.Raw] = payload.parse(bytes(raw), dict[str, msgspec.Raw])
        except PayloadError:
            return False
        return any(name in parts for name in self._parameters)

    def _decode_several(self, raw: msgspec.Raw | bytes) -> dict[str, Any]:
        try:
            parts: dict[str, msgspec.Raw] = self._located("", payload.parse, bytes(raw), dict[str, msgspec.Raw])
        except PayloadError as error:
            error.hint = error.hint or f"{self.name} takes an object of its parameters: {', '.join(self._parameters)}"
            raise
        for key in parts:
            if key not in self._parameters:
                self._refuse_unknown(key)
        values: dict[str, Any] = {}
        for name, type_ in self.types.items():
            if name in parts:
                values[name] = self._located(name, payload.parse, bytes(parts[name]), type_, inside=step(name))
        return self._filled(values)

    def _filled(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a value for every parameter, in their order."""
        filled: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if name in values:
                filled[name] = values[name]
            elif parameter.default is not Parameter.empty:
                filled[name] = parameter.default
            else:
                single = len(self._parameters) == 1
                raise PayloadError(
                    f"{self.name} needs a value for its parameter `{name}`",
                    path="$" if single else "$" + step(name),
                    where=(self.where,),
                )
        return filled

    def _refuse_unknown(self, key: str) -> NoReturn:
        close = difflib.get_close_matches(key, self._parameters, n=1)
        known = ", ".join(self._parameters)
        raise PayloadError(
            f"{self.name} has no parameter `{key}`",
            path="$" + step(key),
            where=(self.where,),
            hint=f"did you mean `{close[0]}`?" if close else f"its parameters are {known}",
        )

    def _located(self, name: str, action: Callable[..., Any], *args: Any, inside: str = "") -> Any:
        """Do something with the value of a parameter (or the result); say in its errors whose value it was."""
        try:
            return action(*args)
        except PayloadError as error:
            remark = f"{self.name}({name})" if name != "return" else f"result of {self.name}"
            error.where = (*error.where, f"{self.where} {remark}" if name else self.where)
            error.path = "$" + inside + error.path.removeprefix("$")
            raise


def _place_of(fn: Callable[..., Any]) -> str:
    plain = inspect.unwrap(fn)
    code = cast("Any", getattr(plain, "__code__", None))
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else f"{type_name(type(fn))}:0"
