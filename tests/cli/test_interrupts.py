"""Workflow code that raises KeyboardInterrupt is no Ctrl-C for the commands that look at many runs."""

from __future__ import annotations

import signal

from tests.cli.support import Project

SOURCE = """
@activity
async def step() -> None: ...

@workflow
async def interrupts():
    await step()
    raise KeyboardInterrupt  # its own

@workflow
async def waits():
    await asyncio.sleep(3600)
"""


def project_with_both(project: Project) -> Project:
    """Runs `a` and `z`, and between them `k`, whose code ends in KeyboardInterrupt when it is replayed."""
    path = project.write(SOURCE.replace("await step()\n", "await step()\n    await asyncio.sleep(3600)\n"))
    for run, name in (("a", "waits"), ("k", "interrupts"), ("z", "waits")):
        assert project.here("run", name, "--id", run, "--until-blocked", "-q").code == 3
    path.write_text(path.read_text().replace("    await step()\n    await asyncio.sleep(3600)\n", "    await step()\n"))
    return project


def test_a_run_whose_code_raises_keyboard_interrupt_hides_no_other_from_list_and_replay(project: Project) -> None:
    project_with_both(project)
    listed = project.here("list", "-o", "json")
    assert listed.code == 0
    assert [run["workflow_id"] for run in listed.document] == ["a", "k", "z"]
    assert [run["waiting"][0]["kind"] for run in listed.document] == ["timer", "timer", "timer"]
    done = project.here("replay", "a", "k", "z", "-o", "json")
    assert done.code == 2
    assert [verdict["verdict"] for verdict in done.document] == ["open", "not replayed", "open"]
    error = done.document[1]["error"]
    assert error["message"] == "the code of k raised KeyboardInterrupt, which nobody can tell from Ctrl-C"
    assert error["where"] == [project.line_of("# its own")]


def test_ctrl_c_still_ends_a_replay_that_hangs_in_workflow_code(project: Project) -> None:
    project_with_both(project)
    path = project.root / "workflows" / "order.py"
    path.write_text(path.read_text().replace("raise KeyboardInterrupt", "while True: pass"))
    with project.start("replay", "a", "k", "z", environ={"AION_WATCHDOG": "0.1"}) as looking:
        looking.until_stderr_says("workflow code has been busy")
        looking.signal(signal.SIGINT)
        done = looking.end()
    assert done.code == 130
    assert done.stderr.endswith("interrupted\n")
