"""The cursor: every event once, in order; commands looked ahead to over what came from outside, and over no answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor, visible_events
from aion_cli.errors import HistoryShapeError
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    completed,
    ended_in,
    failed,
    fired,
    history,
    reopened,
    scheduled,
    signal,
    started,
    timer,
    timer_cancelled,
)


def reopens_of(events: Sequence[ev.Event]) -> list[ev.WorkflowReopened]:
    return [event for event in events if isinstance(event, ev.WorkflowReopened)]


def seqs(*events: ev.Event) -> list[int]:
    """Sequence numbers of what reopens leave visible."""
    stamped = history(*events)
    return [event.seq for event in visible_events(stamped, reopens_of(stamped))]


def test_events_come_in_order_each_once() -> None:
    events = history(started(), scheduled(0, "a"), attempted(0), completed(0), ended_in())
    cursor = HistoryCursor(events)
    taken: list[ev.Event] = []
    while (event := cursor.advance()) is not None:
        taken.append(event)
    assert taken == events
    assert cursor.advance() is None


def test_peeking_takes_nothing() -> None:
    cursor = HistoryCursor(history(started(), scheduled(0, "a")))
    assert cursor.peek() is cursor.peek() is cursor.advance()
    assert isinstance(cursor.peek(), ev.ActivityScheduled)
    assert HistoryCursor([]).peek() is None


def test_a_matched_command_event_is_passed_in_silence_an_unmatched_one_is_not() -> None:
    cursor = HistoryCursor(history(started(), scheduled(0, "a"), scheduled(1, "b")))
    cursor.advance()
    assert cursor.skipped_command is False
    matched = cursor.take_command()
    assert matched is cursor.advance()
    assert cursor.skipped_command is False
    cursor.advance()
    assert cursor.skipped_command is True


def test_a_command_is_found_beyond_events_from_outside() -> None:
    cursor = HistoryCursor(history(started(), signal("go"), cancel_requested(), ev.TagsSet(tags={}), scheduled(0, "a")))
    cursor.advance()
    found = cursor.take_command()
    assert isinstance(found, ev.ActivityScheduled)
    assert cursor.last_match == 5
    passed = [cursor.advance() for _ in range(4)]
    assert [event.seq for event in passed if event is not None] == [2, 3, 4, 5]
    assert cursor.skipped_command is False


@pytest.mark.parametrize("between", [attempted(0), failed(0, again_at=at(9))], ids=["attempt", "retry"])
def test_attempts_are_no_barrier(between: ev.Event) -> None:
    cursor = HistoryCursor(history(started(), scheduled(0, "a"), between, scheduled(1, "b")))
    assert [type(cursor.take_command()) for _ in range(3)] == [ev.ActivityScheduled, ev.ActivityScheduled, type(None)]


@pytest.mark.parametrize("answer", [completed(0), failed(0), fired(0)], ids=lambda event: type(event).__name__)
def test_an_answer_before_the_next_command_is_returned_and_not_taken(answer: ev.Event) -> None:
    cursor = HistoryCursor(history(started(), scheduled(0, "a"), answer, scheduled(1, "b")))
    cursor.take_command()
    barrier = cursor.take_command()
    assert type(barrier) is type(answer)
    assert cursor.take_command() is barrier
    assert cursor.last_match == 2
    assert [event.seq for _ in range(4) if (event := cursor.advance()) is not None] == [1, 2, 3, 4]


def test_looking_at_the_next_command_takes_nothing() -> None:
    cursor = HistoryCursor(history(started(), scheduled(0, "a")))
    assert cursor.next_command() is cursor.next_command() is cursor.take_command()
    assert cursor.next_command() is None
    assert cursor.take_command() is None


def test_history_is_read_no_further_than_the_next_command() -> None:
    read: list[int] = []

    def reading(events: Sequence[ev.Event]) -> Iterator[ev.Event]:
        for event in events:
            read.append(event.seq)
            yield event

    cursor = HistoryCursor(reading(history(started(), scheduled(0, "a"), completed(0), scheduled(1, "b"))))
    cursor.advance()
    cursor.take_command()
    assert read == [1, 2]


# --- what a reopen hides


def test_without_reopens_nothing_is_hidden() -> None:
    assert seqs(started(), scheduled(0, "a"), ended_in()) == [1, 2, 3]


def test_a_reopen_hides_the_end_of_the_run() -> None:
    assert seqs(started(), scheduled(0, "a"), failed(0), ended_in(), reopened(4)) == [1, 2, 3, 5]


def test_commands_from_there_on_are_hidden_with_all_their_events() -> None:
    events = [
        started(),
        scheduled(0, "a"),
        timer(0, at(60)),
        failed(0),  # 4: reopened from here
        scheduled(1, "b"),
        attempted(1),
        failed(1, again_at=at(9)),
        attempted(1, 2),
        failed(1, attempt=2),
        ended_in(),
        reopened(4),
    ]
    assert seqs(*events) == [1, 2, 3, 4, 11]


def test_the_failure_from_which_a_run_is_reopened_is_passed_on_as_one_of_an_attempt_that_is_due_again() -> None:
    events = history(started(), scheduled(0, "a"), attempted(0), failed(0), ended_in(), reopened(4))
    passed_on = list(visible_events(events, reopens_of(events)))[3]
    assert passed_on == msgspec.structs.replace(events[3], next_attempt_at=events[3].recorded_at)


def test_answers_to_commands_from_before_stay() -> None:
    events = [
        started(),
        scheduled(0, "a"),
        timer(0, at(60)),
        scheduled(1, "b"),
        failed(0),  # 5: reopened from here
        attempted(1),
        completed(1),
        fired(0),
        signal("go"),
        ended_in(),
        reopened(5),
    ]
    assert seqs(*events) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]


def test_withdrawals_from_there_on_are_hidden_so_what_they_ended_is_open_again() -> None:
    events = [
        started(),
        scheduled(0, "a"),
        timer(0, at(60)),
        cancel_requested("c1"),  # 4: reopened from here
        activity_cancelled(0),
        timer_cancelled(0),
        cancel_requested("c2"),
        ev.WorkflowCancelled(),
        reopened(4),
    ]
    assert seqs(*events) == [1, 2, 3, 9]


def test_a_cancel_request_stays_if_it_is_not_what_was_reopened_from() -> None:
    assert seqs(started(), scheduled(0, "a"), failed(0), cancel_requested(), ended_in(), reopened(3)) == [1, 2, 3, 4, 6]


def test_answers_that_stay_are_no_barrier_inside_what_was_superseded() -> None:
    events = history(
        started(),
        scheduled(0, "a"),
        scheduled(1, "b"),
        failed(0),  # 4: reopened from here
        completed(1),
        ended_in(),
        reopened(4),
        scheduled(2, "c"),
        completed(2),
    )
    cursor = HistoryCursor(events, reopens_of(events))
    for seq in (2, 3, 8):
        found = cursor.take_command()
        assert found is not None
        assert found.seq == seq
    assert isinstance(cursor.take_command(), ev.ActivityCompleted)


def test_a_second_reopen_hides_on_top_of_the_first() -> None:
    events = [
        started(),
        scheduled(0, "a"),
        failed(0),
        ended_in(),
        reopened(4),
        scheduled(1, "b"),
        failed(1),
        ended_in(),
        reopened(3),
        attempted(0, 2),
        completed(0),
    ]
    assert seqs(*events) == [1, 2, 3, 5, 9, 10, 11]


@pytest.mark.parametrize("superseded_from", [0, 3, 99])
def test_a_reopen_from_what_does_not_come_before_it_is_nonsense(superseded_from: int) -> None:
    events = history(started(), ended_in(), reopened(superseded_from))
    with pytest.raises(HistoryShapeError, match="event 3 reopens"):
        list(visible_events(events, reopens_of(events)))
