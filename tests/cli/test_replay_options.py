"""The options of `aion replay`, many runs at once, and what its verdicts look like."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest

from aion_cli.cli import audit
from aion_cli.cli.code import CodeFinder
from aion_cli.cli.named import named_histories
from aion_cli.cli.settings import Settings
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.reading import HistoryReader
from tests.builders import completed, ended, scheduled, started
from tests.cli.audited import change, damage, orders_in, write
from tests.cli.support import Project, environment


@pytest.fixture
def orders(project: Project) -> Project:
    return orders_in(project)


def test_many_runs_get_a_line_each_in_the_order_they_were_named(orders: Project) -> None:
    done = orders.here("replay", "waits-1", "order-2", "order-1.jsonl", "histories/order-1.jsonl")
    assert (done.code, done.stderr) == (0, "")
    assert [line.split()[:4] for line in done.stdout.splitlines()] == [
        ["open", "waits-1", "1", "events,"],
        ["clean", "order-2", "5", "events,"],
        ["clean", "order-1.jsonl", "5", "events,"],
    ]


def test_the_line_of_a_clean_run_ends_with_the_digest_of_its_last_line(orders: Project) -> None:
    done = orders.here("replay", "order-1")
    head = json.loads(orders.history("order-1").read_bytes().splitlines()[-1])["h"]
    assert done.stdout == f"clean     order-1  5 events, head {head}\n"


def test_json_is_one_array_and_jsonl_one_object_a_line(orders: Project) -> None:
    array = orders.here("replay", "order-1", "waits-1", "-o", "json").document
    lines = orders.here("replay", "order-1", "waits-1", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == array
    assert [(each["run"], each["history"], each["verdict"], each["error"]) for each in array] == [
        ("order-1", "histories/order-1.jsonl", "clean", None),
        ("waits-1", "histories/waits-1.jsonl", "open", None),
    ]


def test_the_first_divergence_is_explained_and_the_others_have_their_line(orders: Project) -> None:
    change(orders, "return await charge(sku)", "return await bill(sku)")
    done = orders.here("replay", "order-1", "order-2", "waits-1")
    assert done.code == 4
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["diverged", "diverged", "open"]
    assert "order-1  5 events, at event 2" in done.stdout
    place = orders.line_of("return await bill(sku)")
    assert done.stderr == (
        "error[non-determinism]: order-1 no longer matches its history\n"
        '  histories/order-1.jsonl:2   recorded: activity "charge" (0) with "A1"\n'
        f'  {place.ljust(len("histories/order-1.jsonl:2"))}   asks for: activity "bill" (0) with "A1"\n'
        "  note: the workflow's file has changed since this run started\n"
        '  hint: restore the call, guard the change with patched("…"), or start afresh under another id: '
        "aion run … --id NEW\n"
        "1 more diverged; -v explains each\n"
    )
    assert orders.here("replay", "order-1", "order-2", "-v").stderr.count("error[non-determinism]") == 2


def test_the_exit_code_is_the_first_of_damage_divergence_and_missing(orders: Project) -> None:
    change(orders, "return await charge(sku)", "return await bill(sku)")
    assert orders.here("replay", "nope", "waits-1").code == 7
    assert orders.here("replay", "nope", "waits-1", "order-1").code == 4
    damage(orders.history("waits-1"), 1)
    done = orders.here("replay", "nope", "order-1", "waits-1")
    assert (done.code, [line.split()[0] for line in done.stdout.splitlines()]) == (
        5,
        ["missing", "diverged", "damaged"],
    )


def test_damage_below_a_divergence_wins(orders: Project) -> None:
    change(orders, "return await charge(sku)", "return await bill(sku)")
    damage(orders.history("order-1"), 5)
    done = orders.here("replay", "order-1")
    assert (done.code, done.stdout.split()[0]) == (5, "damaged")
    assert "histories/order-1.jsonl:5" in done.stderr
    assert "non-determinism" not in done.stderr


def test_damage_wins_where_there_is_no_code_and_otherwise_that_is_exit_code_2(orders: Project) -> None:
    (orders.root / "workflows/order.py").unlink()
    done = orders.here("replay", "order-1")
    assert (done.code, done.stdout.split()[:2]) == (2, ["not", "replayed"])
    assert "error[workflow-code]: there is no code for workflow order" in done.stderr
    damage(orders.history("order-1"), 5)
    assert orders.here("replay", "order-1").code == 5


def test_to_leaves_out_what_came_later_but_not_the_check_of_the_file(orders: Project) -> None:
    change(orders, "return await charge(sku)", 'return "other" + await charge(sku)')
    assert orders.here("replay", "order-1").code == 4
    done = orders.here("replay", "order-1", "--to", "4")
    assert (done.code, done.stdout.split()[0]) == (0, "open")
    damage(orders.history("order-1"), 5)
    assert orders.here("replay", "order-1", "--to", "4").code == 5


def test_the_expected_head_is_asked_of_one_history_alone(orders: Project) -> None:
    head = orders.here("replay", "order-1", "-o", "json").document[0]["head"]
    assert orders.here("replay", "order-1", "--expect-head", head.upper()).code == 0
    assert orders.here("replay", "order-1", "--expect-head", head, "--to", "2").code == 0
    refused = orders.here("replay", "order-2", "--expect-head", head)
    assert (refused.code, refused.stdout.split()[0]) == (5, "damaged")
    assert f"and {head} was expected" in refused.stderr
    both = orders.here("replay", "order-1", "order-2", "--expect-head", head)
    assert (both.code, both.stdout) == (2, "")


def test_a_missing_last_line_is_noticed_even_where_the_code_diverges(orders: Project) -> None:
    head = orders.here("replay", "order-1", "-o", "json").document[0]["head"]
    path = orders.history("order-1")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    change(orders, "return await charge(sku)", "return await bill(sku)")
    assert orders.here("replay", "order-1").code == 4
    assert orders.here("replay", "order-1", "--expect-head", head).code == 5


def test_a_torn_tail_is_ignored_and_said(orders: Project) -> None:
    path = orders.history("order-1")
    path.write_bytes(path.read_bytes()[:-10])
    done = orders.here("replay", "order-1")
    assert done.code == 0
    assert done.stdout.startswith("open      order-1  4 events, ")
    assert "torn bytes ignored" in done.stdout


def test_step_pairs_each_event_with_its_command_and_ends_with_what_is_not_recorded(orders: Project) -> None:
    done = orders.here("replay", "order-1", "--step", "--to", "2")
    place = orders.line_of("return await charge(sku)")
    assert done.code == 0
    assert [line.split() for line in done.stdout.splitlines()[:-1]] == [
        ["seq", "event", "asked", "by", "at", "what"],
        ["1", "WorkflowStarted", "order", '"A1"'],
        ["2", "ActivityScheduled", "RunActivity", place, "charge", "(0)", '"A1"'],
    ]
    waiting = orders.here("replay", "waits-1", "--step").stdout.splitlines()
    assert waiting[-2].split()[:4] == ["not", "recorded", "AwaitSignal", orders.line_of("await go.receive()")]
    open_at = orders.here("replay", "order-1", "--step", "--to", "1").stdout.splitlines()
    assert open_at[-2].split()[:4] == ["not", "recorded", "RunActivity", place]


def test_step_stops_where_the_code_parts_from_its_history(orders: Project) -> None:
    change(orders, "return await charge(sku)", 'return "" if await charge(sku) else ""')
    done = orders.here("replay", "order-1", "--step")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["seq", "1", "2", "3", "diverged"]
    assert done.code == 4


def test_step_has_a_form_for_scripts(orders: Project) -> None:
    lines = [json.loads(line) for line in orders.here("replay", "order-1", "--step", "-o", "jsonl").stdout.splitlines()]
    (verdict,) = orders.here("replay", "order-1", "--step", "-o", "json").document
    assert verdict["steps"] == lines[:-1]
    assert lines[-1]["verdict"] == "clean"
    assert lines[1] == {
        "run": "order-1",
        "seq": 2,
        "event": "ActivityScheduled",
        "command": "RunActivity",
        "at": orders.line_of("return await charge(sku)"),
        "what": 'charge (0)  "A1"',
    }


SET_ORDER = """
    @activity
    async def ship(sku: str) -> str:
        return sku

    @workflow
    async def parcels() -> int:
        skus = {"A1", "B2", "C3", "D4", "E5", "F6", "G7", "H8"}
        for sku in skus:
            await ship(sku)
        return len(skus)
"""


def test_hash_seeds_find_what_one_replay_misses_and_name_the_seed(project: Project) -> None:
    project.write(SET_ORDER)
    seed_7 = {"PYTHONHASHSEED": "7"}
    assert project.aion("run", "parcels", "--id", "p", environ=seed_7).code == 0
    assert project.aion("replay", "p", environ=seed_7).code == 0
    done = project.aion("replay", "p", "--hash-seeds", "2", environ=seed_7)
    assert done.code == 4
    assert done.stdout.startswith("diverged  p  ")
    assert ", PYTHONHASHSEED=1, " in done.stdout
    assert done.stderr.startswith("error[non-determinism]: p does not match its history under PYTHONHASHSEED=1\n")
    assert project.line_of("await ship(sku)") in done.stderr
    assert "PYTHONHASHSEED=1 aion replay histories/p.jsonl" in done.stderr


def test_what_only_the_seed_of_this_process_diverges_under_is_said_so(project: Project) -> None:
    project.write(SET_ORDER)
    assert project.aion("run", "parcels", "--id", "p", environ={"PYTHONHASHSEED": "1"}).code == 0
    done = project.aion("replay", "p", "--hash-seeds", "1", environ={"PYTHONHASHSEED": "7"})
    assert (done.code, done.stdout.split()[0]) == (4, "diverged")
    assert "hint: under the hash seed of this process alone" in done.stderr


def test_what_diverges_under_every_seed_in_another_way_is_put_down_to_sets_as_well(project: Project) -> None:
    project.write(SET_ORDER)
    assert project.aion("run", "parcels", "--id", "p", environ={"PYTHONHASHSEED": "2"}).code == 0
    done = project.aion("replay", "p", "--hash-seeds", "1", environ={"PYTHONHASHSEED": "7"})
    assert done.code == 4
    assert "hint: in another way under another hash seed: something iterates over a set" in done.stderr


def test_code_that_has_not_changed_and_diverges_is_not_told_to_guard_its_change(project: Project) -> None:
    project.write("""
        import os

        @activity
        async def go(where: str): ...

        @workflow
        async def travels():
            await go(os.environ.get("WHERE", "home"))
            await asyncio.sleep(3600)
    """)
    assert project.here("run", "travels", "--id", "t", "--until-blocked").code == 3
    away = {"WHERE": "away"}
    replayed = project.here("replay", "t", environ=away)
    assert replayed.code == 4
    run = ("run", "travels", "--id", "t")
    for done in (replayed, project.here(*run, environ=away), project.here(*run, "--dry-run", environ=away)):
        assert "let no file, environment variable or global decide" in done.stderr
        assert "patched" not in done.stderr


def test_a_workflow_that_takes_its_input_no_more_is_named_by_its_line(project: Project) -> None:
    path = project.write("""
        @workflow  # here
        async def takes(sku: str):
            await asyncio.sleep(3600)
    """)
    assert project.here("run", "takes", "--id", "t", "-p", "sku=x", "--until-blocked").code == 3
    path.write_text(path.read_text().replace("sku: str", "sku: int"))
    done = project.here("replay", "t")
    assert done.code == 4
    assert f"  {project.line_of('# here')}   asks for: input of another type\n" in done.stderr


def test_hash_seeds_are_quiet_about_code_that_does_not_depend_on_them(orders: Project) -> None:
    done = orders.here("replay", "order-1", "waits-1", "--hash-seeds", "2")
    assert (done.code, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["clean", "open"]


def test_a_divergence_under_every_seed_is_not_blamed_on_the_seed(orders: Project) -> None:
    change(orders, "return await charge(sku)", "return await bill(sku)")
    (verdict,) = orders.here("replay", "order-1", "--hash-seeds", "2", "-o", "json").document
    assert (verdict["verdict"], verdict["hash_seed"]) == ("diverged", None)
    assert "restore the call" in verdict["error"]["hint"]


def test_hash_seeds_use_the_folders_and_the_target_that_were_given(orders: Project) -> None:
    (orders.root / "workflows").rename(orders.root / "elsewhere")
    (orders.root / "histories").rename(orders.root / "kept")
    options = ("--histories", "kept", "--workflow", "elsewhere/order.py", "--hash-seeds", "1")
    assert orders.here("replay", "order-1", *options).code == 0


def test_junit_has_a_case_a_history_and_survives_hostile_text(orders: Project) -> None:
    change(orders, "return await charge(sku)", "return await bill(sku)")
    hostile = '\x1b[2J<&"\x00\ufffe]]>'
    write(orders.history("hostile"), started("A1"), scheduled(0, hostile), completed(0, "r"), ended("r"))
    done = orders.here("replay", "waits-1", "order-1", "hostile", "nope", "--junit", "report.xml")
    assert done.code == 4
    suite = Xml.parse(orders.root / "report.xml").getroot()[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "2", "1"]
    cases = [(case.get("name"), [child.tag for child in case]) for case in suite]
    assert cases == [("waits-1", []), ("order-1", ["failure"]), ("hostile", ["failure"]), ("nope", ["error"])]
    failure = suite[1][0]
    assert failure.get("message") == "order-1 no longer matches its history"
    assert orders.line_of("return await bill(sku)") in str(failure.text)


def test_a_junit_file_that_cannot_be_written_is_told_before_anything_else(orders: Project) -> None:
    done = orders.here("replay", "order-1", "--junit", "no/such/folder.xml")
    assert (done.code, done.stdout) == (10, "")
    assert "cannot write no/such/folder.xml" in done.stderr


def test_github_annotates_the_line_of_the_workflow_or_of_the_damage(orders: Project) -> None:
    change(orders, "return await charge(sku)", "return await bill(sku)")
    damage(orders.history("order-2"), 3)
    done = orders.here("replay", "order-1", "order-2", "waits-1", "--github", "-o", "json")
    annotations = [line for line in done.stderr.splitlines() if line.startswith("::")]
    file, _, line = orders.line_of("return await bill(sku)").partition(":")
    assert len(done.document) == 3
    assert [each.partition("::error ")[2].partition("::")[0] for each in annotations] == [
        f"file={file},line={line},title=aion replay%3A non-determinism",
        "file=histories/order-2.jsonl,line=3,title=aion replay%3A damaged",
    ]
    assert '%0A  histories/order-1.jsonl:2   recorded: activity "charge" (0)' in annotations[0]


def test_a_history_cannot_smuggle_in_a_workflow_command(orders: Project) -> None:
    hostile = "x\n::set-output name=a::b\r::error::100%"
    write(orders.history("hostile"), started("A1"), scheduled(0, hostile))
    done = orders.here("replay", "hostile", "--github")
    assert [line[:8] for line in done.stderr.splitlines() if line.startswith("::")] == ["::error "]
    assert "100%25" in done.stderr


def test_a_file_as_workflow_means_the_workflow_of_the_recorded_type_in_it(orders: Project) -> None:
    (orders.root / "workflows").rename(orders.root / "elsewhere")
    done = orders.here("replay", "order-1", "waits-1", "--workflow", "elsewhere/order.py")
    assert (done.code, done.stderr) == (0, "")
    named = orders.here("replay", "waits-1", "--workflow", "elsewhere/order.py:order")
    assert named.code == 4


def test_what_workflow_code_prints_is_not_repeated_unless_asked_for(orders: Project) -> None:
    change(orders, "return await charge(sku)", "print('here again')\n    return await charge(sku)")
    assert orders.here("replay", "order-1").stderr == ""
    assert orders.here("replay", "order-1", "-v").stderr == "here again\n"


def test_replay_leaves_everything_as_it_was_and_takes_no_lock(orders: Project) -> None:
    before = orders.snapshot(), sorted(orders.root.rglob("*"))
    assert orders.here("replay", "histories", "--step").code == 0
    assert (orders.snapshot(), sorted(orders.root.rglob("*"))) == before


WATCHED = """
import os, sys

def hook(event, args):
    if event == "open":
        writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    else:
        changes = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime")
        processes = ("subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.system", "os.kill")
        writes = event.startswith(("socket.", "fcntl.")) or event in changes + processes
    if writes:
        seen.append(f"{event} {args!r}")

seen = []
sys.addaudithook(hook)
from aion_cli.__main__ import main
code = main()
print(*seen, sep="\\n", file=sys.stderr, end="")
sys.exit(code)
"""


def test_nothing_is_opened_to_write_and_no_process_lock_or_socket_is_touched(orders: Project) -> None:
    change(orders, 'note(f"charge {sku}")', 'open("touched", "w")')
    hostile = started("A1", workflow_id="../../etc", workflow_type="os:system")
    write(orders.history("hostile"), hostile, scheduled(0, "charge", {"$blob": "sha256:" + "0" * 64, "size": 9}))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "replay", "histories", "nope", "--step", "-o", "json", "--github"],
        cwd=orders.root,
        env=environment({"PYTHONDONTWRITEBYTECODE": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert {each["verdict"] for each in json.loads(done.stdout)} == {"clean", "open", "missing", "damaged"}
    touched = [line for line in done.stderr.splitlines() if re.match(r"(open|os|subprocess|socket|fcntl)\b[. ]", line)]
    assert touched == []


def test_a_long_history_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    readers: list[HistoryReader] = []

    class Watched(HistoryReader):
        def __init__(self, path: Path, files: Files) -> None:
            super().__init__(path, files)
            readers.append(self)

    project.write("""
        @activity
        async def step(n: int) -> None: ...

        @workflow
        async def loops(n: int) -> None:
            for k in range(n):
                await step(k)
    """)
    steps = [event for n in range(600) for event in (scheduled(n, "step", n), completed(n))]
    write(project.history("loops"), started(600, workflow_type="loops"), *steps, ended())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit, "HistoryReader", Watched)
    (named,) = named_histories(HistoriesFolder(Path("histories")), ["loops"])
    auditor = audit.Auditor(CodeFinder(Settings(Path("histories"), Path("workflows")), None), Files())

    ahead: list[int] = []
    found = auditor.audit(named, lambda event, _: ahead.append(readers[0].head.seq - event.seq))
    assert (found.error, len(ahead)) == (None, 1_202)
    assert max(ahead) < 400


def test_every_option_is_explained(project: Project) -> None:
    shown = project.here("replay", "--help").stdout
    for option in ("--workflow", "--to", "--expect-head", "--step", "--hash-seeds", "--junit", "--github"):
        assert f"  {option} " in shown
    assert "Exit code: 5" in shown
