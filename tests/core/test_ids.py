from __future__ import annotations

import pytest

from aion_cli.core.ids import RunName, check_workflow_id, parse_stem
from aion_cli.errors import UsageError


@pytest.mark.parametrize("text", ["a", "order-42", "A.b_c-9", "x" * 120, "0", "console", "com10"])
def test_a_plain_name_is_a_workflow_id(text: str) -> None:
    assert check_workflow_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "x" * 121, ".hidden", "-x", "_x", "a/b", "a b", "a..b", "a@2", "a\n", "ä", "order.jsonl", "order.JSONL"),
        *("con", "NUL", "com1", "lpt9.txt", "../x", "a\x00b"),
    ],
)
def test_what_could_leave_the_folder_or_confuse_a_disk_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_workflow_id(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("stem", "name"), [("a", RunName("a", 1)), ("a@2", RunName("a", 2)), ("a@10", RunName("a", 10))]
)
def test_a_stem_names_a_run_and_back(stem: str, name: RunName) -> None:
    assert parse_stem(stem) == name
    assert name.stem == stem


@pytest.mark.parametrize("stem", ["a@1", "a@0", "a@02", "a@", "a@x", "@2", "a@2@3", "a@-1"])
def test_a_stem_that_is_no_run_is_refused(stem: str) -> None:
    with pytest.raises(UsageError):
        parse_stem(stem)
