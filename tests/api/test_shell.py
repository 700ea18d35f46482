"""Shell steps: what is run, and what comes back. How a step is cut short is in test_shell_ends."""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path

import pytest

from aion_cli import RetryPolicy, ShellError, ShellResult, shell, workflow
from aion_cli.api import captured
from aion_cli.api import shell as module
from aion_cli.api.attempts import ActivityInfo
from aion_cli.core import commands as cmd
from aion_cli.core.events import ErrorKind, Failure
from aion_cli.core.source import SourcePaths
from aion_cli.runtime.activities import ActivityRunner, Attempt, CancelFlag, Limit
from aion_cli.runtime.heartbeats import Pulse
from tests.builders import history, raw, replay_of, started

run_command = module._run_command  # pyright: ignore[reportPrivateUsage] - the activity behind `shell`
definition = module._shell  # pyright: ignore[reportPrivateUsage] - the activity behind `shell`


def ran(command: str, *, check: bool = True, cwd: Path | None = None, env: dict[str, str] | None = None) -> ShellResult:
    return asyncio.run(run_command(command, check, None if cwd is None else str(cwd), env))


def test_exit_code_and_both_streams_come_back() -> None:
    assert ran("echo out; echo err >&2; exit 3", check=False) == ShellResult(3, "out\n", "err\n")
    assert ran("true") == ShellResult(0, "", "")


def test_output_that_cannot_be_recorded_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "MOST_KEPT", 1_000)
    monkeypatch.setattr(module, "MOST_KEPT", 1_000)
    assert ran("head -c 1000 /dev/zero | tr '\\0' x").stdout == "x" * 1_000
    with pytest.raises(module.OutputTooLongError, match=r"printed 1,001 bytes, .* at most 1,000 .* a file: head"):
        ran("head -c 1001 /dev/zero >&2", check=False)


def test_another_exit_code_than_zero_raises_with_the_last_lines() -> None:
    with pytest.raises(ShellError, match=r"^exit code 3: .*: second line$") as caught:
        ran("echo first line >&2; echo second line >&2; exit 3")
    assert caught.value.details == {"exit_code": 3, "stdout": "", "stderr": "first line\nsecond line\n"}
    with pytest.raises(ShellError, match=r": only this$"):
        ran("echo only this; exit 1")
    with pytest.raises(ShellError, match=r"^exit code 1: false$"):
        ran("false")


def test_details_hold_no_more_than_the_end_of_long_output() -> None:
    with pytest.raises(ShellError) as caught:
        ran("yes 0123456789 | head -c 100000; exit 1")
    assert len(caught.value.details["stdout"]) == 2_000


def test_long_output_comes_back_whole() -> None:
    assert len(ran("yes 0123456789 | head -c 3000000").stdout) == 3_000_000


def test_a_command_that_a_signal_killed_has_its_number() -> None:
    assert ran("kill -9 $$", check=False).exit_code == -9


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert ran(r"printf 'a\377b'").stdout == "a\ufffdb"


def test_input_is_empty() -> None:
    assert ran("cat").stdout == ""


def test_directory_and_variables_are_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AION_TEST_KEPT", "kept")
    found = ran("pwd; echo $AION_TEST_KEPT $AION_TEST_SET", cwd=tmp_path, env={"AION_TEST_SET": "set"})
    assert found.stdout == f"{tmp_path}\nkept set\n"


def test_a_directory_that_is_not_there_is_an_error_of_the_step(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ran("true", cwd=tmp_path / "nowhere")


def test_it_runs_in_a_process_group_of_its_own() -> None:
    assert int(ran("ps -o pgid= -p $$ | tr -d ' '").stdout) != os.getpgrp()


def test_a_step_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    alive = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    async def attempt() -> object:
        runner = ActivityRunner(SourcePaths(), grace_s=30)
        await runner.reserve(definition)
        stop, pulse = CancelFlag(), Pulse(lambda _: None)
        command = f"exec >{pipe}; sleep 600 & wait"
        input = raw({"command": command, "check": True, "cwd": None, "env": None})
        info = ActivityInfo("order-1", "r1", 0, 1, "r1/2")
        return await runner.attempt(
            Attempt(definition, input, info, Limit(1.0, ErrorKind.TIMEOUT), heartbeat_s=None, stop=stop, pulse=pulse)
        )

    try:
        outcome = asyncio.run(attempt())
        assert isinstance(outcome, Failure)
        assert outcome.kind is ErrorKind.TIMEOUT
        readable, _, _ = select.select([alive], [], [], 30)
        assert readable
        assert os.read(alive, 1) == b""  # whoever held the other end is gone
    finally:
        os.close(alive)


def test_in_a_workflow_it_is_an_activity_with_the_given_limits() -> None:
    policy = RetryPolicy(max_attempts=2)

    @workflow
    async def builds() -> int:
        step = await shell("make test", timeout=60, check=False, cwd="sub", env={"CI": "1"}, retry=policy)
        return step.exit_code

    replay = replay_of(builds, history(started()))
    (command,) = replay.run().unmatched
    replay.execution.close()
    assert isinstance(command, cmd.RunActivity)
    assert (command.activity_type, command.options["timeout_s"]) == ("shell", 60.0)
    assert command.input == raw({"command": "make test", "check": False, "cwd": "sub", "env": {"CI": "1"}})
    assert command.target.settings.retry is policy
