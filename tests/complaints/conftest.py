"""What tests of complaints share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from aion_cli.testing.loop import SkippingLoop
from tests.cli.conftest import forgotten_workflow_files, project

__all__ = ["forgotten_workflow_files", "project"]


@pytest.fixture
def loop() -> Iterator[SkippingLoop]:
    """A loop whose time skips."""
    with closing(SkippingLoop()) as loop:
        yield loop
