"""Global options before and after the command."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aion_cli.cli.argv import Grammar, hoist

GRAMMAR = Grammar(
    flags=frozenset({"-q", "--quiet", "-v", "--verbose", "--no-color", "--version"}),
    valued=frozenset({"-o", "--output", "--histories", "--workflows"}),
    commands={"run": frozenset({"--id", "--input", "-p"}), "signal": frozenset({"--id"}), "list": frozenset[str]()},
)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("run order", "run order"),
        ("run order -o json", "-o json run order"),
        ("-o json run order", "-o json run order"),
        ("run -q order --id a --output=jsonl -v", "-q --output jsonl -v run order --id a"),
        ("list -ojson", "-o json list"),
        ("list -qv", "-q -v list"),
        ("list -vo json", "-v -o json list"),
        ("run order --histories /tmp/h --id x", "--histories /tmp/h run order --id x"),
        ("list --version", "--version list"),
    ],
)
def test_global_options_come_first_wherever_they_were_typed(typed: str, read: str) -> None:
    assert hoist(typed.split(), GRAMMAR).argv == read.split()


@pytest.mark.parametrize(
    "typed",
    [
        "run order --id -q",
        "run order --input -",
        "run order -p -o",
        "run --id --output order",
        "run order -- -o json",
        "run order --unknown -x",
        "run order -px=1",
        "--id run",
    ],
)
def test_what_is_not_a_global_option_stays_where_it_was(typed: str) -> None:
    assert hoist(typed.split(), GRAMMAR).argv == typed.split()


def test_an_option_of_another_command_takes_no_value_here() -> None:
    assert hoist(["signal", "-p", "-q"], GRAMMAR).argv == ["-q", "signal", "-p"]


def test_a_negative_number_is_an_argument() -> None:
    assert hoist(["signal", "r", "counter", "-1"], GRAMMAR).argv == ["signal", "--", "r", "counter", "-1"]
    assert hoist(["signal", "r", "counter", "-.5e3", "--id", "k", "-q"], GRAMMAR).argv == (
        ["-q", "signal", "--id", "k", "--", "r", "counter", "-.5e3"]
    )


def test_a_negative_number_as_the_value_of_an_option_stays_its_value() -> None:
    assert hoist(["run", "order", "--input", "-1"], GRAMMAR).argv == ["run", "order", "--input", "-1"]


def test_a_separator_that_was_typed_is_not_typed_twice() -> None:
    assert hoist(["signal", "--", "r", "counter", "-1"], GRAMMAR).argv == ["signal", "--", "r", "counter", "-1"]
    assert hoist(["signal", "r", "--id", "k", "--", "counter", "-1"], GRAMMAR).argv == [
        "signal",
        "--id",
        "k",
        "--",
        "r",
        "counter",
        "-1",
    ]


def test_a_global_option_that_lacks_its_value_does_not_swallow_the_command() -> None:
    hoisted = hoist(["list", "-vo"], GRAMMAR)
    assert (hoisted.incomplete, hoisted.argv) == ("-o", ["-v", "list"])
    assert hoist(["list", "--output"], GRAMMAR).incomplete == "--output"


def test_a_value_that_a_command_s_own_option_lacks_is_left_for_typer_to_report() -> None:
    assert hoist(["run", "order", "--id"], GRAMMAR).argv == ["run", "order", "--id"]


def test_the_last_of_several_values_counts() -> None:
    hoisted = hoist(["-o", "json", "list", "--output=jsonl", "-q"], GRAMMAR)
    assert hoisted.last_value("-o", "--output") == "jsonl"
    assert hoisted.last_value("--histories") is None


def test_the_value_of_a_global_option_may_look_like_a_command() -> None:
    hoisted = hoist(["--histories", "run", "list"], GRAMMAR)
    assert (hoisted.front, hoisted.command) == (("--histories", "run"), "list")


WORDS = ["run", "a", "-1", "-q", "-o", "json", "--id", "k", "--x", "-p", "", "-"]


@given(st.lists(st.sampled_from(WORDS)))
def test_nothing_that_was_typed_is_lost_or_invented(typed: list[str]) -> None:
    hoisted = hoist(typed, GRAMMAR)
    read = [*hoisted.argv, *([hoisted.incomplete] if hoisted.incomplete else [])]
    assert sorted(word for word in read if word != "--") == sorted(typed)


def test_an_option_without_its_value_does_not_take_the_double_dash_for_it() -> None:
    hoisted = hoist(["run", "-1", "-p"], GRAMMAR)
    assert (hoisted.argv, hoisted.incomplete) == (["run", "--", "-1"], "-p")


@given(st.lists(st.sampled_from([*WORDS, "-qv", "--"])))
@example(["--id", "run", "-1"])
def test_hoisting_twice_is_hoisting_once(typed: list[str]) -> None:
    once = hoist(typed, GRAMMAR).argv
    assert hoist(once, GRAMMAR).argv == once
