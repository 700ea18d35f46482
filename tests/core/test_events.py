"""What every event has in common, and which class each is of."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from aion_cli.core import events as ev
from aion_cli.core.events import EventClass, event_class
from tests.builders import at, attempted, completed, failed, fired, raw, scheduled, signal, started, timer

ALL_TYPES: tuple[type[ev.Event], ...] = ev.AnyEvent.__args__


def test_every_event_type_is_in_the_union_that_a_line_decodes_to() -> None:
    defined = {
        kind
        for _, kind in inspect.getmembers(ev, inspect.isclass)
        if issubclass(kind, ev.Event) and kind is not ev.Event
    }
    assert defined == set(ALL_TYPES)


@pytest.mark.parametrize("kind", ALL_TYPES, ids=lambda kind: kind.__name__)
def test_the_tag_of_an_event_is_its_class_name_and_its_first_key(kind: type[ev.Event]) -> None:
    config = kind.__struct_config__
    assert (config.tag_field, config.tag) == ("type", kind.__name__)
    assert kind.__struct_fields__[:3] == ("seq", "recorded_at", "b")


@pytest.mark.parametrize("kind", ALL_TYPES, ids=lambda kind: kind.__name__)
def test_payload_fields_have_no_default_so_that_they_are_always_written(kind: type[ev.Event]) -> None:
    for field in msgspec.structs.fields(kind):
        if field.name in ev.PAYLOAD_FIELDS:
            assert field.required, field.name
            assert field.type is msgspec.Raw


def test_fields_with_their_default_are_left_out_and_payloads_of_null_are_not() -> None:
    assert msgspec.json.decode(msgspec.json.encode(scheduled(0, "charge"))) == {
        "type": "ActivityScheduled",
        "activity_id": 0,
        "activity_type": "charge",
        "input": None,
    }


def test_an_old_line_without_newer_fields_decodes_to_their_defaults() -> None:
    line = b'{"type":"ActivityFailed","activity_id":0,"attempt":1,"error":{"kind":"error","type":"E","message":"m"}}'
    event = msgspec.json.decode(line, type=ev.AnyEvent)
    assert isinstance(event, ev.ActivityFailed)
    assert event.next_attempt_at is None
    assert (event.error.details, event.error.traceback, event.error.notes, event.error.cause) == (None, "", [], None)


def test_a_failed_attempt_is_an_answer_only_if_no_other_follows() -> None:
    assert event_class(failed(0)) is EventClass.EXECUTOR
    assert event_class(failed(0, again_at=at(5))) is EventClass.PROGRESS


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (started(), EventClass.OUTSIDE),
        (signal("go"), EventClass.OUTSIDE),
        (ev.WorkflowTerminated(), EventClass.OUTSIDE),
        (scheduled(0, "charge"), EventClass.COMMAND),
        (timer(0, at(1)), EventClass.COMMAND),
        (ev.ChildCancelRequested(ordinal=0), EventClass.COMMAND),
        (ev.UpdateFailed(update_id="u", error=failed(0).error), EventClass.COMMAND),
        (ev.WorkflowContinuedAsNew(input=raw(None), new_run_id="r"), EventClass.COMMAND),
        (completed(0), EventClass.EXECUTOR),
        (fired(0), EventClass.EXECUTOR),
        (attempted(0), EventClass.PROGRESS),
        (ev.TagsSet(tags={}), EventClass.NOTE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_class_of_an_event_says_who_caused_it(event: ev.Event, expected: EventClass) -> None:
    assert event_class(event) is expected


@pytest.mark.parametrize("kind", ALL_TYPES, ids=lambda kind: kind.__name__)
def test_every_type_has_a_class(kind: type[ev.Event]) -> None:
    assert kind in ev._CLASSES  # pyright: ignore[reportPrivateUsage] - completeness of the table is what is tested
