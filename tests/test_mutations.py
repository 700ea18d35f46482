"""Code that changed under a history: `replay` and `run` say so, exactly, before anything in the world is touched.

One test a mutation, through the real command line, on an open run and on the same run closed. The core's own view of
mutations, with lists of events, is in tests/core/test_mutations.py.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.support import Project

ORDER = """
    approval = Signal("approval", bool)

    @activity
    def charge(sku: str) -> str:
        note("charge")
        return "r1"

    @activity
    def reserve(sku: str) -> str:
        note("reserve")
        return "shelf 7"

    @activity
    def ship(receipt: str) -> str:
        note("ship")
        return "t1"

    @workflow
    async def pack(sku: str) -> str:
        return "box of " + sku

    @workflow
    async def order(sku: str) -> str:
        receipt = await charge(sku)
        await reserve(sku)
        await asyncio.sleep(0.001)
        await pack(sku)
        if not await approval.receive():
            return "refused"
        return await ship(receipt)
"""

OPEN = ("open-1",)
CLOSED = ("done-1",)
BOTH = OPEN + CLOSED
CHARGE = 'activity "charge" (0) with "A1"'
RESERVE = 'activity "reserve" (1) with "A1"'
PACK = 'child workflow "pack" (0) with "A1"'


class Mutation(NamedTuple):
    """A change of the source, and what is to be said about it.

    old, new: text of the workflow that is replaced. seq: of the event where code and history part. recorded, requested:
    what the two want there; a `*` at the end stands for any instant. line: a text on the line that is named.
    """

    name: str
    old: str
    new: str
    seq: int
    recorded: str
    requested: str
    line: str
    runs: tuple[str, ...] = BOTH


MUTATIONS = [
    Mutation(
        "activity renamed",
        "receipt = await charge(sku)",
        "receipt = await bill(sku)",
        2,
        CHARGE,
        'activity "bill" (0) with "A1"',
        "await bill(sku)",
    ),
    Mutation(
        "two activities swapped",
        "receipt = await charge(sku)\n    await reserve(sku)",
        "await reserve(sku)\n    receipt = await charge(sku)",
        2,
        CHARGE,
        'activity "reserve" (0) with "A1"',
        "await reserve(sku)",
    ),
    Mutation(
        "activity removed",
        "await reserve(sku)",
        "pass",
        5,
        RESERVE,
        "timer (0) with *",
        "asyncio.sleep",
    ),
    Mutation(
        "activity added",
        "await reserve(sku)",
        "await ship(receipt)\n    await reserve(sku)",
        5,
        RESERVE,
        'activity "ship" (1) with "r1"',
        "    await ship(receipt)",
    ),
    Mutation(
        "input changed",
        "await charge(sku)",
        'await charge(sku + "!")',
        2,
        CHARGE,
        'activity "charge" (0) with "A1!"',
        "await charge(sku",
    ),
    Mutation(
        "sleep became a signal",
        "await asyncio.sleep(0.001)",
        "await approval.receive()  # now",
        8,
        "timer (0) with *",
        'wait for signal "approval" (0)',
        "# now",
    ),
    Mutation(
        "timer length changed",
        "asyncio.sleep(0.001)",
        "asyncio.sleep(0.002)",
        8,
        "timer (0) with *",
        "timer (0) with *",
        "asyncio.sleep(0.002)",
    ),
    Mutation(
        "code ends early",
        "await pack(sku)",
        'return "early"',
        10,
        PACK,
        'completion with "early"',
        'return "early"',
    ),
    Mutation(
        "code fails early",
        "await pack(sku)",
        'raise LookupError("no box")',
        10,
        PACK,
        'failure "LookupError" with no box',
        'raise LookupError("no box")',
    ),
    Mutation(
        "code waits where it went on",
        "await pack(sku)",
        "await asyncio.Event().wait()",
        10,
        PACK,
        "nothing",
        "asyncio.Event()",
    ),
    Mutation(
        "sequential became parallel",
        "receipt = await charge(sku)\n    await reserve(sku)",
        "receipt, _ = await asyncio.gather(charge(sku), reserve(sku))",
        4,
        'outcome of activity "charge" (0)',
        RESERVE,
        "asyncio.gather",
    ),
    Mutation(
        "child became an activity",
        "await pack(sku)",
        "await ship(sku)",
        10,
        PACK,
        'activity "ship" (2) with "A1"',
        "await ship(sku)",
    ),
    Mutation(
        "code goes on too long",
        "return await ship(receipt)",
        "await ship(receipt)\n    await approval.receive()  # more",
        16,
        'completion with "t1"',
        'wait for signal "approval" (1)',
        "# more",
        CLOSED,
    ),
    Mutation(
        "code does more before it ends",
        "return await ship(receipt)",
        "return await ship(await ship(receipt))",
        16,
        'completion with "t1"',
        'activity "ship" (3) with "t1"',
        "return await ship(await",
        CLOSED,
    ),
    Mutation(
        "result changed",
        "return await ship(receipt)",
        'return await ship(receipt) + "!"',
        16,
        'completion with "t1"',
        'completion with "t1!"',
        "return await ship(receipt)",
        CLOSED,
    ),
    Mutation(
        "result became a failure",
        "return await ship(receipt)",
        "raise ValueError(await ship(receipt))",
        16,
        'completion with "t1"',
        'failure "ValueError" with t1',
        "raise ValueError",
        CLOSED,
    ),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that waits for approval, and one that got it."""
    project = Project(tmp_path_factory.mktemp("recorded"))
    project.write(ORDER)
    for run in BOTH:
        for _ in range(2):  # up to the timer, and up to the signal
            assert project.here("run", "order", "--id", run, "--input", '"A1"', "--until-blocked").code == 3
        assert len(project.events(run)) == 11
    assert project.here("signal", "done-1", "approval", "true").code == 0
    assert project.here("run", "order", "--id", "done-1").code == 0
    return project.root


@pytest.fixture
def project(recorded: Path, tmp_path: Path) -> Project:
    """A copy of the recorded project."""
    shutil.copytree(recorded, tmp_path, ignore=shutil.ignore_patterns(".aion"), dirs_exist_ok=True)
    return Project(tmp_path)


def mutate(project: Project, mutation: Mutation) -> None:
    source = ORDER.replace("def charge", "def bill") if "bill(" in mutation.new else ORDER
    old, new = (text.replace("\n", "\n    ") for text in (mutation.old, mutation.new))
    assert source.count(old) == 1
    project.write(source.replace(old, new))


def said_about(project: Project, mutation: Mutation, run: str) -> re.Pattern[str]:
    """Return what stderr has to be: three parts, with one line for the history and one for the workflow."""
    line = project.line_of(mutation.line)
    recorded, requested = (re.escape(text).replace(r"\*", r"\S+Z") for text in (mutation.recorded, mutation.requested))
    return re.compile(
        rf"error\[non-determinism\]: {run} no longer matches its history\n"
        rf"(  histories/{run}\.jsonl:\d+ +agreed up to here\n)?"
        rf"  histories/{run}\.jsonl:{mutation.seq} +recorded: {recorded}\n"
        rf"  {re.escape(line)} +asks for: {requested}\n"
        r"(  note: .+\n)?"
        r"  hint: .+\n"
    )


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_replay_stops_at_a_mutation_and_names_both_sides(project: Project, mutation: Mutation) -> None:
    mutate(project, mutation)
    before = project.snapshot()
    for run in mutation.runs:
        done = project.here("replay", run)
        assert (done.code, done.stdout.split()[:2]) == (4, ["diverged", run])
        assert said_about(project, mutation, run).fullmatch(done.stderr), done.stderr
    assert project.snapshot() == before


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if OPEN[0] in m.runs], ids=lambda mutation: mutation.name)
def test_run_stops_at_a_mutation_before_it_touches_anything(project: Project, mutation: Mutation) -> None:
    mutate(project, mutation)
    before = project.snapshot()
    done = project.here("run", "order", "--id", "open-1", "--until-blocked")
    assert (done.code, done.stdout) == (4, "")
    assert said_about(project, mutation, "open-1").fullmatch(done.stderr), done.stderr
    assert project.snapshot() == before


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_closed_run_keeps_its_recorded_outcome_whatever_became_of_the_code(
    project: Project, mutation: Mutation
) -> None:
    mutate(project, mutation)
    before = project.snapshot()
    assert project.here("run", "order", "--id", "done-1") == (0, '"t1"\n', "")
    assert project.snapshot() == before


def test_scripts_get_a_divergence_as_fields(project: Project) -> None:
    mutation = MUTATIONS[0]
    mutate(project, mutation)
    done = project.here("run", "order", "--id", "open-1", "-o", "json")
    line = project.line_of(mutation.line)
    assert done.code == 4
    assert {name: value for name, value in done.document.items() if name not in ("hint", "code_changed")} == {
        "code": "non-determinism",
        "message": "open-1 no longer matches its history",
        "where": ["histories/open-1.jsonl:2", line],
        "workflow_id": "open-1",
        "seq": 2,
        "recorded": {"kind": "activity", "name": "charge", "key": "0", "input": '"A1"'},
        "requested": {"kind": "activity", "name": "bill", "key": "0", "input": '"A1"'},
        "source": line,
        "last_match": 0,
    }


def test_a_workflow_that_catches_everything_does_not_catch_a_divergence(project: Project) -> None:
    source = ORDER.replace(
        "        await reserve(sku)\n",
        "        try:\n            await ship(sku)\n        except BaseException:\n            pass\n",
    )
    project.write(source)
    before = project.snapshot()
    for command in (["replay", "open-1"], ["run", "order", "--id", "open-1"]):
        done = project.here(*command)
        assert (done.code, 'asks for: activity "ship" (1) with "A1"' in done.stderr) == (4, True), done.stderr
    assert project.snapshot() == before


def test_an_accepted_signal_waits_for_the_code_to_be_restored(project: Project) -> None:
    assert project.here("signal", "open-1", "approval", "true").code == 0
    mutate(project, MUTATIONS[0])
    before = project.snapshot()
    assert project.here("run", "order", "--id", "open-1").code == 4
    assert project.snapshot() == before
    project.write(ORDER)
    assert project.here("run", "order", "--id", "open-1").stdout == '"t1"\n'
    assert project.world == ["charge", "reserve"] * 2 + ["ship"] * 2


COSMETIC = [
    ("a local variable renamed", "receipt", "slip"),
    ("a line of code that asks for nothing", "await reserve(sku)", "await reserve(sku)\n    sku.lower()"),
    ("a timeout option of today's code", "@activity\ndef charge", "@activity(timeout=60)\ndef charge"),
]


@pytest.mark.parametrize(("old", "new"), [case[1:] for case in COSMETIC], ids=[case[0] for case in COSMETIC])
def test_a_change_that_asks_for_the_same_is_no_mutation(project: Project, old: str, new: str) -> None:
    old, new = (text.replace("\n", "\n    ") for text in (old, new))
    project.write(ORDER.replace(old, new))
    for run in BOTH:
        done = project.here("replay", run)
        assert (done.code, done.stderr) == (0, "")


def test_a_run_that_continued_names_the_file_in_which_it_parts(tmp_path: Path) -> None:
    project = Project(tmp_path)
    counter = """
        from aion_cli import ContinueAsNew

        go = Signal("go")

        @activity
        def count(n: int) -> int:
            note("count")
            return n + 1

        @workflow
        async def counter(n: int) -> None:
            following = await count(n)
            if following < 2:
                raise ContinueAsNew(following)
            await go.receive()
    """
    project.write(counter, "workflows/counter.py")
    assert project.here("run", "counter", "--id", "c", "--input", "0", "--until-blocked").code == 3
    assert project.world == ["count", "count"]
    project.write(counter.replace("await count(n)", "await count(n + 1)"), "workflows/counter.py")
    before = project.snapshot()
    for file, n, commands in (
        ("c@2.jsonl", 1, [["run", "counter", "--id", "c"], ["replay", "c"], ["replay", "histories/c@2.jsonl"]]),
        ("c.jsonl", 0, [["replay", "c@1"]]),
    ):
        for command in commands:
            done = project.here(*command)
            _, recorded, requested, *_ = done.stderr.splitlines()
            assert (done.code, recorded.split(maxsplit=1)) == (
                4,
                [f"histories/{file}:2", f'recorded: activity "count" (0) with {n}'],
            )
            assert requested.endswith(f'asks for: activity "count" (0) with {n + 1}')
    assert project.snapshot() == before
