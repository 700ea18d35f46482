"""A process that was started without some of its standard streams, as daemons and cron wrappers do."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from tests.cli.support import Project, environment

LOUD = """\
    import os
    from aion_cli import shell

    @activity
    def prints():
        print("from an activity")
        os.write(2, b"straight to stderr\\n")
        os.write(1, b"straight to stdout\\n")

    @workflow
    async def order():
        print("from the workflow")
        await prints()
        await shell("cat; echo from a shell; echo and its stderr >&2")
        return "done"
"""


def run(project: Project, closing: str) -> subprocess.CompletedProcess[bytes]:
    project.write(LOUD)
    line = f"exec {shlex.quote(sys.executable)} -m aion_cli run order --id r {closing}"
    return subprocess.run(
        ["sh", "-c", line], cwd=project.root, env=environment(), capture_output=True, check=False, timeout=60
    )


@pytest.mark.parametrize("closing", ["2>&-", "<&-", "<&- 2>&-"])
def test_a_run_without_stderr_or_stdin_does_its_work_and_prints_its_result_alone(
    project: Project, closing: str
) -> None:
    done = run(project, closing)
    assert (done.returncode, done.stdout) == (0, b'"done"\n')
    assert project.names("r")[-1] == "WorkflowCompleted"


@pytest.mark.parametrize("closing", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_without_stdout_does_its_work_and_says_that_nobody_got_its_result(project: Project, closing: str) -> None:
    done = run(project, closing)
    assert done.returncode == 10
    assert project.names("r")[-1] == "WorkflowCompleted"
    if "2>&-" not in closing:
        assert b"error[storage]: " in done.stderr
        assert b"from an activity" in done.stderr
