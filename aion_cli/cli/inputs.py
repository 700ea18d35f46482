"""What the user gives as input: `--input JSON`, `--input @file`, `--input -`, or `-p key=text` and `-p key:=json`.

The result is the user's JSON, well formed but not yet fitted to any type: `Signature.complete_input` does that.
`key=text` is always text, whatever the field's type; where that does not fit, `advised` says how to pass JSON. A `.` in
a key goes one object deeper; a key that has a `.` in its name needs `--input`. A key that nothing has is an error here,
which it is not in `--input`. Where a workflow's one parameter is no object with fields, its own name is taken as the
key: `-p n:=2`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from aion_cli.api.signature import Signature
from aion_cli.cli.late import late
from aion_cli.core import payload
from aion_cli.core.plain import step
from aion_cli.errors import PayloadError, UsageError

_BYTE = re.compile(r" \(byte (\d+)\)\Z")
_NOT_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")
_NO_NUMBERS = "JSON has neither NaN nor infinities; pass null or a text instead"
_BOM = b"\xef\xbb\xbf"


def complete_input(
    signature: Signature, document: str | None, parameters: Sequence[str], *, stdin: BinaryIO | None = None
) -> msgspec.Raw:
    """Return the payload to record for a call that the user typed: read, validated, defaults filled in.

    Raises UsageError like read_input, and PayloadError with the JSON path for what does not fit the signature, or has
    no place in it and was given by `-p`, and for a signature with a type that cannot be recorded.
    """
    signature.check()
    given = read_input(document, parameters, stdin=stdin)
    keys = [tuple(_split(parameter)[0].split(".")) for parameter in parameters]
    try:
        if keys:
            late("fields").require_known(signature, keys)
        return signature.complete_input(given)
    except PayloadError as error:
        by_name = _by_name_of_parameter(signature, given, keys) if keys else None
        if by_name is not None:
            return by_name
        raise advised(error, parameters) from None


def _by_name_of_parameter(
    signature: Signature, given: msgspec.Raw | None, keys: Sequence[tuple[str, ...]]
) -> msgspec.Raw | None:
    """Read what `-p` gave as the value of the one parameter, if that is what its only key names.

    Raises PayloadError for a key that this value has no place for.
    """
    parts = msgspec.json.decode(given or b"null", type=dict[str, msgspec.Raw] | None)
    if parts is None or signature.parameter_names != tuple(parts) or len(parts) != 1:
        return None
    try:
        complete = signature.complete_input(*parts.values())
    except PayloadError:
        return None
    late("fields").require_known(signature, keys, by_name=True)
    return complete


def read_input(document: str | None, parameters: Sequence[str], *, stdin: BinaryIO | None = None) -> msgspec.Raw | None:
    """Return the JSON that `--input` (document) or `-p` (parameters) gives, or None if neither was given.

    Raises UsageError if both were given, and for whatever is not JSON, not readable, or too large.
    """
    if document is not None and parameters:
        raise UsageError("--input and -p cannot be combined", hint="put everything into --input, or use -p alone")
    if document is not None:
        return read_document(document, "--input", stdin=stdin)
    return read_parameters(parameters) if parameters else None


def read_document(text: str, name: str, *, stdin: BinaryIO | None = None) -> msgspec.Raw:
    """Return JSON given as text, as `@file`, or as `-` for stdin. name: the option or argument, for messages.

    Raises UsageError, with line and column, if it is not JSON; also if it is over payload.MAX_BYTES.
    """
    if text == "-":
        return _checked(_read_stdin(stdin), "stdin", "")
    if text.startswith("@"):
        return _checked(_read_file(text[1:], name), text[1:], "")
    data = text.encode("utf-8", "surrogateescape")
    return _checked(data, name, _quoting_hint(text, name))


def read_parameters(parameters: Sequence[str]) -> msgspec.Raw:
    """Return the object that repeated `-p key=text` and `-p key:=json` describe.

    Raises UsageError for a bad form, for a key given twice, and for one that is both a value and an object of others.
    """
    leaves: dict[tuple[str, ...], Any] = {}
    for parameter in parameters:
        path, value = _parameter(parameter)
        for other in leaves:
            if other == path:
                raise UsageError(f"-p {'.'.join(path)} is given twice")
            shorter = min(len(other), len(path))
            if other[:shorter] == path[:shorter]:
                raise UsageError(f"-p {'.'.join(other)} and -p {'.'.join(path)} contradict each other")
        leaves[path] = value
    root: dict[str, Any] = {}
    for path, value in leaves.items():
        node = root
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = value
    return msgspec.Raw(msgspec.json.encode(root))


def advised(error: PayloadError, parameters: Sequence[str]) -> PayloadError:
    """Return the error with a hint, if a `-p` gave text where the type wants something else."""
    if error.hint or not parameters:
        return error
    for parameter in parameters:
        key, form, text = _split(parameter)
        if form == "=" and error.path == "$" + "".join(map(step, key.split("."))) and "got `str`" in error.message:
            error.hint = f"`=` passes text; use -p {key}:={text if _is_json(text) else 'JSON'}"
    if error.path == "$" and "got `object`" in error.message:
        error.hint = "-p sets the fields of an object; pass the value itself with --input JSON"
    return error


def _split(parameter: str) -> tuple[str, str, str]:
    """Split `key=text` or `key:=json` into key, `=` or `:=` (empty if there is none), and the rest."""
    key, equals, rest = parameter.partition("=")
    return (key[:-1], ":=", rest) if equals and key.endswith(":") else (key, equals, rest)


def _parameter(parameter: str) -> tuple[tuple[str, ...], Any]:
    key, form, rest = _split(parameter)
    path = tuple(key.split("."))
    if not form or not all(path):
        raise UsageError(
            f"-p {_shown(parameter)} is not of the form key=text or key:=json", hint="e.g. -p order.sku=A1"
        )
    if len(path) > payload.MAX_DEPTH:
        raise UsageError(f"-p goes more than {payload.MAX_DEPTH} objects deep")
    if form == ":=":
        raw = _checked(rest.encode("utf-8", "surrogateescape"), f"-p {_shown(key)}", f"for text use -p {_shown(key)}=…")
        return path, payload.parse(bytes(raw))
    try:
        parameter.encode()
    except UnicodeEncodeError:
        raise UsageError(f"-p {_shown(key)} is not valid UTF-8") from None
    return path, rest


def _checked(data: bytes, source: str, hint: str) -> msgspec.Raw:
    """Return bytes that are JSON. source: what they came from; hint: what else to say if they are not JSON."""
    try:
        payload.parse(data)
    except PayloadError as error:
        if found := _BYTE.search(error.message):
            at, message = int(found[1]), error.message[: found.start()]
        else:
            at, message = len(data), error.message
        if not found and "ends too early" not in message:
            raise UsageError(f"{source}: {message}", hint=error.hint) from None
        line = data.count(b"\n", 0, at) + 1
        start = data.rfind(b"\n", 0, at) + 1
        column = len(data[start:at].decode(errors="replace")) + 1
        message = message.removeprefix("JSON is malformed: ")
        raise UsageError(
            f"{source} is not JSON: {message} at line {line}, column {column}",
            where=(f"{source}:{line}:{column}",),
            hint=_NO_NUMBERS if data[at:].startswith(_NOT_NUMBERS) else hint,
        ) from None
    return msgspec.Raw(data)


def _read_stdin(stdin: BinaryIO | None) -> bytes:
    stream = stdin or getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise UsageError("there is no stdin to read from")
    try:
        return _limited(stream, "stdin")
    except OSError as error:
        raise UsageError(f"stdin cannot be read: {error.strerror}") from None


def _read_file(name: str, option: str) -> bytes:
    if not name:
        raise UsageError(f"{option} @ needs the name of a file", hint=f"{option} @order.json")
    try:
        with Path(name).open("rb") as stream:
            return _limited(stream, name)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{_shown(name)} cannot be read: {reason}") from None


def _limited(stream: BinaryIO, source: str) -> bytes:
    """Read all of a stream, but stop where it is larger than any payload may be."""
    data = stream.read(payload.MAX_BYTES + 1)
    if len(data) > payload.MAX_BYTES:
        raise UsageError(
            f"{source} is larger than {payload.MAX_BYTES // 1024**2} MiB",
            hint="keep large data in a file or an object store, and pass its path or address",
        )
    return data.removeprefix(_BOM)


def _quoting_hint(text: str, name: str) -> str:
    """Guess what went wrong on the way through the shell: it takes the double quotes out of what is not quoted."""
    if text.lstrip()[:1] in ("{", "["):
        if '"' in text:
            return ""
        return f'quote it for the shell: {name} \'{{"key": "text"}}\''
    if Path(text).suffix == ".json":
        return f"to read a file: {name} @{text}"
    return f"text needs its own quotes inside the shell's: {name} '\"…\"'"


def _is_json(text: str) -> bool:
    try:
        payload.parse(text.encode("utf-8", "surrogateescape"))
    except PayloadError:
        return False
    return True


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
