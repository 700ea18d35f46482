"""Exceptions as data and back: a Failure when it is recorded, an error class when it is awaited.

Nothing is pickled: class name, message, notes and the chain of causes survive; the exception object does not. So an
exception with a custom constructor, or of a class that is gone by the time of the replay, is no trouble.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import msgspec

from aion_cli.core import payload
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.source import SourcePaths
from aion_cli.errors import (
    ActivityError,
    ActivityInterrupted,
    ActivityTimeout,
    AionError,
    ChildError,
    NonRetryable,
    PayloadError,
    WorkflowFailure,
)

F = TypeVar("F", bound=WorkflowFailure)
Mask = Callable[[str], str]

_LONGEST_CHAIN = 8
_LONGEST_MESSAGE = 8_192
_MOST_DETAILS = 16_384
_MOST_NOTES = 16
_MOST_MEMBERS = 16
_DEEPEST_GROUP = 5
_LONGEST_MEMBER = 200
_MOST_FRAMES = 8
_MOST_BYTES = 256 << 10
"""JSON of a failure with all its causes. Masking may make three bytes of one, and a line has to hold that."""
_TIMEOUTS = frozenset({ErrorKind.TIMEOUT, ErrorKind.TOTAL_TIMEOUT, ErrorKind.HEARTBEAT_TIMEOUT})


def failure_of(
    error: BaseException, paths: SourcePaths, *, kind: ErrorKind | None = None, mask: Mask | None = None
) -> Failure:
    """Record an exception: its class, message, notes, trimmed traceback and causes.

    kind: what to record instead of what the exception's class says. mask: hides secrets in text before it is cut, since
    what is left of half a secret would not be found.
    """
    return _fitting(_failure(error, paths, kind, mask or _unmasked, ()), _MOST_BYTES)


def _unmasked(text: str) -> str:
    return text


def _fitting(failure: Failure, room: int) -> Failure:
    """Return a failure that takes no more JSON than room bytes: without its innermost causes, then without notes."""
    if _size_of(failure) <= room:
        return failure
    kept: list[Failure] = []
    link: Failure | None = failure
    while link is not None:
        size = _size_of(msgspec.structs.replace(link, notes=[], cause=None))
        if kept and size > room:
            break
        room -= size
        kept.append(link)
        link = link.cause
    notes: list[list[str]] = []
    for each in kept:
        notes.append([])
        for note in each.notes:
            size = _size_of(note) + 1
            if size <= room:
                room -= size
                notes[-1].append(note)
    fitting: Failure | None = None
    for each, its_notes in zip(reversed(kept), reversed(notes), strict=True):
        fitting = msgspec.structs.replace(each, notes=its_notes, cause=fitting)
    return fitting or failure


def _size_of(part: object) -> int:
    return len(msgspec.json.encode(part))


def _failure(
    error: BaseException, paths: SourcePaths, kind: ErrorKind | None, mask: Mask, caused: tuple[BaseException, ...]
) -> Failure:
    """caused: what this error is the cause of, and so on; a cause that is among it has been told."""
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    caused = (*caused, error)
    if len(caused) > _LONGEST_CHAIN or any(cause is each for each in caused):
        cause = None
    return Failure(
        kind=kind or _kind_of(error),
        type=_name_of(error),
        message=_text_of(error, mask),
        details=_details_of(error),
        traceback=clean(mask(_frames_of(error, paths, mask))),
        notes=_notes_of(error, paths, mask),
        cause=None if cause is None else _failure(cause, paths, None, mask, caused),
    )


def clean(text: str) -> str:
    """Return text that can be written as UTF-8: lone surrogates are replaced, and what is very long is cut."""
    if len(text) > _LONGEST_MESSAGE:
        text = text[:_LONGEST_MESSAGE] + f"… ({len(text) - _LONGEST_MESSAGE} more characters)"
    return text.encode("utf-8", "replace").decode("utf-8")


def _text_of(error: BaseException, mask: Mask, depth: int = 0) -> str:
    text = said_by(error.message if isinstance(error, WorkflowFailure) else error)
    if members := _members_of(error, depth):
        text = f"{text}: " + "; ".join(f"{_name_of(part)}: {_text_of(part, mask, depth + 1)}" for part in members)
    if isinstance(error, PayloadError) and error.path != "$":
        text = f"{text} at {said_by(error.path)}"
    return clean(mask(text))


def _members_of(error: BaseException, depth: int) -> Sequence[BaseException]:
    """Return the first members of an exception group that is not too deep in others; none of anything else."""
    if not isinstance(error, BaseExceptionGroup) or depth == _DEEPEST_GROUP:
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions[:_MOST_MEMBERS]


def said_by(value: object) -> str:
    """Return what a value's own code says it is; whatever that does, the failure must still be recorded."""
    try:
        return str.__str__(str(value))
    except Exception as broken:  # noqa: BLE001 - an author's __str__ may raise anything
        return f"(its message could not be made: {type(broken).__qualname__})"


def _attribute(error: BaseException, name: str) -> Any:
    """Return what an author's class has under a name; None if it has nothing, or if asking for it raises."""
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - a property of an author's may raise anything
        return None


def _notes_of(error: BaseException, paths: SourcePaths, mask: Mask) -> list[str]:
    """Return an exception's notes; of a value that does not fit, also whose it is; what aion advises."""
    found = _attribute(error, "__notes__")
    notes: list[object] = [*cast("list[object]", found)] if isinstance(found, list) else []
    if isinstance(error, PayloadError):
        notes += [paths.shorten(said_by(place)) for place in error.where]
    if isinstance(error, AionError) and error.hint:
        notes.append(f"hint: {said_by(error.hint)}")
    return [clean(mask(said_by(note))) for note in notes[:_MOST_NOTES]]


def _frames_of(error: BaseException, paths: SourcePaths, mask: Mask) -> str:
    """Return the author's frames; those of an activity come below those of the code that awaited it, then members."""
    own = paths.traceback(error)
    origin = error.origin if isinstance(error, WorkflowFailure) else ""
    return "\n".join([*filter(None, [own, origin]), *_member_lines(error, paths, mask, 0)])


def _member_lines(error: BaseException, paths: SourcePaths, mask: Mask, depth: int) -> Iterator[str]:
    """Yield the members of an exception group: what each was, and the author's frames below it, a step to the right."""
    for number, part in enumerate(_members_of(error, depth), start=1):
        # Masked before it is cut: what is left of half a secret would not be found.
        said = _text_of(part, mask, _DEEPEST_GROUP)
        brief = said if len(said) <= _LONGEST_MEMBER else f"{said[:_LONGEST_MEMBER]}…"
        yield f"  {number}. {_name_of(part)}: {' '.join(brief.split())}"
        origin = part.origin if isinstance(part, WorkflowFailure) else ""
        for text in (paths.traceback(part), said_by(origin)):
            yield from (f"  {line}" for line in text.splitlines()[-_MOST_FRAMES:])
        yield from (f"  {line}" for line in _member_lines(part, paths, mask, depth + 1))


def _name_of(error: BaseException) -> str:
    if isinstance(error, WorkflowFailure) and (given := cast("object", error.type)) and isinstance(given, str):
        return clean(given)
    return clean(type(error).__qualname__)


def _kind_of(error: BaseException) -> ErrorKind:
    match error:
        case NonRetryable():
            return ErrorKind.NON_RETRYABLE
        case asyncio.CancelledError():
            return ErrorKind.CANCELLED
        case ActivityTimeout():
            return ErrorKind.TIMEOUT
        case ActivityInterrupted():
            return ErrorKind.INTERRUPTED
        case ChildError():
            return ErrorKind.CHILD
        case _:
            return ErrorKind.ERROR


def _details_of(error: BaseException) -> Any:
    """Any exception may carry JSON values as `details`; gRPC's, for one, has a method of that name."""
    details = _attribute(error, "details")
    if details is None or callable(details):
        return None
    try:
        recorded = payload.encode(details)
    except PayloadError as broken:
        return f"(not recorded: {broken.message})"
    size = len(bytes(recorded))
    if size > _MOST_DETAILS:
        return f"(not recorded: {size} bytes are more than the {_MOST_DETAILS} that details may have)"
    return payload.decode(recorded)


def activity_error(failure: Failure, attempts: int) -> ActivityError:
    """Return the exception that workflow code sees for an activity's final failure."""
    if failure.kind in _TIMEOUTS:
        cls = ActivityTimeout
    elif failure.kind is ErrorKind.INTERRUPTED:
        cls = ActivityInterrupted
    else:
        cls = ActivityError
    return _noted(
        cls(
            failure.message,
            type=failure.type,
            details=failure.details,
            attempts=attempts,
            cause=_cause(failure, ActivityError),
        ),
        failure,
    )


def child_error(failure: Failure) -> ChildError:
    """Return the exception that workflow code sees for a child's failure."""
    return _noted(
        ChildError(failure.message, type=failure.type, details=failure.details, cause=_cause(failure, ChildError)),
        failure,
    )


def _cause(failure: Failure, cls: type[F]) -> F | None:
    if failure.cause is None:
        return None
    inner = failure.cause
    return _noted(cls(inner.message, type=inner.type, details=inner.details, cause=_cause(inner, cls)), inner)


def _noted(error: F, failure: Failure) -> F:
    for note in failure.notes:
        error.add_note(note)
    error.origin = failure.traceback
    return error
