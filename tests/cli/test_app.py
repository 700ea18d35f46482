"""The command line as a whole: what can be typed, and how it ends."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aion_cli.cli import entry
from aion_cli.cli.requests import Durability, IfExists, ReplayRequest, RunRequest, SignalRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.version import VERSION


def aion(*args: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run aion in a process of its own. code: Python that runs in it first."""
    start = (
        ["-c", f"{code}\nimport sys; from aion_cli.__main__ import main; sys.exit(main())"]
        if code
        else ["-m", "aion_cli"]
    )
    return subprocess.run(
        [sys.executable, *start, *args],
        env={name: value for name, value in os.environ.items() if not name.startswith("AION_")} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, Any]]:
    """What the commands were called with, in place of what they do."""
    calls: list[tuple[Settings, Any]] = []

    class Recording:
        def __getattr__(self, name: str) -> Any:
            if not name.endswith("_command"):
                raise AttributeError(name)

            def command(settings: Settings, request: Any) -> int:
                calls.append((settings, request))
                return 3

            return command

    for module in ("run", "replay", "signal", "inspect"):
        monkeypatch.setitem(sys.modules, f"aion_cli.cli.{module}", Recording())
    return calls


@pytest.mark.parametrize("argv", [["--version"], ["list", "--version"], ["--version", "-q"]])
def test_the_version_is_all_that_version_prints(argv: list[str]) -> None:
    done = aion(*argv)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"aion {VERSION}\n", "")


def test_help_names_every_command_and_global_option() -> None:
    done = aion("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("run", "replay", "signal", "list", "show", "--histories", "AION_WORKFLOWS", "--no-color"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["run", "replay", "signal", "list", "show"])
def test_every_command_explains_itself(command: str) -> None:
    done = aion(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: aion {command}" in done.stdout


def test_a_bare_aion_explains_itself_on_stderr_and_is_a_usage_error() -> None:
    done = aion()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: aion" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lst", "no such command 'lst'. Did you mean 'list'?"),
        ("list --foo", "no such option: --foo"),
        ("run", "missing argument 'TARGET'"),
        ("list x", "got unexpected extra argument"),
        ("-q", "missing command"),
        ("list -o", "-o needs a value"),
        ("list -o yaml", "--output 'yaml' is none of human, json, jsonl"),
        ("run x --id", "option '--id' requires an argument"),
        ("run x --if-exists maybe", "--if-exists 'maybe' is none of resume, fail, new"),
        ("run x --max-wait soon", "--max-wait: 'soon' is not a duration such as 90, 60s, 1.5h, 1h30m or 250ms"),
        ("run x --max-wait -5", "--max-wait: '-5' is not a duration"),
        ("run x --max-concurrency 0", "--max-concurrency must be a whole number from 1 on"),
        ("run x --max-concurrency -1", "--max-concurrency must be a whole number from 1 on"),
        ("run x --tag novalue", "--tag 'novalue' is not of the form KEY=VALUE"),
        ("replay a --to x", "--to must be a whole number"),
        ("replay a --expect-head abc", "--expect-head must be 32 hexadecimal digits"),
        ("list --histories=", "--histories must name a folder"),
    ],
)
def test_a_wrong_line_is_a_usage_error_in_our_form_in_every_mode(line: str, message: str) -> None:
    done = aion(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error[usage]: {message}")
    if "-o" not in line:
        scripted = aion("-o", "json", *line.split())
        assert (scripted.returncode, scripted.stderr) == (2, done.stderr)
        assert json.loads(scripted.stdout)["code"] == "usage"
        assert json.loads(scripted.stdout)["message"].startswith(message)


def test_global_options_mean_the_same_before_and_after_the_command(called: list[tuple[Settings, Any]]) -> None:
    for line in ("-o json -v --histories h list", "list -o json -v --histories h", "-v list --histories=h -ojson"):
        assert entry.main(line.split()) == 3
    assert [settings for settings, _ in called] == [
        Settings(Path("h"), Path("workflows"), OutputMode.JSON, verbose=True, color=called[0][0].color)
    ] * 3


def test_folders_and_colour_can_come_from_the_environment(
    called: list[tuple[Settings, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AION_HISTORIES", "/e/h")
    monkeypatch.setenv("AION_WORKFLOWS", "/e/w")
    monkeypatch.setenv("NO_COLOR", "1")
    entry.main(["list"])
    entry.main(["list", "--histories", "typed"])
    assert [settings for settings, _ in called] == [
        Settings(Path("/e/h"), Path("/e/w"), color=False),
        Settings(Path("typed"), Path("/e/w"), color=False),
    ]


def test_run_hands_over_everything_that_was_typed(called: list[tuple[Settings, Any]]) -> None:
    entry.main(
        [
            *("run", "order", "--id", "order-1", "--input", "@in.json", "-p", "sku=A1", "-p", "cents:=5"),
            *("--if-exists", "new", "--until-blocked", "--max-wait", "1m30s", "--durability", "process"),
            *("--max-concurrency", "4", "--tag", "team=a", "--tag", "x=y=z", "--grace", "2.5"),
        ]
    )
    assert called[0][1] == RunRequest(
        target="order",
        workflow_id="order-1",
        input="@in.json",
        parameters=("sku=A1", "cents:=5"),
        if_exists=IfExists.NEW,
        until_blocked=True,
        max_wait_s=90.0,
        durability=Durability.PROCESS,
        max_concurrency=4,
        tags={"team": "a", "x": "y=z"},
        grace_s=2.5,
    )


def test_run_with_nothing_but_a_target_has_the_defaults(called: list[tuple[Settings, Any]]) -> None:
    entry.main(["run", "order"])
    assert called[0][1] == RunRequest(
        target="order",
        workflow_id=None,
        input=None,
        parameters=(),
        if_exists=IfExists.RESUME,
        until_blocked=False,
        max_wait_s=None,
        durability=Durability.FULL,
        max_concurrency=None,
        tags={},
        grace_s=10.0,
    )


def test_replay_hands_over_everything_that_was_typed(called: list[tuple[Settings, Any]]) -> None:
    entry.main(["replay", "a", "b.jsonl", "--workflow", "w.py:f", "--to", "7", "--expect-head", "AB" * 16])
    assert called[0][1] == ReplayRequest(("a", "b.jsonl"), "w.py:f", 7, "ab" * 16)


def test_signal_takes_a_negative_number_as_its_payload(called: list[tuple[Settings, Any]]) -> None:
    entry.main(["signal", "r", "counter", "-1", "--id", "k", "--wait", "--force"])
    assert called[0][1] == SignalRequest(run="r", name="counter", payload="-1", signal_id="k", force=True, wait=True)
    entry.main(["signal", "r", "go"])
    assert called[1][1] == SignalRequest(run="r", name="go", payload=None, signal_id=None, force=False, wait=False)


BROKEN = (
    "import aion_cli.cli.inspect as i\ndef broken(*_): raise ZeroDivisionError('\\x1b[2J')\ni.list_command = broken"
)


def test_a_fault_of_ours_is_no_traceback_but_an_error_with_exit_code_70() -> None:
    done = aion("list", code=BROKEN)
    assert (done.returncode, done.stdout) == (70, "")
    assert done.stderr == (
        "error[internal]: ZeroDivisionError: \\x1b[2J\n"
        "  hint: this is a bug in aion; -v shows the traceback to report\n"
    )


def test_a_fault_of_ours_shows_its_traceback_when_asked_and_is_json_for_scripts() -> None:
    done = aion("list", "-v", "-o", "json", code=BROKEN)
    assert done.returncode == 70
    assert json.loads(done.stdout)["code"] == "internal"
    assert "Traceback (most recent call last):" in done.stderr
    assert "\x1b" not in done.stderr


def test_an_error_after_the_document_does_not_write_a_second_one() -> None:
    code = (
        "import aion_cli.cli.inspect as i\nfrom aion_cli.cli import output\nfrom aion_cli.errors import StoreError\n"
        "def half(*_):\n    output.write_json([1])\n    raise StoreError('no space')\ni.list_command = half"
    )
    done = aion("list", "-o", "json", code=code)
    assert (done.returncode, done.stdout, done.stderr) == (10, "[1]\n", "error[storage]: no space\n")


def test_an_interruption_is_exit_code_130_without_a_traceback() -> None:
    code = (
        "import time, aion_cli.cli.inspect as i\n"
        "def wait(*_):\n    print('up', flush=True)\n    time.sleep(30)\ni.list_command = wait"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}\nimport sys; from aion_cli.__main__ import main; sys.exit(main())", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "up\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["run", "--help"]])
def test_what_needs_no_engine_does_not_load_one(argv: list[str]) -> None:
    code = (
        "import atexit, sys\nheavy = ('asyncio', 'msgspec', 'rich', 'pydantic', 'filelock', 'aion_cli.core')\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(m for m in heavy if m in sys.modules)))"
    )
    done = aion(*argv, code=code)
    assert (done.returncode, done.stderr) == (0, "")


def test_list_loads_neither_rich_nor_pydantic_nor_the_event_loop(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\nheavy = ('asyncio', 'rich', 'pydantic', 'filelock')\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(m for m in heavy if m in sys.modules)))"
    )
    done = aion("list", "-q", "--histories", str(tmp_path), code=code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_completion_comes_with_typer() -> None:
    done = aion(_AION_COMPLETE="complete_bash", COMP_WORDS="aion re", COMP_CWORD="1")
    assert "replay" in done.stdout


@pytest.mark.parametrize(
    ("module", "function", "request_type"),
    [
        ("run", "run_command", "RunRequest"),
        ("replay", "replay_command", "ReplayRequest"),
        ("signal", "signal_command", "SignalRequest"),
        ("inspect", "list_command", "ListRequest"),
        ("show", "show_command", "ShowRequest"),
    ],
)
def test_every_command_takes_what_the_app_hands_it(module: str, function: str, request_type: str) -> None:
    command = getattr(importlib.import_module(f"aion_cli.cli.{module}"), function)
    assert list(command.__annotations__.values()) == ["Settings", request_type, "int"]
