"""Exceptions as data, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.failures import activity_error, child_error, failure_of
from aion_cli.core.lines import MAX_LINE, decode_event, encode_body
from aion_cli.core.source import SourcePaths
from aion_cli.errors import (
    ActivityError,
    ActivityInterrupted,
    ActivityTimeout,
    ChildError,
    NonRetryable,
    PayloadError,
    UsageError,
    WorkflowFailure,
)
from tests.builders import at, line_of

PATHS = SourcePaths()
IN_CHARGE = '  File "order.py", line 9, in charge'


class OutOfStockError(Exception):
    class VeryError(Exception):
        pass

    def __init__(self, sku: str, *, left: int) -> None:
        super().__init__(f"{sku}: {left} left")
        self.details = {"sku": sku, "left": left}


def raised(error: BaseException) -> Failure:
    """Record an exception that was really raised."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - all kinds are tried
        return failure_of(caught, PATHS)


def buy(sku: str) -> None:
    raise OutOfStockError(sku, left=0)


def order() -> None:
    try:
        buy("A1")
    except OutOfStockError as error:
        error.add_note("while ordering")
        raise ValueError("no order") from error


def recorded_order() -> Failure:
    with pytest.raises(ValueError) as caught:
        order()
    return failure_of(caught.value, PATHS)


def test_a_value_that_does_not_fit_tells_which_part_of_it_and_whose_it_is() -> None:
    where = "/project/workflows/order.py:9 result of charge"
    failure = failure_of(PayloadError("Expected `int`", path="$[1]", where=[where]), SourcePaths("/project"))
    assert failure.message == "Expected `int` at $[1]"
    assert failure.notes == ["workflows/order.py:9 result of charge"]


def test_class_message_details_notes_and_causes_are_recorded() -> None:
    failure = recorded_order()
    assert (failure.kind, failure.type, failure.message) == (ErrorKind.ERROR, "ValueError", "no order")
    cause = failure.cause
    assert cause is not None
    assert (cause.type, cause.message) == ("OutOfStockError", "A1: 0 left")
    assert (cause.details, cause.notes, cause.cause) == ({"sku": "A1", "left": 0}, ["while ordering"], None)


def test_the_traceback_has_the_authors_lines_innermost_last() -> None:
    lines = recorded_order().traceback.splitlines()
    place, number = line_of(order, 5).rsplit(":", 1)
    assert lines[-1] == f'  File "{place}", line {number}, in order'


def test_what_an_activity_recorded_of_where_it_failed_comes_below_the_line_that_awaited_it() -> None:
    def order() -> None:
        raise activity_error(msgspec.structs.replace(raised(KeyError("k")), traceback=IN_CHARGE), 1)

    with pytest.raises(ActivityError) as caught:
        order()
    lines = failure_of(caught.value, PATHS).traceback.splitlines()
    place, number = line_of(order, 1).rsplit(":", 1)
    assert lines[-2] == f'  File "{place}", line {number}, in {order.__qualname__}'
    assert lines[-1] == IN_CHARGE
    assert caught.value.origin == IN_CHARGE


def test_the_members_of_a_group_are_named_as_what_was_raised() -> None:
    error = activity_error(raised(KeyError("k")), 1)
    assert raised(ExceptionGroup("two", [error, ValueError("v")])).message.endswith(": KeyError: 'k'; ValueError: v")


def test_a_nested_class_is_named_whole() -> None:
    assert raised(OutOfStockError.VeryError()).type == "OutOfStockError.VeryError"


def test_what_was_being_handled_counts_as_cause_unless_suppressed() -> None:
    def fail(suppress: bool) -> None:
        try:
            raise KeyError("k")
        except KeyError:
            if suppress:
                raise ValueError("v") from None
            raise ValueError("v")  # noqa: B904 - implicit chaining is what is tested

    for suppress in (False, True):
        with pytest.raises(ValueError) as caught:
            fail(suppress)
        assert (failure_of(caught.value, PATHS).cause is None) is suppress


def test_errors_that_are_the_causes_of_each_other_are_recorded_once_each() -> None:
    first, second, third = ValueError("first"), ValueError("second"), ValueError("third")
    first.__cause__, second.__cause__, third.__context__ = second, third, second
    told: list[str] = []
    link = failure_of(first, PATHS)
    while link is not None:
        told.append(link.message)
        link = link.cause
    assert told == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError(), ErrorKind.ERROR),
        (SystemExit(1), ErrorKind.ERROR),
        (NonRetryable("no"), ErrorKind.NON_RETRYABLE),
        (asyncio.CancelledError(), ErrorKind.CANCELLED),
        (TimeoutError(), ErrorKind.ERROR),
        (ActivityTimeout("late"), ErrorKind.TIMEOUT),
        (ActivityInterrupted("crash"), ErrorKind.INTERRUPTED),
        (ActivityError("bad"), ErrorKind.ERROR),
        (ChildError("bad"), ErrorKind.CHILD),
    ],
)
def test_the_kind_says_what_sort_of_failure_it_is(error: BaseException, kind: ErrorKind) -> None:
    assert failure_of(error, PATHS).kind is kind


def test_the_kind_may_be_given_instead() -> None:
    assert failure_of(ValueError(), PATHS, kind=ErrorKind.NON_RETRYABLE).kind is ErrorKind.NON_RETRYABLE


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Grpcish(Exception):  # noqa: N818 - modelled on a library's
    def details(self) -> str:
        return "a method, as gRPC's errors have"


class Unrecordable(Exception):  # noqa: N818 - short
    details = object()


class Voluminous(Exception):  # noqa: N818 - short
    details = "x" * 20_000


def test_an_exception_that_cannot_be_told_is_recorded_all_the_same() -> None:
    assert raised(BrokenError()).message == "(its message could not be made: RuntimeError)"
    assert raised(Grpcish("m")).details is None
    assert raised(Unrecordable("m")).details.startswith("(not recorded: `object` cannot be recorded")
    assert raised(Voluminous("m")).details.startswith("(not recorded: 20002 bytes")
    assert raised(ValueError("half \ud800 a character")).message == "half ? a character"


def test_the_members_of_a_group_are_told_in_its_message() -> None:
    group = ExceptionGroup("two went wrong", [ValueError("one"), KeyError("k")])
    assert raised(group).message == "two went wrong (2 sub-exceptions): ValueError: one; KeyError: 'k'"


def test_a_failure_with_endless_causes_and_texts_still_fits_a_line() -> None:
    error = ValueError("x" * 100_000)
    for _ in range(50):
        following = ValueError("x" * 100_000)
        following.__cause__ = error
        for _ in range(40):
            following.add_note("n" * 100_000)
        error = following
    failure = failure_of(error, PATHS)
    assert len(msgspec.json.encode(failure)) < MAX_LINE // 3, "masking may make three bytes of one"
    assert "more characters" in failure.message
    depth = 0
    cause = failure.cause
    while cause is not None:
        depth, cause = depth + 1, cause.cause
    assert depth == 8


def test_a_context_that_is_a_circle_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert failure_of(one, PATHS).message == "one"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ErrorKind.ERROR, ActivityError),
        (ErrorKind.NON_RETRYABLE, ActivityError),
        (ErrorKind.TIMEOUT, ActivityTimeout),
        (ErrorKind.TOTAL_TIMEOUT, ActivityTimeout),
        (ErrorKind.HEARTBEAT_TIMEOUT, ActivityTimeout),
        (ErrorKind.INTERRUPTED, ActivityInterrupted),
        (ErrorKind.CANCELLED, ActivityError),
    ],
)
def test_a_failed_activity_is_raised_as_the_class_that_its_kind_asks_for(
    kind: ErrorKind, expected: type[ActivityError]
) -> None:
    error = activity_error(Failure(kind=kind, type="OSError", message="m"), 3)
    assert type(error) is expected
    assert (error.type, error.message, error.attempts) == ("OSError", "m", 3)


@pytest.mark.parametrize("revive", [partial(activity_error, attempts=2), child_error], ids=["activity", "child"])
def test_what_was_recorded_comes_back_with_its_chain(revive: Callable[[Failure], WorkflowFailure]) -> None:
    error = revive(recorded_order())
    assert (error.type, error.message, error.details) == ("ValueError", "no order", None)
    cause = error.cause
    assert cause is not None
    assert type(cause) is (ChildError if isinstance(error, ChildError) else ActivityError)
    assert (cause.type, cause.details, cause.cause) == ("OutOfStockError", {"sku": "A1", "left": 0}, None)
    assert cause.__notes__ == ["while ordering"]
    assert error.__cause__ is cause


def test_a_failure_that_passes_through_a_workflow_keeps_the_name_of_its_class() -> None:
    passed_on = raised(activity_error(recorded_order(), 2))
    assert (passed_on.type, passed_on.message) == ("ValueError", "no order")
    assert passed_on.cause is not None
    assert passed_on.cause.type == "OutOfStockError"


class SecondThoughtsError(Exception):
    __notes__ = None  # pyright: ignore[reportAssignmentType]  # the mistake

    @property
    def details(self) -> object:
        raise RuntimeError("no details")


def test_an_exception_whose_attributes_cannot_be_had_is_recorded_all_the_same() -> None:
    failure = raised(SecondThoughtsError("m"))
    assert (failure.message, failure.details, failure.notes) == ("m", None, [])


@pytest.mark.parametrize("text", [None, 5, "half \ud800 a character"])
def test_a_failure_that_an_author_makes_of_anything_can_be_written(text: Any) -> None:
    for error in (ActivityError(text, type=text), PayloadError(text, path=text, where=[text])):
        failure = raised(error)
        event = ev.WorkflowFailed(seq=2, recorded_at=at(0), error=failure)
        assert decode_event(encode_body(event) + b"}").error == failure


def test_notes_and_causes_that_no_line_could_hold_are_left_out() -> None:
    error: BaseException | None = None
    for depth in range(12):
        outer = ValueError(f"{depth} " + "\x00" * 9_000)
        for note in range(20):
            outer.add_note(f"{note} " + "\x00" * 9_000)
        outer.__cause__ = error
        error = outer
    assert error is not None
    failure = raised(error)
    assert len(msgspec.json.encode(failure)) <= 256 << 10
    assert failure.message.startswith("11 ")
    assert failure.cause is not None and failure.cause.message.startswith("10 ")


def raised_in(group: Callable[[], None]) -> Exception:
    with pytest.raises(Exception) as caught:
        group()
    return caught.value


def test_a_group_shows_what_each_member_was_and_where_it_was_raised() -> None:
    def refuse(text: str) -> None:
        raise ValueError(text)

    activity = ActivityError("declined", type="Declined")
    activity.origin = IN_CHARGE

    def both() -> None:
        inner = ExceptionGroup("inner", [raised_in(lambda: refuse("line one\nline two"))])
        raise ExceptionGroup("outer", [activity, inner])

    lines = failure_of(raised_in(both), PATHS).traceback.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("  1."))
    assert lines[first : first + 3] == [
        "  1. Declined: declined",
        f"  {IN_CHARGE}",
        "  2. ExceptionGroup: inner (1 sub-exception)",
    ]
    assert "    1. ValueError: line one line two" in lines[first + 3 :]
    assert lines[-1].startswith("      File ") and lines[-1].endswith(".refuse")


def test_a_group_without_measure_is_told_in_part() -> None:
    deep: Any = ValueError("x" * 10_000)
    for _ in range(2_000):
        deep = ExceptionGroup("g", [deep])
    wide = ExceptionGroup("g", [ValueError("x" * 10_000) for _ in range(1_000)])
    for group in (deep, wide):
        failure = raised(group)
        assert len(failure.message) < 9_000
        assert len(failure.traceback) < 9_000


def test_a_secret_in_the_message_of_a_member_is_masked_before_it_is_cut() -> None:
    group = ExceptionGroup("g", [ValueError("y" * 195 + "hunter22")])
    failure = failure_of(group, PATHS, mask=lambda text: text.replace("hunter22", "***"))
    assert "hunt" not in failure.traceback


def test_what_aion_advises_is_kept_as_a_note() -> None:
    assert raised(UsageError("no", hint="do this")).notes == ["hint: do this"]
    assert raised(UsageError("no")).notes == []
