"""Workflow code that hangs is named by every command that steps it, not only by `aion run`."""

from __future__ import annotations

import signal

import pytest

from tests.cli.support import Project

HANGS = """
from aion_cli import query, update

go = Signal("go")

@workflow
async def hangs() -> None:
    @query
    def state() -> int:
        return 1

    @update
    async def add(more: int) -> int:
        return more

    @query
    def spins() -> int:
        while True: pass  # in a query

    await go.receive()
"""


@pytest.fixture
def hanging(project: Project) -> Project:
    """A run `h` whose code has come to hang since it was recorded."""
    path = project.write(HANGS, "workflows/hangs.py")
    assert project.here("run", "hangs", "--id", "h", "--until-blocked", "-q").code == 3
    path.write_text(path.read_text().replace("    await go", "    while True: pass  # hangs\n    await go"))
    return project


@pytest.mark.parametrize(
    "line",
    [
        ("replay", "h"),
        ("list",),
        ("query", "h", "state"),
        ("result", "h"),
        ("update", "h", "add", "1"),
        ("run", "hangs", "--id", "h", "--dry-run"),
    ],
    ids=" ".join,
)
def test_a_command_that_hangs_in_workflow_code_names_the_line(hanging: Project, line: tuple[str, ...]) -> None:
    place = hanging.line_of("# hangs", "workflows/hangs.py")
    with hanging.start(*line, environ={"AION_WATCHDOG": "0.1"}) as looking:
        looking.until_stderr_says(f"s at {place}; ")
        looking.signal(signal.SIGINT)
        assert looking.end().code == 130


def test_a_query_that_hangs_itself_is_named_too(project: Project) -> None:
    project.write(HANGS, "workflows/hangs.py")
    project.here("run", "hangs", "--id", "h", "--until-blocked", "-q")
    with project.start("query", "h", "spins", environ={"AION_WATCHDOG": "0.1"}) as looking:
        looking.until_stderr_says(f"s at {project.line_of('# in a query', 'workflows/hangs.py')}; ")
        looking.signal(signal.SIGINT)
        assert looking.end().code == 130


def test_cron_is_told_of_a_line_that_keeps_it_from_telling_what_is_due(hanging: Project) -> None:
    assert hanging.here("signal", "h", "go").code == 0
    with hanging.start("resume", "--due", environ={"AION_WATCHDOG": "0.1"}) as looking:
        looking.until_stderr_says(f"s at {hanging.line_of('# hangs', 'workflows/hangs.py')}; ")
