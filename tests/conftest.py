"""Hooks for the whole suite. With xdist only this conftest, and none below it, is loaded where the end is printed."""

from __future__ import annotations

import pytest

from tests.faults.tally import pytest_terminal_summary

__all__ = ["pytest_configure", "pytest_terminal_summary"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: measures time, so `make torture` runs it before all others")
