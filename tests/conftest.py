"""Hooks for the whole suite. With xdist only this conftest, and none below it, is loaded where the end is printed."""

from __future__ import annotations

from tests.faults.tally import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
