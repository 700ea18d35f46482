"""Random programs in random worlds: crashed at every moment, gone on with, replayed, and changed.

Every share is 250 programs, the same ones in every run. A longer search with fresh ones, which ends at a failure:

    AION_PROGRAMS=50000 pytest tests/programs -k longer
"""

from __future__ import annotations

import os
import random
from itertools import islice

import pytest

from tests.programs import nodes
from tests.programs.generator import distinct_cases
from tests.programs.plain import SettlingLoop
from tests.programs.promises import Trial
from tests.programs.smaller import smallest

SHARES = 8
PROGRAMS = 250
_TELLING = 16
LONGER = int(os.environ.get("AION_PROGRAMS", "0"))


@pytest.mark.parametrize("share", range(SHARES))
def test_whatever_program_it_is_a_crash_changes_nothing_and_a_change_is_noticed(share: int) -> None:
    assert _crash_moments(share, PROGRAMS) > 4 * PROGRAMS


@pytest.mark.skipif(not LONGER, reason="set AION_PROGRAMS to the number of programs to try")
def test_a_longer_search_finds_nothing_either() -> None:
    assert _crash_moments(random.randrange(SHARES, 2**32), LONGER)


def _crash_moments(seed: int, count: int) -> int:
    """Put so many cases to the test; returns at how many moments they were crashed."""
    loop, moments = SettlingLoop(), 0
    for case in islice(distinct_cases(seed), count):
        trial = Trial(case, loop)
        try:
            trial.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what has been found
            _tell(seed, case, error)
        moments += trial.cuts
    loop.close()
    return moments


def _tell(seed: int, case: nodes.Case, failure: Exception) -> None:
    said = _said(failure)
    least = smallest(case, lambda other: (found := _failure(other)) is not None and _said(found) == said)
    pytest.fail(f"seed {seed}: {_failure(least)!r}\n{least!r}\nfound as {failure!r}\n{case!r}")


def _said(failure: Exception) -> tuple[str, str]:
    """Return what two failures of one cause have in common."""
    return type(failure).__name__, str(failure)[:_TELLING]


def _failure(case: nodes.Case) -> Exception | None:
    """Return what a trial raises, if it raises something."""
    loop = SettlingLoop()
    try:
        Trial(case, loop).run()
    except Exception as error:  # noqa: BLE001 - see _crash_moments
        return error
    finally:
        loop.close()
    return None
