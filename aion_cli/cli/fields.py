"""Which keys an input has room for: `-p` names them one by one, and a misspelt one would be dropped in silence.

Types that ignore what they do not know are meant to: another program may send more. A person who types a key means it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, cast

import msgspec.inspect

from aion_cli.api.signature import Signature
from aion_cli.core.plain import step
from aion_cli.errors import PayloadError

Fields = Mapping[str, Any]
"""The type of each key, as `msgspec.inspect` describes types; None for one of which nothing is known."""

_WITH_FIELDS = (
    msgspec.inspect.StructType,
    msgspec.inspect.DataclassType,
    msgspec.inspect.TypedDictType,
    msgspec.inspect.NamedTupleType,
)
_WITHOUT_KEYS = (
    msgspec.inspect.NoneType,
    msgspec.inspect.BoolType,
    msgspec.inspect.IntType,
    msgspec.inspect.FloatType,
    msgspec.inspect.StrType,
    msgspec.inspect.ListType,
)


def require_known(signature: Signature, paths: Sequence[tuple[str, ...]], *, by_name: bool = False) -> None:
    """Raise PayloadError, with the names there are, if a path of keys leads to no parameter or field of a call.

    by_name: its one parameter is named by the first key, and is not the object that the keys are fields of.
    """
    types = signature.types
    if len(types) == 1 and not by_name:
        (root,) = (_described(type_) for type_ in types.values())
        owner = signature.name
        for path in paths:
            _follow(root, path, owner, "$", signature.where)
    elif types:
        parameters: Fields = {name: _described(type_) for name, type_ in types.items()}
        for path in paths:
            first, *rest = path
            if first not in parameters:
                _refuse(first, parameters, signature.name, "parameter", "$", signature.where)
            _follow(parameters[first], rest, signature.name, "$" + step(first), signature.where)


def _described(type_: Any) -> Any:
    try:
        return msgspec.inspect.type_info(type_)
    except Exception:  # noqa: BLE001 - an annotation may be anything; what it is no good for is said when it is decoded
        return None


def _follow(node: Any, path: Sequence[str], owner: str, at: str, where: str) -> None:
    """Walk keys down into a type, as far as it has fields that are known."""
    for key in path:
        fields = _fields_of(node)
        if fields is None:
            return
        owner = _name_of(node) or owner
        if key not in fields:
            _refuse(key, fields, owner, "field", at, where)
        node, at = fields[key], at + step(key)


def _fields_of(node: Any) -> Fields | None:
    """Return the fields of what a type has room for; None if it takes any key, or is not known to be an object."""
    found: dict[str, Any] = {}
    for part in _alternatives(node):
        if isinstance(part, _WITH_FIELDS):
            found |= {field.encode_name: field.type for field in part.fields}
            if isinstance(part, msgspec.inspect.StructType) and part.tag_field is not None:
                found[part.tag_field] = None
        elif (model := _model_fields(part)) is not None:
            found |= model
        elif not isinstance(part, _WITHOUT_KEYS):
            return None
    return found or None


def _alternatives(node: Any) -> Iterator[Any]:
    match node:
        case msgspec.inspect.Metadata(type=inner):
            yield from _alternatives(inner)
        case msgspec.inspect.UnionType(types=types):
            for type_ in types:
                yield from _alternatives(type_)
        case _:
            yield node


def _model_fields(node: Any) -> Fields | None:
    """Return the fields of a pydantic model that takes no others; None for what is no such model."""
    model = node.cls if isinstance(node, msgspec.inspect.CustomType) else None
    known: Any = getattr(model, "model_fields", None)
    config: Any = getattr(model, "model_config", None)
    if not isinstance(known, Mapping) or not isinstance(config, Mapping):
        return None
    if cast("Mapping[str, Any]", config).get("extra") == "allow":
        return None
    found: dict[str, Any] = {}
    for name, field in cast("Mapping[str, Any]", known).items():
        for alias in (field.alias, field.validation_alias):
            if alias is not None and not isinstance(alias, str):
                return None
            found[alias or name] = _described(field.annotation)
    return found


def _name_of(node: Any) -> str:
    (part, *others) = [each for each in _alternatives(node) if not isinstance(each, _WITHOUT_KEYS)]
    return "" if others else part.cls.__name__


def _refuse(key: str, fields: Fields, owner: str, kind: str, at: str, where: str) -> NoReturn:
    near = difflib.get_close_matches(key, fields, n=1)
    known = f"its {kind}s are {', '.join(fields)}"
    raise PayloadError(
        f"{owner} has no {kind} `{key}`",
        path=at + step(key),
        where=(where,),
        hint=f"did you mean `{near[0]}`? {known}" if near else known,
    )
