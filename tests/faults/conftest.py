from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.faults.model import small_limits
from tests.faults.promises import BrokenPromise
from tests.faults.tally import TORTURE, Tally


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "torture: left to `make torture`, which sets AION_TORTURE=1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make torture` has the time and the rights for."""
    if TORTURE:
        return
    left_out = [item for item in items if item.get_closest_marker("torture")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts what a test injected, for the lines that are printed at the end."""
    node: pytest.Item = request.node
    return Tally(node.user_properties)


@pytest.fixture
def model() -> Iterator[None]:
    """Makes runs on model disks possible, with limits so small that short scenes reach them."""
    with small_limits():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Count a broken promise that a test fails with."""
    try:
        return (yield)
    except BrokenPromise as broken:
        Tally(pyfuncitem.user_properties).add(broken.kind)
        raise
