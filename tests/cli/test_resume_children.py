"""`aion resume` and children: a parent that is open goes on with them, also with those of its runs before."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from aion_cli.core import clock
from aion_cli.core.lines import ZERO_DIGEST, decode_event, encode_line
from tests.cli.support import Project

FAMILY = """\
    from aion_cli import ContinueAsNew, start_child

    go = Signal("go", int)

    @activity
    def ship(n: int):
        note(f"ship {n}")

    @workflow
    async def naps(s: float):
        await asyncio.sleep(s)
        await ship(1)

    @workflow
    async def waits():
        await go.receive()
        await ship(2)

    @workflow
    async def parent(s: float):
        await naps(s)

    @workflow
    async def withdraws():
        wait = await start_child(waits, id="wait")
        await ship(0)
        wait.cancel()
        await go.receive()

    @activity
    def load():
        open("mended").close()

    @workflow
    async def loads():
        await load()

    @workflow
    async def outlives():
        try:
            await (await start_child(loads, id="loads"))
        except Exception:
            await go.receive()

    @workflow
    async def goes_back():
        try:
            await load()
        except Exception:
            await start_child(waits, id="wait", parent_close="abandon")
            raise
        await go.receive()

    @workflow
    async def usurps():
        try:
            await (await start_child(waits, id="r"))
        except Exception:
            await go.receive()

    @workflow
    async def chain(s: float, first: bool = True):
        if first:
            await start_child(naps, s, id="nap")
            await start_child(waits, id="wait")
            raise ContinueAsNew(s, first=False)
        await go.receive()
"""

LONELY = """
    @workflow
    async def lonely(first: bool = True):
        if first:
            raise ContinueAsNew(first=False)
        await go.receive()
"""


@pytest.fixture(name="family")
def a_family(project: Project) -> Project:
    project.write(FAMILY)
    return project


def wind_back(path: Path) -> None:
    """Let everything in a history have happened two hours earlier."""
    digest, lines = ZERO_DIGEST, b""
    for line in path.read_bytes().splitlines():
        event = decode_event(line)
        moved = {name: earlier(getattr(event, name)) for name in ("recorded_at", "fire_at") if hasattr(event, name)}
        written, digest = encode_line(msgspec.structs.replace(event, **moved), digest)
        lines += written
    path.write_bytes(lines)


def earlier(moment: str) -> str:
    return clock.format_instant(clock.parse_instant(moment) - 2 * 3600 * 1_000_000)


def resumed(family: Project, *options: str) -> list[str]:
    """The runs that `aion resume` goes on with."""
    return [json.loads(line)["run"] for line in family.here("resume", *options).stdout.splitlines()]


@pytest.mark.parametrize("target", ["parent", "chain"])
def test_a_parent_is_due_when_a_timer_of_its_child_is(family: Project, target: str) -> None:
    family.here(
        "run",
        target,
        "--id",
        "r",
        *(["--input", "3600"] if target == "parent" else ["-p", "s:=3600"]),
        "--until-blocked",
    )
    assert resumed(family, "--due") == []
    (child,) = [path for path in family.histories.glob("*.jsonl") if b'"naps"' in path.read_bytes().split(b"\n")[0]]
    wind_back(child)
    assert resumed(family, "--due") == ["r"]
    assert family.world == ["ship 1"]
    assert resumed(family, "--due") == []


def test_a_message_to_a_child_of_an_earlier_run_makes_its_parent_due(family: Project) -> None:
    family.here("run", "chain", "--id", "r", "-p", "s:=3600", "--until-blocked")
    family.here("signal", "wait", "go", "1")
    assert resumed(family, "--due") == ["r"]
    assert family.world == ["ship 2"]
    assert resumed(family, "--due") == []


def test_children_are_not_resumed_beside_a_parent_that_continued(family: Project) -> None:
    family.here("run", "chain", "--id", "r", "-p", "s:=3600", "--until-blocked")
    assert resumed(family, "--all") == ["r"]
    family.here("signal", "wait", "go", "1")
    family.here("run", "chain", "--id", "r", "--until-blocked")
    assert family.world == ["ship 2"]
    family.here("signal", "r", "go", "1")
    assert family.here("run", "chain", "--id", "r").code == 0
    assert resumed(family, "--all") == []
    assert family.here("replay", "r", "r@1", "nap", "wait").code == 0
    assert family.here("result", "nap").code == 9


def test_a_child_that_is_no_longer_awaited_makes_its_parent_due_once(family: Project) -> None:
    family.here("run", "withdraws", "--id", "r", "--until-blocked")
    assert family.names("wait")[-1] == "WorkflowCancelled"
    assert resumed(family, "--due") == []
    assert "child" not in family.here("list", "--recorded").stdout


def test_a_cancel_request_that_never_reached_a_child_makes_its_parent_due(family: Project) -> None:
    family.here("run", "withdraws", "--id", "r", "--until-blocked")
    wait = family.history("wait")
    wait.write_bytes(b"".join(wait.read_bytes().splitlines(keepends=True)[:1]))
    assert resumed(family, "--due") == ["r"]
    assert family.names("wait")[-1] == "WorkflowCancelled"


def test_a_child_that_wants_the_id_of_its_parent_makes_it_due_until_it_is_refused(family: Project) -> None:
    family.here("run", "usurps", "--id", "r", "--until-blocked")
    assert family.names("r")[-1] == "ChildWorkflowFailed"
    assert resumed(family, "--due") == []
    run = family.history("r")
    run.write_bytes(b"".join(run.read_bytes().splitlines(keepends=True)[:-1]))
    assert resumed(family, "--due") == ["r"]
    assert family.names("r")[-1] == "ChildWorkflowFailed"


def test_a_run_that_lacks_the_history_that_it_continues_in_is_due(family: Project) -> None:
    family.write(FAMILY + LONELY)
    family.here("run", "lonely", "--id", "r", "--until-blocked")
    family.history("r@2").unlink()
    assert resumed(family, "--due") == ["r"]
    assert family.names("r@2") == ["WorkflowStarted"]
    assert resumed(family, "--due") == []


def test_a_child_that_was_reopened_after_its_parent_took_note_of_its_end_is_resumed(family: Project) -> None:
    family.here("run", "outlives", "--id", "r", "--until-blocked")
    assert family.names("loads")[-1] == "WorkflowFailed"
    (family.root / "mended").touch()
    family.here("reopen", "loads", "--from", "4")
    assert resumed(family, "--due") == ["loads"]
    assert family.names("loads")[-1] == "WorkflowCompleted"


def test_a_child_whose_start_was_superseded_is_resumed(family: Project) -> None:
    family.here("run", "goes_back", "--id", "r")
    (family.root / "mended").touch()
    family.here("reopen", "r", "--from", "4")
    family.here("run", "goes_back", "--id", "r", "--until-blocked")
    assert sorted(resumed(family, "--all")) == ["r", "wait"]
    family.here("signal", "wait", "go", "1")
    assert resumed(family, "--due") == ["wait"]
    assert family.world == ["ship 2"]


def test_a_run_that_was_signalled_while_nobody_worked_on_it_is_due(family: Project) -> None:
    family.here("run", "waits", "--id", "r", "--until-blocked")
    assert resumed(family, "--due") == []
    family.here("signal", "r", "other", "1", "--force")
    assert resumed(family, "--due") == []
    family.here("signal", "r", "go", "1")
    assert resumed(family, "--due") == ["r"]
    assert family.world == ["ship 2"]


@pytest.mark.parametrize("command", ["cancel", "terminate"])
def test_a_run_that_was_told_to_end_is_due_unless_it_has_ended(family: Project, command: str) -> None:
    family.here("run", "waits", "--id", "r", "--until-blocked")
    family.here(command, "r")
    assert resumed(family, "--due") == (["r"] if command == "cancel" else [])


def test_a_run_that_was_only_created_is_due(family: Project) -> None:
    family.here("signal", "r", "go", "1", "--start", "waits")
    assert resumed(family, "--due") == ["r"]


def test_a_paused_run_is_not_due_and_is_when_it_is_unpaused(family: Project) -> None:
    family.here("run", "waits", "--id", "r", "--until-blocked")
    family.here("pause", "r")
    family.here("signal", "r", "go", "1")
    assert resumed(family, "--due") == []
    family.here("unpause", "r")
    assert resumed(family, "--due") == ["r"]


def test_a_run_whose_time_is_over_is_due(family: Project) -> None:
    family.write(FAMILY.replace("@workflow\n    async def waits", "@workflow(timeout=3600)\n    async def waits"))
    family.here("run", "waits", "--id", "r", "--until-blocked")
    assert resumed(family, "--due") == []
    wind_back(family.history("r"))
    assert resumed(family, "--due") == ["r"]
    assert family.names("r")[-1] == "WorkflowTimedOut"


def test_a_run_whose_code_cannot_be_found_is_due_and_said_why(family: Project) -> None:
    family.here("run", "waits", "--id", "r", "--until-blocked")
    family.here("signal", "r", "go", "1")
    (family.root / "workflows" / "order.py").unlink()
    done = family.here("resume", "--due")
    assert "no code" in done.stderr or "waits" in done.stderr
    assert json.loads(done.stdout)["run"] == "r"
