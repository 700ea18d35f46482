"""Untrusted text on a terminal."""

from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aion_cli.cli.terminal import cell_width, shortened, visible, visible_json, visible_lines

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x9b\r\n\x7f\x00" + BIDI)))


def steers(text: str) -> bool:
    return any(unicodedata.category(char) in ("Cc", "Cs") or char in BIDI for char in text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本 🐎", "naïve 日本 🐎"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b\x7f", "\\x9b\\x7f"),
        ("abc\u202edef", "abc\\u202edef"),
        ("a\u2028b", "a\\u2028b"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("[link=x]no markup[/nope]", "[link=x]no markup[/nope]"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_instead(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_stay_lines() -> None:
    assert visible_lines("a\nb\rc\n") == ["a", "b\\rc"]


@settings(max_examples=10_000)
@given(ANY_TEXT)
def test_no_text_gets_through_that_steers(text: str) -> None:
    assert not steers(visible(text))


@settings(max_examples=2_000)
@given(st.dictionaries(ANY_TEXT.filter(lambda text: not any(map(steers_alone, text))), ANY_TEXT, max_size=3))
def test_json_on_a_terminal_is_harmless_and_the_same_value(value: dict[str, str]) -> None:
    value = {key: "".join(char for char in text if not steers_alone(char)) for key, text in value.items()}
    line = msgspec.json.encode(value).decode()
    assert not steers(visible_json(line))
    assert json.loads(visible_json(line)) == value


def steers_alone(char: str) -> bool:
    """Lone surrogates: JSON by msgspec has no place for them."""
    return "\ud800" <= char <= "\udfff"


def test_a_carriage_return_between_json_tokens_becomes_a_blank() -> None:
    assert visible_json('{"a":\r1}') == '{"a": 1}'


def test_wide_characters_count_twice_and_combining_ones_not_at_all() -> None:
    assert [cell_width(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]


@pytest.mark.parametrize(("width", "cut"), [(10, "日本語ab"), (8, "日本語ab"), (7, "日本語…"), (6, "日本…"), (1, "…")])
def test_text_is_cut_at_the_column_not_at_the_character(width: int, cut: str) -> None:
    assert shortened("日本語ab", width) == cut
    assert cell_width(cut) <= width
