"""Code and history that part: what is said, when, and what has happened by then."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import Signal, activity, patched, workflow
from aion_cli.core import events as ev
from aion_cli.testing import crash_everywhere
from aion_cli.testing.loop import SkippingLoop
from tests.builders import (
    AnyWorkflow,
    at,
    completed,
    divergence,
    ended,
    fired,
    history,
    replayed,
    scheduled,
    started,
    timer,
    when,
)
from tests.cli.support import Project
from tests.primitives.stage import Performance

ORDER = """
    approval = Signal("approval", bool)

    @activity
    async def charge(sku: str, cents: int) -> str:
        note(f"charge {sku}")
        return f"receipt of {sku}"

    @activity
    async def bill(sku: str, cents: int) -> str:
        note(f"bill {sku}")
        return f"bill of {sku}"

    @workflow
    async def order(sku: str) -> str:
        await asyncio.sleep(0.001)
        receipt = await charge(sku, 1250)
        await approval.receive()
        return receipt
"""


@pytest.fixture
def parted(project: Project) -> Project:
    """A run that waits for approval, and code that has changed since."""
    file = project.write(ORDER)
    for _ in range(2):  # up to the timer, and up to the signal
        assert project.here("run", "order", "--id", "o1", "--input", '"A1"', "--until-blocked").code == 3
    file.write_text(file.read_text().replace("await charge(sku, 1250)", "await bill(sku, 1300)"))
    return project


@pytest.mark.complaint(1)
def test_a_divergence_shows_both_commands_whole_with_their_lines_the_last_agreement_and_a_way_out(
    parted: Project,
) -> None:
    """Row 1: no names of internals, but the line of the history, the line of the workflow, and what each wants."""
    done = parted.here("replay", "o1")
    (place,) = {parted.line_of("await bill(")}
    assert done.stderr.splitlines() == [
        "error[non-determinism]: o1 no longer matches its history",
        "  histories/o1.jsonl:2    agreed up to here",
        '  histories/o1.jsonl:4    recorded: activity "charge" (0) with {"sku":"A1","cents":1250}',
        f'  {place}   asks for: activity "bill" (0) with {{"sku":"A1","cents":1300}}',
        "  note: the workflow's file has changed since this run started",
        '  hint: restore the call, guard the change with patched("…"), or start afresh under another id: '
        "aion run … --id NEW",
    ]


@activity
async def charge(sku: str) -> str:
    return f"receipt of {sku}"


@activity
async def bill(sku: str) -> str:
    return f"bill of {sku}"


go = Signal("go", bool)


@pytest.mark.complaint(2)
def test_the_result_of_one_activity_is_never_handed_to_another_that_has_its_place() -> None:
    """Row 2: kind, name and input are compared before the code gets anything."""
    got: list[str] = []

    @workflow
    async def swapped() -> None:
        got.append(await bill("A1"))
        got.append(await charge("A1"))

    @workflow
    async def of_another_kind() -> None:
        await asyncio.sleep(1)
        got.append("slept")

    @workflow
    async def of_another_input() -> None:
        got.append(await charge("B2"))

    recorded = [started(), scheduled(0, "charge", "A1"), completed(0, "r"), scheduled(1, "bill", "A1"), completed(1)]
    for changed in (swapped, of_another_kind, of_another_input):
        assert divergence(changed, history(*recorded)).seq == 2
    assert got == []


@workflow
async def asks_for_less() -> str:
    await go.receive()
    return await charge("A1")


@workflow
async def asks_for_more() -> str:
    found, _ = await asyncio.gather(charge("A1"), bill("A1"))
    return found


@workflow
async def ends_early() -> str:
    return await charge("A1")


@workflow
async def goes_on_at_the_end() -> str:
    found = await charge("A1")
    await asyncio.sleep(60)
    await bill(found)
    return found


@pytest.mark.complaint(3)
@pytest.mark.parametrize(
    ("changed", "seq", "recorded", "requested"),
    [
        (asks_for_less, 2, 'activity "charge" (0) with "A1"', 'wait for signal "go" (0)'),
        (asks_for_more, 3, 'outcome of activity "charge" (0)', 'activity "bill" (1) with "A1"'),
        (ends_early, 4, f"timer (0) with {at(62)}", 'completion with "r1"'),
        (goes_on_at_the_end, 6, 'completion with "r1"', 'activity "bill" (1) with "r1"'),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_command_too_few_or_too_many_is_noticed_at_the_next_step_and_at_the_end(
    changed: AnyWorkflow, seq: int, recorded: str, requested: str
) -> None:
    """Row 3: both directions, wherever the code yields and where it ends."""
    events = [started(), scheduled(0, "charge", "A1"), completed(0, "r1"), timer(0, at(62)), when(62, fired(0))]
    error = divergence(changed, history(*events, ended("r1")))
    assert (error.seq, str(error.recorded), str(error.requested)) == (seq, recorded, requested)


@pytest.mark.complaint(4)
def test_a_divergence_is_an_error_at_once_for_every_command_that_goes_on_and_nothing_is_appended(
    parted: Project,
) -> None:
    """Row 4: it does not look like a run that waits."""
    before, world = parted.history("o1").read_bytes(), parted.world
    for command in (["run", "order", "--id", "o1", "--until-blocked"], ["resume", "o1"], ["replay", "o1"]):
        done = parted.here(*command)
        assert done.code == 4, command
        assert "error[non-determinism]: o1 no longer matches its history" in done.stderr
        assert "waits for" not in done.stdout
    assert (parted.history("o1").read_bytes(), parted.world) == (before, world)


async def slower(sku: str) -> str:
    """A fake: A1 takes longest."""
    await asyncio.sleep({"A1": 30, "B2": 10, "C3": 20}[sku])
    return f"receipt of {sku}"


@workflow
async def race() -> list[str]:
    tasks = {asyncio.create_task(charge(sku), name=sku) for sku in ("A1", "B2", "C3")}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    rest = [await each for each in asyncio.as_completed(pending)]
    return [*(task.result() for task in done), *rest]


@pytest.mark.complaint(20)
def test_a_race_has_the_recorded_winner_on_every_replay(loop: SkippingLoop) -> None:
    """Row 20: what is decided by time is decided by the order of the history afterwards."""
    performance = Performance(loop, race, (), {charge: slower}, ())
    assert performance.end == ("WorkflowCompleted", [f"receipt of {sku}" for sku in ("B2", "C3", "A1")])
    order = [event.activity_id for event in performance.events if isinstance(event, ev.ActivityCompleted)]
    assert order == [1, 2, 0]
    for replay in performance.replay():
        replay.execution.close()


@workflow
async def iterates_over_a_set() -> list[str]:
    tasks = {asyncio.create_task(asyncio.sleep(0), name=str(number)) for number in range(100)}
    return [task.get_name() for task in tasks]


@pytest.mark.complaint(20)
def test_a_set_of_tasks_iterates_in_the_same_order_live_and_in_every_replay(loop: SkippingLoop) -> None:
    """Row 20: not by where in memory they happen to lie."""
    performance = Performance(loop, iterates_over_a_set, (), {}, ())
    kept = performance.replay()  # what lives still is elsewhere than what comes next
    kept += performance.replay()
    for replay in kept:
        replay.execution.close()
    assert sorted(performance.end[1], key=int) == [str(number) for number in range(100)]


@pytest.mark.complaint(20)
def test_a_race_over_a_set_of_tasks_is_the_same_in_processes_with_other_hash_seeds(project: Project) -> None:
    """Row 20: sets of tasks iterate in the order in which the tasks were made."""
    project.write(
        """
        @activity
        async def charge(sku: str) -> str:
            return sku

        @workflow
        async def race() -> list[str]:
            tasks = {asyncio.create_task(charge(sku), name=sku) for sku in ("A1", "B2", "C3", "D4", "E5")}
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            return [await charge(task.get_name()) for task in (*done, *pending)]
        """
    )
    assert project.here("run", "race", "--id", "r1").code == 0
    assert project.aion("replay", "r1", "--hash-seeds", "3").code == 0


@workflow
async def loop_with_a_patch(rounds: int) -> list[bool]:
    ways: list[bool] = []
    for _ in range(rounds):
        ways.append(patched("fraud-check"))
        await charge("A1")
    return ways


@pytest.mark.complaint(28)
def test_a_patch_in_a_loop_gives_one_run_one_answer_whether_it_is_new_or_old_and_wherever_it_crashes() -> None:
    """Row 28: the answer is remembered for the run, and has one marker."""
    assert crash_everywhere(loop_with_a_patch, 3) == [True, True, True]
    before = [started(3), scheduled(0, "charge", "A1"), completed(0, "r"), scheduled(1, "charge", "A1")]
    after = [completed(1, "r"), scheduled(2, "charge", "A1"), completed(2, "r"), ended([False, False, False])]
    assert isinstance(replayed(loop_with_a_patch, history(*before, *after)).closed_by, ev.WorkflowCompleted)
    (asked,) = replayed(loop_with_a_patch, history(*before, completed(1, "r"))).unmatched
    assert type(asked).__name__ == "RunActivity"
