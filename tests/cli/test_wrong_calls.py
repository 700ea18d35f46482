"""A wrong argument in workflow code: the run has failed, at that line, and what was done before is not done again."""

from __future__ import annotations

import pytest

from tests.cli.support import Project


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('set_progress(0.5, 1, "half")', "what is done is 0.5, it must be a whole number (int)"),
        ('set_tags(a="\\ud800")', "the tag 'a' holds half a character (the lone surrogate \\ud800)"),
        ('patched("x" * 2_000_000)', "the name of a patch takes 2,000,002 bytes, and may take 1,000"),
        ('await send_signal(None, Signal("go"), 1)', "the run that a signal is sent to is None, it must be a text"),
        ("await start_child(ship)", "start_child takes a workflow, and got the activity ship"),
    ],
)
def test_a_wrong_argument_fails_the_run_at_its_line(project: Project, call: str, said: str) -> None:
    project.write(f"""
        from aion_cli import patched, send_signal, set_progress, set_tags, start_child

        @activity
        def ship():
            note("shipped")

        @workflow
        async def order():
            await ship()
            {call}
    """)
    done = project.here("run", "order", "--id", "o1")
    assert done.code == 1
    assert f"UsageError: {said}" in done.stderr
    place, _, line = project.line_of(call).partition(":")
    assert f'File "{place}", line {line}, in order' in done.stderr
    assert project.here("resume", "o1").code == 1
    assert (project.world, project.names("o1")[-1]) == (["shipped"], "WorkflowFailed")


def test_a_log_line_that_cannot_be_formatted_changes_nothing_about_the_run_or_its_replay(project: Project) -> None:
    project.write("""
        from aion_cli import log

        @activity
        def ship():
            note("shipped")

        @workflow
        async def order():
            log.info("%d", "x")
            await ship()
            return "done"
    """)
    done = project.aion("run", "order", "--id", "o1")
    said = f"warning: {project.line_of('log.info')}: a log record cannot be written: TypeError: %d format"
    assert (done.code, done.stdout) == (0, '"done"\n')
    assert said in done.stderr
    assert project.aion("replay", "histories/o1.jsonl").code == 0
    shown = project.aion("replay", "histories/o1.jsonl", "--show-replay-output")
    assert shown.code == 0
    assert said in shown.stderr


@pytest.mark.parametrize("command", [["run", "order"], ["signal", "o1", "go", "1", "--start", "order"]])
def test_a_workflow_whose_result_can_never_be_recorded_is_refused_before_the_run_is_there(
    project: Project, command: list[str]
) -> None:
    project.write("""
        go = Signal("go", int)

        @workflow
        async def order() -> list[complex]:
            return [1j]
    """)
    done = project.here(*command, "--id", "o1") if command[0] == "run" else project.here(*command)
    assert done.code == 2
    assert "values of type `complex` cannot be recorded as JSON" in done.stderr
    assert "result of order" in done.stderr
    assert not project.history("o1").exists()
