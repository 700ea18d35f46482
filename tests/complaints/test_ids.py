"""Ids of children: what they are made of, and what that is good for."""

from __future__ import annotations

import pytest

from tests.cli.support import Project

PARENT = """
    import os
    from aion_cli import ActivityError

    @activity
    async def flaky() -> str:
        note("flaky")
        if not os.path.exists("fine"):
            raise ConnectionError("not now")
        return "fine"

    @workflow
    async def pack(weather: str) -> str:
        return f"packed in {weather} weather"

    @workflow
    async def parent() -> str:
        try:
            weather = await flaky()
        except ActivityError:
            weather = "bad"
        packed = await pack(weather)
        if weather == "bad":
            raise ValueError(packed)
        return packed
"""


@pytest.mark.complaint(27)
def test_a_child_asked_for_again_after_a_reopen_is_another_child_with_an_id_of_its_own(project: Project) -> None:
    """Row 27: an id is made of the workflow id, the number of the run and the place of the command in its history."""
    project.write(PARENT)
    assert project.here("run", "parent", "--id", "p1").code == 1
    assert project.names("p1")[3:5] == ["ActivityFailed", "ChildWorkflowStarted"]
    assert project.here("reopen", "p1", "--from", "4").code == 0
    (project.root / "fine").touch()
    done = project.here("run", "parent", "--id", "p1", "-q")
    assert (done.code, done.stdout) == (0, '"packed in fine weather"\n')
    children = [event for event in project.events("p1") if type(event).__name__ == "ChildWorkflowStarted"]
    assert [child.child_workflow_id for child in children] == [f"p1.1-{child.seq}" for child in children]
    assert len(children) == 2
    assert project.here("replay", "p1", *(child.child_workflow_id for child in children)).code == 0
    assert project.world == ["flaky", "flaky"]


@pytest.mark.complaint(27)
def test_children_of_a_run_that_continued_have_the_number_of_their_run_in_their_ids(project: Project) -> None:
    """Row 27: so the same place in two files of one workflow id gives two children."""
    project.write(
        """
        from aion_cli import ContinueAsNew

        @workflow
        async def child(chapter: int) -> int:
            return chapter

        @workflow
        async def book(chapter: int = 1) -> int:
            await child(chapter)
            if chapter < 3:
                raise ContinueAsNew(chapter + 1)
            return chapter
        """
    )
    assert project.here("run", "order.py:book", "--id", "b1", "-q").stdout == "3\n"
    runs = {run["workflow_id"] for run in project.here("list", "-o", "json").document}
    assert runs == {"b1", "b1.1-2", "b1.2-2", "b1.3-2"}
