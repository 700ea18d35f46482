"""Payload codecs: with `AION_CODEC=module:object` every payload of a history is encrypted at rest.

In the line stands `{"$enc":"…base64…","codec":"name"}`. A codec is any object with a `name`, `encode(bytes) -> bytes`
and `decode(bytes) -> bytes`; `aion_cli.codecs` has one. What a codec cannot read is a clear error; nothing is guessed.
What is no payload stays readable: ids, names, tags, reasons, and errors with their messages and details.
"""

from __future__ import annotations

import base64
import binascii
import functools
import importlib
import os
import re
from typing import Protocol, runtime_checkable

import msgspec

from aion_cli.errors import UsageError

VARIABLE = "AION_CODEC"
_ENCRYPTED = re.compile(rb'\{"\$enc":"([A-Za-z0-9+/=]*)","codec":"([A-Za-z0-9._-]{1,64})"\}')
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@runtime_checkable
class Codec(Protocol):
    """Turns the JSON of a payload into opaque bytes and back. decode raises ValueError for what it cannot read."""

    @property
    def name(self) -> str: ...

    def encode(self, data: bytes) -> bytes: ...

    def decode(self, data: bytes) -> bytes: ...


class CodecError(UsageError):
    """A payload is encrypted, and cannot be read with the codec that is set."""

    code = "codec"


class PayloadCodec:
    """Applies a codec to payloads; without one, payloads stay as they are and encrypted ones are an error."""

    def __init__(self, codec: Codec | None) -> None:
        self._codec = codec

    @property
    def name(self) -> str | None:
        """The codec's name, for the first line of a history."""
        return None if self._codec is None else self._codec.name

    def require(self, recorded: str | None) -> None:
        """Raise CodecError unless this is the codec that a history names in its first line, or it names none."""
        if recorded is not None and recorded != self.name:
            raise _not_this_codec(recorded)

    def seal(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Encrypt a payload."""
        if self._codec is None:
            return raw
        sealed = base64.b64encode(self._codec.encode(bytes(raw)))
        return msgspec.Raw(b'{"$enc":"%b","codec":"%b"}' % (sealed, self._codec.name.encode()))

    def open(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Decrypt a payload if it is encrypted. Raises CodecError if that cannot be done."""
        data = bytes(raw)
        if not data.startswith(b'{"$enc"') or (found := _ENCRYPTED.fullmatch(data)) is None:
            return raw
        name = found[2].decode()
        if self._codec is None or self._codec.name != name:
            raise _not_this_codec(name)
        try:
            return msgspec.Raw(self._codec.decode(base64.b64decode(found[1], validate=True)))
        except (ValueError, binascii.Error) as error:
            raise CodecError(
                f"a payload cannot be decrypted with the codec {name!r}: {error}",
                hint="is it the key that the history was written with?",
            ) from error


class _AsStored(PayloadCodec):
    """Leaves payloads as they stand in the file: for what needs no key."""

    def open(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Return it as it is."""
        return raw


AS_STORED = _AsStored(None)
"""Reads encrypted payloads without opening them; nothing may be written with it."""


def _not_this_codec(name: str) -> CodecError:
    return CodecError(
        f"the payloads of this history are encrypted with the codec {name!r}",
        hint=f"set {VARIABLE}=module:object to that codec, with its key",
    )


@functools.cache
def codec_from_environment() -> PayloadCodec:
    """Load the codec that AION_CODEC names, once. Raises UsageError if it names none."""
    spec = os.environ.get(VARIABLE, "")
    if not spec:
        return PayloadCodec(None)
    module, colon, name = spec.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{VARIABLE}={spec} cannot be loaded: {error}", hint="it is module:object") from error
    codec = found() if isinstance(found, type) else found
    if not isinstance(codec, Codec) or not _NAME.fullmatch(codec.name):
        raise UsageError(
            f"{VARIABLE}={spec} is no codec", hint="it needs a name, encode(bytes) -> bytes and decode(bytes) -> bytes"
        )
    return PayloadCodec(codec)
