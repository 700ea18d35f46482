"""The test kit: workflows run in memory, with fakes for activities and time that skips.

def test_a_refused_order_is_refunded() -> None:
    assert run_workflow(order_saga, order, activities={charge: fake}, signals=[(approval, False)]) == "refunded"
"""

from aion_cli.testing.kit import BrokenPromiseError, StuckError, crash_everywhere, run_workflow

__all__ = ["BrokenPromiseError", "StuckError", "crash_everywhere", "run_workflow"]
