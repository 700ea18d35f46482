"""A witness of whatever Python code does to the machine: files that are written, processes, connections."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

_TOUCHES = (
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.system", "os.exec"),
    *("os.fork", "os.posix_spawn", "os.spawn", "shutil.", "socket.", "subprocess.", "tempfile.", "fcntl."),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class _Witness:
    """heard: what was touched, while somebody listens. A hook cannot be taken back, so there is one."""

    heard: list[str] | None = None
    is_hooked = False

    def hook(self, name: str, args: tuple[object, ...]) -> None:
        if self.heard is None:
            return
        writes = name == "open" and isinstance(args[2], int) and bool(args[2] & _WRITING)
        if writes or name.startswith(_TOUCHES):
            self.heard.append(f"{name} {args[0] if args else ''}")


_witness = _Witness()


@contextmanager
def touching() -> Generator[list[str]]:
    """Yield the list of what this process touches meanwhile."""
    if not _witness.is_hooked:
        sys.addaudithook(_witness.hook)
        _witness.is_hooked = True
    _witness.heard = heard = []
    try:
        yield heard
    finally:
        _witness.heard = None
