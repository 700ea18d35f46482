"""A codec that encrypts payloads with Fernet (AES-128-CBC and HMAC-SHA256), from the `cryptography` package.

    pip install 'aion-cli[cryptography]'
    export AION_CODEC=aion_cli.codecs:FernetCodec
    export AION_CODEC_KEY="$(python -m aion_cli.codecs)"     # makes a key; keep it, a history is lost without it

Several keys, separated by commas, can be given: the first encrypts, all of them decrypt, so that keys can be rotated.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from aion_cli.errors import UsageError

KEY_VARIABLE = "AION_CODEC_KEY"


class FernetCodec:
    """Encrypts with the keys of AION_CODEC_KEY. Raises UsageError if there is none, or no `cryptography`."""

    name = "fernet"

    def __init__(self, keys: str | None = None) -> None:
        fernet = _fernet_module()
        given = os.environ.get(KEY_VARIABLE, "") if keys is None else keys
        parts = [key.strip() for key in given.split(",") if key.strip()]
        if not parts:
            raise UsageError(f"{KEY_VARIABLE} is not set", hint="make a key with: python -m aion_cli.codecs")
        try:
            self._fernet: Any = fernet.MultiFernet([fernet.Fernet(key) for key in parts])
        except ValueError as error:
            raise UsageError(f"{KEY_VARIABLE} holds no Fernet key: {error}") from error
        self._invalid: type[Exception] = fernet.InvalidToken

    def encode(self, data: bytes) -> bytes:
        """Encrypt and authenticate."""
        return self._fernet.encrypt(data)

    def decode(self, data: bytes) -> bytes:
        """Decrypt. Raises ValueError if none of the keys fits, or the data was changed."""
        try:
            return self._fernet.decrypt(data)
        except self._invalid:
            raise ValueError("none of the keys fits, or it was changed") from None


def _fernet_module() -> Any:
    try:
        return importlib.import_module("cryptography.fernet")
    except ImportError:
        raise UsageError(
            "the package cryptography is not installed", hint="pip install 'aion-cli[cryptography]'"
        ) from None


if __name__ == "__main__":
    sys.stdout.write(_fernet_module().Fernet.generate_key().decode() + "\n")
