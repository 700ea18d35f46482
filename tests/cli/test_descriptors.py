"""Open files: a run with many children needs more of them than a process is given at first."""

from __future__ import annotations

import resource

import pytest

from aion_cli.cli.output import ExitCode
from tests.cli.support import Project

FEW = 64
CHILDREN = 40
HOW = ("--until-blocked", "--durability", "process")

MANY = """
    import asyncio
    from aion_cli import Signal

    go = Signal("go")

    @workflow
    async def child(n: int) -> None:
        await go.receive()

    @workflow
    async def many(n: int) -> None:
        await asyncio.gather(*(child(i) for i in range(n)))
"""

enough = pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 1024, reason="so many files cannot be open here"
)


@pytest.fixture
def many(project: Project) -> Project:
    project.write(MANY, "workflows/many.py")
    return project


def few_at_first() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def few() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


@enough
def test_a_run_may_have_more_children_than_a_process_may_have_files_at_first(many: Project) -> None:
    done = many.aion("run", "many", "--id", "m", "--input", str(CHILDREN), *HOW, before_exec=few_at_first)
    assert done.code == ExitCode.SUSPENDED, done
    assert len(list(many.histories.glob("*.jsonl"))) == CHILDREN + 1


def test_where_that_cannot_be_the_way_out_is_said(many: Project) -> None:
    done = many.aion("run", "many", "--id", "m", "--input", str(CHILDREN), *HOW, before_exec=few)
    assert (done.code, "hint: raise the limit (ulimit -n)" in done.stderr) == (ExitCode.STORAGE, True), done
    done = many.aion("run", "many", "--id", "m", *HOW)
    assert done.code == ExitCode.SUSPENDED, done
