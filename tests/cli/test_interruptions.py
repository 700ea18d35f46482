"""`aion run` that is interrupted, killed, or not the only one: the run stays open, and nothing is done twice."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time

import pytest

from aion_cli.cli.output import ExitCode
from tests.cli.shop import without_import
from tests.cli.support import Project


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.SIGINT), (signal.SIGTERM, ExitCode.SIGTERM)], ids=str
)
def test_an_interrupted_run_is_open_and_stderr_ends_with_the_line_that_goes_on(
    shop: Project, number: int, code: int
) -> None:
    with shop.start("--histories", "my runs", "run", "order", "--id", "order-1", "--input", '"A1"') as owner:
        owner.until_stderr_says("charge (0) completed")
        owner.signal(number)
        done = owner.end()
    assert (done.code, done.stdout) == (code, "")
    said, _, line = done.stderr.splitlines()[-1].partition("; go on with: ")
    assert said == "order-1 was interrupted and is open"
    assert line == "aion --histories 'my runs' run order --id order-1"
    assert shop.here("--histories", "my runs", "signal", "order-1", "approval", "true").code == 0
    assert shop.here(*shlex.split(line)[1:], "-q").stdout == '"tracking of r1"\n'
    assert shop.world == ["charge", "ship"]


def test_an_activity_in_flight_ends_within_grace_and_is_not_done_again(shop: Project) -> None:
    with shop.start("run", "worker", "--id", "w") as owner:
        owner.until_stderr_says("work (0) started")
        owner.signal(signal.SIGTERM)
        (shop.root / "may-end").touch()
        done = owner.end()
    assert (done.code, done.stdout) == (143, "")
    assert shop.names("w")[-1] == "ActivityCompleted"
    assert shop.here("run", "worker", "--id", "w", "--until-blocked", "-q").code == 3
    assert shop.world == ["begun", "ended"]


def test_a_second_interruption_waits_for_nothing(shop: Project) -> None:
    with shop.start("run", "worker", "--id", "w", "--grace", "300") as owner:
        owner.until_stderr_says("work (0) started")
        owner.signal(signal.SIGTERM)
        owner.until_stderr_says("stopping: what is in flight has 5m to end; interrupt again to stop at once")
        owner.signal(signal.SIGINT)
        done = owner.end()
    assert (done.code, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == "w was interrupted and is open; go on with: aion run worker --id w"
    assert shop.names("w")[-1] == "ActivityStarted"


def test_an_interruption_that_waits_for_nothing_says_nothing_of_waiting(shop: Project) -> None:
    with shop.start("run", "order", "--id", "order-1", "--input", '"A1"') as owner:
        owner.until_stderr_says("waits for signal")
        owner.signal(signal.SIGINT)
        assert "stopping" not in owner.end().stderr


def test_a_run_that_waits_for_a_signal_says_so_when_it_begins_to_and_when_it_is_gone_on_with(shop: Project) -> None:
    place = shop.line_of("await approval.receive():", "workflows/shop.py")
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    for begins in (["order-1  order started", "order-1  charge (0) started", "order-1  charge (0) completed"], []):
        with shop.start(*line) as owner:
            owner.until_stderr_says("waits for")
            owner.signal(signal.SIGTERM)
            done = owner.end()
        assert without_import(done.stderr).splitlines() == [
            *begins,
            f"order-1  waits for signal approval ({place})",
            "order-1 was interrupted and is open; go on with: aion run order --id order-1",
        ]
    for option in ("-q", "--until-blocked"):
        assert "waits for" not in shop.here(*line, option, "--max-wait", "1ms").stderr


def test_a_killed_run_goes_on_where_it_was(shop: Project) -> None:
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    with shop.start(*line) as owner:
        owner.until_stderr_says("charge (0) completed")
    assert owner.process.returncode == -signal.SIGKILL
    assert shop.here("signal", "order-1", "approval", "true").code == 0
    assert shop.here(*line, "-q").stdout == '"tracking of r1"\n'
    assert shop.world == ["charge", "ship"]


def test_of_two_runs_of_one_id_one_works_and_the_other_is_told_who(shop: Project) -> None:
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    with shop.start(*line) as owner:
        owner.until_stderr_says("charge (0) completed")
        before = shop.snapshot()
        done = shop.here(*line, "-q")
        scripted = shop.here(*line, "-q", "-o", "json")
        assert shop.snapshot() == before
        assert shop.here("signal", "order-1", "approval", "true").code == 0
        assert owner.end().stdout == '"tracking of r1"\n'
    document = scripted.document
    assert (done.code, scripted.code, done.stdout) == (6, 6, "")
    assert (document["code"], document["pid"], document["host"]) == ("owned-elsewhere", owner.pid, os.uname().nodename)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", document["since"])
    assert without_import(done.stderr) == (
        f"error[owned-elsewhere]: order-1 is owned by process {owner.pid} on {os.uname().nodename} (run) "
        f"since {document['since']}\n"
        "  hint: wait until it ends, or stop it; its lock is free as soon as it is gone\n"
    )
    assert shop.world == ["charge", "ship"]


def test_replay_list_and_show_do_not_mind_an_owner(shop: Project) -> None:
    with shop.start("run", "order", "--id", "order-1", "--input", '"A1"') as owner:
        owner.until_stderr_says("charge (0) completed")
        before = shop.snapshot()
        assert shop.here("replay", "order-1").stdout.startswith("open")
        assert shop.here("list").code == shop.here("show", "order-1").code == 0
        assert shop.snapshot() == before


BEATS = """
import time, aion_cli

@activity
def copy() -> str:
    info = aion_cli.activity_info()
    if info.attempt > 1:
        return f"from {info.heartbeat_details} on"
    aion_cli.heartbeat(7)
    time.sleep(600)

@workflow
async def copying() -> str:
    return await copy()
"""


def test_the_details_of_the_last_heartbeat_outlive_a_kill(project: Project) -> None:
    project.write(BEATS)
    with project.start("run", "copying", "--id", "c") as owner:
        owner.until_stderr_says("copy (0) started")
        while "ActivityHeartbeat" not in project.names("c"):
            time.sleep(0.01)
        owner.signal(signal.SIGKILL)
        owner.end()
    assert project.here("run", "copying", "--id", "c").document == "from 7 on"
