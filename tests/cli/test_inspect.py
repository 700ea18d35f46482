"""`aion list` and `aion show`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from aion_cli.cli.table import Cell, Column, Table
from aion_cli.core import events as ev
from aion_cli.core.lines import ZERO_DIGEST, encode_line

HOSTILE = 'A1 \x1b]0;x\x07\u202e\x9b31m\r"'


def aion(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AION_")}
    return subprocess.run(
        [sys.executable, "-m", "aion_cli", *args],
        cwd=cwd,
        env=environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def started(workflow_id: str, input: object = None, **tags: str) -> ev.Event:
    return ev.WorkflowStarted(
        format=1,
        workflow_id=workflow_id,
        run_id=f"run-of-{workflow_id}",
        workflow_type="order_saga",
        input=raw(input),
        definition=ev.DefinitionRef("order_saga", "workflows/order_saga.py", ""),
        runtime=ev.RuntimeRef("0.1.0", "3.11.7"),
        tags=tags,
    )


def scheduled() -> ev.Event:
    return ev.ActivityScheduled(activity_id=0, activity_type="charge", input=raw({"sku": "A1"}))


def write(folder: Path, name: str, *events: ev.Event) -> Path:
    """Write a history, one second between its events."""
    digest, lines = ZERO_DIGEST, b""
    for seq, event in enumerate(events, start=1):
        stamped = msgspec.structs.replace(event, seq=seq, recorded_at=f"2026-03-01T09:30:{seq:02}.000000Z")
        line, digest = encode_line(stamped, digest)
        lines += line
    path = folder / f"{name}.jsonl"
    path.write_bytes(lines)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with three runs: one done, one in flight, one that waits for a timer."""
    histories = tmp_path / "histories"
    histories.mkdir()
    completed = ev.ActivityCompleted(activity_id=0, attempt=1, result=raw("r1"))
    write(
        histories,
        "done",
        started("done", {"sku": "A1"}),
        scheduled(),
        completed,
        ev.WorkflowCompleted(result=raw("žluť")),
    )
    write(histories, "busy", started("busy", team="a"), scheduled())
    write(histories, "idle", started("idle"), ev.TimerStarted(timer_id=0, fire_at="2999-01-01T00:00:00.000000Z"))
    return tmp_path


def test_list_shows_status_and_what_each_run_waits_for(project: Path) -> None:
    done = aion("list", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    header, busy, finished, idle = done.stdout.splitlines()
    assert header.split()[:4] == ["run", "workflow", "status", "for"]
    assert re.fullmatch(r"busy +order_saga +running +\S.* +activity charge", busy)
    assert re.fullmatch(r'done +order_saga +completed +\S.* +"žluť"', finished)
    assert re.fullmatch(r"idle +order_saga +waiting +\S.* +timer in \d+d( \d+h)?", idle)


def test_list_as_json_is_one_array(project: Path) -> None:
    done = aion("list", "-o", "json", cwd=project)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    busy, finished, _ = json.loads(done.stdout)
    assert finished == {
        "workflow_id": "done",
        "run_id": "run-of-done",
        "workflow_type": "order_saga",
        "status": "completed",
        "tags": {},
        "since": "2026-03-01T09:30:04.000000Z",
        "waiting": [],
    }
    since = "2026-03-01T09:30:02.000000Z"
    waiting = [{"kind": "activity", "name": "charge", "since": since, "deadline": None, "where": None}]
    assert (busy["status"], busy["tags"], busy["since"], busy["waiting"]) == ("running", {"team": "a"}, since, waiting)


def test_list_as_jsonl_is_one_object_a_line(project: Path) -> None:
    done = aion("list", "-o", "jsonl", cwd=project)
    assert [json.loads(line)["workflow_id"] for line in done.stdout.splitlines()] == ["busy", "done", "idle"]


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        (["--status", "running"], ["busy"]),
        (["--status", "running", "--status", "waiting"], ["busy", "idle"]),
        (["--tag", "team=a"], ["busy"]),
        (["--tag", "team=b"], []),
    ],
)
def test_list_can_be_narrowed_down(project: Path, options: list[str], runs: list[str]) -> None:
    done = aion("list", "-o", "json", *options, cwd=project)
    assert (done.returncode, [run["workflow_id"] for run in json.loads(done.stdout)]) == (0, runs)


def test_a_list_that_is_narrowed_down_to_nothing_does_not_say_that_there_are_no_runs(project: Path) -> None:
    assert aion("list", "--tag", "no=such", cwd=project).stderr == "no such runs in histories\n"


def test_an_unknown_status_is_a_usage_error(project: Path) -> None:
    done = aion("list", "--status", "asleep", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error[usage]: there is no status 'asleep'" in done.stderr


def test_a_history_that_cannot_be_read_is_reported_and_hides_no_other(project: Path) -> None:
    path = project / "histories" / "busy.jsonl"
    path.write_bytes(path.read_bytes().replace(b"charge", b"CHARGE"))
    for mode, count in (("human", 3), ("jsonl", 2)):
        done = aion("list", "-o", mode, cwd=project)
        assert done.returncode == 5
        assert len(done.stdout.splitlines()) == count
        assert done.stderr.startswith("error[damaged]: ")
        assert "at histories/busy.jsonl:2" in done.stderr


def test_a_folder_without_runs_is_no_error(tmp_path: Path) -> None:
    assert aion("list", "-o", "json", cwd=tmp_path).stdout == "[]\n"
    done = aion("list", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no runs in histories\n")
    assert list(tmp_path.iterdir()) == []


def test_show_names_every_event_in_order(project: Path) -> None:
    done = aion("show", "done", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        " seq  time (UTC)          event                    what",
        '   1  03-01 09:30:01.000  WorkflowStarted          order_saga  {"sku":"A1"}',
        '   2  03-01 09:30:02.000  ActivityScheduled        charge (0)  {"sku":"A1"}',
        '   3  03-01 09:30:03.000  ActivityCompleted        charge (0)  "r1"',
        '   4  03-01 09:30:04.000  WorkflowCompleted        "žluť"',
    ]


def test_show_as_jsonl_is_the_file_byte_for_byte(project: Path) -> None:
    done = aion("show", "done", "-o", "jsonl", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (project / "histories" / "done.jsonl").read_text()


def test_show_as_json_is_one_array_of_the_recorded_events(project: Path) -> None:
    done = aion("show", str(project / "histories" / "done.jsonl"), "-o", "json", cwd=project)
    assert [event["seq"] for event in json.loads(done.stdout)] == [1, 2, 3, 4]
    assert done.stdout.count("\n") == 1


def test_show_of_a_run_that_is_not_there_is_exit_code_7(project: Path) -> None:
    done = aion("show", "dune", "-o", "json", cwd=project)
    assert done.returncode == 7
    assert (json.loads(done.stdout)["code"], json.loads(done.stdout)["run"]) == ("no-such-run", "dune")
    assert done.stderr.splitlines() == ["error[no-such-run]: there is no run dune", "  hint: did you mean done?"]


@pytest.mark.parametrize(("mode", "shown"), [("human", 3), ("jsonl", 3), ("json", 1)])
def test_show_of_a_damaged_history_shows_what_is_above_and_then_the_damage(
    project: Path, mode: str, shown: int
) -> None:
    path = project / "histories" / "done.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"result":"r1"', b'"result":"r2"'))
    done = aion("show", "done", "-o", mode, cwd=project)
    assert (done.returncode, len(done.stdout.splitlines())) == (5, shown)
    assert done.stderr.startswith("error[damaged]: ")
    if mode != "human":
        assert json.loads(done.stdout.splitlines()[-1])["line"] == 3


def test_an_unfinished_last_line_is_ignored_and_mentioned(project: Path) -> None:
    path = project / "histories" / "busy.jsonl"
    path.write_bytes(path.read_bytes() + b'{"type":"Act')
    done = aion("show", "busy", cwd=project)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert done.stderr == "histories/busy.jsonl:3 ends in an unfinished line of 12 bytes; ignored\n"


def test_what_a_stranger_wrote_cannot_steer_the_terminal(project: Path) -> None:
    failure = ev.Failure(kind=ev.ErrorKind.ERROR, type=HOSTILE, message=HOSTILE)
    write(project / "histories", "evil", started("evil", HOSTILE), ev.WorkflowFailed(error=failure))
    for command in (["show", "evil"], ["list"]):
        done = aion(*command, cwd=project)
        assert done.returncode == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout + done.stderr)
        assert "\\u202e" in done.stdout


def test_a_table_on_a_terminal_cuts_only_its_last_column() -> None:
    table = Table([Column("run", 5), Column("what")], width=40, color=False)
    assert table.row(["order", "x" * 60]) == "order  " + "x" * 32 + "…"
    assert table.row(["a-very-long-order-id", "x" * 60]) == "a-very-long-order-id  " + "x" * 17 + "…"


def test_a_table_in_a_pipe_cuts_its_last_column_only_to_the_most_that_it_may_have() -> None:
    table = Table([Column("run", 5), Column("what")], width=None, color=False)
    assert table.row(["order", "x" * 600]) == "order  " + "x" * 600
    table = Table([Column("run", 5), Column("what", most=100)], width=None, color=False)
    assert table.row(["order", "x" * 600]) == "order  " + "x" * 99 + "…"


def test_a_long_result_is_cut_in_a_list_in_a_pipe_too_and_whole_for_scripts(tmp_path: Path) -> None:
    (tmp_path / "histories").mkdir()
    write(tmp_path / "histories", "long", started("long"), ev.WorkflowCompleted(result=raw("x" * 5000)))
    (_, row) = aion("list", cwd=tmp_path).stdout.splitlines()
    assert row.endswith("xxx…")
    assert len(row) < 250
    assert len(aion("result", "long", cwd=tmp_path).stdout) > 5000


def test_the_columns_of_show_line_up_under_the_longest_names_of_events(tmp_path: Path) -> None:
    (tmp_path / "histories").mkdir()
    events = [ev.WorkflowCancelRequested(request_id="k", reason="enough"), ev.WorkflowCancelled(reason="enough")]
    write(tmp_path / "histories", "c", started("c"), *events)
    _, _, *rows = aion("show", "c", cwd=tmp_path).stdout.splitlines()
    assert len({row.index("enough") for row in rows}) == 1


def test_a_table_on_a_narrow_terminal_gives_the_last_column_a_line_of_its_own() -> None:
    table = Table([Column("run", 20), Column("what")], width=30, color=False)
    assert table.row(["order", "x" * 60]) == "order\n    " + "x" * 25 + "…"


def test_colours_do_not_count_as_width() -> None:
    table = Table([Column("status", 8), Column("what")], width=80, color=True)
    assert table.row([Cell("done", "\x1b[32m"), "x"]) == "\x1b[32mdone\x1b[0m      x"
