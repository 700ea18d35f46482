"""Random programs in random worlds: crashed at every moment, gone on with, replayed, and changed.

Every share is 250 programs, the same ones in every run. A longer search with fresh ones, which ends at a failure:

    AION_PROGRAMS=50000 pytest tests/programs -k longer
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings

from aion_cli.testing.loop import SkippingLoop
from tests.programs import nodes
from tests.programs.generator import cases
from tests.programs.promises import Trial

SHARES = 8
PROGRAMS = 250
LONGER = int(os.environ.get("AION_PROGRAMS", "0"))
_UNHURRIED = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)
_LOOP = SkippingLoop()


@pytest.mark.parametrize("share", range(SHARES))
def test_whatever_program_it_is_a_crash_changes_nothing_and_a_change_is_noticed(share: int) -> None:
    tried: set[nodes.Node] = set()
    failed: list[nodes.Case] = []

    @seed(share)
    @settings(_UNHURRIED, max_examples=PROGRAMS, database=None)
    @given(cases())
    def check(case: nodes.Case) -> None:
        # Hypothesis likes to come back to what it knows; when it has found something, it has to.
        assume(failed or case.program not in tried)
        try:
            Trial(case, _LOOP).run()
        except BaseException:
            failed.append(case)
            raise
        tried.add(case.program)

    check()
    assert len(tried) >= PROGRAMS


@pytest.mark.skipif(not LONGER, reason="set AION_PROGRAMS to the number of programs to try")
@settings(_UNHURRIED, max_examples=max(LONGER, 1), print_blob=True)
@given(cases())
def test_a_longer_search_finds_nothing_either(case: nodes.Case) -> None:
    Trial(case, _LOOP).run()
