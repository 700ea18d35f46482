"""Modules of the command line that only some options need, imported when they do: starting is most of what it takes."""

from __future__ import annotations

import importlib
from typing import Any


def late(module: str) -> Any:
    """Import a module of this package by its name."""
    return importlib.import_module(f"aion_cli.cli.{module}")
