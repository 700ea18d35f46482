"""A process that is told to end leaves its run open, records what was in flight if it ends in time, and does end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aion_cli.core import events as ev
from tests.cli.support import Done, Project, Running, environment

STEPS = """
import os, threading, time

@activity
def first():
    note("first")
    while not os.path.exists("finish"):
        time.sleep(0.005)
    return "done"

@activity
async def second():
    note("second")

@activity
async def cleanup():
    note("cleanup")

@workflow
async def steps():
    try:
        found = await first()
        await second()
        return found
    finally:
        print("finally")
        await cleanup()
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def until(condition: Callable[[], object]) -> None:
    """Return once something is true; a test that waits for ever is cut short by the timeout of what it waits for."""
    give_up_at = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.005)


def went_on(project: Project, done: Done) -> Done:
    """Type the line that stderr ends with."""
    line = done.stderr.splitlines()[-1]
    assert "was interrupted and is open; go on with: aion " in line
    return project.aion(*shlex.split(line.partition("go on with: aion ")[2]))


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_is_in_flight_is_recorded_nothing_new_begins_and_the_run_stays_open(
    project: Project, number: signal.Signals, code: int
) -> None:
    project.write(STEPS)
    with project.start("run", "steps", "--id", "r") as running:
        running.until_stderr_says("first (0) started")
        running.signal(number)
        (project.root / "finish").touch()
        done = running.end()
    assert (done.code, done.stdout) == (code, "")
    assert "finally" not in done.stderr.splitlines()
    assert project.names("r")[2:] == ["ActivityStarted", "ActivityCompleted", "ActivityScheduled"]
    assert project.here("replay", "r").code == 0
    again = went_on(project, done)
    assert (again.code, again.stdout) == (0, '"done"\n')
    assert project.world == ["first", "second", "cleanup"]


def test_a_second_signal_ends_it_at_once(project: Project) -> None:
    project.write(STEPS)
    with project.start("run", "steps", "--id", "r", "--grace", "600") as running:
        running.until_stderr_says("first (0) started")
        running.signal(signal.SIGTERM)
        running.signal(signal.SIGINT)  # another number, so that the two cannot become one on their way
        done = running.end()
    assert (done.code in (130, 143), done.stdout) == (True, "")
    assert project.names("r")[2:] == ["ActivityStarted"]
    (project.root / "finish").touch()
    assert went_on(project, done).code == 0


def test_a_run_that_only_waits_has_nothing_to_give_grace_to(project: Project) -> None:
    project.write("""
        @workflow
        async def waits():
            try:
                await asyncio.gather(Signal("go", int).receive(), asyncio.sleep(600))
            finally:
                await asyncio.sleep(1)
    """)
    with project.start("run", "waits", "--id", "r", "--grace", "600") as running:
        running.until_stderr_says("timer set")
        running.signal(signal.SIGINT)
        done = running.end()
    assert done.code == 130
    assert project.names("r") == ["WorkflowStarted", "TimerStarted"]


STUCK = {
    "an-async-activity-that-swallows-its-cancellation": """
        @activity
        async def stuck():
            note("stuck")
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass
    """,
    "a-thread-that-never-returns": """
        import time

        @activity
        def stuck():
            note("stuck")
            time.sleep(600)
    """,
    "a-thread-of-the-loop-that-never-returns": """
        import time

        @activity
        async def stuck():
            note("stuck")
            await asyncio.to_thread(time.sleep, 600)
    """,
    "an-activity-that-blocks-the-loop": """
        import time

        @activity
        async def stuck():
            note("stuck")
            time.sleep(600)
    """,
    "workflow-code-that-never-yields": """
        @activity
        async def fine():
            pass

        async def stuck():
            await fine()
            note("stuck")
            while True:
                pass
    """,
}


@pytest.mark.parametrize("source", STUCK.values(), ids=STUCK)
def test_nothing_keeps_the_process_alive_for_longer_than_grace(project: Project, source: str) -> None:
    project.write(source + "\n        @workflow\n        async def order():\n            await stuck()\n")
    with project.start("run", "order", "--id", "r", "--grace", "0.3") as running:
        until(lambda: project.world == ["stuck"])
        running.signal(signal.SIGTERM)
        signalled_at = time.monotonic()
        done = running.end()
    assert time.monotonic() - signalled_at < 15
    assert (done.code, done.stdout) == (143, "")
    assert "was interrupted and is open; go on with: aion run order --id r" in done.stderr.splitlines()[-1]
    assert not {"ActivityCancelled", "ActivityFailed", "WorkflowFailed"} & set(project.names("r"))


def test_what_an_activity_leaves_running_does_not_keep_a_finished_run_from_ending(project: Project) -> None:
    project.write("""
        import threading, time

        @activity
        def leaves_a_thread():
            threading.Thread(target=time.sleep, args=(600,)).start()

        @activity
        async def leaves_a_task():
            asyncio.get_running_loop().tasks = asyncio.ensure_future(swallows())

        async def swallows():
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass

        @workflow
        async def order(which: str):
            await (leaves_a_thread() if which == "thread" else leaves_a_task())
            return 1
    """)
    for which in ("thread", "task"):
        done = project.aion("run", "order", "--id", which, "--input", f'"{which}"', "--grace", "0.3")
        assert (done.code, done.stdout) == (0, "1\n")
        assert "Traceback" not in done.stderr
        assert "destroyed" not in done.stderr


def test_an_attempt_in_a_process_of_its_own_does_not_outlive_an_aion_that_was_killed(project: Project) -> None:
    project.write("""
        import os, subprocess, time

        @activity(process=True)
        def long():
            os.open("pipe", os.O_WRONLY)
            subprocess.Popen("sleep 600 9>pipe", shell=True)
            open("begun", "x").close()
            time.sleep(600)

        @workflow
        async def order():
            await long()
    """)
    os.mkfifo(project.root / "pipe")
    alive = os.open(project.root / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with project.start("run", "order", "--id", "r") as running:
            until((project.root / "begun").exists)
            running.signal(signal.SIGKILL)
            running.end()
        assert select.select([alive], [], [], 10)[0]
        assert os.read(alive, 1) == b""  # both are gone
    finally:
        os.close(alive)


@pytest.mark.parametrize("blocked", [False, True], ids=["by-its-cancellation", "by-the-end-of-a-process-that-hangs"])
def test_the_process_group_of_a_shell_step_is_gone_afterwards(project: Project, blocked: bool) -> None:
    project.write("""
        import os, time
        from aion_cli import shell

        @activity
        async def block():
            while not os.path.exists("both"):
                await asyncio.sleep(0.005)
            note("blocked")
            time.sleep(600)

        @workflow
        async def order(blocked: bool):
            step = shell("exec 9>pipe; sleep 600 & touch both; sleep 600")
            await (asyncio.gather(step, block()) if blocked else step)
    """)
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    alive = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with project.start("run", "order", "--id", "r", "--grace", "0.2", "--input", f"{blocked}".lower()) as running:
            until((project.root / "both").exists)
            until(lambda: not blocked or project.world == ["blocked"])
            running.signal(signal.SIGTERM)
            assert running.end().code == 143
        assert select.select([alive], [], [], 10)[0]
        assert os.read(alive, 1) == b""  # whoever held the other end is gone
    finally:
        os.close(alive)


def test_a_hang_up_that_was_to_be_ignored_is_ignored(project: Project) -> None:
    project.write(STEPS)
    command = [sys.executable, "-m", "aion_cli", "run", "steps", "--id", "r"]
    process = subprocess.Popen(
        ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *command],  # what nohup does
        cwd=project.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with Running(process) as running:
        running.until_stderr_says("first (0) started")
        running.signal(signal.SIGHUP)
        (project.root / "finish").touch()
        done = running.end()
    assert (done.code, done.stdout) == (0, '"done"\n')


def drained(fd: int) -> bool:
    """Read what there is; always true."""
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 1 << 16)
    return True


def test_a_terminal_that_hangs_up_leaves_the_run_open(project: Project) -> None:
    project.write(STEPS)
    terminal, line = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "aion_cli", "run", "steps", "--id", "r", "--grace", "30"],
        cwd=project.root,
        env=environment({"TERM": "xterm"}),
        stdin=line,
        stdout=line,
        stderr=line,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(line)
    try:
        os.set_blocking(terminal, False)
        until(lambda: drained(terminal) and project.world == ["first"])
        os.close(terminal)
        (project.root / "finish").touch()
        assert process.wait(30) == 143
    finally:
        process.kill()
    assert project.names("r")[2:] == ["ActivityStarted", "ActivityCompleted", "ActivityScheduled"]
    assert project.aion("run", "steps", "--id", "r").stdout == '"done"\n'


def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def run_into(project: Project, *args: str, stdout: int, stderr: int | None = None) -> int:
    """Run aion with these descriptors, and close them here."""
    command = [sys.executable, "-m", "aion_cli", *args]
    try:
        return subprocess.run(
            command, cwd=project.root, env=environment(), stdout=stdout, stderr=stderr, check=False, timeout=60
        ).returncode
    finally:
        for fd in (stdout, stderr):
            if fd is not None:
                os.close(fd)


def test_a_result_that_nobody_reads_is_recorded_all_the_same(project: Project) -> None:
    project.write(STEPS)
    (project.root / "finish").touch()
    assert run_into(project, "run", "steps", "--id", "r", stdout=closed_pipe()) == 141
    assert project.names("r")[-1] == "WorkflowCompleted"
    again = project.aion("run", "steps", "--id", "r")
    assert (again.code, again.stdout) == (0, '"done"\n')
    assert project.world == ["first", "second", "cleanup"]


def test_prints_that_nobody_reads_harm_neither_activities_nor_the_run(project: Project) -> None:
    project.write("""
        import logging, sys

        @activity
        def prints():
            for n in range(2_000):
                print("line", n)
            print("error", file=sys.stderr)
            logging.warning("logged")
            return 1

        @workflow
        async def order():
            print("in the workflow")
            return await prints()
    """)
    reader, writer = os.pipe()
    assert run_into(project, "run", "order", "--id", "r", stdout=writer, stderr=closed_pipe()) == 0
    assert os.read(reader, 100) == b"1\n"
    os.close(reader)
    assert not any(isinstance(event, ev.ActivityFailed) for event in project.events("r"))
