"""`aion signal`: none is lost, none arrives twice, each sender's arrive in order, whoever owns the run or nobody."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from aion_cli.core import events as ev
from tests.cli.support import Project, environment

INBOX = """
    import msgspec

    class Item(msgspec.Struct):
        sku: str
        count: int = 1

    gate = Signal("gate")
    go = Signal("go", int)
    item = Signal("item", Item)

    @activity
    def begin() -> None:
        note("begin")

    @workflow
    async def inbox(count: int) -> list[int]:
        await begin()
        await gate.receive()
        return [await go.receive() for _ in range(count)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write(INBOX, "workflows/inbox.py")
    return made


def start(project: Project, count: int) -> None:
    """Bring a run to its first wait, and let go of it."""
    done = project.here("run", "inbox", "--id", "box", "--input", str(count), "--until-blocked")
    assert done.code == 3


def send(project: Project, *typed: str) -> None:
    """Send a signal that must be accepted; nothing is said about it."""
    assert project.here("signal", "box", *typed) == (0, "", "")


def received(project: Project, run: str = "box") -> list[tuple[str, bytes]]:
    return [(e.name, bytes(e.payload)) for e in project.events(run) if isinstance(e, ev.SignalReceived)]


def test_a_signal_to_a_run_that_nobody_owns_is_in_its_history_at_once(project: Project) -> None:
    start(project, 1)
    send(project, "go", "1")
    assert received(project) == [("go", b"1")]


def test_signals_that_came_before_the_run_listens_wait_for_it_in_their_order(project: Project) -> None:
    start(project, 3)
    for number in (1, 2, 3):
        send(project, "go", str(number))
    send(project, "gate")
    assert project.here("run", "inbox", "--id", "box", "-q") == (0, "[1,2,3]\n", "")
    assert project.here("replay", "box").code == 0


def test_a_signal_while_the_run_listens_moves_it_at_once(project: Project) -> None:
    start(project, 2)
    with project.start("run", "inbox", "--id", "box") as owner:
        project.until_owned("box", owner)
        send(project, "gate")
        owner.until_stderr_says("signal gate received")
        for number in (1, 2):
            send(project, "go", str(number))
        done = owner.end()
    assert (done.code, done.stdout) == (0, "[1,2]\n")
    assert received(project) == [("gate", b"null"), ("go", b"1"), ("go", b"2")]
    assert project.world == ["begin"]


def test_signals_before_and_while_the_run_listens_are_told_apart_by_nothing(project: Project) -> None:
    start(project, 4)
    send(project, "go", "1")
    send(project, "gate")
    send(project, "go", "2")
    with project.start("run", "inbox", "--id", "box") as owner:
        project.until_owned("box", owner)
        send(project, "go", "3")
        send(project, "go", "4")
        assert owner.end().stdout == "[1,2,3,4]\n"


def test_the_same_id_is_delivered_once_owned_or_not_open_or_closed(project: Project) -> None:
    start(project, 1)
    for _ in range(2):
        send(project, "go", "1", "--id", "payment-7")
    with project.start("run", "inbox", "--id", "box") as owner:
        project.until_owned("box", owner)
        send(project, "go", "1", "--id", "payment-7")
        send(project, "gate", "--id", "payment-8", "--wait")
    assert project.here("run", "inbox", "--id", "box", "-q") == (0, "[1]\n", "")
    send(project, "go", "1", "--id", "payment-7")
    assert received(project) == [("go", b"1"), ("gate", b"null")]


@pytest.mark.parametrize("other", [["go", "2"], ["gate", "1"]], ids=["another payload", "another name"])
@pytest.mark.parametrize("closed", [False, True])
def test_an_id_that_was_used_for_another_message_is_refused(project: Project, other: list[str], closed: bool) -> None:
    start(project, 1)
    send(project, "go", "1", "--id", "payment-7")
    if closed:
        send(project, "gate")
        assert project.here("run", "inbox", "--id", "box", "-q").code == 0
    before = project.snapshot()
    assert project.here("signal", "box", *other, "--id", "payment-7") == (
        2,
        "",
        "error[usage]: the id payment-7 was used before, for another message\n"
        "  hint: leave the id out to send a new message, or repeat the first one exactly\n",
    )
    assert project.snapshot() == before


def test_a_repeated_payload_may_be_laid_out_in_another_way(project: Project) -> None:
    start(project, 1)
    send(project, "item", '{"sku":"A1","count":2}', "--id", "k")
    send(project, "item", '{ "count": 2, "sku": "A1" }', "--id", "k")
    assert len(received(project)) == 1


def test_a_signal_to_a_closed_run_is_exit_code_8(project: Project) -> None:
    start(project, 0)
    send(project, "gate")
    assert project.here("run", "inbox", "--id", "box", "-q").code == 0
    before = project.snapshot()
    done = project.here("signal", "box", "go", "1")
    assert (done.code, done.stdout) == (8, "")
    assert done.stderr == (
        "error[wrong-state]: box is closed: its history ends with WorkflowCompleted\n"
        "  hint: start a new run under another id\n"
    )
    assert project.here("signal", "box", "go", "1", "-o", "json").document["code"] == "wrong-state"
    assert project.snapshot() == before


def test_a_signal_to_a_run_that_was_cancelled_says_how_to_open_it_again(project: Project) -> None:
    start(project, 1)
    assert project.here("cancel", "box", "-q").code == 0
    assert project.here("run", "inbox", "--id", "box", "-q").code == 9
    done = project.here("signal", "box", "go", "1")
    assert (done.code, done.stderr.splitlines()[1]) == (8, "  hint: open it again with: aion reopen box")
    assert project.here("reopen", "box", "-q").code == 0
    send(project, "go", "1")


def test_a_signal_to_no_run_is_exit_code_7(project: Project) -> None:
    start(project, 0)
    before = project.snapshot()
    done = project.here("signal", "bix", "go", "1")
    assert done == (7, "", "error[no-such-run]: there is no run bix\n  hint: did you mean box?\n")
    assert project.snapshot() == before


def test_an_undeclared_name_lists_those_there_are_and_force_sends_it(project: Project) -> None:
    start(project, 0)
    before = project.snapshot()
    done = project.here("signal", "box", "og", "1")
    assert (done.code, done.stdout) == (2, "")
    message, place, hint = done.stderr.splitlines()
    assert message == "error[usage]: inbox declares no signal 'og'"
    assert place.startswith("  at workflows/inbox.py:")
    assert hint == "  hint: it declares: gate, go, item; --force sends it anyway"
    assert project.snapshot() == before
    send(project, "og", "1", "--force")
    assert received(project) == [("og", b"1")]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["go", '"x"'], "error[payload]: Expected `int`, got `str` at $\n  at signal go of inbox\n"),
        (
            ["item", '{"sku":"A1","count":"2"}'],
            "error[payload]: Expected `int`, got `str` at $.count\n  at signal item of inbox\n",
        ),
        (
            ["go"],
            "error[payload]: Expected `int`, got `null` at $\n"
            "  at signal go of inbox\n"
            "  hint: give it a payload: aion signal box go JSON\n",
        ),
        (
            ["go", "{"],
            "error[usage]: PAYLOAD is not JSON: it ends too early at line 1, column 2\n"
            "  at PAYLOAD:1:2\n"
            '  hint: quote it for the shell: PAYLOAD \'{"key": "text"}\'\n',
        ),
        (["go", "@none"], "error[usage]: none cannot be read: No such file or directory\n"),
    ],
    ids=["type", "field", "left out", "malformed", "no file"],
)
def test_a_payload_that_does_not_fit_is_refused(project: Project, typed: list[str], message: str) -> None:
    start(project, 0)
    before = project.snapshot()
    assert project.here("signal", "box", *typed) == (2, "", message)
    assert project.snapshot() == before


def test_a_payload_can_come_from_a_file_from_stdin_or_be_negative(project: Project) -> None:
    start(project, 3)
    (project.root / "one.json").write_text(" 1\n")
    send(project, "gate")
    send(project, "go", "@one.json")
    assert project.here("signal", "box", "go", "-", stdin=b"2").code == 0
    send(project, "go", "-3")
    assert project.here("run", "inbox", "--id", "box", "-q") == (0, "[1,2,-3]\n", "")


def test_what_is_recorded_is_the_payload_with_the_defaults_of_its_type(project: Project) -> None:
    start(project, 0)
    send(project, "item", '{"sku": "A1"}')
    ((_, recorded),) = received(project)
    assert json.loads(recorded) == {"sku": "A1", "count": 1}


@pytest.mark.parametrize("state", ["gone", "broken"])
def test_where_the_code_cannot_be_loaded_the_name_is_not_checked_and_stderr_says_so(
    project: Project, state: str
) -> None:
    start(project, 0)
    path = project.root / "workflows/inbox.py"
    if state == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text() + "\nraise RuntimeError('not today')\n")
    done = project.here("signal", "box", "whatever", '{"x": [1]}')
    assert (done.code, done.stdout) == (0, "")
    why = "there is no code" if state == "gone" else "workflows/inbox.py cannot be imported: RuntimeError: not today"
    assert done.stderr.startswith(f"the name of the signal is not checked: {why}")
    assert received(project) == [("whatever", b'{"x":[1]}')]


def test_wait_returns_when_the_owner_has_recorded_it(project: Project) -> None:
    start(project, 1)
    with project.start("run", "inbox", "--id", "box") as owner:
        project.until_owned("box", owner)
        send(project, "gate", "--wait")
        assert received(project) == [("gate", b"null")]
        send(project, "go", "1")
        assert owner.end().code == 0


def test_scripts_get_the_id_that_the_signal_has_in_the_history(project: Project) -> None:
    start(project, 0)
    done = project.here("signal", "box", "go", "1", "-o", "json")
    (event,) = (e for e in project.events("box") if isinstance(e, ev.SignalReceived))
    assert (done.code, done.stderr) == (0, "")
    assert (done.document["run"], done.document["signal_id"]) == ("box", event.signal_id)


def test_a_run_can_be_named_by_its_file(project: Project) -> None:
    start(project, 0)
    assert project.here("signal", "histories/box.jsonl", "gate") == (0, "", "")
    assert project.here("signal", "box@1", "gate") == (0, "", "")
    assert len(received(project)) == 2


SENDER = """
import sys
from aion_cli.cli.entry import main
for number in range(8):
    assert main(["signal", "box", "go", str(int(sys.argv[1]) * 100 + number)]) == 0
"""


def test_many_senders_and_an_owner_that_is_killed_lose_nothing_and_repeat_nothing(project: Project) -> None:
    start(project, 24)
    send(project, "gate")
    senders = [
        subprocess.Popen([sys.executable, "-c", SENDER, str(sender)], cwd=project.root, env=environment())
        for sender in range(3)
    ]
    for number in (1, 9):
        with project.start("run", "inbox", "--id", "box") as owner:
            project.until_owned("box", owner)
            while len(received(project)) <= number and owner.process.poll() is None:
                time.sleep(0.005)
    assert [sender.wait(60) for sender in senders] == [0, 0, 0]
    done = project.here("run", "inbox", "--id", "box", "-q")
    result = done.document
    assert sorted(result) == [sender * 100 + number for sender in range(3) for number in range(8)]
    for sender in range(3):
        assert all(a < b for a, b in pairwise(number for number in result if number // 100 == sender))
    assert project.here("replay", "box").code == 0
    assert project.world == ["begin"]
