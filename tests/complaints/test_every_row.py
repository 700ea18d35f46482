"""Every complaint that users of other runners have has a test here, and a row in docs/why.md that says what holds."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROWS = range(1, 31)
WHY = (HERE.parents[1] / "docs" / "why.md").read_text()


def marked() -> Iterator[tuple[int, str, Any]]:
    """Yield (row, module, test) of every test here that is marked with a row."""
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"tests.complaints.{path.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_"):
                yield from (
                    (mark.args[0], path.name, test)
                    for mark in getattr(test, "pytestmark", [])
                    if mark.name == "complaint"
                )


TESTS = list(marked())


@pytest.mark.parametrize("row", ROWS)
def test_every_complaint_has_a_test_that_names_it(row: int) -> None:
    tests = [test for number, _, test in TESTS if number == row]
    assert tests, f"nobody tests row {row}"
    for test in tests:
        assert re.search(rf"\bRows? [\d, and]*\b{row}\b", test.__doc__ or ""), f"{test.__name__} does not say row {row}"


@pytest.mark.parametrize("row", ROWS)
def test_every_complaint_is_answered_in_the_docs_which_name_the_file_of_its_tests(row: int) -> None:
    (answer,) = re.findall(rf"^\| {row} \| (.+) \| (.+) \| `(.+)` \|$", WHY, re.M)
    trouble, what_aion_does, file = answer
    assert len(trouble.split()) > 3
    assert len(what_aion_does.split()) > 3
    assert file in {f"tests/complaints/{name}" for number, name, _ in TESTS if number == row}


def test_the_docs_have_no_other_row_and_none_twice() -> None:
    assert sorted(int(number) for number in re.findall(r"^\| (\d+) \|", WHY, re.M)) == list(ROWS)
