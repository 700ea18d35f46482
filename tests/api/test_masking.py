"""What was revealed is hidden in text and in events, whatever the way it is written there."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion_cli.api.masking import MASK, Masks
from aion_cli.core import events as ev
from aion_cli.core import payload
from tests.builders import child, completed, ended, failed, failure, scheduled, send, signal


def test_a_revealed_value_is_replaced_in_text() -> None:
    masks = Masks()
    masks.add("hunter22")
    assert masks.mask_text("password=hunter22, again hunter22") == f"password={MASK}, again {MASK}"


def test_nothing_is_copied_while_nothing_was_revealed() -> None:
    event = completed(0, {"a": "hunter22"})
    assert Masks().mask_event(event) is event


def test_an_event_without_the_value_is_left_as_it_is() -> None:
    masks = Masks()
    masks.add("hunter22")
    event = scheduled(0, "charge", {"a": 1})
    assert masks.mask_event(event) is event


def test_results_keys_details_tracebacks_notes_and_causes_are_masked() -> None:
    masks = Masks()
    masks.add("hunter22")
    result = masks.mask_event(completed(0, {"hunter22": ["x hunter22 y"]}))
    assert bytes(result.result) == b'{"***":["x *** y"]}'
    inner = failure(message="inner hunter22")
    error = msgspec.structs.replace(
        failure(message="hunter22"),
        details={"p": "hunter22"},
        traceback="hunter22",
        notes=["hunter22"],
        cause=inner,
    )
    masked = masks.mask_event(failed(0, error))
    assert b"hunter22" not in msgspec.json.encode(masked)
    assert masked.error.cause is not None and masked.error.cause.message == f"inner {MASK}"
    assert masked.error.kind is error.kind


def test_tags_and_progress_are_masked_and_numbers_are_not() -> None:
    masks = Masks()
    masks.add("42")
    progress = masks.mask_event(ev.ProgressSet(done=42, total=42, text="at 42"))
    assert (progress.done, progress.text) == (42, f"at {MASK}")
    assert masks.mask_event(ev.TagsSet(tags={"k": "42"})).tags == {"k": MASK}


def test_the_lines_of_a_long_secret_are_masked_one_by_one() -> None:
    masks = Masks()
    masks.add("-----BEGIN KEY-----\nabcdef123456\n-----END KEY-----\n")
    assert masks.mask_text("got abcdef123456") == f"got {MASK}"


def test_a_value_that_contains_another_is_hidden_whole() -> None:
    masks = Masks()
    masks.add("abc")
    masks.add("abcdef")
    assert masks.mask_text("abcdef") == MASK


@given(st.text(min_size=4, max_size=20).filter(lambda text: text.strip() == text and "*" not in text))
def test_no_way_of_writing_json_hides_a_value_from_the_mask(secret: str) -> None:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    masks = Masks()
    masks.add(secret)
    event = ev.ActivityCompleted(
        activity_id=0, attempt=1, result=msgspec.Raw(msgspec.json.encode([{"k": f"<{secret}>"}]))
    )
    held: object = msgspec.json.decode(bytes(masks.mask_event(event).result))
    assert held == [{"k": f"<{MASK}>"}]


@pytest.mark.parametrize("value", ["", "  \n "])
def test_blank_values_mask_nothing_but_themselves(value: str) -> None:
    masks = Masks()
    masks.add(value)
    assert masks.mask_text("a b") == "a b"


def test_the_ways_in_which_python_json_and_urls_write_a_value_are_hidden() -> None:
    value = 'p"q\\r\tété&s'
    masks = Masks()
    masks.add(value)
    for text in (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False), str(KeyError(value))):
        assert masks.mask_text(text).strip("'\"") == MASK
    assert masks.mask_text(f"db://user:{quote(value, safe='')}@host") == f"db://user:{MASK}@host"


@pytest.mark.parametrize("before", ["", "x", "xx", "xxx"])
@pytest.mark.parametrize("value", ["hunter22", "hunter22?>>", "seven77", "a" * 30])
def test_bytes_are_hidden_in_the_base64_that_they_are_recorded_in_and_stay_bytes(before: str, value: str) -> None:
    masks = Masks()
    masks.add(value)
    recorded = payload.encode({"b": f"{before}{value}!".encode()})
    masked = bytes(masks.mask_json(recorded))
    assert masked != bytes(recorded)
    assert value[1:-1].encode() not in payload.decode(msgspec.Raw(masked), dict[str, bytes])["b"]
    for encode in (b64encode, urlsafe_b64encode):
        text = encode(f"{before}{value}!".encode()).decode()
        assert masks.mask_text(f"Basic {text}") != f"Basic {text}"


@given(
    st.lists(st.text("ab*\n", min_size=1, max_size=6), min_size=1, max_size=3),
    st.lists(st.text("ab*\n", max_size=8), max_size=12),
)
def test_however_text_arrives_no_value_comes_out_in_parts(values: list[str], chunks: list[str]) -> None:
    masks = Masks()
    for value in values:
        masks.add(value)
    written, rest = list[str](), ""
    for chunk in chunks:
        ready, rest = masks.split(rest + chunk)
        written.append(masks.mask_text(ready))
    written.append(masks.mask_text(rest))
    shown = "".join(written).replace(MASK, "\0")
    assert not [value for value in values if value in shown and "*" not in value]
    if "\0" not in shown:
        assert shown == "".join(chunks)


def test_only_what_may_be_the_beginning_of_a_value_has_to_wait() -> None:
    masks = Masks()
    assert masks.split("huh hunter") == ("huh hunter", "")
    masks.add("hunter22")
    assert masks.split("huh hunter") == ("huh ", "hunter")
    assert masks.split("huh hunters") == ("huh hunters", "")
    assert masks.split("hunter22 hunter22") == ("hunter22 hunter22", "")
    masks.add("2nd")
    assert masks.split("the hunter22") == ("the ", "hunter22")  # not "the hunter2" and "2"


def test_somebody_is_told_once_there_is_something_to_hide_and_of_each_value() -> None:
    masks, firsts, values = Masks(), list[str](), list[str]()
    masks.on_added(values.append)
    masks.on_first(lambda: firsts.append("first"))
    assert firsts == []
    masks.add("a1")
    masks.add("b2")
    assert (firsts, values) == (["first"], ["a1", "b2"])
    masks.on_first(lambda: firsts.append("again"))
    assert firsts == ["first", "again"]


def test_what_a_run_refers_to_is_hidden_once_it_is_there_and_something_is_recorded() -> None:
    found: list[str] = []
    masks = Masks()
    masks.expect("file:key", lambda: found[0] if found else None)
    assert bytes(masks.mask_event(completed(0, "hunter22")).result) == b'"hunter22"'
    found.append("hunter22")
    assert masks.mask_text("hunter22") == "hunter22"  # a stream alone looks at nothing
    assert bytes(masks.mask_event(completed(0, "hunter22")).result) == b'"***"'
    assert masks.mask_text("hunter22") == MASK


@pytest.mark.parametrize(
    "event",
    [
        scheduled(0, "hunter22", {"user": "hunter22"}),
        signal("hunter22", "hunter22"),
        child(0, "hunter22", "hunter22"),
        send(0, "hunter22", "go", "hunter22"),
        ended("hunter22"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_code_asks_for_and_what_comes_from_outside_stays_as_it_is_compared(event: ev.Event) -> None:
    masks = Masks()
    masks.add("hunter22")
    assert masks.mask_event(event) is event


def test_the_class_of_a_failure_stays() -> None:
    masks = Masks()
    masks.add("ValueError")
    masked = masks.mask_event(failed(0, failure("ValueError", "a ValueError")))
    assert (masked.error.type, masked.error.message) == ("ValueError", "a ***")
