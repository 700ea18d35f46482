"""Histories that strangers wrote: reading them touches nothing, imports nothing, writes nothing outside, and ends."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aion_cli.core import events as ev
from tests import nasty
from tests.builders import (
    attempted,
    child,
    completed,
    ended,
    failed,
    failure,
    raw,
    scheduled,
    send,
    signal,
    started,
    timer,
)
from tests.cli.support import Project, environment
from tests.faults.tally import Tally

WORKFLOW = """
import os

@activity
def charge(sku):
    note("charged " + sku)

approval = Signal("approval", bool)

@workflow
async def order(sku: str):
    await charge(sku)
    await asyncio.sleep(60)
    if await approval.receive():
        await other(sku)

@workflow
async def other(sku: str):
    return sku
"""

AUDITED = """
import json, os, sys

touched = []
TOUCHES = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "shutil.", "socket.", "subprocess.",
    "tempfile.", "pty.", "ctypes.", "webbrowser.",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def hook(name, args):
    if name == "open":
        path, mode, flags = args
        if (flags or 0) & WRITING or set(mode or "") & set("wax+"):
            touched.append([name, str(path)])
    elif name.startswith(TOUCHES):
        touched.append([name, repr(args)[:200]])

from aion_cli.cli import entry

sys.addaudithook(hook)
codes = [entry.main(line) for line in json.loads(sys.argv[1])]
print()
print(json.dumps({"codes": codes, "touched": touched}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write(WORKFLOW)
    return project


def write(project: Project, name: str, *events: ev.Event) -> Path:
    return nasty.written(project.history(name), nasty.stamped(events))


def start_of(name: str, **fields: Any) -> ev.WorkflowStarted:
    return started("A1", workflow_id=name, **fields)


def hostile_histories(project: Project) -> list[str]:
    """Write histories of all sorts; returns their names. Each could have effects if anybody believed it."""
    evil = project.root.parent / f"{project.root.name}-evil.py"
    does_evil = f"open({str(project.root / 'pwned')!r}, 'w').close()\n"
    evil.write_text(f"{does_evil}from aion_cli import workflow\n\n@workflow\nasync def evil():\n    pass\n")
    (project.root / "evil.py").write_text(does_evil)  # below this folder, but no workflow of that name
    done = [scheduled(0, "charge", {"sku": "A1"}), attempted(0), completed(0)]
    write(project, "begun", start_of("begun"), scheduled(0, "charge", {"sku": "A1"}), attempted(0))
    write(project, "overdue", start_of("overdue"), *done, timer(0, "2020-01-01T00:00:00.000000Z"))
    write(project, "sends", start_of("sends"), send(0, "../../victim", "go"), child(0, "other", "A1", "../../victim"))
    write(project, "diverges", start_of("diverges"), scheduled(0, "rm", {"path": "/"}), ended())
    write(
        project, "fails", start_of("fails"), scheduled(0, "charge", {"sku": "A1"}), failed(0, failure("E", "\x1b[2J"))
    )
    for n, file in enumerate((str(evil), f"../{evil.name}", "evil.py", "workflows/../evil.py", "/dev/stdin")):
        definition = ev.DefinitionRef(evil.stem, file, "sha256:0")
        write(
            project,
            f"evil{n}",
            msgspec.structs.replace(start_of(f"evil{n}", workflow_type="evil"), definition=definition),
        )
    write(project, "elsewhere", start_of("../../elsewhere"))
    return ["begun", "overdue", "sends", "diverges", "fails", "evil0", "evil1", "evil2", "evil3", "evil4", "elsewhere"]


def audited(project: Project, *lines: list[str]) -> dict[str, Any]:
    """Type command lines in one process, with Python's audit hook as a witness."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", AUDITED, json.dumps(lines)],
        cwd=project.root,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_commands_that_read_open_nothing_to_write_and_start_neither_processes_nor_connections(
    project: Project, request: pytest.FixtureRequest
) -> None:
    names = hostile_histories(project)
    before = project.snapshot()
    lines = [[command, name] for command in ("replay", "show", "verify", "result") for name in names]
    lines += [["replay", "-o", "json", "histories"], ["replay", "--step", *names], ["show", "-o", "jsonl", "begun"]]
    lines += [["list"], ["list", "-o", "json"], ["list", "-o", "jsonl"], ["verify", *names], ["query", "begun", "x"]]
    report = audited(project, *lines)
    assert report["touched"] == []
    assert set(report["codes"]) <= {0, 1, 2, 3, 4, 5, 7}
    assert project.snapshot() == before
    assert not (project.root / "pwned").exists()
    Tally(request.node.user_properties).say(
        f"G12: {len(lines)} commands that read hostile histories: 0 opened to write, 0 sockets, 0 processes"
    )


def test_the_witness_would_have_seen_it(project: Project) -> None:
    report = audited(project, ["run", "order", "--id", "seen", "--input", '"A1"', "--until-blocked"])
    assert report["codes"] == [3]
    assert {"open", "os.mkdir"} <= {name for name, _ in report["touched"]}


@pytest.mark.parametrize("command", [["signal", "--force"], ["cancel"], ["resume"], ["replay"], ["update"]])
def test_what_a_history_names_is_imported_by_no_command(project: Project, command: list[str]) -> None:
    hostile_histories(project)
    word, *options = command
    more = ["x"] if word in ("signal", "update") else []
    for n in range(5):
        project.here(word, f"evil{n}", *more, *options)
    assert not (project.root / "pwned").exists()


def test_a_recorded_child_cannot_lie_outside_of_the_histories_folder(project: Project) -> None:
    project.write(
        """
        @workflow
        async def parent():
            return await other()

        @workflow
        async def other():
            return 1
    """,
        "workflows/parent.py",
    )
    write(project, "p", started(workflow_id="p", workflow_type="parent"), child(0, "other", None, "../../outside"))
    outside = {path.name for path in project.root.parent.iterdir()}
    done = project.here("run", "parent", "--id", "p")
    assert done.code == 1
    assert "ChildIdRefused" in project.history("p").read_text()
    assert {path.name for path in project.root.parent.iterdir()} == outside
    assert {path.name for path in project.root.iterdir()} == {"workflows", "histories"}


def test_a_signal_cannot_be_sent_outside_of_the_histories_folder(project: Project) -> None:
    project.write(
        """
        from aion_cli import send_signal

        @workflow
        async def sends(target: str):
            await send_signal(target, "go", 1)
    """,
        "workflows/sends.py",
    )
    for n, target in enumerate(("../../outside", "/tmp/outside", "..", "a/b", "", "con", "x" * 200, "\x1b[2J")):
        done = project.here("run", "sends", "--id", f"s{n}", "--input", json.dumps(target))
        assert done.code == 1, done
    assert {path.name for path in project.root.iterdir()} == {"workflows", "histories"}


def test_a_history_under_a_strangers_name_is_only_read(project: Project) -> None:
    write(project, "mine", start_of("yours"))
    before = project.snapshot()
    for line in (
        ["run", "order", "--id", "mine"],
        ["signal", "mine", "approval", "true"],
        ["cancel", "mine"],
        ["repair", "mine"],
    ):
        assert project.here(*line).code == 2
    assert project.here("show", "mine").code == 0
    assert project.snapshot() == before


@pytest.mark.parametrize("what", ["history", "lock", "inbox", "locks", "blobs"])
def test_a_symbolic_link_in_place_of_a_file_of_ours_is_refused(project: Project, tmp_path: Path, what: str) -> None:
    assert project.here("run", "order", "--id", "r", "--input", '"A1"', "--until-blocked").code == 3
    own = project.histories / ".aion"
    (own / "inbox" / "r").mkdir(exist_ok=True)
    (own / "blobs").mkdir(exist_ok=True)
    path = {
        "history": project.history("r"),
        "lock": own / "locks" / "r.lock",
        "inbox": own / "inbox" / "r",
        "locks": own / "locks",
        "blobs": own / "blobs",
    }[what]
    target = tmp_path / "target"
    path.rename(target)
    path.symlink_to(target)
    before = {name: data for name, data in project.snapshot().items() if name.startswith("target")}
    payload = '"' + "x" * (300 << 10) + '"' if what == "blobs" else "true"
    done = (
        project.here("signal", "r", "approval", payload, "--force")
        if payload == "true"
        else project.here("signal", "r", "approval", "--force", "-", stdin=payload.encode())
    )
    assert done.code == 10, done
    assert "symbolic link" in done.stderr
    assert {name: data for name, data in project.snapshot().items() if name.startswith("target")} == before
    if what == "history":
        for line in (["show", "r"], ["replay", "r"], ["verify", "r"], ["list"]):
            assert project.here(*line).code == 10, line


@pytest.mark.parametrize("what", ["tmp", "inbox", "inbox/r", "wake", "torn", "blobs/sha256"])
@pytest.mark.parametrize("line", ["run order --id r --until-blocked", "signal r approval true", "pause r", "repair r"])
def test_nothing_is_made_or_removed_where_a_directory_of_ours_leads_elsewhere(
    project: Project, tmp_path: Path, what: str, line: str
) -> None:
    """As in a folder that came with a repository. What is old looks like something that a killed process left."""
    assert project.here("run", "order", "--id", "r", "--input", '"A1"', "--until-blocked").code == 3
    with project.history("r").open("ab") as history:
        history.write(b"torn")
    path, precious = project.histories / ".aion" / what, tmp_path / "precious"
    for name in ("r", ""):
        (precious / name).mkdir(parents=True, exist_ok=True)
        for old in (precious / name / ".tmp-1", precious / name / "thesis"):
            old.write_text("precious")
            os.utime(old, (0, 0))
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(precious)
    before = {each: each.lstat().st_mtime_ns for each in precious.rglob("*")}
    project.here(*line.split())
    assert {each: each.lstat().st_mtime_ns for each in precious.rglob("*")} == before


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777], ids=oct)
def test_everything_we_write_is_private_whatever_the_umask(project: Project, umask: int) -> None:
    before = os.umask(umask)
    try:
        big = '"' + "x" * (300 << 10) + '"'
        project.here("run", "order", "--id", "r", "--input", "-", "--until-blocked", stdin=big.encode())
        with open(project.history("r"), "ab") as history:
            history.write(b'{"type":"SignalReceived","torn')
        project.here("signal", "r", "approval", "true")
        project.here("run", "order", "--id", "r", "--until-blocked")
    finally:
        os.umask(before)
    found = {
        path.relative_to(project.root).as_posix(): path for path in [project.histories, *project.histories.rglob("*")]
    }
    wrong = {
        name: oct(path.stat().st_mode & 0o777)
        for name, path in found.items()
        if path.stat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)
    }
    assert wrong == {}
    kinds = {name.split("/")[2] for name in found if name.count("/") > 2}
    assert kinds >= {"blobs", "inbox", "locks", "torn"}
    assert any(stat.S_ISFIFO(path.stat().st_mode) for path in found.values())


# Memory


def big_files(folder: Path) -> Iterable[Path]:
    """Histories that are much longer than any line, of which each says something else."""
    line_without_end = folder / "endless.jsonl"
    with line_without_end.open("wb") as file:
        file.write(b'{"type":"WorkflowStarted","seq":1,"x":"')
        file.truncate(2 << 30)  # it goes on with zeros that take no room on the disk
    yield line_without_end
    of_newlines = folder / "newlines.jsonl"
    of_newlines.write_bytes(b"\n" * (64 << 20))
    yield of_newlines
    body = b'{"type":"WorkflowStarted","seq":1,"recorded_at":"2026-03-01T09:30:00.000000Z","input":'
    deep = b"[" * 400_000 + b"]" * 400_000
    yield nasty.written_bodies(folder / "deep.jsonl", [body + deep])
    yield nasty.written_bodies(folder / "digits.jsonl", [body + b"9" * 1_000_000])


def test_neither_an_endless_line_nor_deep_nesting_takes_more_than_its_share_of_memory(project: Project) -> None:
    project.histories.mkdir()
    names = [path.stem for path in big_files(project.histories)]
    commands = (["verify"], ["replay"], ["show"], ["show", "-o", "jsonl"], ["result"], ["cancel"])
    lines = [[command, name, *more] for command, *more in commands for name in names]
    code = (
        "import json, sys\nfrom aion_cli.cli import entry\nfor line in json.loads(sys.argv[1]): print(entry.main(line))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([*lines, ["list"]])],
        cwd=project.root,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert [text for text in done.stdout.splitlines() if text.isdigit()] == ["5"] * (len(lines) + 1)
    for name in names:
        assert done.stderr.count(f"at histories/{name}.jsonl:1\n") == len(commands) + 1
    assert len(done.stderr) < 20_000


# Terminals


def nasty_history(project: Project, name: str, text: str) -> Path:
    """A history in which everything that is text is this text."""
    broken = ev.Failure(
        kind=ev.ErrorKind.ERROR,
        type=text,
        message=text,
        details={text: text},
        traceback=text,
        notes=[text],
        cause=ev.Failure(kind=ev.ErrorKind.ERROR, type=text, message=text, notes=[text]),
    )
    begun = msgspec.structs.replace(
        start_of(name, tags={text: text}), definition=ev.DefinitionRef(text, text, text), input=raw(text)
    )
    return write(
        project,
        name,
        begun,
        scheduled(0, text, {text: text}),
        ev.ActivityStarted(activity_id=0, attempt=1, host=text, pid=1),
        failed(0, broken, again_at="2026-03-01T09:30:59.000000Z"),
        signal(text, text, text),
        child(0, text, text, text),
        send(0, text, text, text),
        ev.MarkerRecorded(kind=text, name=text, value=raw(text)),
        ev.TagsSet(tags={text: text}),
        ev.ProgressSet(done=1, total=2, text=text),
        ev.WorkflowPaused(reason=text),
        ev.WorkflowCancelRequested(request_id=text, reason=text),
        ev.WorkflowFailed(error=broken),
    )


def on_a_terminal(project: Project, *lines: list[str]) -> str:
    """Type command lines in one process on a terminal, and return all that reached it."""
    terminal, line = pty.openpty()
    code = "import json, sys\nfrom aion_cli.cli import entry\nfor line in json.loads(sys.argv[1]): entry.main(line)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(lines)],
        cwd=project.root,
        env=environment({"TERM": "xterm-256color", "COLUMNS": "100"}),
        stdin=subprocess.DEVNULL,
        stdout=line,
        stderr=line,
    )
    os.close(line)
    shown = b""
    try:
        while chunk := os.read(terminal, 1 << 16):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
        assert process.wait(60) == 0
    return shown.decode("utf-8", "replace").replace("\r\n", "\n")


def test_nothing_of_a_history_steers_the_terminal_that_it_is_shown_on(project: Project) -> None:
    for n, text in enumerate(("".join(nasty.PIECES), "\x1b]52;c;aGk=\x07\u202e[/nope]")):
        nasty_history(project, f"n{n}", text)
    nasty.written(project.histories / "\x1b[2Jname\u202e.jsonl", nasty.stamped([start_of("x")]))
    lines = [["list"], ["list", "-o", "json"], ["verify", "n0", "n1"], ["replay", "histories", "n1"], ["result", "n0"]]
    lines += [["show", name, *mode] for name in ("n0", "n1") for mode in ([], ["-o", "json"], ["-o", "jsonl"])]
    lines += [["replay", "--step", "n0"], ["replay", "--github", "n0"], ["replay", "-o", "json", "n0", "no\x1b[2Jrun"]]
    lines += [
        ["run", "order", "--id", "n0"],
        ["run", "\x1b[2J"],
        ["signal", "n0", "\x9b31m"],
        ["list", "--status", "\u202e"],
    ]
    shown = on_a_terminal(project, *lines)
    assert len(shown) > 5_000
    assert nasty.RAW.findall(nasty.COLOR.sub("", shown)) == []


def test_a_run_says_nothing_raw_about_what_it_goes_on_with(project: Project) -> None:
    project.write("""
        @activity
        def charge(sku: str):
            raise ValueError(sku)

        @workflow
        async def order(sku: str):
            await charge(sku)
    """)
    text = "".join(nasty.PIECES)
    shown = on_a_terminal(
        project, ["run", "order", "--id", "r", "--input", json.dumps(text)], ["run", "order", "--id", "r"]
    )
    assert "ValueError" in shown
    shown = nasty.COLOR.sub("", shown)
    for allowed in ("\x1b[2K", "\x1b[1A", "\r"):  # with which progress redraws its own lines
        shown = shown.replace(allowed, "")
    assert nasty.RAW.findall(shown) == []
