"""What tests of the command line share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shop import SHOP
from tests.cli.support import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project folder."""
    return Project(tmp_path)


@pytest.fixture
def shop(project: Project) -> Project:
    """A project folder with the workflows of tests.cli.shop."""
    project.write(SHOP, "workflows/shop.py")
    return project


@pytest.fixture(autouse=True)
def forgotten_workflow_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the workflow files that a test had imported in this process: the next one writes its own."""
    before = set(sys.modules)
    yield
    base = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(base):
            del sys.modules[name]
