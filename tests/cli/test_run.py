"""`aion run`: what goes to stdout and what to stderr, and with which exit code it ends."""

from __future__ import annotations

import os
import re
import shlex
import signal
from pathlib import Path

import pytest

from aion_cli.cli import output
from aion_cli.cli.output import ExitCode
from aion_cli.core import events as ev
from aion_cli.runtime.files import Calls
from tests.cli.support import Done, Project

ORDER = """
    import os
    import subprocess
    import sys

    approval = Signal("approval", bool)

    class Declined(Exception):
        pass

    @activity
    def charge(sku: str) -> str:
        note("charge")
        if sku == "broken":
            raise Declined("no funds")
        return "r1"

    @activity
    def ship(receipt: str) -> str:
        note("ship")
        return "tracking of " + receipt

    @workflow
    async def order(sku: str) -> str:
        receipt = await charge(sku)
        if not await approval.receive():
            raise ValueError("not approved")
        return await ship(receipt)

    @workflow
    async def hello(name: str = "žluťoučký kůň") -> str:
        return name

    @workflow
    async def nothing() -> None: ...

    @workflow
    async def failing(cents: int) -> str:
        return check(cents)

    def check(cents: int) -> str:
        error = ValueError(f"{cents} is too little")
        error.add_note("ask for more")
        raise error

    @workflow
    async def sleeper(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @workflow
    async def unfit() -> int:
        return "seven"

    print("imported")

    @activity
    def noisy_thread() -> None:
        print("thread")
        os.write(1, b"descriptor\\n")
        subprocess.run([sys.executable, "-c", "print('child process')"], check=True)

    @activity
    async def noisy_task() -> None:
        print("task")
        sys.__stdout__.write("original stdout\\n")

    @workflow
    async def noisy() -> str:
        print("workflow")
        await asyncio.gather(noisy_thread(), noisy_task())
        return "result"

    busy = 0

    @activity
    async def crowded() -> int:
        global busy
        busy += 1
        seen = busy
        for _ in range(20):
            await asyncio.sleep(0)
        seen = max(seen, busy)
        busy -= 1
        return seen

    @workflow
    async def crowd(size: int) -> int:
        return max(await asyncio.gather(*[crowded() for _ in range(size)]))

    @workflow
    async def sequence(length: int) -> int:
        for _ in range(length):
            await crowded()
        return length

    @activity
    def work(name: str) -> str:
        note("begun")
        while not os.path.exists("may-end"):
            pass
        note("ended")
        return name

    @workflow
    async def worker() -> str:
        first = await work("one")
        await approval.receive()
        return first
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write(ORDER, "workflows/shop.py")
    return made


def approved(project: Project, payload: str = "true", run: str = "order-1") -> None:
    """Start an order, and have it approved."""
    assert project.here("run", "order", "--id", run, "--input", '"A1"', "--until-blocked").code == 3
    assert project.here("signal", run, "approval", payload).code == 0


def without_import(stderr: str) -> str:
    """Leave out what the workflow file prints when it is imported."""
    return stderr.replace("imported\n", "")


# How it ends


def test_a_completed_run_prints_its_result_alone(project: Project) -> None:
    approved(project)
    done = project.here("run", "order", "--id", "order-1")
    assert (done.code, done.stdout) == (0, '"tracking of r1"\n')
    assert without_import(done.stderr).splitlines() == [
        "order-1  ship (1) started",
        "order-1  ship (1) completed",
        "order-1  completed",
    ]


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_scripts_get_one_object(project: Project, mode: str) -> None:
    done = project.here("run", "hello", "--id", "h", "-o", mode, "-q")
    run_id = project.events("h")[0].run_id
    assert list(done.document.items()) == [
        ("run", "h"),
        ("run_id", run_id),
        ("status", "completed"),
        ("result", "žluťoučký kůň"),
        ("next_wake_at", None),
    ]
    assert "žluťoučký kůň" in done.stdout


def test_a_result_is_the_recorded_json_to_the_byte(project: Project) -> None:
    done = project.here("run", "hello", "--id", "h", "-q")
    (event,) = (e for e in project.events("h") if isinstance(e, ev.WorkflowCompleted))
    assert done.stdout.encode() == bytes(event.result) + b"\n" == '"žluťoučký kůň"\n'.encode()
    assert project.here("run", "nothing", "-q").stdout == "null\n"


FAILED = """\
error[workflow-failed]: f failed: ValueError: 5 is too little
    File "{outer}", in failing
    File "{inner}", in check
  note: ask for more
"""


def traceback_of(project: Project) -> str:
    outer, inner = (
        project.line_of(text, "workflows/shop.py").replace(":", '", line ') for text in ("return check", "raise error")
    )
    return FAILED.format(outer=outer, inner=inner).replace('",', '",').replace('", in', ", in")


def test_a_failed_run_says_why_with_the_authors_lines_and_prints_nothing(project: Project) -> None:
    done = project.here("run", "failing", "--id", "f", "--input", "5", "-q")
    assert (done.code, done.stdout) == (1, "")
    assert without_import(done.stderr) == traceback_of(project)


def test_scripts_get_the_error_of_a_failed_run(project: Project) -> None:
    done = project.here("run", "failing", "--id", "f", "--input", "5", "-q", "-o", "json")
    document = done.document
    assert (done.code, list(document)) == (1, ["run", "run_id", "status", "error", "next_wake_at"])
    assert (document["status"], document["next_wake_at"]) == ("failed", None)
    error = document["error"]
    assert (error["kind"], error["type"], error["message"]) == ("error", "ValueError", "5 is too little")
    assert error["notes"] == ["ask for more"]
    assert without_import(done.stderr) == traceback_of(project)


def test_a_failed_activity_that_nobody_caught_shows_who_awaited_it_and_where_it_failed(project: Project) -> None:
    done = project.here("run", "order", "--id", "order-1", "--input", '"broken"')
    assert (done.code, done.stdout) == (1, "")
    awaited, failed = (
        project.line_of(text, "workflows/shop.py").replace(":", '", line ') for text in ("await charge", "no funds")
    )
    lines = without_import(done.stderr).splitlines()
    assert lines[-3:] == [
        "error[workflow-failed]: order-1 failed: Declined: no funds",
        f'    File "{awaited}, in order',
        f'    File "{failed}, in charge',
    ]
    assert project.here("replay", "order-1").code == 0


def test_a_result_that_does_not_fit_its_annotation_fails_the_run(project: Project) -> None:
    done = project.here("run", "unfit", "--id", "u", "-q")
    assert (done.code, done.stdout) == (1, "")
    assert without_import(done.stderr).startswith("error[workflow-failed]: u failed: PayloadError: Expected `int`")


@pytest.mark.parametrize("mode", ["human", "json"])
@pytest.mark.parametrize(("payload", "code"), [("true", 0), ("false", 1)])
def test_a_closed_run_prints_its_recorded_outcome_again_and_does_nothing(
    project: Project, payload: str, code: int, mode: str
) -> None:
    approved(project, payload)
    line = ["run", "order", "--id", "order-1", "--input", '"A1"', "-q", "-o", mode]
    first = project.here(*line)
    before = project.snapshot()
    assert first.code == code
    assert project.here(*line) == first
    assert project.here("run", "order", "--id", "order-1", "-q", "-o", mode) == first
    assert project.snapshot() == before


def test_a_run_that_was_cancelled_is_exit_code_9_every_time(project: Project) -> None:
    approved(project)
    assert project.here("cancel", "order-1", "--reason", "sold out", "-q").code == 0
    for _ in range(2):
        done = project.here("run", "order", "--id", "order-1", "-q")
        assert (done.code, done.stdout) == (9, "")
        assert without_import(done.stderr) == "order-1 is cancelled: sold out\n"
    assert project.world == ["charge"]


# Suspended


def test_until_blocked_says_what_a_run_waits_for_and_how_to_go_on(project: Project) -> None:
    done = project.here("run", "order", "--id", "order-1", "--input", '"A1"', "--until-blocked")
    document = done.document
    run_id, since = project.events("order-1")[0].run_id, project.events("order-1")[-1].recorded_at
    where = project.line_of("await approval.receive():", "workflows/shop.py")
    assert done.code == 3
    assert document == {
        "run": "order-1",
        "run_id": run_id,
        "status": "waiting",
        "waiting": [{"kind": "signal", "name": "approval", "since": since, "deadline": None, "where": where}],
        "next_wake_at": None,
    }
    assert done.stderr.splitlines()[-1] == "order-1 is open (waiting); go on with: aion run order --id order-1"


def test_what_a_suspended_run_prints_is_the_same_in_every_mode(project: Project) -> None:
    approved_not_yet = ["run", "order", "--id", "order-1", "--input", '"A1"', "--until-blocked", "-q"]
    first = project.here(*approved_not_yet)
    assert [project.here(*approved_not_yet, "-o", mode) for mode in ("human", "json", "jsonl")] == [first] * 3


def test_a_run_that_waits_for_a_timer_says_when_it_wakes(project: Project) -> None:
    done = project.here("run", "sleeper", "--id", "s", "--input", "3600", "--until-blocked", "-q")
    (timer,) = (e for e in project.events("s") if isinstance(e, ev.TimerStarted))
    (waiting,) = done.document["waiting"]
    assert (done.code, done.document["status"], done.document["next_wake_at"]) == (3, "waiting", timer.fire_at)
    assert (waiting["kind"], waiting["deadline"]) == ("timer", timer.fire_at)


def test_until_blocked_still_fires_a_timer_that_is_overdue(project: Project) -> None:
    line = ["run", "sleeper", "--id", "s", "--input", "0.001", "--until-blocked", "-q"]
    project.here(*line)
    assert project.here(*line) == Done(0, '"slept"\n', "imported\n")


def test_max_wait_ends_a_run_that_waits(project: Project) -> None:
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    assert project.here(*line, "--until-blocked").code == 3
    done = project.here(*line, "--max-wait", "1ms")
    assert (done.code, done.document["status"]) == (3, "waiting")
    assert done.stderr.splitlines()[-1] == "order-1 is open (waiting); go on with: aion run order --id order-1"


def test_max_wait_ends_a_run_that_works_and_records_what_came_within_grace(project: Project) -> None:
    done = project.aion("run", "worker", "--id", "w", "--max-wait", "1s", "--grace", "50ms", "-q")
    assert (done.code, done.document["status"]) == (3, "running")
    assert [wait["name"] for wait in done.document["waiting"]] == ["work"]
    assert project.names("w")[-1] in ("ActivityScheduled", "ActivityStarted")  # the first on a very slow machine


# Ids and inputs


def test_without_an_id_a_fresh_one_is_named_on_stderr(project: Project) -> None:
    first = project.here("run", "order", "--input", '"A1"', "--until-blocked")
    run = first.document["run"]
    assert re.fullmatch(r"order-\d{8}-\d{6}-[0-9a-f]{4}", run)
    assert without_import(first.stderr).splitlines()[0] == f"run {run}"
    assert project.history(run).exists()


def test_another_input_for_an_existing_id_is_exit_code_8(project: Project) -> None:
    approved(project)
    before = project.snapshot()
    done = project.here("run", "order", "--id", "order-1", "--input", '"A2"', "-q")
    assert (done.code, done.stdout) == (8, "")
    assert without_import(done.stderr) == (
        "error[wrong-state]: order-1 was started with another input\n"
        "  at histories/order-1.jsonl:1\n"
        "  hint: leave the input out to go on with it, or give the new run another id (--if-exists new)\n"
    )
    assert project.snapshot() == before


def test_the_same_input_in_another_layout_or_through_p_is_the_same(project: Project) -> None:
    for input in (["--input", '{"name":"Ada"}'], ["--input", ' { "name" : "Ada" } '], ["-p", "name=Ada"]):
        project.write("@workflow\nasync def one(name: str, times: int = 1) -> str: return name * times\n", "one.py")
        assert project.here("run", "one.py", "--id", "o", *input, "-q") == (0, '"Ada"\n', "")


def test_the_id_of_another_workflow_is_exit_code_8(project: Project) -> None:
    approved(project)
    done = project.here("run", "hello", "--id", "order-1", "-q")
    assert (done.code, done.stdout) == (8, "")
    assert "error[wrong-state]: order-1 is a run of order, not of hello\n" in done.stderr


def test_if_exists_fail_is_exit_code_8_and_new_takes_the_next_free_id(project: Project) -> None:
    line = ["run", "hello", "--id", "h", "-o", "json", "-q"]
    assert project.here(*line, "--if-exists", "fail").code == 0
    before = project.snapshot()
    done = project.here(*line, "--if-exists", "fail")
    assert (done.code, done.document["code"]) == (8, "wrong-state")
    assert "error[wrong-state]: there is a run h already\n" in done.stderr
    assert project.snapshot() == before
    runs = [project.here(*line, "--if-exists", "new", "--input", f'"{n}"').document["run"] for n in range(2)]
    assert runs == ["h-2", "h-3"]


# Interruptions


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.SIGINT), (signal.SIGTERM, ExitCode.SIGTERM)], ids=str
)
def test_an_interrupted_run_is_open_and_stderr_ends_with_the_line_that_goes_on(
    project: Project, number: int, code: int
) -> None:
    with project.start("--histories", "my runs", "run", "order", "--id", "order-1", "--input", '"A1"') as owner:
        owner.until_stderr_says("charge (0) completed")
        owner.signal(number)
        done = owner.end()
    assert (done.code, done.stdout) == (code, "")
    said, _, line = done.stderr.splitlines()[-1].partition("; go on with: ")
    assert said == "order-1 was interrupted and is open"
    assert line == "aion --histories 'my runs' run order --id order-1"
    assert project.here("--histories", "my runs", "signal", "order-1", "approval", "true").code == 0
    assert project.here(*shlex.split(line)[1:], "-q").stdout == '"tracking of r1"\n'
    assert project.world == ["charge", "ship"]


def test_an_activity_in_flight_ends_within_grace_and_is_not_done_again(project: Project) -> None:
    with project.start("run", "worker", "--id", "w") as owner:
        owner.until_stderr_says("work (0) started")
        owner.signal(signal.SIGTERM)
        (project.root / "may-end").touch()
        done = owner.end()
    assert (done.code, done.stdout) == (143, "")
    assert project.names("w")[-1] == "ActivityCompleted"
    assert project.here("run", "worker", "--id", "w", "--until-blocked", "-q").code == 3
    assert project.world == ["begun", "ended"]


def test_a_second_interruption_waits_for_nothing(project: Project) -> None:
    with project.start("run", "worker", "--id", "w", "--grace", "300") as owner:
        owner.until_stderr_says("work (0) started")
        owner.signal(signal.SIGTERM)
        owner.until_stderr_says("stopping: what is in flight has 5m to end; interrupt again to stop at once")
        owner.signal(signal.SIGINT)
        done = owner.end()
    assert (done.code, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == "w was interrupted and is open; go on with: aion run worker --id w"
    assert project.names("w")[-1] == "ActivityStarted"


def test_an_interruption_that_waits_for_nothing_says_nothing_of_waiting(project: Project) -> None:
    with project.start("run", "order", "--id", "order-1", "--input", '"A1"') as owner:
        owner.until_stderr_says("waits for signal")
        owner.signal(signal.SIGINT)
        assert "stopping" not in owner.end().stderr


def test_a_run_that_waits_for_a_signal_says_so_when_it_begins_to_and_when_it_is_gone_on_with(project: Project) -> None:
    place = project.line_of("await approval.receive():", "workflows/shop.py")
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    for begins in (["order-1  order started", "order-1  charge (0) started", "order-1  charge (0) completed"], []):
        with project.start(*line) as owner:
            owner.until_stderr_says("waits for")
            owner.signal(signal.SIGTERM)
            done = owner.end()
        assert without_import(done.stderr).splitlines() == [
            *begins,
            f"order-1  waits for signal approval ({place})",
            "order-1 was interrupted and is open; go on with: aion run order --id order-1",
        ]
    for option in ("-q", "--until-blocked"):
        assert "waits for" not in project.here(*line, option, "--max-wait", "1ms").stderr


def test_a_killed_run_goes_on_where_it_was(project: Project) -> None:
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    with project.start(*line) as owner:
        owner.until_stderr_says("charge (0) completed")
    assert owner.process.returncode == -signal.SIGKILL
    assert project.here("signal", "order-1", "approval", "true").code == 0
    assert project.here(*line, "-q").stdout == '"tracking of r1"\n'
    assert project.world == ["charge", "ship"]


# Owners


def test_of_two_runs_of_one_id_one_works_and_the_other_is_told_who(project: Project) -> None:
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    with project.start(*line) as owner:
        owner.until_stderr_says("charge (0) completed")
        before = project.snapshot()
        done = project.here(*line, "-q")
        scripted = project.here(*line, "-q", "-o", "json")
        assert project.snapshot() == before
        assert project.here("signal", "order-1", "approval", "true").code == 0
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
    assert project.world == ["charge", "ship"]


def test_replay_list_and_show_do_not_mind_an_owner(project: Project) -> None:
    with project.start("run", "order", "--id", "order-1", "--input", '"A1"') as owner:
        owner.until_stderr_says("charge (0) completed")
        before = project.snapshot()
        assert project.here("replay", "order-1").stdout.startswith("open")
        assert project.here("list").code == project.here("show", "order-1").code == 0
        assert project.snapshot() == before


# Streams


def test_nothing_that_is_printed_on_the_way_reaches_stdout(project: Project) -> None:
    done = project.aion("run", "noisy", "--id", "n")
    assert (done.code, done.stdout) == (0, '"result"\n')
    for text in ("imported", "workflow", "thread", "descriptor", "child process", "task", "original stdout"):
        assert f"{text}\n" in done.stderr


def test_a_replayed_workflow_does_not_print_again(project: Project) -> None:
    project.aion("run", "noisy", "--id", "n")
    assert "workflow\n" not in project.aion("replay", "n").stderr


def test_quiet_leaves_only_what_matters(project: Project) -> None:
    (project.root / "workflows/shop.py").write_text(
        (project.root / "workflows/shop.py").read_text().replace('print("imported")', "")
    )
    assert project.here("run", "hello", "-q") == (0, '"žluťoučký kůň"\n', "")


# Options


def test_full_durability_syncs_and_process_durability_does_not(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def count(calls: Calls, fd: int) -> None:
        del calls
        synced.append(fd)

    monkeypatch.setattr(Calls, "fdatasync", count)
    counts: dict[tuple[str, int], int] = {}
    for durability in ("process", "full"):
        for size in (0, 3):
            synced.clear()
            line = ["run", "sequence", "--input", str(size), "--durability", durability, "-q"]
            assert project.here(*line) == Done(0, f"{size}\n", "imported\n")
            counts[durability, size] = len(synced)
    assert counts["process", 3] == counts["process", 0]
    assert counts["full", 3] >= counts["full", 0] + 3


def test_tags_are_recorded_and_found_again(project: Project) -> None:
    project.here("run", "hello", "--id", "h", "--tag", "team=a", "--tag", "env=x=y")
    project.here("run", "hello", "--id", "other")
    assert project.events("h")[0].tags == {"team": "a", "env": "x=y"}
    assert [run["workflow_id"] for run in project.here("list", "--tag", "team=a", "-o", "json").document] == ["h"]


@pytest.mark.parametrize(("limit", "most"), [(["--max-concurrency", "1"], 1), (["--max-concurrency", "3"], 3), ([], 8)])
def test_max_concurrency_really_limits(project: Project, limit: list[str], most: int) -> None:
    done = project.here("run", "crowd", "--input", "8", "-q", *limit)
    assert (done.code, done.stdout) == (0, f"{most}\n")


def test_activities_that_wait_for_room_are_recorded_as_started_when_they_start(project: Project) -> None:
    project.here("run", "crowd", "--id", "c", "--input", "3", "--max-concurrency", "1", "-q")
    in_flight = most = 0
    for event in project.events("c"):
        in_flight += isinstance(event, ev.ActivityStarted) - isinstance(event, ev.ActivityCompleted)
        most = max(most, in_flight)
    assert most == 1


def test_every_exit_code_of_the_contract_has_a_name() -> None:
    assert {code.value for code in ExitCode} == {*range(11), 70, 130, 141, 143}
    assert output.ExitCode is ExitCode
