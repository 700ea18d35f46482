"""Errors that workflow code has lost are told on stderr, once."""

from __future__ import annotations

from tests.cli.support import Project


def test_an_error_of_a_task_that_nobody_awaits_is_told_when_it_happens_and_not_again(project: Project) -> None:
    project.write(
        """
        go = Signal("go", int)

        async def breaks() -> None:
            raise ValueError("lost")

        @workflow
        async def forgets() -> int:
            asyncio.create_task(breaks(), name="the lost one")
            return await go.receive()
        """
    )
    place = project.line_of("raise ValueError")
    said = f"f1: task the lost one failed, and nobody asked for its outcome: ValueError: lost at {place}\n"
    first = project.here("run", "forgets", "--id", "f1", "--until-blocked")
    assert (first.code, first.stderr.count(said)) == (3, 1), first.stderr
    assert project.here("signal", "f1", "go", "1").code == 0
    again = project.here("run", "forgets", "--id", "f1")
    assert (again.code, again.stdout, "lost" in again.stderr) == (0, "1\n", False)
