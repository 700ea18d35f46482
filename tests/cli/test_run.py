"""`aion run`: what goes to stdout and what to stderr, and with which exit code it ends."""

from __future__ import annotations

import re

import pytest

from aion_cli.cli import output
from aion_cli.cli.output import ExitCode
from aion_cli.core import events as ev
from aion_cli.runtime.files import Calls
from tests.cli.shop import approved, without_import
from tests.cli.support import Done, Project

# How it ends


def test_a_completed_run_prints_its_result_alone(shop: Project) -> None:
    approved(shop)
    done = shop.here("run", "order", "--id", "order-1")
    assert (done.code, done.stdout) == (0, '"tracking of r1"\n')
    assert without_import(done.stderr).splitlines() == [
        "order-1  ship (1) started",
        "order-1  ship (1) completed",
        "order-1  completed",
    ]


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_scripts_get_one_object(shop: Project, mode: str) -> None:
    done = shop.here("run", "hello", "--id", "h", "-o", mode, "-q")
    run_id = shop.events("h")[0].run_id
    assert list(done.document.items()) == [
        ("run", "h"),
        ("run_id", run_id),
        ("status", "completed"),
        ("result", "žluťoučký kůň"),
        ("next_wake_at", None),
    ]
    assert "žluťoučký kůň" in done.stdout


def test_a_result_is_the_recorded_json_to_the_byte(shop: Project) -> None:
    done = shop.here("run", "hello", "--id", "h", "-q")
    (event,) = (e for e in shop.events("h") if isinstance(e, ev.WorkflowCompleted))
    assert done.stdout.encode() == bytes(event.result) + b"\n" == '"žluťoučký kůň"\n'.encode()
    assert shop.here("run", "nothing", "-q").stdout == "null\n"


FAILED = """\
error[workflow-failed]: f failed: ValueError: 5 is too little
    File "{outer}", in failing
    File "{inner}", in check
  note: ask for more
  hint: once its code is mended: aion reopen f && aion resume f
"""


def traceback_of(shop: Project) -> str:
    outer, inner = (
        shop.line_of(text, "workflows/shop.py").replace(":", '", line ') for text in ("return check", "raise error")
    )
    return FAILED.format(outer=outer, inner=inner).replace('",', '",').replace('", in', ", in")


def test_a_failed_run_says_why_with_the_authors_lines_and_prints_nothing(shop: Project) -> None:
    done = shop.here("run", "failing", "--id", "f", "--input", "5", "-q")
    assert (done.code, done.stdout) == (1, "")
    assert without_import(done.stderr) == traceback_of(shop)


def test_scripts_get_the_error_of_a_failed_run(shop: Project) -> None:
    done = shop.here("run", "failing", "--id", "f", "--input", "5", "-q", "-o", "json")
    document = done.document
    assert (done.code, list(document)) == (1, ["run", "run_id", "status", "error", "next_wake_at"])
    assert (document["status"], document["next_wake_at"]) == ("failed", None)
    error = document["error"]
    assert (error["kind"], error["type"], error["message"]) == ("error", "ValueError", "5 is too little")
    assert error["notes"] == ["ask for more"]
    assert without_import(done.stderr) == traceback_of(shop)


def test_a_failed_activity_that_nobody_caught_shows_who_awaited_it_and_where_it_failed(shop: Project) -> None:
    done = shop.here("run", "order", "--id", "order-1", "--input", '"broken"')
    assert (done.code, done.stdout) == (1, "")
    awaited, failed = (
        shop.line_of(text, "workflows/shop.py").replace(":", '", line ') for text in ("await charge", "no funds")
    )
    lines = without_import(done.stderr).splitlines()
    assert lines[-4:-1] == [
        "error[workflow-failed]: order-1 failed: Declined: no funds",
        f'    File "{awaited}, in order',
        f'    File "{failed}, in charge',
    ]
    assert shop.here("replay", "order-1").code == 0


def test_a_result_that_does_not_fit_its_annotation_fails_the_run(shop: Project) -> None:
    done = shop.here("run", "unfit", "--id", "u", "-q")
    assert (done.code, done.stdout) == (1, "")
    assert without_import(done.stderr).startswith("error[workflow-failed]: u failed: PayloadError: Expected `int`")


@pytest.mark.parametrize("mode", ["human", "json"])
@pytest.mark.parametrize(("payload", "code"), [("true", 0), ("false", 1)])
def test_a_closed_run_prints_its_recorded_outcome_again_and_does_nothing(
    shop: Project, payload: str, code: int, mode: str
) -> None:
    approved(shop, payload)
    line = ["run", "order", "--id", "order-1", "--input", '"A1"', "-q", "-o", mode]
    first = shop.here(*line)
    before = shop.snapshot()
    assert first.code == code
    assert shop.here(*line) == first
    assert shop.here("run", "order", "--id", "order-1", "-q", "-o", mode) == first
    assert shop.snapshot() == before


def test_a_run_that_was_cancelled_is_exit_code_9_every_time(shop: Project) -> None:
    approved(shop)
    assert shop.here("cancel", "order-1", "--reason", "sold out", "-q").code == 0
    for _ in range(2):
        done = shop.here("run", "order", "--id", "order-1", "-q")
        assert (done.code, done.stdout) == (9, "")
        assert without_import(done.stderr) == "order-1 is cancelled: sold out\n"
    assert shop.world == ["charge"]


# Suspended


def test_until_blocked_says_what_a_run_waits_for_and_how_to_go_on(shop: Project) -> None:
    done = shop.here("run", "order", "--id", "order-1", "--input", '"A1"', "--until-blocked")
    document = done.document
    run_id, since = shop.events("order-1")[0].run_id, shop.events("order-1")[-1].recorded_at
    where = shop.line_of("await approval.receive():", "workflows/shop.py")
    assert done.code == 3
    assert document == {
        "run": "order-1",
        "run_id": run_id,
        "status": "waiting",
        "waiting": [{"kind": "signal", "name": "approval", "since": since, "deadline": None, "where": where}],
        "next_wake_at": None,
    }
    assert done.stderr.splitlines()[-1] == "order-1 is open (waiting); go on with: aion run order --id order-1"


def test_what_a_suspended_run_prints_is_the_same_in_every_mode(shop: Project) -> None:
    approved_not_yet = ["run", "order", "--id", "order-1", "--input", '"A1"', "--until-blocked", "-q"]
    first = shop.here(*approved_not_yet)
    assert [shop.here(*approved_not_yet, "-o", mode) for mode in ("human", "json", "jsonl")] == [first] * 3


def test_a_run_that_waits_for_a_timer_says_when_it_wakes(shop: Project) -> None:
    done = shop.here("run", "sleeper", "--id", "s", "--input", "3600", "--until-blocked", "-q")
    (timer,) = (e for e in shop.events("s") if isinstance(e, ev.TimerStarted))
    (waiting,) = done.document["waiting"]
    assert (done.code, done.document["status"], done.document["next_wake_at"]) == (3, "waiting", timer.fire_at)
    assert (waiting["kind"], waiting["deadline"]) == ("timer", timer.fire_at)


def test_until_blocked_still_fires_a_timer_that_is_overdue(shop: Project) -> None:
    line = ["run", "sleeper", "--id", "s", "--input", "0.001", "--until-blocked", "-q"]
    shop.here(*line)
    assert shop.here(*line) == Done(0, '"slept"\n', "imported\n")


def test_max_wait_ends_a_run_that_waits(shop: Project) -> None:
    line = ["run", "order", "--id", "order-1", "--input", '"A1"']
    assert shop.here(*line, "--until-blocked").code == 3
    done = shop.here(*line, "--max-wait", "1ms")
    assert (done.code, done.document["status"]) == (3, "waiting")
    assert done.stderr.splitlines()[-1] == "order-1 is open (waiting); go on with: aion run order --id order-1"


def test_max_wait_ends_a_run_that_works(shop: Project) -> None:
    done = shop.aion("run", "worker", "--id", "w", "--max-wait", "1s", "--grace", "50ms", "-q")
    assert (done.code, done.document["status"]) == (3, "running")
    assert [wait["name"] for wait in done.document["waiting"]] == ["work"]
    assert shop.names("w")[-1] in ("ActivityScheduled", "ActivityStarted")  # the first on a very slow machine


# Ids and inputs


def test_without_an_id_a_fresh_one_is_named_on_stderr(shop: Project) -> None:
    first = shop.here("run", "order", "--input", '"A1"', "--until-blocked")
    run = first.document["run"]
    assert re.fullmatch(r"order-\d{8}-\d{6}-[0-9a-f]{4}", run)
    assert without_import(first.stderr).splitlines()[0] == f"run {run}"
    assert shop.history(run).exists()


def test_another_input_for_an_existing_id_is_exit_code_8(shop: Project) -> None:
    approved(shop)
    before = shop.snapshot()
    done = shop.here("run", "order", "--id", "order-1", "--input", '"A2"', "-q")
    assert (done.code, done.stdout) == (8, "")
    assert without_import(done.stderr) == (
        "error[wrong-state]: order-1 was started with another input\n"
        "  at histories/order-1.jsonl:1\n"
        "  hint: leave the input out to go on with it, or give the new run another id (--if-exists new)\n"
    )
    assert shop.snapshot() == before


def test_the_same_input_in_another_layout_or_through_p_is_the_same(shop: Project) -> None:
    for input in (["--input", '{"name":"Ada"}'], ["--input", ' { "name" : "Ada" } '], ["-p", "name=Ada"]):
        shop.write("@workflow\nasync def one(name: str, times: int = 1) -> str: return name * times\n", "one.py")
        assert shop.here("run", "one.py", "--id", "o", *input, "-q") == (0, '"Ada"\n', "")


def test_the_id_of_another_workflow_is_exit_code_8(shop: Project) -> None:
    approved(shop)
    done = shop.here("run", "hello", "--id", "order-1", "-q")
    assert (done.code, done.stdout) == (8, "")
    assert "error[wrong-state]: order-1 is a run of order, not of hello\n" in done.stderr


def test_if_exists_fail_is_exit_code_8_and_new_takes_the_next_free_id(shop: Project) -> None:
    line = ["run", "hello", "--id", "h", "-o", "json", "-q"]
    assert shop.here(*line, "--if-exists", "fail").code == 0
    before = shop.snapshot()
    done = shop.here(*line, "--if-exists", "fail")
    assert (done.code, done.document["code"]) == (8, "wrong-state")
    assert "error[wrong-state]: there is a run h already\n" in done.stderr
    assert shop.snapshot() == before
    runs = [shop.here(*line, "--if-exists", "new", "--input", f'"{n}"').document["run"] for n in range(2)]
    assert runs == ["h-2", "h-3"]


# Streams


def test_nothing_that_is_printed_on_the_way_reaches_stdout(shop: Project) -> None:
    done = shop.aion("run", "noisy", "--id", "n")
    assert (done.code, done.stdout) == (0, '"result"\n')
    for text in ("imported", "workflow", "thread", "descriptor", "child process", "task", "original stdout"):
        assert f"{text}\n" in done.stderr


def test_a_replayed_workflow_does_not_print_again(shop: Project) -> None:
    shop.aion("run", "noisy", "--id", "n")
    assert "workflow\n" not in shop.aion("replay", "n").stderr


def test_quiet_leaves_only_what_matters(shop: Project) -> None:
    (shop.root / "workflows/shop.py").write_text(
        (shop.root / "workflows/shop.py").read_text().replace('print("imported")', "")
    )
    assert shop.here("run", "hello", "-q") == (0, '"žluťoučký kůň"\n', "")


# Options


def test_full_durability_syncs_and_process_durability_does_not(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
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
            assert shop.here(*line) == Done(0, f"{size}\n", "imported\n")
            counts[durability, size] = len(synced)
    assert counts["process", 3] == counts["process", 0]
    assert counts["full", 3] >= counts["full", 0] + 3


def test_tags_are_recorded_and_found_again(shop: Project) -> None:
    shop.here("run", "hello", "--id", "h", "--tag", "team=a", "--tag", "env=x=y")
    shop.here("run", "hello", "--id", "other")
    assert shop.events("h")[0].tags == {"team": "a", "env": "x=y"}
    assert [run["workflow_id"] for run in shop.here("list", "--tag", "team=a", "-o", "json").document] == ["h"]


@pytest.mark.parametrize(("limit", "most"), [(["--max-concurrency", "1"], 1), (["--max-concurrency", "3"], 3), ([], 8)])
def test_max_concurrency_really_limits(shop: Project, limit: list[str], most: int) -> None:
    done = shop.here("run", "crowd", "--input", "8", "-q", *limit)
    assert (done.code, done.stdout) == (0, f"{most}\n")


def test_activities_that_wait_for_room_are_recorded_as_started_when_they_start(shop: Project) -> None:
    shop.here("run", "crowd", "--id", "c", "--input", "3", "--max-concurrency", "1", "-q")
    in_flight = most = 0
    for event in shop.events("c"):
        in_flight += isinstance(event, ev.ActivityStarted) - isinstance(event, ev.ActivityCompleted)
        most = max(most, in_flight)
    assert most == 1


def test_every_exit_code_of_the_contract_has_a_name() -> None:
    assert {code.value for code in ExitCode} == {*range(11), 70, 130, 141, 143}
    assert output.ExitCode is ExitCode
