"""`aion signal --start`: the run is started if there is none, and gets the signal once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from tests.cli.support import REPOSITORY, Project

APPROVAL = """
    approval = Signal("approval", bool)

    @workflow
    async def order(sku: str, cents: int = 100) -> str:
        note(f"order {sku}")
        return f"{sku} {await approval.receive()} {cents}"

    @workflow
    async def other() -> None: ...
"""
START = ("--start", "order", "-p", "sku=A1")


@pytest.fixture
def orders(project: Project) -> Project:
    project.write(APPROVAL)
    return project


def test_a_run_that_is_not_there_is_started_and_runs_none_of_its_code_yet(orders: Project) -> None:
    done = orders.here("signal", "order-1", "approval", "true", *START)
    assert done == (
        0,
        "",
        "order-1 is started, and none of its code has run; go on with: aion run order --id order-1\n",
    )
    assert (orders.names("order-1"), orders.world) == (["WorkflowStarted", "SignalReceived"], [])
    assert orders.here("run", "order", "--id", "order-1", "-q") == (0, '"A1 True 100"\n', "")
    assert orders.here("replay", "order-1").code == 0


def test_a_run_that_is_there_is_only_signalled_whatever_its_input_was(orders: Project) -> None:
    assert orders.here("run", "order", "--id", "order-1", "-p", "sku=B2", "--until-blocked").code == 3
    assert orders.here("signal", "order-1", "approval", "true", *START) == (0, "", "")
    assert orders.here("run", "order", "--id", "order-1", "-q").stdout == '"B2 True 100"\n'


def test_the_same_line_twice_makes_one_run_and_one_signal(orders: Project) -> None:
    line = ("signal", "order-1", "approval", "true", *START, "--id", "k1", "-o", "json")
    first, second = orders.here(*line), orders.here(*line)
    assert first.document == {"run": "order-1", "signal_id": "k1", "repeated": False, "started": True}
    assert second.document == {"run": "order-1", "signal_id": "k1", "repeated": True, "started": False}
    assert orders.names("order-1") == ["WorkflowStarted", "SignalReceived"]


def test_a_line_that_was_killed_between_start_and_signal_can_be_repeated(orders: Project) -> None:
    line = ("signal", "order-1", "approval", "true", *START, "--id", "k1")
    kill = (
        "import os, aion_cli.cli.signal as s\ns.deliver = lambda *_, **__: os._exit(9)\n"
        "import sys; from aion_cli.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", kill, *line],
        cwd=orders.root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, orders.names("order-1")) == (9, ["WorkflowStarted"])
    assert orders.here(*line).code == 0
    assert orders.names("order-1") == ["WorkflowStarted", "SignalReceived"]


def test_of_many_at_once_one_starts_the_run_and_every_signal_arrives_once(orders: Project) -> None:
    lines = [("signal", "order-1", "approval", "true", *START, "--id", f"k{n % 3}", "-o", "json") for n in range(6)]
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(orders.start(*line)) for line in lines]
        ends = [each.end() for each in running]
    assert [end.code for end in ends] == [0] * 6, ends
    assert sum(end.document["started"] for end in ends) == 1
    assert sum(not end.document["repeated"] for end in ends) == 3
    assert sorted(orders.names("order-1")) == ["SignalReceived"] * 3 + ["WorkflowStarted"]


def test_a_closed_run_is_exit_code_8_and_is_not_started_again(orders: Project) -> None:
    orders.here("signal", "order-1", "approval", "true", *START, "--id", "k1")
    assert orders.here("run", "order", "--id", "order-1").code == 0
    assert orders.here("signal", "order-1", "approval", "true", *START).code == 8
    assert orders.here("signal", "order-1", "approval", "true", *START, "--id", "k1").code == 0


def test_a_run_of_another_workflow_is_exit_code_8_and_gets_no_signal(orders: Project) -> None:
    assert orders.here("signal", "order-1", "approval", "true", *START, "--id", "k1").code == 0
    done = orders.here("signal", "order-1", "approval", "true", "--start", "other", "--id", "k2")
    assert (done.code, orders.names("order-1")) == (8, ["WorkflowStarted", "SignalReceived"])
    assert "order-1 is a run of order, not of other" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("order-1", "approval", "true", "--start", "nope"), "there is no workflow nope"),
        (("order-1", "approval", "true", "--start", "order"), "needs a value for its parameter `sku`"),
        (("order-1", "approval", "true", "--start", "order", "-p", "sku:=1"), "Expected `str`, got `int`"),
        (("order-1", "approval", '"yes"', *START), "Expected `bool`, got `str`"),
        (("order-1", "aproval", "true", *START), "order declares no signal 'aproval'"),
        (("a/b", "approval", "true", *START), "'a/b' cannot be a workflow id"),
        (("order-1@2", "approval", "true", *START), "'order-1@2' cannot be a workflow id"),
        (("order-1", "approval", "-", "--start", "order", "--input", "-"), "cannot both be read from stdin"),
        (("order-1", "approval", "true", "-p", "sku=A1"), "--input and -p are the input of a run that --start starts"),
        (("order-1", "approval", "true", "--input", "1"), "--input and -p are the input of a run that --start starts"),
    ],
)
def test_what_does_not_fit_starts_nothing(orders: Project, line: tuple[str, ...], message: str) -> None:
    before = sorted(orders.root.rglob("*"))
    done = orders.here("signal", *line)
    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr
    assert sorted(orders.root.rglob("*")) == before


def test_an_id_that_differs_only_in_case_is_refused(orders: Project) -> None:
    assert orders.here("signal", "order-1", "approval", "true", *START).code == 0
    assert orders.here("signal", "ORDER-1", "approval", "true", *START).code == 2


def test_input_and_payload_come_from_files_and_stdin_by_the_same_rules(orders: Project) -> None:
    (orders.root / "input.json").write_text('{"sku": "C3", "cents": 7}')
    done = orders.here(
        "signal", "order-1", "approval", "-", "--start", "order", "--input", "@input.json", stdin=b"false"
    )
    assert done.code == 0
    assert orders.here("run", "order", "--id", "order-1", "-q").stdout == '"C3 False 7"\n'


def test_the_options_are_explained(project: Project) -> None:
    help_text = project.here("signal", "--help").stdout
    for word in ("--start", "--input", "-p", "none of its code", "one run", "gets the signal once"):
        assert word in " ".join(help_text.split())
