"""What shell steps print, on a terminal and elsewhere."""

from __future__ import annotations

import re

import pytest

from aion_cli.cli.sentences import Sentences
from aion_cli.cli.step_lines import Burst, StepNames
from aion_cli.cli.terminal import visible_print
from tests.builders import attempted, completed, scheduled
from tests.cli.support import Project
from tests.cli.terminals import OnTerminal

BUILD = r"""
    from aion_cli import Secret, shell

    @workflow
    async def child() -> None:
        await shell("echo of the child")

    @workflow
    async def build() -> int:
        await shell(r"echo compiled; printf '\033[31mred\033[0m\033[5A\there\n' >&2; printf 'no end'")
        await child()
        await shell("echo after")
        return 1

    @workflow
    async def held() -> None:
        await shell("echo begun; until test -e go; do sleep 0.01; done; echo over")

    @workflow
    async def loud() -> int:
        lines = await shell("seq 200000")
        await shell("head -c 300000 /dev/zero; head -c 3000000 /dev/urandom; echo; echo the last")
        return len(lines.stdout.split())

    @workflow
    async def careless(secret: Secret) -> None:
        await shell('printf "it is ${TOKEN%????}"; sleep 0.2; echo ${TOKEN#????}')
"""


def test_a_shell_step_is_called_by_its_command_in_one_short_line() -> None:
    def name(input: object) -> str | None:
        sentences = Sentences()
        sentences.learn("r", scheduled(2, "shell", input))
        return sentences.say("r", attempted(2))

    assert name({"command": "make test", "check": True}) == "make test (2) started"
    assert name({"command": "set -e\n\tmake  test\n"}) == "set -e make test (2) started"
    assert name({"command": "x" * 41}) == "x" * 39 + "… (2) started"
    for other in ({"$blob": "sha256:0", "size": 300_000}, {"$enc": "aGk=", "codec": "c"}, None, {"command": 1}):
        assert name(other) == "shell (2) started"


def test_lines_stand_under_the_name_of_their_step_and_of_their_run_once_there_are_several() -> None:
    sentences = Sentences()
    names = StepNames(sentences)
    sentences.learn("a", scheduled(0, "shell", {"command": "make test with many options"}))
    assert names.name("a", 0) == "make test with many… (0)"
    assert names.name("b", 1) == "b  activity (1)"
    assert names.name("a", 0) == "a  make test with many… (0)"
    sentences.learn("a", completed(0))


def test_of_a_burst_the_last_lines_are_kept_and_it_is_said_how_many_are_not() -> None:
    burst = Burst("seq (0)")
    burst.add([str(n) for n in range(300)])
    assert list(burst.lines) == [str(n) for n in range(300)]
    burst.add([str(n) for n in range(300, 900)])
    burst.add(["last"])
    shown = list(burst.lines)
    assert shown[0] == "… 401 lines left out"
    assert shown[1:] == [*(str(n) for n in range(401, 900)), "last"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain é", "plain é"),
        ("10%\r20%\r30%\r", "30%"),
        ("a\tb\x1b[2Jc\x00", "a\tb\\x1b[2Jc\\x00"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ],
)
def test_a_printed_line_is_what_a_terminal_would_show_but_cannot_steer_it(line: str, shown: str) -> None:
    assert visible_print(line, color=False) == shown


def test_colours_are_kept_for_those_who_can_show_them() -> None:
    assert visible_print("\x1b[1;31mred\x1b[0m\x1b[2K", color=True) == "\x1b[1;31mred\x1b[0m\\x1b[2K"


def test_without_a_terminal_the_lines_of_steps_are_plain_and_come_between_their_start_and_end(project: Project) -> None:
    project.write(BUILD)
    done = project.here("run", "build", "--id", "b")
    step = "echo compiled; printf '\\033[31mred\\033[… (0)"
    short = "echo compiled; prin… (0)"
    assert (done.code, done.stdout) == (0, "1\n")
    said = done.stderr.splitlines()
    assert said[:2] == ["b  build started", f"b  {step} started"]
    assert sorted(said[2:5]) == [f"{short} | compiled", f"{short} | no end", f"{short} | red\\x1b[5A\there"]
    assert said[5] == f"b  {step} completed"
    assert "b.1-5  echo of the child (0) | of the child" in said
    assert "b  echo after (1) | after" in said


def test_quiet_says_nothing_of_what_steps_print(project: Project) -> None:
    project.write(BUILD)
    assert project.here("run", "build", "--id", "b", "-q") == (0, "1\n", "")


def test_what_was_shown_is_what_is_recorded(project: Project) -> None:
    project.write(BUILD)
    assert project.here("run", "build", "--id", "b").code == 0
    (first, _) = [event for event in project.events("b") if type(event).__name__ == "ActivityCompleted"]
    assert b'"stdout":"compiled\\nno end"' in bytes(first.result)


def test_a_terminal_shows_lines_while_the_step_runs_above_the_command_that_prints_them(project: Project) -> None:
    project.write(BUILD)
    with OnTerminal(project, "run", "held", "--id", "h") as aion:
        aion.until(lambda screen: "echo begun; until t… (0) | begun" in screen)
        aion.until(lambda screen: re.search(r"echo begun; until test -e go; do sleep … \(0\)  h$", screen[-1]))
        (project.root / "go").touch()
        code, out, left = aion.end()
    assert (code, out) == (0, "null\n")
    assert left.index("echo begun; until t… (0) | over") < left.index("h  completed")


def test_a_terminal_is_steered_by_nothing_that_a_step_prints(project: Project) -> None:
    project.write(BUILD)
    with OnTerminal(project, "run", "build", "--id", "b") as aion:
        code, _, left = aion.end()
    assert code == 0
    assert "echo compiled; prin… (0) | red\\x1b[5A      here" in left
    assert {command[-1:] for command in aion.screen.commands} <= {b"A", b"K"}


def test_a_step_that_prints_very_much_is_shown_in_part_and_hurts_nobody(project: Project) -> None:
    project.write(BUILD)
    with OnTerminal(project, "run", "loud", "--id", "l") as aion:
        code, out, left = aion.end()
    assert (code, out) == (0, "200000\n")
    assert "seq 200000 (0) | 200000" in left
    assert any(re.fullmatch(r"seq 200000 \(0\) \| … [\d,]+ lines left out", line) for line in left)
    assert "head -c 300000 /dev… (1) | the last" in left
    assert {command[-1:] for command in aion.screen.commands} <= {b"A", b"K"}


@pytest.mark.parametrize("on_terminal", [True, False])
def test_a_secret_that_a_step_prints_in_two_pieces_is_shown_nowhere(project: Project, on_terminal: bool) -> None:
    project.write(BUILD)
    line = ("run", "careless", "--id", "c", "--input", '"env:TOKEN"')
    if on_terminal:
        with OnTerminal(project, *line, TOKEN="hunter22") as aion:
            code, _, left = aion.end()
        said = "\n".join(left)
    else:
        code, _, said = project.aion(*line, environ={"TOKEN": "hunter22"})
    assert code == 0
    assert "hunter22" not in said
    assert "(0) | it is ***" in said
