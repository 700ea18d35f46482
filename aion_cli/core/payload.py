"""Payloads: typed values in, JSON bytes out, and back.

What belongs here: how user data becomes the JSON that a history holds, how it is read as a type, and when two payloads
are the same. What does not: where large payloads go (the storage floor puts references back before anything is decoded
here), and how a call becomes one payload (`api.signature`).

A payload is recorded in its *recorded form*: compact JSON in which an object of the user's with a key that begins with
`$` at its top is wrapped as `{"$lit": …}`, because such objects are references otherwise. `encode` and `decode` speak
the recorded form; `parse` reads JSON as a user wrote it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, cast

import msgspec

from aion_cli.core.misfit import malformed, misfit
from aion_cli.core.plain import MAX_BYTES, MAX_DEPTH, Refused, simplify, step, type_name
from aion_cli.errors import PayloadError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "NULL", "adopt", "check_type", "decode", "encode", "equal", "parse"]

NULL: Final = msgspec.Raw(b"null")
"""The payload of nothing."""

_LITERAL = "$lit"
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_READ_BACK_AS_THEMSELVES = frozenset({bool, int, str})
_CONSTANTS = {None: NULL, True: msgspec.Raw(b"true"), False: msgspec.Raw(b"false")}


def encode(value: object, type_: Any = Any) -> msgspec.Raw:
    """Write a value as a payload in its recorded form.

    type_: what it will be read as; the value is read back once as that type, so that what is recorded can be read.
    Sets are sorted by their encoded members; nothing else is reordered, and nothing is changed silently.
    Raises PayloadError, with the JSON path, for what cannot be recorded or does not fit type_.
    """
    data = _encode_plain(value)
    if not _is_any(type_) and not (type(value) is type_ and type_ in _READ_BACK_AS_THEMSELVES):
        _decode_plain(data, type_)
    if data[:1] == b"{" and b'"$' in data and _has_dollar_key(data):
        data = b'{"$lit":' + data + b"}"
    return msgspec.Raw(data)


def decode(raw: msgspec.Raw | bytes, type_: Any = Any) -> Any:
    """Read a payload in its recorded form as type_.

    Raises PayloadError, with the JSON path, if it does not fit; also for malformed JSON, invalid UTF-8, lone surrogates
    and nesting over MAX_DEPTH.
    """
    data = bytes(raw)
    if b'"$' in data and data.lstrip(b" \t\r\n")[:1] == b"{":
        data = _unwrapped(data)
    return parse(data, type_)


def parse(data: bytes, type_: Any = Any) -> Any:
    """Read JSON that a user wrote as type_: like decode, but an object with `$` keys means just that."""
    if len(data) > MAX_BYTES:
        raise PayloadError(
            f"the JSON is larger than {MAX_BYTES // 1024**2} MiB",
            hint="keep large data in a file or an object store, and pass its path or address",
        )
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise PayloadError(f"the JSON is not valid UTF-8: {error.reason} (byte {error.start})") from None
    if _is_deep(data):
        raise PayloadError(f"the JSON is nested more than {MAX_DEPTH} deep", hint="flatten it")
    return _decode_plain(data, type_)


def adopt(data: bytes, type_: Any = Any) -> msgspec.Raw:
    """Turn JSON that a user wrote into the payload to record: read as type_, then written in the recorded form.

    So it is compact, has its defaults, and what could not be recorded (a datetime without a time zone) is refused.
    Raises PayloadError like parse and encode.
    """
    return encode(parse(data, type_), type_)


def equal(
    recorded: msgspec.Raw,
    new: msgspec.Raw,
    type_: Any = Any,
    *,
    reencode: Callable[[msgspec.Raw], msgspec.Raw] | None = None,
) -> bool:
    """Say whether today's payload is what was recorded.

    Equal as JSON values: the order of keys does not matter, numbers are equal if they are the same number (1 and 1.0
    are), true is not 1. Or equal after the recorded one was read with today's types and written again, by reencode or
    as type_: so a field with a default can be added. A recorded payload that today's types cannot read is not equal.
    """
    if bytes(recorded) == bytes(new):
        return True
    try:
        today = _decode_plain(bytes(new), Any)
        if _same(_decode_plain(bytes(recorded), Any), today):
            return True
        if reencode is None:
            if _is_any(type_):
                return False
            again = encode(decode(recorded, type_), type_)
        else:
            again = reencode(recorded)
        return bytes(again) == bytes(new) or _same(_decode_plain(bytes(again), Any), today)
    except PayloadError:
        return False


def check_type(type_: Any, *, partly: bool = False) -> None:
    """Raise PayloadError if values of an annotated type cannot be recorded; path is the place inside the type.

    partly: let a type pass of which some values can: a union with one part that can, a field that may be left out.
    """
    if _is_any(type_):
        return
    _decoder(type_)
    _TypeCheck(partly).visit(msgspec.inspect.type_info(type_), "$")


def _is_any(type_: Any) -> bool:
    return type_ is Any or type_ is object


def _encode_plain(value: object) -> bytes:
    if value is None or value is True or value is False:
        return bytes(_CONSTANTS[value])
    if type(value) is float and math.isfinite(value):
        return msgspec.json.encode(value)
    try:
        data = _write(simplify(value), value)
    except Refused as refused:
        raise PayloadError(refused.message, path=refused.path, hint=refused.hint) from None
    except Exception as error:  # the value's own code (a property, a dump) may raise anything
        raise PayloadError(f"`{type_name(type(value))}` cannot be recorded: {type(error).__name__}: {error}") from error
    if len(data) > MAX_BYTES:
        raise PayloadError(
            f"the value is larger than {MAX_BYTES // 1024**2} MiB of JSON",
            hint="keep large data in a file or an object store, and pass its path or address",
        )
    return data


def _write(plain: Any, value: object) -> bytes:
    try:
        return msgspec.json.encode(plain)
    except (UnicodeEncodeError, ValueError):
        simplify(value, check_leaves=True)
        raise


def _has_dollar_key(data: bytes) -> bool:
    return any(key.startswith("$") for key in msgspec.json.decode(data, type=dict[str, msgspec.Raw]))


def _unwrapped(data: bytes) -> bytes:
    """Take the wrapping off an object with `$` keys; refuse a reference that nobody resolved."""
    try:
        top = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data
    if list(top) == [_LITERAL]:
        return bytes(top[_LITERAL])
    for key in top:
        if key.startswith("$"):
            raise PayloadError(f"the payload is a reference ({key}) that was not resolved")
    return data


def _is_deep(data: bytes) -> bool:
    """Say whether JSON is nested too deep, without recursion. Each round takes the innermost brackets away."""
    if len(data) <= 2 * MAX_DEPTH or data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRINGS.sub(b"", data).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return b"[" in brackets


def _decode_plain(data: bytes, type_: Any) -> Any:
    decoder = _decoder(type_)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise misfit(error, data, decoder.decode) from None
    except msgspec.DecodeError as error:
        raise malformed(error, data) from None
    except Exception as error:  # a type's own validation may raise anything
        raise PayloadError(f"`{type_name(type_)}` refused the value: {type(error).__name__}: {error}") from error


def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    try:
        return _cached_decoder(type_)
    except TypeError:
        pass  # unhashable, or not supported: the second call tells
    except NameError as error:
        raise PayloadError(f"`{type_name(type_)}` names a type that is not defined: {error}") from None
    try:
        return msgspec.json.Decoder(type_, dec_hook=_from_json)
    except (TypeError, ValueError, NameError) as error:
        raise PayloadError(f"`{type_name(type_)}` cannot be recorded: {error}") from None


@functools.lru_cache(maxsize=1024)
def _cached_decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_, dec_hook=_from_json)


def _from_json(type_: Any, value: Any) -> Any:
    """Build what msgspec does not know. A TypeError or ValueError from here gets its JSON path from msgspec."""
    if type_ is object:
        return value
    if hasattr(type_, "__from_aion_payload__"):
        return type_.__from_aion_payload__(value)
    if hasattr(type_, "model_validate_json"):
        return type_.model_validate_json(msgspec.json.encode(value))
    if hasattr(type_, "__fspath__"):
        if not isinstance(value, str):
            raise TypeError(f"Expected `{type_.__name__}`, got `{type(value).__name__}`")
        return type_(value)
    raise TypeError(f"`{type_name(type_)}` cannot be read from JSON")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        left, right = cast("dict[str, Any]", a), cast("dict[str, Any]", b)
        return left.keys() == right.keys() and all(_same(item, right[key]) for key, item in left.items())
    if isinstance(a, list) and isinstance(b, list):
        ours, theirs = cast("list[Any]", a), cast("list[Any]", b)
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


class _TypeCheck:
    """One walk over what msgspec understood of a type; refuses what values of it could not be recorded."""

    def __init__(self, partly: bool) -> None:
        self._partly = partly
        self._seen: set[int] = set()

    def visit(self, node: Any, path: str) -> None:
        match node:
            case msgspec.inspect.CustomType(cls=cls):
                _check_custom(cls, path)
            case msgspec.inspect.ExtType():
                _refuse_type("msgspec.msgpack.Ext", path)
            case msgspec.inspect.DictType(key_type=key, value_type=value):
                if not _is_text_key(key):
                    raise PayloadError(
                        "the keys of a mapping must be text to be recorded as JSON",
                        path=path,
                        hint="annotate dict[str, …], or use a list of pairs",
                    )
                self.visit(value, f"{path}[*]")
            case msgspec.inspect.UnionType(types=types):
                self._union(types, path)
            case msgspec.inspect.TupleType(item_types=types):
                for index, part in enumerate(types):
                    self.visit(part, f"{path}[{index}]")
            case msgspec.inspect.Metadata(type=inner):
                self.visit(inner, path)
            case _:
                self._parts(node, path)

    def _union(self, types: Sequence[Any], path: str) -> None:
        refusals: list[PayloadError] = []
        for part in types:
            try:
                self.visit(part, path)
            except PayloadError as error:
                refusals.append(error)
        if refusals and not (self._partly and len(refusals) < len(types)):
            raise refusals[0]

    def _parts(self, node: Any, path: str) -> None:
        if (item := getattr(node, "item_type", None)) is not None:
            self.visit(item, f"{path}[*]")
        fields = getattr(node, "fields", None)
        if fields is None or id(node) in self._seen:
            return
        self._seen.add(id(node))
        for field in fields:
            if field.required or not (self._partly and _may_leave_out(node)):
                self.visit(field.type, path + step(field.encode_name))


def _may_leave_out(node: Any) -> bool:
    match node:
        case msgspec.inspect.TypedDictType():
            return True
        case msgspec.inspect.StructType(cls=cls):
            return cls.__struct_config__.omit_defaults
        case _:
            return False


def _is_text_key(key: Any) -> bool:
    match key:
        case msgspec.inspect.StrType() | msgspec.inspect.AnyType():
            return True
        case msgspec.inspect.CustomType(cls=cls):
            return cls is object
        case msgspec.inspect.EnumType(cls=cls):
            return all(isinstance(member.value, str) for member in cls)
        case msgspec.inspect.LiteralType(values=values):
            return all(isinstance(value, str) for value in values)
        case msgspec.inspect.Metadata(type=inner):
            return _is_text_key(inner)
        case msgspec.inspect.UnionType(types=types):
            return all(map(_is_text_key, types))
        case _:
            return False


def _check_custom(cls: Any, path: str) -> None:
    readable = ("__from_aion_payload__", "model_validate_json", "__fspath__")
    if cls is object or any(hasattr(cls, name) for name in readable):
        return
    _refuse_type(type_name(cls), path)


def _refuse_type(name: str, path: str) -> NoReturn:
    raise PayloadError(
        f"values of type `{name}` cannot be recorded as JSON",
        path=path,
        hint="annotate a plain type, a msgspec.Struct, a dataclass, an attrs class, a TypedDict or a pydantic model",
    )
