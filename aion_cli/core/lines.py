"""The line codec: an event to the bytes of its line and back; every line proves itself and its place.

What belongs here: bytes of one line, the chain of digests from line to line, the limits of a line. What does not:
files, torn tails, batches (`runtime.journal`).

A line is one JSON object and a newline. Its last 40 bytes are `,"h":"` + 32 hexadecimal digits + `"}`: BLAKE2b over the
bytes before those 40, keyed with the digest of the line before it (16 zero bytes for the first). There is no canonical
form: the digest is over raw bytes, and `h` is spliced on and cut off as bytes. So is `b`, which stands right before it.
"""

from __future__ import annotations

import re
from binascii import hexlify
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, get_args

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.clock import parse_instant
from aion_cli.errors import PayloadError

ZERO_DIGEST = bytes(16)
"""Key of the first line."""

MAX_LINE = 1 << 20
"""Longest line, in bytes, its newline included."""

MAX_DEPTH = 128
"""Deepest nesting of a line. A payload may be 64 deep; the rest is for the event around it and chains of causes."""

TAIL = 40
"""Length of `,"h":"…"}`."""

_DIGEST_SIZE = 16
_SECOND = len("2026-03-01T09:30:00")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_MORE_FOLLOWS = re.compile(rb',"b":[1-9][0-9]*\Z')
_KNOWN_TYPES = frozenset(cls.__name__ for cls in get_args(ev.AnyEvent))

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ev.AnyEvent)


class BadLineError(Exception):
    """A line is not what was written. reason: what does not hold, as part of a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownLineError(BadLineError):
    """A line is whole, and written by a version of aion that knows more than this one."""


_OF_OURS_ALONE = frozenset[Any]({ev.ActivityStarted, ev.ActivityCancelled, ev.TimerFired, ev.TimerCancelled})
"""Events that hold nothing of an author's: what is written of them can be read again, and need not be tried."""


class _Probe(msgspec.Struct):
    """What any line of any version has. format: only in the first."""

    type: str = ""
    seq: int = 0
    format: int = 0


def encode_body(event: ev.Event) -> bytes:
    """Return an event's line up to where `b` and `h` are spliced on: no closing brace, no newline.

    Raises PayloadError for what could be written but not read again: lone surrogates, nesting deeper than MAX_DEPTH,
    raw payloads that are no JSON or that span lines.
    """
    if event.b:
        event = msgspec.structs.replace(event, b=0)
    try:
        whole = _encoder.encode(event)
    except (UnicodeEncodeError, RecursionError, OverflowError, TypeError, ValueError) as error:
        raise PayloadError(f"{type(event).__name__} cannot be recorded as JSON: {error}") from error
    if type(event) in _OF_OURS_ALONE:
        return whole[:-1]
    if b"\n" in whole:
        raise PayloadError(f"{type(event).__name__} cannot be recorded: its JSON spans more than one line")
    try:
        decode_event(whole)
    except BadLineError as error:
        raise PayloadError(f"{type(event).__name__} cannot be recorded: {error.reason}") from error
    return whole[:-1]


def seal(body: bytes, previous_digest: bytes, following: int) -> tuple[bytes, bytes]:
    """Make a body a line. Returns the line with its newline, and its digest, which is the key of the next one.

    following: how many lines of the same batch still follow. Raises PayloadError if the line is longer than MAX_LINE.
    """
    if following:
        body = b'%b,"b":%d' % (body, following)
    if len(body) + TAIL + 1 > MAX_LINE:
        raise PayloadError(
            f"an event of {len(body)} bytes is longer than a line may be",
            hint=f"a line holds {MAX_LINE} bytes; keep big values in payloads, or in a file of your own",
        )
    digest = blake2b(body, digest_size=_DIGEST_SIZE, key=previous_digest).digest()
    return b'%b,"h":"%b"}\n' % (body, hexlify(digest)), digest


def encode_line(event: ev.Event, previous_digest: bytes, following: int = 0) -> tuple[bytes, bytes]:
    """Write an event as a line. Returns the line with its newline, and its digest. Raises PayloadError."""
    return seal(encode_body(event), previous_digest, following)


def ends_batch(line: bytes) -> bool:
    """Say whether a line, without newline, is sealed and the last of its batch. It need not be whole."""
    return line[-TAIL : 6 - TAIL] == b',"h":"' and line.endswith(b'"}') and not _MORE_FOLLOWS.search(line[-64:-TAIL])


def decode_event(line: bytes) -> Any:
    """Decode one line, with or without `h`, into a member of `ev.AnyEvent`; place and digest are not looked at.

    Raises UnknownLineError for an event type or format of a newer aion, BadLineError for what is no event at all.
    """
    if len(line) >= MAX_LINE:
        raise BadLineError(f"the line is longer than {MAX_LINE} bytes")
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise BadLineError(f"the line is not UTF-8 at byte {error.start}") from error
    # A shorter line has no room for that many brackets, opened and closed.
    if len(line) > 2 * MAX_DEPTH and line.count(b"[") + line.count(b"{") > MAX_DEPTH and _is_too_deep(line):
        raise BadLineError(f"the line nests deeper than {MAX_DEPTH} levels")
    try:
        event = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _explained(line, error) from error
    check = _CHECKS.get(type(event))
    if check is not None:
        check(event)
    return event


def _check_format(event: ev.WorkflowStarted) -> None:
    if event.format > ev.FORMAT:
        raise UnknownLineError(f"it has format {event.format}, this aion reads up to {ev.FORMAT}")


def _check_due(event: ev.TimerStarted | ev.ActivityFailed) -> None:
    due = event.fire_at if isinstance(event, ev.TimerStarted) else event.next_attempt_at
    if due is not None and not is_instant(due):
        raise BadLineError(f"its time {due!r} is no instant")


_CHECKS: dict[Any, Callable[[Any], None]] = {
    ev.WorkflowStarted: _check_format,
    ev.TimerStarted: _check_due,
    ev.ActivityFailed: _check_due,
}


def _explained(line: bytes, error: Exception) -> BadLineError:
    try:
        probe = msgspec.json.decode(line, type=_Probe)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return BadLineError(f"the line is no JSON object of an event ({error})")
    if probe.format > ev.FORMAT:
        return UnknownLineError(f"it has format {probe.format}, this aion reads up to {ev.FORMAT}")
    if probe.type and probe.type not in _KNOWN_TYPES:
        return UnknownLineError(f"it holds an event of type {probe.type!r}, which this aion does not know")
    return BadLineError(f"the line is no event ({error})")


def _is_too_deep(line: bytes) -> bool:
    depth = 0
    for byte in _STRING.sub(b"", line).translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def is_instant(text: str, known: str = "") -> bool:
    """Say whether text is an instant in the form of `core.clock`. known: an instant; its second is not parsed again."""
    if not _INSTANT.fullmatch(text):
        return False
    if text[:_SECOND] == known[:_SECOND]:
        return True
    try:
        parse_instant(text)
    except ValueError:
        return False
    return True


class LineChain:
    """Reads the lines of one history in their order, and holds where it got to.

    seq: lines read, which is the seq of the last. recorded_at: of the last line that was decoded. digest: of the last.
    Nothing moves when a line is refused.
    """

    __slots__ = ("digest", "recorded_at", "seq")

    def __init__(self) -> None:
        self.seq = 0
        self.recorded_at = ""
        self.digest = ZERO_DIGEST

    def verify(self, line: bytes) -> None:
        """Check a line's length and digest, without decoding it. line: without its newline. Raises BadLineError."""
        self.digest = self._digest_of(line)
        self.seq += 1

    def read(self, line: bytes) -> Any:
        """Check a line and decode it into a member of `ev.AnyEvent`. line: without its newline.

        Raises BadLineError if length, digest, JSON, seq or recorded_at do not hold; UnknownLineError as decode_event.
        """
        digest = self._digest_of(line)
        event = decode_event(line)
        self._check_place(event, self.seq + 1)
        self.digest = digest
        self.seq += 1
        self.recorded_at = event.recorded_at
        return event

    def settle(self, line: bytes) -> None:
        """Decode the line that was verified last, and check its place. Raises BadLineError, UnknownLineError."""
        event = decode_event(line)
        self._check_place(event, self.seq)
        self.recorded_at = event.recorded_at

    def _digest_of(self, line: bytes) -> bytes:
        if len(line) >= MAX_LINE:
            raise BadLineError(f"the line is longer than {MAX_LINE} bytes")
        digest = blake2b(line[:-TAIL], digest_size=_DIGEST_SIZE, key=self.digest).digest()
        if line[-TAIL:] != b',"h":"' + hexlify(digest) + b'"}':
            raise self._digest_error(line)
        return digest

    def _check_place(self, event: ev.Event, seq: int) -> None:
        if event.seq != seq:
            raise BadLineError(f"event {event.seq} stands where event {seq} belongs")
        if (type(event) is ev.WorkflowStarted) != (seq == 1):
            raise BadLineError(f"event {seq} is {type(event).__name__}, and WorkflowStarted is the first, once")
        recorded_at = event.recorded_at
        if recorded_at != self.recorded_at or seq == 1:
            if recorded_at < self.recorded_at:
                raise BadLineError(f"its time {recorded_at} is before the time of the line above")
            if not is_instant(recorded_at, self.recorded_at):
                raise BadLineError(f"its time {recorded_at!r} is no instant")

    def _digest_error(self, line: bytes) -> BadLineError:
        expected = self.seq + 1
        if line[-TAIL : 6 - TAIL] != b',"h":"' or not line.endswith(b'"}'):
            return BadLineError("the line does not end in its digest")
        try:
            found = msgspec.json.decode(line, type=_Probe).seq
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = expected
        if found != expected:
            return BadLineError(f"the chain of digests breaks: event {found} stands where event {expected} belongs")
        return BadLineError("the line does not match its digest, or a line above it was changed")
