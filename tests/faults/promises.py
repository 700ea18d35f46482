"""The promises, and whether a history keeps them; judged by code that shares nothing with the engine's.

A `Ledger` is what the world outside remembers of a run: what was acknowledged, and which effects happened. It is filled
while commands run, survives whatever is done to them, and is held against the histories that are found in the end.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

_OUTCOME = re.compile(rb'\{"type":"Activity(?:Completed|Cancelled|Failed)",[^\n]*')
_BLOB = re.compile(rb'\{"\$blob":"sha256:([0-9a-f]{64})"')


class Durable(msgspec.Struct, frozen=True, tag=True):
    """These first bytes of a history were acknowledged: an effect began, or a caller was told, because of them."""

    file: str
    size: int
    digest: str


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """`aion signal` exited 0."""

    workflow_id: str
    signal_id: str


class Effect(msgspec.Struct, frozen=True, tag=True):
    """An activity ran. repeated: the history held an outcome of it already. announced: it said that it would run."""

    file: str
    ordinal: int
    repeated: bool
    announced: bool


class Torn(msgspec.Struct, frozen=True, tag=True):
    """A crash left these bytes after a history's whole lines; they may be set aside, and must not be lost."""

    file: str
    offset: int
    data: bytes


class Ended(msgspec.Struct, frozen=True, tag=True):
    """`aion run` printed this result."""

    workflow_id: str
    result: str


Entry = Durable | Accepted | Effect | Torn | Ended
"""One thing that the world remembers."""


class BrokenPromise(AssertionError):  # noqa: N818 - it says what happened
    """A history does not keep a promise. kind: which one, for the tally."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


LOST = "acknowledged events lost"
REPEATED = "completed activities repeated"
GAPS = "histories with gaps"
DOUBLED = "signals recorded twice"
UNSTABLE = "second recoveries that changed something"
DEADLOCKED = "deadlocks"
UNCLEAR = "errors without a clear end"
SILENT = "damaged bytes undetected"


def durable(file: str, data: bytes) -> Durable:
    """Take note that all bytes of a history as it is now were acknowledged."""
    return Durable(file, len(data), hashlib.sha256(data).hexdigest())


def has_outcome(data: bytes, ordinal: int) -> bool:
    """Say whether a history holds the final outcome of an activity."""
    field = b'"activity_id":%d,' % ordinal
    return any(field in line and b'"next_attempt_at":' not in line for line in _OUTCOME.findall(data))


def is_announced(data: bytes, ordinal: int, attempt: int | None) -> bool:
    """Say whether a history holds that an activity was scheduled, and this attempt of it started."""
    scheduled = b'"activity_id":%d,"activity_type":' % ordinal
    started = b"" if attempt is None else b'"activity_id":%d,"attempt":%d,"host":' % (ordinal, attempt)
    return scheduled in data and started in data


def is_run_of(file: str, workflow_id: str) -> bool:
    """Say whether a file is the history of one of the runs of a workflow id."""
    return file.removesuffix(".jsonl").partition("@")[0] == workflow_id


def kept_lines(data: bytes) -> bytes:
    """The part of a history, as a crash left it, that recovery must keep: its lines up to the first that is not whole,
    or does not follow the one before it."""
    digest = bytes(16)
    end = 0
    for line in data.split(b"\n")[:-1]:
        digest = hashlib.blake2b(line[:-40], digest_size=16, key=digest).digest()
        if line[-40:] != b',"h":"' + digest.hex().encode() + b'"}':
            break
        end += len(line) + 1
    return data[:end]


def require_whole(file: str, data: bytes) -> list[dict[str, Any]]:
    """Return a history's events; every byte of it must be part of a whole line, numbered from 1 without gaps."""
    whole = kept_lines(data)
    if whole != data:
        raise BrokenPromise(GAPS, f"{file} holds {len(data) - len(whole)} bytes after its whole lines")
    events: list[dict[str, Any]] = [msgspec.json.decode(line) for line in data.split(b"\n")[:-1]]
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        raise BrokenPromise(GAPS, f"{file} is numbered {[event['seq'] for event in events]}")
    times = [event["recorded_at"] for event in events]
    if times != sorted(times):
        raise BrokenPromise(GAPS, f"{file}: recorded time goes back")
    return events


def hold_against(
    entries: Iterable[Entry], histories: Mapping[str, bytes], blobs: Mapping[str, bytes], aside: Collection[bytes]
) -> None:
    """Raise BrokenPromise unless histories keep what the world remembers.

    histories: bytes by file name. blobs: bytes by digest. aside: what lies in `.aion/torn`.
    """
    events = {file: require_whole(file, data) for file, data in histories.items()}
    for entry in dict.fromkeys(entries):
        match entry:
            case Durable(file, size, digest):
                if _digest(histories.get(file, b""), size) != digest:
                    raise BrokenPromise(LOST, f"{file} no longer begins with {size} bytes that were acknowledged")
            case Effect():
                _judge_effect(entry)
            case Torn(file, offset, data):
                # More bytes may have followed them when they were set aside.
                if not any(each.startswith(data) for each in aside) and not _holds(
                    histories, file, offset, data + b"\n"
                ):
                    raise BrokenPromise(LOST, f"a torn tail of {len(data)} bytes of {file} was cut off and not kept")
            case Accepted(workflow_id, signal_id):
                if signal_id not in _signals(workflow_id, events):
                    raise BrokenPromise(LOST, f"signal {signal_id} to {workflow_id} was accepted and is not recorded")
            case Ended(workflow_id, result):
                if result not in _results(workflow_id, events):
                    raise BrokenPromise(LOST, f"{workflow_id} had ended with {result}, and no longer does")
    for workflow_id in {file.removesuffix(".jsonl").partition("@")[0] for file in histories}:
        _require_once(workflow_id, {file: found for file, found in events.items() if is_run_of(file, workflow_id)})
    for file, data in histories.items():
        _require_payloads(file, data, blobs)


def _digest(data: bytes, size: int) -> str:
    return hashlib.sha256(data[:size]).hexdigest() if len(data) >= size else ""


def _holds(histories: Mapping[str, bytes], file: str, offset: int, data: bytes) -> bool:
    return histories.get(file, b"")[offset:].startswith(data)


def _judge_effect(effect: Effect) -> None:
    if effect.repeated:
        raise BrokenPromise(REPEATED, f"activity {effect.ordinal} of {effect.file} ran after its outcome was recorded")
    if not effect.announced:
        raise BrokenPromise(LOST, f"activity {effect.ordinal} of {effect.file} ran before that was recorded")


def _require_payloads(file: str, data: bytes, blobs: Mapping[str, bytes]) -> None:
    for digest in _BLOB.findall(data):
        if hashlib.sha256(blobs.get(digest.decode(), b"")).hexdigest() != digest.decode():
            raise BrokenPromise(LOST, f"{file} names the payload {digest.decode()}, which is not whole")


def _require_once(workflow_id: str, runs: Mapping[str, list[dict[str, Any]]]) -> None:
    ids: list[str] = []
    for file, events in runs.items():
        carried_over = events[0].get("b", 0) + 1 if events[0].get("continued_from") else 0
        ids += [event["signal_id"] for event in events[carried_over:] if event["type"] == "SignalReceived"]
        outcomes = [
            event["activity_id"]
            for event in events
            if event["type"] in ("ActivityCompleted", "ActivityFailed") and "next_attempt_at" not in event
        ]
        if len(set(outcomes)) < len(outcomes):
            raise BrokenPromise(REPEATED, f"{file} holds outcomes of activities {outcomes}")
    if len(set(ids)) < len(ids):
        raise BrokenPromise(DOUBLED, f"{workflow_id} received signals {ids}")


def _runs(workflow_id: str, events: Mapping[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for file, found in events.items():
        if is_run_of(file, workflow_id):
            yield from found


def _signals(workflow_id: str, events: Mapping[str, list[dict[str, Any]]]) -> set[str]:
    return {event["signal_id"] for event in _runs(workflow_id, events) if event["type"] == "SignalReceived"}


def _results(workflow_id: str, events: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    return [json.dumps(event["result"]) for event in _runs(workflow_id, events) if event["type"] == "WorkflowCompleted"]
