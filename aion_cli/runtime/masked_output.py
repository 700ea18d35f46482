"""Revealed secrets are masked in all that a process and its children print, also where Python's streams are passed by.

Child processes, extension modules and `os.write` write to file descriptors. So 1 and 2 are pointed at a pipe, and a
thread copies what comes out of it to where 2 led, masked. What may be the beginning of a secret waits for what follows.
"""

from __future__ import annotations

import codecs
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from aion_cli.api.masking import masks

_CHUNK = 64 << 10
_LOOK_EVERY_S = 0.002


class MaskedOutput:
    """Masks what goes to file descriptors 1 and 2, from when it is made until it is closed. Raises OSError."""

    def __init__(self) -> None:
        _flush()
        self._kept = {fd: os.dup(fd) for fd in (1, 2)}
        self._source, target = os.pipe()
        for fd in self._kept:
            os.dup2(target, fd)
        os.close(target)
        self._stop, self._stopper = os.pipe()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held = ""
        self._is_copying = threading.Lock()
        self._thread = threading.Thread(target=self._copy, name="aion-masked-output", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the descriptors back, once all that was printed so far has been copied."""
        _flush()
        for fd, kept in self._kept.items():
            os.dup2(kept, fd)
        os.close(self._stopper)
        self._thread.join()
        for fd in (self._stop, *self._kept.values()):
            os.close(fd)

    def drain(self, timeout_s: float) -> None:
        """Return when all that was printed so far has been copied, or after that time: this process is about to end."""
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at and self._is_behind():
            time.sleep(_LOOK_EVERY_S)

    def _is_behind(self) -> bool:
        with suppress(OSError, ValueError):  # it has been closed meanwhile
            # In this order: what is not there any more is being copied, or has been.
            return bool(_ready(select.POLLIN, self._source, timeout_ms=0)) or self._is_copying.locked()
        return False

    def _copy(self) -> None:
        while True:
            ready = _ready(select.POLLIN, self._source, self._stop)
            if self._source not in ready:  # told to stop, and what was printed before that is copied
                self._leave_to_nobody()
                break
            with self._is_copying:
                chunk = os.read(self._source, _CHUNK)
                if chunk:
                    self._take(self._decoder.decode(chunk))
            if not chunk:
                break
        os.close(self._source)
        self._put(self._held + self._decoder.decode(b"", final=True))

    def _take(self, text: str) -> None:
        ready, self._held = masks.split(self._held + text)
        self._put(ready)

    def _put(self, text: str) -> None:
        rest = memoryview(masks.mask_text(text).encode("utf-8", "surrogateescape"))
        with suppress(OSError):  # nobody reads any more: whoever prints goes on all the same
            while rest:
                try:
                    rest = rest[os.write(self._kept[2], rest) :]
                except BlockingIOError:  # a pipe that another program made non-blocking
                    _ready(select.POLLOUT, self._kept[2])

    def _leave_to_nobody(self) -> None:
        """A process that an activity left behind would die of its next line; it goes on, and nobody reads that."""
        with suppress(OSError):
            subprocess.Popen(["cat"], stdin=self._source, stdout=subprocess.DEVNULL, start_new_session=True)


def _ready(what: int, *fds: int, timeout_ms: int | None = None) -> set[int]:
    """Return which descriptors are ready, or have ended, once one is. Not with select, which takes none above 1023."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, what)
    return {fd for fd, found in poll.poll(timeout_ms) if not found & select.POLLNVAL}


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


_outputs: list[MaskedOutput] = []


def drain_masked_output(timeout_s: float) -> None:
    """Let what was printed so far get out, waiting no longer than that; without revealed secrets it is out already."""
    for output in list(_outputs):
        output.drain(timeout_s)


@contextmanager
def secrets_kept_from_output() -> Generator[None]:
    """Mask all that is printed, from the first secret on that is known; without one nothing is in the way."""

    def begin() -> None:
        with suppress(OSError):  # a process without stderr
            _outputs.append(MaskedOutput())

    masks.on_first(begin)
    try:
        yield
    finally:
        masks.on_first(None)
        while _outputs:
            _outputs.pop().close()
