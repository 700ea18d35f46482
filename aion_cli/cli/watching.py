"""Watching workflow code that a command steps only to look: what hangs in it is named on stderr."""

from __future__ import annotations

from aion_cli.cli import output
from aion_cli.core.execution import Execution
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.watchdog import Watchdog, limit_from_environment


def watched(execution: Execution, paths: SourcePaths) -> Watchdog:
    """Return a watchdog to enter while an execution is stepped. Raises UsageError if AION_WATCHDOG is no number."""
    return Watchdog(execution, paths, output.warn, limit_from_environment())
