"""What `aion list`, `aion result` and `aion run` say that an open run waits for."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.cli.support import Project

WORKFLOW = """\
    from aion_cli import RetryPolicy, wait_until, update

    approval = Signal("approval", bool)

    @activity(retry=RetryPolicy(initial=600, jitter=0))
    async def charge():
        raise ValueError("no bank today")

    @workflow
    async def signalled():
        return await approval.receive()

    @workflow
    async def conditional():
        answers = []

        @update
        async def answer(x: int) -> int:
            answers.append(x)
            return len(answers)

        await wait_until(lambda: len(answers) > 1)

    @workflow
    async def everything():
        async with asyncio.TaskGroup() as group:
            group.create_task(charge())
            group.create_task(signalled())
            group.create_task(asyncio.sleep(3600))
            await approval.receive()
"""


@pytest.fixture(name="shop")
def a_shop(project: Project) -> Project:
    project.write(WORKFLOW)
    return project


def listed(shop: Project, run: str, *options: str) -> list[Any]:
    """What `aion list` says that a run waits for."""
    runs = shop.aion("list", "-o", "json", *options).document
    return next(item["waiting"] for item in runs if item["workflow_id"] == run)


def test_a_wait_for_a_signal_is_shown_with_its_line(shop: Project) -> None:
    ended = shop.aion("run", "signalled", "--id", "r", "--until-blocked").document
    (wait,) = ended["waiting"]
    assert wait["kind"] == "signal"
    assert wait["name"] == "approval"
    assert wait["where"] == shop.line_of("return await approval.receive()")
    assert shop.aion("result", "r").document == ended
    assert listed(shop, "r") == [wait]
    assert "signal approval" in shop.aion("list").stdout


def test_a_wait_for_a_condition_is_shown_with_its_line_until_it_holds(shop: Project) -> None:
    ended = shop.aion("run", "conditional", "--id", "r", "--until-blocked").document
    (wait,) = ended["waiting"]
    where = shop.line_of("await wait_until")
    assert (wait["kind"], wait["where"], wait["deadline"]) == ("condition", where, None)
    assert shop.aion("result", "r").document == ended
    assert f"condition at {where}" in shop.aion("list").stdout
    shop.aion("update", "r", "answer", "1")
    assert listed(shop, "r") == [wait]
    shop.aion("update", "r", "answer", "2")
    assert listed(shop, "r") == []


def test_each_of_several_waits_is_shown_an_activity_between_attempts_with_its_next_one(shop: Project) -> None:
    ended = shop.aion("run", "everything", "--id", "r", "--until-blocked").document
    assert ended["status"] == "waiting"
    assert [wait["kind"] for wait in ended["waiting"]] == ["retry", "child", "timer", "signal"]
    retry, child, timer, _ = ended["waiting"]
    assert retry["name"] == "charge"
    assert ended["next_wake_at"] == retry["deadline"] < timer["deadline"]
    assert child["name"].startswith("r.1-")
    assert shop.aion("result", "r").document == ended
    assert listed(shop, "r") == ended["waiting"]
    assert [wait["kind"] for wait in listed(shop, child["name"])] == ["signal"]


def test_resume_does_not_wait_for_the_next_attempt_and_is_not_due_before_it(shop: Project) -> None:
    first = shop.aion("run", "everything", "--id", "r", "--until-blocked").document
    assert shop.aion("resume", "--due").stdout == ""
    again = shop.aion("resume", "--all").document
    assert (again["run"], again["waiting"]) == ("r", first["waiting"])


def test_what_the_history_alone_tells_is_shown_where_that_is_asked_for(shop: Project) -> None:
    shop.aion("run", "everything", "--id", "r", "--max-wait", "0.5")
    assert [wait["kind"] for wait in listed(shop, "r", "--recorded")] == ["retry", "child", "timer"]


@pytest.mark.parametrize("change", ["nothing can be imported", "the code does something else", "there is no code"])
def test_a_run_without_code_that_fits_is_listed_by_its_history_and_hides_no_other(shop: Project, change: str) -> None:
    shop.aion("run", "everything", "--id", "r", "--max-wait", "0.5")
    code = shop.root / "workflows" / "order.py"
    match change:
        case "nothing can be imported":
            code.write_text("1 / 0\n")
        case "there is no code":
            code.unlink()
        case _:
            code.write_text(code.read_text().replace("group.create_task(charge())", "await asyncio.sleep(1)"))
    done = shop.aion("list", "-o", "json")
    assert done.code == 0
    waits = {run["workflow_id"]: [wait["kind"] for wait in run["waiting"]] for run in done.document}
    assert waits.pop("r") == ["retry", "child", "timer"]
    assert list(waits.values()) == ([["signal"]] if change == "the code does something else" else [[]])


def test_what_code_prints_is_not_printed_again_by_a_listing(project: Project) -> None:
    project.write("""
        approval = Signal("approval", bool)

        @workflow
        async def order():
            print("asking for approval")
            await approval.receive()
    """)
    assert "asking for approval" in project.aion("run", "order", "--id", "r", "--until-blocked").stderr
    for command in (["list"], ["result", "r"]):
        done = project.aion(*command)
        assert "asking" not in done.stdout + done.stderr


def test_a_run_that_no_longer_matches_its_code_says_so_and_keeps_the_waits_of_its_history(project: Project) -> None:
    path = project.write("""
        @activity
        async def step(): ...

        @workflow
        async def order():
            await step()
            await asyncio.sleep(3600)
    """)
    before = project.here("run", "order", "--id", "d1", "--until-blocked").document
    path.write_text(path.read_text().replace("await step()", "await asyncio.sleep(1)"))
    done = project.here("result", "d1")
    assert done.code == 3
    (wait,) = done.document["waiting"]
    assert wait == before["waiting"][0] | {"where": None}
    assert "d1 no longer matches its code, and cannot go on as it is; explained by: aion replay d1" in done.stderr
    table = project.here("list")
    assert table.code == 0
    assert table.stdout.splitlines()[1].split("  ")[-1].startswith("diverged from its code, timer in ")
    assert listed(project, "d1") == [wait]


STRANDED = """\
    from aion_cli import wait_until, update

    go = Signal("go")

    async def take(first, second):
        async with first:
            await asyncio.sleep(0)
            await second.acquire()  # never

    @workflow
    async def deadlocked():
        a, b = asyncio.Lock(), asyncio.Lock()
        await asyncio.gather(take(a, b), take(b, a))

    @workflow
    async def queued():
        await asyncio.Queue().get()

    @workflow
    async def grouped():
        queue = asyncio.Queue()
        async with asyncio.TaskGroup() as group:  # all of it
            group.create_task(queue.get())
            group.create_task(asyncio.Event().wait())

    @workflow
    async def crowded():
        lines = "".join(f"async def f{n}(event):\\n    await event.wait()\\n" for n in range(100))
        functions = {}
        exec(compile(lines, "workflows/made.py", "exec"), functions)
        await asyncio.gather(*(functions[f"f{n}"](asyncio.Event()) for n in range(100)))

    @workflow
    async def served():
        event = asyncio.Event()

        @update
        async def open(x: int) -> int:
            event.set()
            return x

        await event.wait()
        event.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(go.receive())
            await event.wait()
"""


def test_where_only_its_own_code_can_go_on_the_lines_of_its_tasks_are_shown(project: Project) -> None:
    project.write(STRANDED)
    ended = project.here("run", "deadlocked", "--id", "r", "--until-blocked", "-q")
    assert ended.code == 3
    main, task = ended.document["waiting"]
    assert (main["kind"], main["name"], main["deadline"]) == ("future", "main", None)
    assert main["where"] == project.line_of("await asyncio.gather(take")
    assert (task["kind"], task["where"]) == ("future", project.line_of("# never"))
    assert project.here("result", "r").document == ended.document
    assert listed(project, "r") == [main, task]
    assert f"future at {main['where']}, future at {task['where']}" in project.here("list").stdout
    project.here("run", "queued", "--id", "q", "--until-blocked")
    assert [wait["where"] for wait in listed(project, "q")] == [project.line_of("Queue().get()")]


def test_a_task_that_waits_in_no_line_of_its_author_is_shown_with_its_function(project: Project) -> None:
    project.write(STRANDED)
    waits = project.here("run", "grouped", "--id", "r", "--until-blocked").document["waiting"]
    assert [wait["where"] for wait in waits] == [project.line_of("# all of it"), None, None]
    assert [wait["name"].partition(" ")[2] for wait in waits] == ["", "Queue.get", "Event.wait"]


def test_a_live_run_that_only_its_own_code_can_move_says_where_it_waits(project: Project) -> None:
    project.write(STRANDED)
    where = project.line_of("Queue().get()")
    with project.start("run", "queued", "--id", "q") as running:
        running.until_stderr_says(f"q  waits for what only its own code can set, in main ({where})")
        running.signal(signal.SIGINT)
        assert running.end().code == 130


def test_lines_of_very_many_tasks_are_not_all_shown(project: Project) -> None:
    project.write(STRANDED)
    ended = project.here("run", "crowded", "--id", "r", "--until-blocked")
    assert len(ended.document["waiting"]) == 20


def test_futures_are_shown_only_where_nothing_else_is_waited_for(project: Project) -> None:
    project.write(STRANDED)
    project.here("run", "served", "--id", "r", "--until-blocked")
    assert [wait["kind"] for wait in listed(project, "r")] == ["future"]
    assert project.here("update", "r", "open", "1").stdout == "1\n"
    assert [wait["kind"] for wait in listed(project, "r")] == ["signal"]
