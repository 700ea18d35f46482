"""The limits that figures are held against: what the disk and the decoder do when nothing else is done."""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from pathlib import Path

import msgspec

from aion_cli.core import events as ev

# What a sequential step appends: an outcome, a schedule, a start.
_STEP = b"\n".join([b'{"type":"ActivityCompleted"' + b" " * 140, b"{" + b" " * 190, b"{" + b" " * 180, b""])


def appends_per_second(path: Path, appends: int) -> float:
    """Append the bytes of a step and fdatasync them, again and again; returns how many of those a second."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        began = time.perf_counter()
        for _ in range(appends):
            os.write(fd, _STEP)
            os.fdatasync(fd)
        return appends / (time.perf_counter() - began)
    finally:
        os.close(fd)
        path.unlink()


def decoded_per_second(path: Path) -> float:
    """Read a history with nothing but the tagged union, the seq check and the chain.

    Returns events a second of processor time: nothing waits here, and others on the machine shall not count.
    """
    decode = msgspec.json.Decoder(ev.AnyEvent).decode
    began = time.process_time()
    digest = bytes(16)
    seq = 0
    for seq, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        digest = blake2b(line[:-40], digest_size=16, key=digest).digest()
        if line[-34:-2] != digest.hex().encode():
            raise ValueError(f"line {seq} does not match its digest")
        if decode(line).seq != seq:
            raise ValueError(f"line {seq} holds another event")
    return seq / (time.process_time() - began)
