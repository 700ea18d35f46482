"""What an error of msgspec says: which part of a payload, and what is wrong with it.

msgspec appends the JSON path to its message, and writes `[...]` for a key of a mapping, which is just what a user needs
to know. The key is found by decoding again with fewer keys: msgspec reports the first error of a document and no other,
so the shortest beginning of a mapping that still fails in the same way ends in the culprit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from aion_cli.core.plain import step
from aion_cli.errors import PayloadError

_WHERE = re.compile(r"(?s)(.*) - at (`key` in )?`(\$.*)`\Z")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`\Z")
_STEP = re.compile(r"\[(\d+)\]|(\[\.\.\.\])|\.([^.\[]+)")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def misfit(error: msgspec.ValidationError, data: bytes, decode: Callable[[bytes], Any]) -> PayloadError:
    """Return the error for JSON that does not fit its type, its path as exact as possible.

    data: the JSON. decode: what raised the error when it was given data.
    """
    text, path = str(error), "$"
    if found := _WHERE.match(text):
        text, path = found[1], _exact(found[3], bool(found[2]), str(error), data, decode)
    if found := _FIELD.match(text):
        path += step(found[1])
    details: Any = getattr(error.__cause__, "errors", None)
    if callable(details):  # pydantic's own list of problems
        problems = cast("list[Mapping[str, Any]]", details())
        path += "".join(step(part) for part in problems[0]["loc"])
        text = str(problems[0]["msg"]) + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
    return PayloadError(text, path=path)


def malformed(error: msgspec.DecodeError, data: bytes) -> PayloadError:
    """Return the error for bytes that are not JSON."""
    text = str(error)
    if ("truncated" in text or "surrogate" in text) and (found := _SURROGATE.search(data)):
        return PayloadError(f"the JSON holds half a character (the lone surrogate {found[0].decode()})")
    return PayloadError("JSON is malformed: it ends too early" if "truncated" in text else text)


def _exact(path: str, in_key: bool, text: str, data: bytes, decode: Callable[[bytes], Any]) -> str:
    """Return a path with every `[...]` replaced by the key it stands for, as far as that can be found out."""
    if "[...]" not in path and not in_key:
        return path
    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return path
    node, exact, at = document, "$", 1
    while at < len(path) or in_key:
        part = _STEP.match(path, at) if at < len(path) else None
        if part is None and at < len(path):
            return path
        if part is None or part[2]:
            key = _culprit(node, lambda: _fails(document, text, decode))
        else:
            key = int(part[1]) if part[1] else part[3]
        try:
            node = node[key]
        except (LookupError, TypeError):
            return path
        exact += step(cast("str | int", key))
        if part is None:
            break
        at = part.end()
    return exact


def _culprit(node: Any, fails: Callable[[], bool]) -> str | None:
    """Return the key of a mapping that makes the document fail, and leave only that key in it; None if unclear."""
    if not isinstance(node, dict) or not fails():
        return None
    mapping = cast("dict[str, Any]", node)
    items = list(mapping.items())
    passes, breaks = 0, len(items)
    while breaks - passes > 1:
        middle = (passes + breaks) // 2
        mapping.clear()
        mapping.update(items[:middle])
        if fails():
            breaks = middle
        else:
            passes = middle
    mapping.clear()
    mapping.update(items[breaks - 1 : breaks])
    return items[breaks - 1][0] if items else None


def _fails(document: Any, text: str, decode: Callable[[bytes], Any]) -> bool:
    """Say whether a document fails with the same message."""
    try:
        decode(msgspec.json.encode(document))
    except msgspec.ValidationError as error:
        return str(error) == text
    except Exception:  # noqa: BLE001 - a type's own validation may raise anything
        return False
    return False
