"""The release: side by side, approved, and stopped by the first step that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.support import Done, Project

WORKFLOWS = str(Path(__file__).parents[2] / "workflows")
MEET = "touch {me}; while [ ! -e {other} ]; do sleep 0.01; done"


def released(folder: Path, *options: str, **steps: str) -> Done:
    given = {"tools": "true", "lint": "true", "tests": "true", "build": "true", "publish": "echo out", **steps}
    parameters = [word for step, line in given.items() for word in ("-p", f"{step}={line}")]
    return Project(folder).aion("--workflows", WORKFLOWS, "run", "release", "--id", "r-1", *parameters, *options)


def answer(folder: Path, payload: str) -> Done:
    return Project(folder).aion("--workflows", WORKFLOWS, "signal", "r-1", "approval", payload)


def test_lint_tests_and_build_run_side_by_side(tmp_path: Path) -> None:
    # Each waits for the next one to have begun, in a ring: one after the other, they would wait for ever.
    done = released(
        tmp_path,
        "--until-blocked",
        "--max-wait=30s",
        lint=MEET.format(me="a", other="b"),
        tests=MEET.format(me="b", other="c"),
        build=MEET.format(me="c", other="a"),
    )
    assert done.code == 3
    assert [wait["name"] for wait in done.document["waiting"]] == ["approval"]


@pytest.mark.parametrize(
    ("payload", "result"),
    [
        ('{"by": "Ada", "approved": true}', {"status": "released", "approved_by": "Ada", "printed": "out"}),
        ('{"by": "Grace", "approved": false}', {"status": "refused", "refused_by": "Grace"}),
    ],
)
def test_the_last_step_is_made_if_somebody_approves(tmp_path: Path, payload: str, result: dict[str, str]) -> None:
    publish = "touch published; echo out"
    assert released(tmp_path, "--until-blocked", publish=publish).code == 3
    assert answer(tmp_path, payload).code == 0
    done = released(tmp_path, publish=publish)
    assert (done.code, done.document) == (0, result)
    assert (tmp_path / "published").exists() is (result["status"] == "released")


def test_a_step_that_fails_ends_the_others_and_the_release(tmp_path: Path) -> None:
    done = released(
        tmp_path,
        "--max-wait=30s",
        lint="while [ ! -e begun ]; do sleep 0.01; done; echo E501; exit 1",
        tests="touch begun; sleep 600; touch never",
    )
    assert (done.code, done.stdout) == (1, "")
    assert "E501" in done.stderr
    assert not (tmp_path / "never").exists()


def test_an_approval_that_does_not_say_by_whom_is_not_delivered(tmp_path: Path) -> None:
    assert released(tmp_path, "--until-blocked").code == 3
    done = answer(tmp_path, '{"approved": true}')
    assert done.code == 2
    assert "by" in done.stderr
