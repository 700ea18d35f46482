"""Errors in three parts, for people and for scripts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aion_cli import errors
from aion_cli.cli.render import InternalError, error_document, error_text, failure_text
from aion_cli.cli.settings import Settings
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.errors import Step

SETTINGS = Settings(Path("histories"), Path("workflows"))


def diverged(last_match: int = 5, requested: Step | None = None, hint: str = "") -> errors.NonDeterminismError:
    return errors.NonDeterminismError(
        workflow_id="order-17",
        seq=6,
        recorded=Step("activity", "charge", "0", '{"sku":"A1"}'),
        requested=requested,
        source="workflows/order_saga.py:41",
        last_match=last_match,
        hint=hint,
    )


def test_an_error_says_what_happened_where_and_what_to_do() -> None:
    error = errors.DamagedHistoryError(path="histories/a.jsonl", line=3, reason="the digest does not match")
    assert error_text(error, SETTINGS) == (
        "error[damaged]: the history is damaged: the digest does not match\n"
        "  at histories/a.jsonl:3\n"
        "  hint: restore the file from a copy; nothing was changed"
    )


def test_an_error_without_place_and_hint_is_one_line() -> None:
    assert error_text(errors.UsageError("no"), SETTINGS) == "error[usage]: no"


def test_a_divergence_shows_history_and_workflow_side_by_side() -> None:
    error = diverged(requested=Step("activity", "bill", "0", '{"sku":"A1"}'), hint="start afresh")
    assert error_text(error, SETTINGS) == (
        "error[non-determinism]: order-17 no longer matches its history\n"
        '  histories/order-17.jsonl:6   recorded: activity "charge" (0) with {"sku":"A1"}\n'
        '  workflows/order_saga.py:41   asks for: activity "bill" (0) with {"sku":"A1"}\n'
        "  hint: start afresh"
    )


def test_a_divergence_says_so_if_the_workflows_file_has_changed() -> None:
    error = diverged(requested=Step("activity", "bill", "0", '{"sku":"A1"}'))
    error.code_changed = True
    assert "  note: the workflow's file has changed since this run started\n" in error_text(error, SETTINGS)


def test_a_divergence_of_code_that_has_not_changed_is_put_down_to_what_is_not_recorded() -> None:
    error = diverged(requested=Step("activity", "bill", "0", '{"sku":"A1"}'))
    error.code_changed = False
    text = error_text(error, SETTINGS)
    assert "patched" not in text
    for name in ("now(), random() and uuid4()", "sort sets", "no file, environment variable or global"):
        assert name in text
    error.code_changed = None
    assert "patched" in error_text(error, SETTINGS)


def test_a_patch_that_was_removed_too_early_leads_to_deprecate_patch() -> None:
    error = diverged()
    error.recorded = Step("patch marker", "fraud-check", "", "true")
    hint = 'keep patched("fraud-check"), or put deprecate_patch("fraud-check") where it was'
    assert error_text(error, SETTINGS).endswith(f"  hint: {hint}")
    assert error_document(error, SETTINGS)["hint"] == hint


def test_a_divergence_of_code_that_asks_for_nothing_says_so_and_advises() -> None:
    lines = error_text(diverged(), SETTINGS).splitlines()
    assert lines[2] == "  workflows/order_saga.py:41   asks for: nothing"
    assert lines[3].startswith('  hint: restore the call, guard the change with patched("…"), or start afresh')


def test_a_divergence_far_from_the_last_agreement_shows_that_as_well() -> None:
    assert "histories/order-17.jsonl:2   agreed up to here" in error_text(diverged(last_match=2), SETTINGS)


def test_a_divergence_names_the_file_that_it_carries() -> None:
    error = diverged()
    error.where = ("elsewhere/order-17@2.jsonl",)
    assert "  elsewhere/order-17@2.jsonl:6   recorded:" in error_text(error, SETTINGS)


def test_a_file_that_cannot_be_imported_shows_the_author_s_own_frames() -> None:
    error = errors.WorkflowCodeError(
        "workflows/a.py raised ValueError on import", trace='  File "workflows/a.py", line 3\nValueError: x\x1b[2J'
    )
    assert error_text(error, SETTINGS).splitlines()[1:] == [
        '    File "workflows/a.py", line 3',
        "  ValueError: x\\x1b[2J",
    ]


def test_untrusted_text_in_an_error_cannot_steer_the_terminal_nor_add_lines() -> None:
    error = errors.UsageError("bad \x1b]52;c;x\x07 \u202e name\nerror[fake]: x", where=["a\r.py:1"], hint="\x9b31m")
    assert error_text(error, SETTINGS).splitlines() == [
        "error[usage]: bad \\x1b]52;c;x\\x07 \\u202e name\\nerror[fake]: x",
        "  at a\\r.py:1",
        "  hint: \\x9b31m",
    ]


def test_colours_are_put_around_the_text_only_where_they_are_wanted() -> None:
    error = errors.UsageError("no", hint="yes")
    assert "\x1b[" not in error_text(error, SETTINGS)
    assert error_text(error, SETTINGS, color=True) == ("\x1b[1;31merror[usage]:\x1b[0m no\n\x1b[36m  hint:\x1b[0m yes")


def test_a_failed_workflow_shows_its_exception_its_frames_and_its_causes() -> None:
    cause = Failure(kind=ErrorKind.ERROR, type="TimeoutError", message="")
    failure = Failure(
        kind=ErrorKind.ERROR,
        type="CardDeclined",
        message="no money",
        traceback='  File "workflows/a.py", line 3, in charge',
        notes=["card 42"],
        cause=cause,
    )
    assert failure_text("order-1", failure, hint="fix it").splitlines() == [
        "error[workflow-failed]: order-1 failed: CardDeclined: no money",
        '    File "workflows/a.py", line 3, in charge',
        "  note: card 42",
        "  caused by TimeoutError",
        "  hint: fix it",
    ]


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (
            errors.UsageError("no", where=["a.py:1"], hint="yes"),
            {"code": "usage", "message": "no", "where": ["a.py:1"]},
        ),
        (errors.PayloadError("no", path="$.cents"), {"code": "payload", "path": "$.cents"}),
        (
            errors.OwnedElsewhereError("a", pid=7, host="h", role="run", since="t"),
            {"pid": 7, "host": "h", "role": "run"},
        ),
        (errors.SequenceConflictError(expected_seq=1, found_seq=2), {"expected_seq": 1, "found_seq": 2}),
        (
            errors.ActivityError("no", type="ValueError", details={"a": [1]}),
            {"type": "ValueError", "details": {"a": [1]}},
        ),
        (
            errors.ActivityError("no", cause=errors.ActivityError("why", type="KeyError")),
            {"cause": {"type": "KeyError", "message": "why", "details": None}},
        ),
        (
            diverged(requested=Step("timer", key="0")),
            {
                "code": "non-determinism",
                "where": ["histories/order-17.jsonl:6", "workflows/order_saga.py:41"],
                "recorded": {"kind": "activity", "name": "charge", "key": "0", "input": '{"sku":"A1"}'},
                "requested": {"kind": "timer", "name": "", "key": "0", "input": None},
                "last_match": 5,
            },
        ),
    ],
)
def test_an_error_as_json_has_a_stable_code_and_typed_fields(
    error: errors.AionError, fields: dict[str, object]
) -> None:
    document = msgspec.json.decode(msgspec.json.encode(error_document(error, SETTINGS)))
    assert list(document)[:4] == ["code", "message", "where", "hint"]
    assert {name: document[name] for name in fields} == fields


def test_an_error_with_undecodable_bytes_in_it_is_still_json() -> None:
    document = error_document(errors.UsageError("no file \udcff", where=["\udcff.py:1"]), SETTINGS)
    assert msgspec.json.decode(msgspec.json.encode(document))["message"] == "no file \\xff"
    assert document["where"] == ["\\xff.py:1"]


def test_a_fault_of_ours_is_one_line_that_says_where_the_traceback_is() -> None:
    error = InternalError.of(ZeroDivisionError("division by zero"))
    assert error_text(error, SETTINGS) == (
        "error[internal]: ZeroDivisionError: division by zero\n"
        "  hint: this is a bug in aion; -v shows the traceback to report"
    )
