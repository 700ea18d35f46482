"""`aion update` that is repeated, interrupted or put off: its sender always learns how to get the answer."""

from __future__ import annotations

import shlex
import signal

import pytest

from tests.cli.support import Project

COUNTER = """
from aion_cli import ContinueAsNew, update

go = Signal("go")

@workflow
async def counter(total: int = 0) -> int:
    state = [total]
    may_answer = asyncio.Event()

    @update
    async def add(more: int, times: int = 1) -> int:
        if more > 99:
            raise OverflowError("too much")
        state[0] += more * times
        return state[0]

    @add.validator
    def positive(more: int, times: int = 1) -> None:
        if more <= 0:
            raise ValueError("more must be positive")

    @update
    async def slow(more: int) -> int:
        await may_answer.wait()
        return more

    await go.receive()
    may_answer.set()
    await asyncio.sleep(0)
    if state[0] and not total:
        raise ContinueAsNew(state[0])
    return state[0]
"""


@pytest.fixture
def counter(project: Project) -> Project:
    """A project with a run `c` that waits for its signal."""
    project.write(COUNTER, "workflows/counter.py")
    assert project.here("run", "counter", "--id", "c", "--input", "1", "--until-blocked").code == 3
    return project


def close(project: Project, run: str = "c") -> None:
    assert project.here("signal", run, "go").code == 0
    assert project.here("run", "counter", "--id", run, "-q").code == 0


@pytest.mark.parametrize(("more", "code", "printed"), [("3", 0, "4\n"), ("-3", 2, ""), ("100", 1, "")])
def test_an_answered_update_that_is_asked_again_when_the_run_has_closed_gets_its_answer(
    counter: Project, more: str, code: int, printed: str
) -> None:
    line = ("update", "c", "add", f'{{"more": {more}}}', "--id", "q1")
    first = counter.here(*line)
    assert (first.code, first.stdout) == (code, printed)
    close(counter)
    before = counter.snapshot()
    assert counter.here(*line) == first
    assert counter.snapshot() == before


@pytest.mark.parametrize("again", [("add", '{"more": 4}'), ("slow", "3")])
def test_another_update_under_an_id_that_was_answered_is_exit_2_also_of_a_closed_run(
    counter: Project, again: tuple[str, str]
) -> None:
    counter.here("update", "c", "add", '{"more": 3}', "--id", "q1")
    close(counter)
    done = counter.here("update", "c", *again, "--id", "q1")
    assert (done.code, done.stdout) == (2, "")
    assert "the id q1 was used before, for another update" in done.stderr


def test_a_new_update_of_a_closed_run_is_exit_8(counter: Project) -> None:
    close(counter)
    assert counter.here("update", "c", "add", '{"more": 3}', "--id", "q1").code == 8


def test_a_recorded_answer_needs_no_code_unless_defaults_were_left_out(counter: Project) -> None:
    counter.here("update", "c", "add", '{"more": 3}', "--id", "q1")
    close(counter)
    (counter.root / "workflows" / "counter.py").unlink()
    assert counter.here("update", "c", "add", '{"times": 1, "more": 3}', "--id", "q1").stdout == "4\n"
    assert counter.here("update", "c", "add", '{"more": 3}', "--id", "q1").code == 2


def test_an_answer_is_found_again_in_an_earlier_history_of_a_run_that_continued_as_new(project: Project) -> None:
    project.write(COUNTER, "workflows/counter.py")
    project.here("run", "counter", "--id", "c", "--until-blocked")
    line = ("update", "c", "add", '{"more": 3}', "--id", "q1")
    assert project.here(*line).stdout == "3\n"
    project.here("signal", "c", "go")
    assert project.here("run", "counter", "--id", "c", "--until-blocked").code == 3
    assert project.here(*line).stdout == "3\n"
    close(project)
    assert project.history("c@2").exists()
    assert project.here(*line).stdout == "3\n"
    assert project.here(*line, "-o", "json").document == 3


def accepted_command(stderr: str) -> list[str]:
    """The words of the command that stderr ends with, which gets the answer."""
    said, _, line = stderr.splitlines()[-1].partition("; get it with: ")
    assert said == "interrupted: update slow of c was accepted, and its answer is to come"
    return shlex.split(line)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_update_says_that_it_was_accepted_and_how_to_get_its_answer(
    counter: Project, number: int, code: int
) -> None:
    with counter.start("update", "c", "slow", "7") as asking:
        counter.until_owned("c", asking)
        counter.until_recorded("c", "UpdateRequested")
        asking.signal(number)
        done = asking.end()
    assert (done.code, done.stdout) == (code, "")
    again = accepted_command(done.stderr)
    assert again[:5] == ["aion", "update", "c", "slow", "7"]
    close(counter)
    assert counter.here(*again[1:]).stdout == "7\n"
    assert counter.names("c").count("UpdateRequested") == 1


def test_an_update_that_another_process_answers_says_how_to_get_the_answer_as_well(counter: Project) -> None:
    with counter.start("run", "counter", "--id", "c") as owner:
        counter.until_owned("c", owner)
        with counter.start("update", "c", "slow", "7", "-o", "json") as asking:
            counter.until_recorded("c", "UpdateRequested")
            asking.signal(signal.SIGTERM)
            done = asking.end()
        assert (done.code, done.document["status"]) == (143, "waiting")
        again = accepted_command(done.stderr)
        assert counter.here("signal", "c", "go").code == 0
        assert owner.end().code == 0
    assert counter.here(*again[1:]).stdout == "7\n"


def test_an_update_of_a_paused_run_says_that_it_was_accepted_and_how_to_get_its_answer(counter: Project) -> None:
    counter.here("pause", "c")
    done = counter.here("update", "c", "add", "-", stdin=b'{"more": 3}')
    assert (done.code, done.document["status"]) == (3, "paused")
    told, unpause = done.stderr.splitlines()
    assert told.startswith("paused: update add of c was accepted, and its answer is to come; get it with: aion update")
    assert unpause == "c is paused; let it go on with: aion unpause c"
    counter.here("unpause", "c")
    again = shlex.split(told.partition("get it with: ")[2])
    assert counter.here(*again[1:]).stdout == "4\n"
