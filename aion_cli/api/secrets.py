"""Secrets: a parameter of type `Secret` holds where a value is, never the value.

`"env:DB_PASSWORD"` names an environment variable, `"file:deploy.key"` a file. Only that reference is recorded. An
activity gets the value with `.reveal()`, and from then on it is masked in whatever is recorded or shown.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from aion_cli.api.attempts import activity_info
from aion_cli.api.masking import masks
from aion_cli.errors import AionError

_LONGEST_FILE = 64 << 10


class SecretError(AionError):
    """A secret cannot be revealed: it is not there, is empty, or was asked for outside of an activity."""

    code = "secret"


class Secret:
    """A reference to a value that must not be recorded. Raises ValueError for any other form of reference."""

    __slots__ = ("_kind", "_place")

    def __init__(self, reference: str) -> None:
        kind, colon, place = reference.partition(":")
        if not colon or kind not in ("env", "file") or not place:
            # What was given may be the secret itself, so it is not repeated.
            raise ValueError('a secret is given as "env:NAME" or "file:PATH", never as its value')
        self._kind = kind
        self._place = place
        masks.expect(reference, self._look)

    @property
    def reference(self) -> str:
        """Where the value is: what a history holds."""
        return f"{self._kind}:{self._place}"

    def reveal(self) -> str:
        """Return the value, and mask it from now on; a file's without its last newline. Inside an activity only.

        Raises SecretError.
        """
        try:
            activity_info()
        except AionError:
            raise SecretError(
                f"the secret {self.reference} was revealed outside of an activity",
                hint="workflow code is replayed and must not depend on it; pass the Secret to an activity",
            ) from None
        value = self._environment() if self._kind == "env" else self._file()
        if not value.strip():
            raise SecretError(f"the secret {self.reference} is empty")
        masks.add(value)
        return value

    def _look(self) -> str | None:
        """Return the value without asking for trouble: None if it is not there, or not in a file of a sensible size."""
        if self._kind == "env":
            return os.environ.get(self._place)
        try:
            path = Path(self._place)
            found = path.stat()
            # A pipe would be emptied, and a device may never end.
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LONGEST_FILE:
                return None
            return path.read_text("utf-8").removesuffix("\n")
        except (OSError, ValueError):
            return None

    def _environment(self) -> str:
        try:
            return os.environ[self._place]
        except KeyError:
            raise SecretError(f"the environment has no variable {self._place}", hint="set it and run again") from None

    def _file(self) -> str:
        try:
            return Path(self._place).read_text("utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SecretError(f"the file of the secret {self.reference} cannot be read: {reason}") from error

    def __aion_payload__(self) -> str:
        return self.reference

    @classmethod
    def __from_aion_payload__(cls, value: Any) -> Secret:
        if not isinstance(value, str):
            raise TypeError('a secret is given as "env:NAME" or "file:PATH"')
        return cls(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"
