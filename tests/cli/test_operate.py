"""Cancel, terminate, pause, unpause, reopen, result, query, update and resume, as typed."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.support import Project

WAITING = """
import aion_cli

go = Signal("go", int)

@activity
async def charge(cents: int) -> str:
    note(f"charge {cents}")
    return f"receipt-{cents}"

@activity
async def refund(receipt: str) -> None:
    note(f"refund {receipt}")

@workflow
async def order(cents: int = 5) -> str:
    added = []

    @aion_cli.query
    def total() -> int:
        return cents + sum(added)

    @aion_cli.update
    async def add(more: int) -> int:
        if more > 99:
            raise OverflowError("too much")
        added.append(more)
        return cents + sum(added)

    @add.validator
    def positive(more: int) -> None:
        if more <= 0:
            raise ValueError("more must be positive")

    async with aion_cli.Saga() as saga:
        receipt = await charge(cents)
        saga.compensate(refund, receipt)
        await go.receive()
        return f"{receipt} {cents + sum(added)}"
"""


def world(project: Project) -> list[str]:
    path = project.root / "world"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def waiting(project: Project) -> Project:
    """A project with a run `o1` that waits for its signal."""
    project.write(WAITING)
    assert project.here("run", "order", "--id", "o1", "--until-blocked").code == 3
    return project


def types(project: Project, run: str = "o1") -> list[str]:
    done = project.here("show", run, "-o", "jsonl")
    return [json.loads(line)["type"] for line in done.stdout.splitlines()]


def test_a_cancelled_run_cleans_up_with_activities_and_is_exit_9(waiting: Project) -> None:
    assert waiting.here("cancel", "o1", "--reason", "changed their mind").code == 0
    done = waiting.here("run", "order", "--id", "o1")
    assert done.code == 9
    assert done.stdout == ""
    assert "changed their mind" in done.stderr
    assert world(waiting) == ["charge 5", "refund receipt-5"]
    assert types(waiting)[-1] == "WorkflowCancelled"
    assert waiting.here("replay", "o1").code == 0


def test_a_cancel_request_with_a_key_is_recorded_once(waiting: Project) -> None:
    assert waiting.here("cancel", "o1", "--id", "k1").code == 0
    again = waiting.here("cancel", "o1", "--id", "k1")
    assert again.code == 0
    assert "had been before" in again.stderr
    assert types(waiting).count("WorkflowCancelRequested") == 1


def test_a_terminated_run_runs_no_cleanup(waiting: Project) -> None:
    assert waiting.here("terminate", "o1", "--reason", "enough").code == 0
    done = waiting.here("run", "order", "--id", "o1")
    assert done.code == 9
    assert world(waiting) == ["charge 5"]
    assert types(waiting)[-1] == "WorkflowTerminated"
    assert waiting.here("signal", "o1", "go", "1").code == 8
    assert waiting.here("replay", "o1").code == 0


def test_a_run_of_a_paused_run_is_exit_3_and_begins_nothing(waiting: Project) -> None:
    assert waiting.here("pause", "o1").code == 0
    assert waiting.here("signal", "o1", "go", "1").code == 0
    done = waiting.here("run", "order", "--id", "o1")
    assert done.code == 3
    assert done.document["status"] == "paused"
    assert waiting.here("unpause", "o1").code == 0
    assert waiting.here("run", "order", "--id", "o1").stdout == '"receipt-5 5"\n'
    assert waiting.here("replay", "o1").code == 0


def test_a_query_is_answered_by_replaying_whether_the_run_is_open_or_closed(waiting: Project) -> None:
    before = (waiting.histories / "o1.jsonl").read_bytes()
    assert waiting.here("query", "o1", "total").stdout == "5\n"
    assert (waiting.histories / "o1.jsonl").read_bytes() == before
    waiting.here("signal", "o1", "go", "1")
    waiting.here("run", "order", "--id", "o1")
    assert waiting.here("query", "o1", "total").stdout == "5\n"
    assert world(waiting) == ["charge 5"]


def test_a_query_that_raises_is_exit_1_with_the_authors_line(project: Project) -> None:
    project.write("""
        from aion_cli import query

        @workflow
        async def order():
            query("note", lambda: [][0])
            await asyncio.sleep(3600)
    """)
    project.here("run", "order", "--id", "o1", "--until-blocked")
    done = project.here("query", "o1", "note")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.startswith("error[query-failed]: query note of o1 failed: IndexError: list index out of range")
    assert project.line_of("[][0]").replace(":", '", line ') in done.stderr
    as_json = project.here("query", "o1", "note", "-o", "json")
    assert (as_json.code, as_json.document["error"]["type"]) == (1, "IndexError")


def test_an_update_of_a_paused_run_says_that_it_is_answered_later(waiting: Project) -> None:
    waiting.here("pause", "o1")
    done = waiting.here("update", "o1", "add", "3", "--id", "u1")
    assert done.code == 3
    assert done.document["status"] == "paused"
    assert "aion unpause o1" in done.stderr
    waiting.here("unpause", "o1")
    assert waiting.here("update", "o1", "add", "3", "--id", "u1").stdout == "8\n"


def test_running_a_paused_run_says_how_to_let_it_go_on(waiting: Project) -> None:
    waiting.here("pause", "o1")
    done = waiting.here("run", "order", "--id", "o1")
    assert (done.code, done.document["status"]) == (3, "paused")
    assert "aion unpause o1" in done.stderr


def test_an_unknown_query_or_update_is_exit_2_with_the_names_there_are(waiting: Project) -> None:
    asked = waiting.here("query", "o1", "totl")
    assert asked.code == 2
    assert "total" in asked.stderr
    told = waiting.here("update", "o1", "ad", "1")
    assert told.code == 2
    assert "it declares: add" in told.stderr


def test_an_update_is_answered_once_by_this_process_and_changes_the_run(waiting: Project) -> None:
    assert waiting.here("update", "o1", "add", "7", "--id", "u1").stdout == "12\n"
    again = waiting.here("update", "o1", "add", "7", "--id", "u1")
    assert (again.code, again.stdout) == (0, "12\n")
    assert waiting.here("query", "o1", "total").stdout == "12\n"
    assert types(waiting).count("UpdateRequested") == 1
    waiting.here("signal", "o1", "go", "1")
    assert waiting.here("run", "order", "--id", "o1").stdout == '"receipt-5 12"\n'
    assert waiting.here("replay", "o1").code == 0


def test_an_update_that_its_validator_refuses_is_exit_2_and_the_run_goes_on(waiting: Project) -> None:
    done = waiting.here("update", "o1", "add", "-3")
    assert done.code == 2
    headline = "error[update-rejected]: update add of o1 was rejected: ValueError: more must be positive"
    assert done.stderr.startswith(headline)
    assert waiting.here("query", "o1", "total").stdout == "5\n"
    assert waiting.here("replay", "o1").code == 0


def test_an_update_whose_handler_raises_is_exit_1_and_the_run_goes_on(waiting: Project) -> None:
    done = waiting.here("update", "o1", "add", "100")
    assert done.code == 1
    assert done.stderr.startswith("error[update-failed]: update add of o1 failed: OverflowError: too much")
    assert waiting.here("query", "o1", "total").stdout == "5\n"


def test_an_update_with_arguments_of_another_type_is_refused_before_it_is_sent(waiting: Project) -> None:
    done = waiting.here("update", "o1", "add", '"seven"')
    assert done.code == 2
    assert "UpdateRequested" not in types(waiting)


def test_an_update_of_a_closed_run_is_exit_8(waiting: Project) -> None:
    waiting.here("terminate", "o1")
    assert waiting.here("update", "o1", "add", "1").code == 8


BROKEN = """
import pathlib

@activity
async def charge(cents: int) -> str:
    note(f"charge {cents}")
    return f"receipt-{cents}"

@activity
async def ship(receipt: str) -> str:
    note(f"ship {receipt}")
    if "strike" in pathlib.Path("weather").read_text():
        raise OSError("no ships today")
    return "sea"

@workflow
async def order(cents: int = 5) -> str:
    receipt = await charge(cents)
    return f"{receipt} by {await ship(receipt)}"[:len(receipt) // 0]
"""


def test_a_failed_run_is_reopened_and_goes_on_from_its_failure_after_the_fix(project: Project) -> None:
    file = project.write(BROKEN)
    (project.root / "weather").write_text("fine")
    assert project.aion("run", "order", "--id", "o1").code == 1
    assert project.aion("reopen", "o1").code == 0
    file.write_text(file.read_text().replace("[:len(receipt) // 0]", ""))
    done = project.aion("resume", "o1")
    assert done.code == 0
    assert json.loads(done.stdout)["result"] == "receipt-5 by sea"
    assert project.aion("replay", "o1").code == 0
    assert world(project) == ["charge 5", "ship receipt-5"]


def test_reopening_from_a_failed_activity_tries_that_activity_again(project: Project) -> None:
    project.write(BROKEN.replace("[:len(receipt) // 0]", ""))
    (project.root / "weather").write_text("strike")
    assert project.here("run", "order", "--id", "o1").code == 1
    events = [json.loads(line) for line in project.here("show", "o1", "-o", "jsonl").stdout.splitlines()]
    (failed,) = [event["seq"] for event in events if event["type"] == "ActivityFailed"]
    assert project.here("reopen", "o1", "--from", str(failed)).code == 0
    (project.root / "weather").write_text("fine")
    assert project.here("run", "order", "--id", "o1").stdout == '"receipt-5 by sea"\n'
    assert world(project) == ["charge 5", "ship receipt-5", "ship receipt-5"]
    assert project.here("replay", "o1").code == 0


def test_a_failure_that_was_superseded_cannot_be_reopened_from_again_but_the_next_one_can(project: Project) -> None:
    project.write(BROKEN.replace("[:len(receipt) // 0]", ""))
    (project.root / "weather").write_text("strike")

    def failures() -> list[int]:
        events = [json.loads(line) for line in project.here("show", "o1", "-o", "jsonl").stdout.splitlines()]
        return [event["seq"] for event in events if event["type"] == "ActivityFailed"]

    project.here("run", "order", "--id", "o1")
    (first,) = failures()
    project.here("reopen", "o1", "--from", str(first))
    project.here("run", "order", "--id", "o1")
    assert project.here("reopen", "o1", "--from", str(first)).code == 8
    assert project.here("reopen", "o1", "--from", str(failures()[-1])).code == 0
    project.here("run", "order", "--id", "o1")
    assert len(failures()) == 3


def test_a_cancelled_run_is_reopened_as_if_nobody_had_cancelled_it(waiting: Project) -> None:
    waiting.here("cancel", "o1")
    assert waiting.here("run", "order", "--id", "o1").code == 9
    assert waiting.here("reopen", "o1").code == 0
    waiting.here("signal", "o1", "go", "1")
    assert waiting.here("run", "order", "--id", "o1").stdout == '"receipt-5 5"\n'
    assert waiting.here("replay", "o1").code == 0


def test_a_reopen_names_what_is_done_and_taken_back(waiting: Project) -> None:
    waiting.here("cancel", "o1")
    waiting.here("run", "order", "--id", "o1")
    asked, done = (types(waiting).index(name, 4) + 1 for name in ("WorkflowCancelRequested", "ActivityCompleted"))
    reopened = waiting.here("reopen", "o1", "-o", "json")
    assert reopened.document == {
        "run": "o1",
        "superseded_from": asked,
        "taken_back": [{"seq": done, "name": "refund", "ordinal": 1}],
    }
    assert f"warning: what was done after event {asked} is taken back: refund (1) at event {done}; " in reopened.stderr


def test_a_reopen_that_takes_back_nothing_that_is_done_warns_of_nothing(waiting: Project) -> None:
    waiting.here("terminate", "o1")
    assert "warning" not in waiting.here("reopen", "o1").stderr


@pytest.mark.parametrize("state", ["open", "completed"])
def test_reopening_an_open_or_a_completed_run_is_exit_8(waiting: Project, state: str) -> None:
    if state == "completed":
        waiting.here("signal", "o1", "go", "1")
        waiting.here("run", "order", "--id", "o1")
    before = (waiting.histories / "o1.jsonl").read_bytes()
    assert waiting.here("reopen", "o1").code == 8
    assert (waiting.histories / "o1.jsonl").read_bytes() == before


def test_reopening_from_an_event_that_is_no_failure_is_exit_8(waiting: Project) -> None:
    waiting.here("terminate", "o1")
    assert waiting.here("reopen", "o1", "--from", "2").code == 8


def test_result_is_3_while_open_and_then_the_outcome_with_its_exit_code(waiting: Project) -> None:
    opened = waiting.here("result", "o1")
    assert opened.code == 3
    assert opened.document["status"] == "waiting"
    waiting.here("signal", "o1", "go", "1")
    waiting.here("run", "order", "--id", "o1")
    done = waiting.here("result", "o1", "--wait")
    assert (done.code, done.stdout) == (0, '"receipt-5 5"\n')


def test_a_wait_for_a_result_that_is_interrupted_tells_scripts_how_the_run_is(waiting: Project) -> None:
    with waiting.start("result", "o1", "--wait", "-o", "json") as running:
        running.until_stderr_says("o1 is open; waiting for its end")
        running.signal(signal.SIGINT)
        done = running.end()
    assert (done.code, done.document["status"]) == (130, "waiting")
    assert "aion result o1 --wait" in done.stderr


def test_resume_goes_on_with_all_open_runs_and_prints_a_line_each(waiting: Project) -> None:
    waiting.here("run", "order", "--id", "o2", "--until-blocked")
    waiting.here("signal", "o2", "go", "1")
    done = waiting.here("resume", "--all")
    assert done.code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["run"], line["status"]) for line in lines] == [("o1", "waiting"), ("o2", "completed")]


def test_resume_due_leaves_a_run_alone_that_cannot_move(waiting: Project) -> None:
    done = waiting.here("resume", "--due")
    assert (done.code, done.stdout) == (0, "")


def test_resume_as_json_is_one_array_also_of_nothing(waiting: Project) -> None:
    waiting.here("run", "order", "--id", "o2", "--until-blocked")
    runs = waiting.here("resume", "--all", "-o", "json").document
    assert [run["run"] for run in runs] == ["o1", "o2"]
    assert waiting.here("resume", "--due", "-o", "json").document == []


def test_resume_of_a_run_that_is_not_there_is_an_error_as_json_too(waiting: Project) -> None:
    done = waiting.here("resume", "nobody", "-o", "json")
    assert (done.code, done.document["code"]) == (7, "no-such-run")


def test_resume_says_by_its_exit_code_that_it_could_not_go_on(waiting: Project) -> None:
    (waiting.root / "workflows" / "order.py").write_text("def order(\n")
    done = waiting.here("resume", "--all")
    assert done.code == 2
    assert json.loads(done.stdout)["error"]["code"] == "workflow-code"


def test_resume_of_nothing_named_is_a_usage_error(waiting: Project) -> None:
    assert waiting.here("resume").code == 2


@pytest.mark.parametrize("command", ["cancel", "terminate", "pause", "unpause", "reopen", "result"])
def test_a_run_that_is_not_there_is_exit_7(project: Project, command: str) -> None:
    assert project.here(command, "nobody").code == 7


@pytest.mark.parametrize("command", ["cancel", "terminate", "pause", "unpause"])
def test_what_comes_too_late_for_a_closed_run_is_exit_8(waiting: Project, command: str) -> None:
    waiting.here("terminate", "o1")
    before = (waiting.histories / "o1.jsonl").read_bytes()
    assert waiting.here(command, "o1").code == 8
    assert (waiting.histories / "o1.jsonl").read_bytes() == before


def test_a_divergence_tells_whether_the_file_has_changed_since_the_run_started(waiting: Project) -> None:
    changed = "the workflow's file has changed since this run started"
    file = waiting.root / "workflows" / "order.py"
    file.write_text(
        file.read_text()
        .replace("charge(cents)", "charge(cents + 1)")
        .replace("def charge(cents + 1)", "def charge(cents)")
    )
    replayed = waiting.aion("replay", "o1")
    assert replayed.code == 4
    assert changed in replayed.stderr
    assert changed in waiting.aion("run", "order", "--id", "o1").stderr


def test_what_workflow_code_prints_is_silent_in_a_replay_unless_it_is_asked_for(project: Project) -> None:
    project.write("""
import aion_cli

@activity
async def step() -> None: ...

@workflow
async def order() -> None:
    print("printed by the workflow")
    aion_cli.log.info("logged by the workflow")
    await step()
""")
    first = project.aion("run", "order", "--id", "o1")
    assert first.stderr.count("by the workflow") == 2
    silent = project.aion("replay", "o1")
    assert "by the workflow" not in silent.stderr
    shown = project.aion("replay", "o1", "--show-replay-output")
    assert shown.stderr.count("by the workflow") == 2
    assert "by the workflow" not in shown.stdout


ASKED_AND_DONE = """
import aion_cli

@activity(at_most_once=True)
async def bill() -> str:
    note("bill")
    return "billed"

@workflow
async def order() -> str:
    ready = False

    @aion_cli.update
    async def approve() -> str:
        nonlocal ready
        ready = True
        return "thanks"

    await aion_cli.wait_until(lambda: ready)
    return await bill()
"""


def test_an_update_leaves_what_its_answer_sets_off_to_the_next_run(project: Project) -> None:
    project.write(ASKED_AND_DONE)
    assert project.here("run", "order", "--id", "o1", "--until-blocked").code == 3
    assert project.here("update", "o1", "approve").document == "thanks"
    assert project.names("o1")[-2:] == ["UpdateCompleted", "ActivityScheduled"]
    assert project.here("run", "order", "--id", "o1").document == "billed"
    assert world(project) == ["bill"]
