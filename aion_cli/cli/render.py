"""Errors for people and for scripts: three parts on stderr, or one JSON object.

`error[code]: what happened`, then places, then `hint: what to do`. The prose that depends on an error's typed fields is
written here, nowhere else. All text passes through `terminal.visible`; colours are added around it, never read from it.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec

from aion_cli import errors
from aion_cli.cli.settings import Settings
from aion_cli.cli.terminal import cell_width, visible, visible_lines
from aion_cli.core.events import ErrorKind, Failure

_RED = "\x1b[1;31m"
_DIM = "\x1b[2m"
_CYAN = "\x1b[36m"
_RESET = "\x1b[0m"

_DIVERGED_HINT = (
    'restore the call, guard the change with patched("…"), or start afresh under another id: aion run … --id NEW'
)
_UNCHANGED_HINT = (
    "the workflow's file is the one that the run was started with, so it decides by something that is not recorded: "
    "take time, chance and ids from now(), random() and uuid4() of aion_cli, sort sets, and let no file, environment "
    "variable or global decide; or a module that it imports has changed: restore that"
)
_MAX_CAUSES = 20


class InternalError(errors.AionError):
    """A fault of aion itself, as it is shown to the user."""

    code = "internal"

    @classmethod
    def of(cls, error: BaseException) -> InternalError:
        """Wrap an exception that nobody expected."""
        summary = traceback.format_exception_only(error)[-1].strip()
        return cls(summary, hint="this is a bug in aion; -v shows the traceback to report")


def error_text(error: errors.AionError, settings: Settings, *, color: bool = False) -> str:
    """Lay an error out for people, ready for a terminal."""
    lines = [_painted(f"error[{error.code}]:", _RED, color) + f" {visible(_headline(error))}"]
    if isinstance(error, errors.NonDeterminismError):
        lines += [_painted(line, _DIM, color) for line in _divergence(error, settings)]
        hint = error.hint or _diverged_hint(error)
    else:
        lines += [_painted(f"  at {visible(place)}", _DIM, color) for place in _places(error)]
        hint = error.hint
    if isinstance(error, errors.WorkflowCodeError) and error.trace:
        lines += [f"  {line}" for line in visible_lines(error.trace)]
    if hint:
        lines.append(_painted("  hint:", _CYAN, color) + f" {visible(hint)}")
    return "\n".join(lines)


def _diverged_hint(error: errors.NonDeterminismError) -> str:
    recorded = error.recorded
    if recorded.kind == "patch marker":
        return f'keep patched("{recorded.name}"), or put deprecate_patch("{recorded.name}") where it was'
    return _UNCHANGED_HINT if error.code_changed is False else _DIVERGED_HINT


def _headline(error: errors.AionError) -> str:
    """Return what happened; of a value that does not fit, also which part of it."""
    if isinstance(error, errors.PayloadError) and (error.path != "$" or error.message.startswith("Expected")):
        return f"{error.message} at {error.path}"
    return error.message


def _places(error: errors.AionError) -> list[str]:
    """Return where it happened, relative to the current directory where that is above."""
    try:
        here = str(Path.cwd() / "_").removesuffix("_")
    except OSError:  # the directory is gone
        here = ""
    return [place.removeprefix(here) for place in error.where]


def failure_text(what: str, failure: Failure, *, kind: str = "workflow", hint: str = "", color: bool = False) -> str:
    """Lay out a failure of the author's code: what was raised, the author's own frames, notes, causes.

    what: failed, a run or something of it. kind: of it, for the error's code: workflow, update or query.
    """
    verb, said = ("rejected", "was rejected") if failure.kind is ErrorKind.REJECTED else ("failed", "failed")
    head = _painted(f"error[{kind}-{verb}]:", _RED, color)
    lines = [f"{head} {visible(what)} {said}: {visible(_summary(failure))}"]
    cause: Failure | None = failure
    for depth in range(_MAX_CAUSES):
        if cause is None:
            break
        if depth:
            lines.append(f"  caused by {visible(_summary(cause))}")
        lines += [_painted(f"  {line}", _DIM, color) for line in visible_lines(cause.traceback) if line]
        lines += [f"  note: {line}" for note in cause.notes for line in visible_lines(note)]
        cause = cause.cause
    if hint:
        lines.append(_painted("  hint:", _CYAN, color) + f" {visible(hint)}")
    return "\n".join(lines)


def error_document(error: errors.AionError, settings: Settings) -> dict[str, object]:
    """Return an error as the JSON object that `-o json` prints: code, message, where, hint and the typed fields."""
    hint, where = error.hint, _places(error)
    if isinstance(error, errors.NonDeterminismError):
        hint, where = hint or _diverged_hint(error), [_history_place(error, settings, error.seq), error.source]
    document: dict[str, object] = {"code": error.code, "message": error.message, "where": where, "hint": hint}
    for name, value in vars(error).items():
        if name not in document and not name.startswith("_"):
            document[name] = value
    return {name: _encodable(value) for name, value in document.items()}


def _divergence(error: errors.NonDeterminismError, settings: Settings) -> list[str]:
    rows: list[tuple[str, str]] = []
    if 0 < error.last_match < error.seq - 1 or (settings.verbose and error.last_match > 0):
        rows.append((_history_place(error, settings, error.last_match), "agreed up to here"))
    rows.append((_history_place(error, settings, error.seq), f"recorded: {error.recorded or 'nothing more'}"))
    rows.append((error.source or "(no line)", f"asks for: {error.requested or 'nothing'}"))
    lines = _aligned(rows)
    if error.code_changed:
        lines.append("  note: the workflow's file has changed since this run started")
    return lines


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    shown = [(visible(place), visible(text)) for place, text in rows]
    width = max(cell_width(place) for place, _ in shown)
    return [f"  {place}{' ' * (width - cell_width(place))}   {text}" for place, text in shown]


def _history_place(error: errors.NonDeterminismError, settings: Settings, seq: int) -> str:
    """Name a line of the history: of the file that the error names in `where`, else of the run's first file."""
    path = error.where[0] if error.where else str(settings.histories / f"{error.workflow_id}.jsonl")
    return f"{path}:{seq}"


def _summary(failure: Failure) -> str:
    return f"{failure.type}: {failure.message}" if failure.message else failure.type


def _painted(text: str, paint: str, color: bool) -> str:
    return f"{paint}{text}{_RESET}" if color else text


def _encodable(value: object) -> object:
    """Return a value that JSON can hold; text keeps all characters but lone surrogates, which JSON has no place for."""
    match value:
        case str():
            return "".join(visible(char) if "\ud800" <= char <= "\udfff" else char for char in value)
        case errors.WorkflowFailure():
            return {"type": value.type, "message": value.message, "details": _encodable(value.details)}
        case errors.Step():
            return {name: _encodable(field) for name, field in value._asdict().items()}
        case list():
            return [_encodable(item) for item in cast(list[object], value)]
        case _:
            try:
                msgspec.json.encode(value)
            except (TypeError, ValueError, RecursionError):
                return _encodable(str(value))
            return value
