"""The test kit: workflows run in memory, with fakes for activities and time that skips; and recorded ones replayed.

def test_a_refused_order_is_refunded() -> None:
    assert run_workflow(order_saga, order, activities={charge: fake}, signals=[(approval, False)]) == "refunded"

def test_open_orders_can_go_on() -> None:
    assert_replays(order_saga, "histories/*.jsonl")

A name is loaded when it is first asked for: every pytest session imports this package, to find the plugin in it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aion_cli.testing.kit import BrokenPromiseError, StuckError, crash_everywhere, run_workflow
    from aion_cli.testing.replays import assert_replays

_HOMES = {
    "BrokenPromiseError": "aion_cli.testing.kit",
    "StuckError": "aion_cli.testing.kit",
    "assert_replays": "aion_cli.testing.replays",
    "crash_everywhere": "aion_cli.testing.kit",
    "run_workflow": "aion_cli.testing.kit",
}

__all__ = ["BrokenPromiseError", "StuckError", "assert_replays", "crash_everywhere", "run_workflow"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
