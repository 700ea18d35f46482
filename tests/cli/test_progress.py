"""Progress on stderr: plain lines, and live ones on a terminal."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest

from aion_cli.cli.inflight import InFlight, Now
from aion_cli.cli.sentences import Sentences
from aion_cli.cli.terminal import cell_width
from aion_cli.core import events as ev
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    cancel_requested,
    child,
    child_completed,
    child_failed,
    completed,
    ended,
    ended_in,
    failed,
    failure,
    scheduled,
    started,
    timer,
)
from tests.builders import signal as signal_received
from tests.cli.support import Project
from tests.cli.terminals import OnTerminal

NOW = Now(100.0, 0)


def said(*events: ev.Event) -> list[str | None]:
    sentences = Sentences()
    return [sentences.say("r", event) for event in events]


def test_events_are_told_by_the_names_that_earlier_ones_gave() -> None:
    assert said(
        started(workflow_type="order"),
        scheduled(0, "charge"),
        attempted(0),
        failed(0, failure("E", "no"), again_at=at(7)),
        attempted(0, 2),
        completed(0),
        child(0, "ship", workflow_id="r.1-9"),
        child_failed(0, failure("E", "")),
        timer(0, at(3)),
        signal_received("go"),
        cancel_requested(reason="enough"),
        ended(),
    ) == [
        "order started",
        None,
        "charge (0) started",
        f"charge (0) failed: E: no; attempt 2 at {at(7)}",
        "charge (0) started, attempt 2",
        "charge (0) completed",
        "child r.1-9 started",
        "child r.1-9 failed: E",
        f"timer set for {at(3)}",
        "signal go received",
        "cancel requested: enough",
        "completed",
    ]


def test_what_was_named_before_a_restart_keeps_its_name() -> None:
    sentences = Sentences()
    sentences.learn("r", scheduled(4, "charge"))
    sentences.learn("r", child(0, "ship", workflow_id="r.1-9"))
    assert sentences.say("r", attempted(4, 2)) == "charge (4) started, attempt 2"
    assert sentences.say("r", child_completed(0)) == "child r.1-9 completed"
    assert sentences.say("other", attempted(4)) == "activity (4) started"


def flights(*events: ev.Event) -> InFlight:
    """What is in flight in run r after these events, each at NOW."""
    names = Sentences()
    found = InFlight(names)
    for event in events:
        found.follow("r", event, NOW)
        names.learn("r", event)
    return found


def lines(found: InFlight, later_s: float = 0, width: int = 80, height: int = 24) -> list[str]:
    return found.lines(Now(NOW.monotonic_s + later_s, round(later_s * 1e6)), width, height, spinner="*")


def test_an_attempt_in_flight_has_a_line_with_its_number_and_time() -> None:
    found = flights(scheduled(0, "charge"), scheduled(1, "bill"), attempted(0), attempted(1, attempt=3))
    assert lines(found) == ["*        0s  charge (0)  r", "*        0s  bill (1), attempt 3  r"]
    assert lines(found, later_s=80.9) == ["*    1m 20s  charge (0)  r", "*    1m 20s  bill (1), attempt 3  r"]


def test_between_two_attempts_the_line_says_when_the_next_one_is() -> None:
    found = flights(scheduled(0, "charge"), attempted(0), scheduled(1, "bill"), attempted(1))
    found.follow("r", failed(0, again_at="1970-01-01T00:00:09.500000Z"), NOW)
    assert lines(found, later_s=2) == [
        "-     in 7s  charge (0), attempt 2 at 00:00:09Z  r",
        "*        2s  bill (1)  r",
    ]
    assert lines(found, later_s=9)[0].startswith("-     in 0s  charge (0), attempt 2")
    found.follow("r", attempted(0, attempt=2), NOW)
    assert lines(found)[0] == "*        0s  charge (0), attempt 2  r"


@pytest.mark.parametrize("end", [completed(0), failed(0), activity_cancelled(0), ended(), ended_in()])
def test_a_line_ends_with_its_activity_and_with_its_run(end: ev.Event) -> None:
    found = flights(scheduled(0, "charge"), attempted(0), end)
    assert (lines(found), len(found)) == ([], 0)


def test_a_run_that_is_gone_on_with_shows_what_it_waits_to_try_again_and_nothing_that_was_cut_off() -> None:
    names = Sentences()
    found = InFlight(names)
    for event in (scheduled(0, "charge"), attempted(0), scheduled(1, "bill"), attempted(1), failed(1, again_at=at(5))):
        found.recall("r", event)
        names.learn("r", event)
    (line,) = lines(found)
    assert "bill (1), attempt 2 at 09:30:05Z" in line


def test_lines_fit_a_narrow_terminal_and_a_low_one_and_say_how_many_there_are_more() -> None:
    found = flights(*(event for n in range(9) for event in (scheduled(n, "x" * 90 + "漢" * 9), attempted(n))))
    shown = lines(found, width=20, height=4)
    assert len(shown) == 4
    assert shown[-1] == "6 more"
    assert all(cell_width(line) <= 20 for line in shown)
    assert lines(found, width=1, height=0) == ["…"]


def test_what_a_history_names_cannot_steer_the_terminal() -> None:
    (line,) = lines(flights(scheduled(0, "a\x1b[2J\r\n\u202eb"), attempted(0)))
    assert "a\\x1b[2J\\r\\n\\u202eb (0)" in line


BUSY = r"""
    import logging, os, subprocess, sys, time
    from datetime import timedelta
    from aion_cli import RetryPolicy, activity_info

    logging.basicConfig(format="logged %(message)s", level=logging.INFO)

    def until(name):
        while not os.path.exists(name):
            time.sleep(0.005)

    @activity
    def prints(n: int) -> int:
        print(f"printed {n}, before")
        until("go")
        print(f"printed {n}, after")
        return n

    @activity
    def runs() -> None:
        until("go")
        subprocess.run("echo from a process; echo err from a process >&2", shell=True)

    @activity
    async def ends() -> None:
        subprocess.run("printf 'no end'", shell=True)

    @activity
    async def logs() -> None:
        logging.info("by an old handler \x1b[2J")
        print("\x1b[31mred\x1b[0m\tand\x1b[5Aup")

    @activity(retry=RetryPolicy(max_attempts=2, initial=timedelta(seconds=0.4), jitter=0))
    async def flaky() -> None:
        if activity_info().attempt == 1:
            raise ConnectionError("closed")
        while not os.path.exists("go"):
            await asyncio.sleep(0.005)

    @workflow
    async def child() -> int:
        return await prints(3)

    @workflow
    async def busy() -> list[int]:
        await logs()
        a, b, c, _, _ = await asyncio.gather(prints(1), prints(2), child(), flaky(), runs())
        await ends()
        return [a, b, c]
"""


SPINNER = re.compile(r"([⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]) +\d+s  |- +in \d+s  ")


def in_flight(screen: list[str]) -> list[str]:
    """The live lines of a screen, without spinner and time."""
    return [SPINNER.sub("", line) for line in screen if SPINNER.match(line)]


def test_a_terminal_shows_what_is_in_flight_and_above_it_what_is_over_and_printed(project: Project) -> None:
    project.write(BUSY)
    with OnTerminal(project, "run", "busy", "--id", "b") as aion:
        aion.until(lambda screen: any(line.startswith("flaky (3), attempt 2 at ") for line in in_flight(screen)))
        expected = ["prints (1)  b", "prints (2)  b", "flaky (3), attempt 2  b", "runs (4)  b", "prints (0)  b.1-9"]
        aion.until(lambda screen: in_flight(screen) == expected)
        (project.root / "go").touch()
        code, out, left = aion.end()
    assert (code, out) == (0, "[1,2,3]\n")
    assert in_flight(left) == []
    for printed in (
        *(f"printed {n}, {when}" for n in (1, 2, 3) for when in ("before", "after")),
        *("from a process", "err from a process", "no end", "logged by an old handler \\x1b[2J"),
        *("red     and\\x1b[5Aup", "b.1-9  child started", "b  child b.1-9 completed", "b  completed"),
    ):
        assert left.count(printed) == 1, (printed, left)
    (failed_line,) = [line for line in left if "flaky (3) failed: ConnectionError: closed; attempt 2 at " in line]
    assert left.index("b  busy started") < left.index(failed_line)


def test_the_cursor_is_never_hidden_and_nothing_but_lines_is_touched(project: Project) -> None:
    project.write(BUSY)
    (project.root / "go").touch()
    with OnTerminal(project, "run", "busy", "--id", "b") as aion:
        assert aion.end()[0] == 0
    assert {command[-1:] for command in aion.screen.commands} <= {b"A", b"K"}
    assert not any(b"?" in command for command in aion.screen.commands)


def test_a_narrow_terminal_gets_no_line_that_wraps(project: Project) -> None:
    project.write(BUSY)
    with OnTerminal(project, "run", "busy", "--id", "a-run-with-a-long-id", width=24, height=5) as aion:
        aion.until(lambda screen: screen[-1] == "2 more" and len(in_flight(screen)) == 3)
        assert max(map(len, aion.screen.lines[-4:])) <= 24
        (project.root / "go").touch()
        assert aion.end()[0] == 0


def test_a_terminal_that_does_not_know_its_size_is_taken_for_a_usual_one(project: Project) -> None:
    project.write(BUSY)
    with OnTerminal(project, "run", "busy", "--id", "b", width=0, height=0) as aion:
        aion.until(lambda screen: len(in_flight(screen)) == 5)
        (project.root / "go").touch()
        assert aion.end()[0] == 0


def test_an_interruption_leaves_the_terminal_as_it_was(project: Project) -> None:
    project.write(BUSY)
    with OnTerminal(project, "run", "busy", "--id", "b") as aion:
        aion.until(lambda screen: any("flaky (3), attempt 2" in line for line in screen))
        aion.process.send_signal(signal.SIGINT)
        aion.until(lambda _: True)
        (project.root / "go").touch()
        code, out, left = aion.end()
    assert (code, out) == (130, "")
    assert left[-1] == "b was interrupted and is open; go on with: aion run busy --id b"
    assert aion.screen.lines[-1] == ""
    assert in_flight(left) == []


def test_a_process_that_an_activity_leaves_behind_can_go_on_printing(project: Project) -> None:
    project.write("""
        import subprocess

        @activity
        def leaves() -> None:
            subprocess.Popen("until test -e go; do sleep 0.05; done; echo one; echo two; touch alive", shell=True)

        @workflow
        async def order() -> None:
            await leaves()
    """)
    with OnTerminal(project, "run", "order", "--id", "r") as aion:
        aion.process.wait(30)
        (project.root / "go").touch()
        aion.until(lambda screen: "two" in screen)
    assert aion.screen.lines.count("one") == 1


@pytest.mark.parametrize(("options", "environ"), [(("-q",), {}), ((), {"TERM": "dumb"})])
def test_quiet_shows_nothing_and_a_dumb_terminal_gets_plain_lines(
    project: Project, options: tuple[str, ...], environ: dict[str, Any]
) -> None:
    project.write("""
        @activity
        async def step() -> None: ...

        @workflow
        async def order() -> int:
            await step()
            return 1
    """)
    with OnTerminal(project, "run", "order", "--id", "r", *options, **environ) as aion:
        code, out, left = aion.end()
    assert (code, out, aion.screen.commands) == (0, "1\n", [])
    expected = ["r  order started", "r  step (0) started", "r  step (0) completed", "r  completed"]
    assert left == ([] if options else expected)


def test_without_a_terminal_the_lines_are_plain_and_rich_is_not_loaded(project: Project) -> None:
    project.write("""
        import sys

        @activity
        async def step() -> bool:
            return "rich" in sys.modules

        @workflow
        async def order() -> bool:
            return await step()
    """)
    assert project.aion("run", "order", "--id", "r") == (
        0,
        "false\n",
        "r  order started\nr  step (0) started\nr  step (0) completed\nr  completed\n",
    )


def test_what_an_activity_raises_cannot_pass_for_a_line_of_another_run(project: Project) -> None:
    project.write("""
        @activity
        async def step():
            raise ValueError("no\\nother  completed")

        @workflow
        async def order():
            await step()
    """)
    lines = project.aion("run", "order", "--id", "r").stderr.splitlines()
    assert lines[2] == "r  step (0) failed: ValueError: no\\nother  completed"


@pytest.mark.parametrize("line", [("run", "order", "--id", "r"), ("resume", "r")])
def test_an_activity_that_is_done_again_after_a_crash_has_its_name(project: Project, line: tuple[str, ...]) -> None:
    project.write("""
        @activity
        async def step() -> None: ...

        @workflow
        async def order() -> None:
            await step()
    """)
    assert project.here("run", "order", "--id", "r").code == 0
    path = project.history("r")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert project.here(*line).stderr.splitlines()[0] == "r  step (0) started, attempt 2"
