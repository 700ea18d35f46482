"""`aion run --audit`: what has just run is replayed in fresh processes under other hash seeds."""

from __future__ import annotations

from tests.cli.support import Project

SET_ORDER = """
    @activity
    async def ship(sku: str) -> str:
        note(sku)
        return sku

    @workflow
    async def parcels() -> int:
        skus = {"A1", "B2", "C3", "D4", "E5", "F6", "G7", "H8"}
        for sku in skus:
            await ship(sku)
        return len(skus)

    @workflow
    async def batch() -> int:
        return await parcels()
"""
STEADY = """
    go = Signal("go", bool)

    @activity
    async def ship(sku: str) -> str:
        return sku

    @workflow
    async def steady() -> bool:
        await ship("A1")
        return await go.receive()

    @workflow
    async def fails() -> None:
        raise ValueError("no")
"""


def test_a_run_that_replays_the_same_everywhere_ends_as_it_would(project: Project) -> None:
    project.write(STEADY)
    done = project.here("run", "steady", "--id", "s", "--until-blocked", "--audit")
    assert (done.code, done.document["status"]) == (3, "waiting")
    assert done.stderr.splitlines()[-2:] == [
        "s replays clean under 3 hash seeds",
        "s is open (waiting); go on with: aion run steady --id s",
    ]
    failed = project.here("run", "fails", "--id", "f", "--audit", "-q")
    assert (failed.code, failed.stdout) == (1, "")
    assert "clean" not in failed.stderr


def test_a_run_that_was_lucky_with_its_hash_seed_is_exit_code_4_and_prints_no_result(project: Project) -> None:
    project.write(SET_ORDER)
    done = project.aion("run", "parcels", "--id", "p", "--audit", "-q", environ={"PYTHONHASHSEED": "7"})
    assert (done.code, done.stdout) == (4, "")
    assert done.stderr.startswith("error[non-determinism]: p does not match its history under PYTHONHASHSEED=")
    assert project.line_of("await ship(sku)") in done.stderr
    assert "the same line without --audit prints it" in done.stderr
    assert project.here("run", "parcels", "--id", "p") == (0, "8\n", "")
    assert len(project.world) == 8


def test_a_closed_run_can_be_audited_as_well(project: Project) -> None:
    project.write(SET_ORDER)
    assert project.aion("run", "parcels", "--id", "p", environ={"PYTHONHASHSEED": "7"}).code == 0
    done = project.here("run", "parcels", "--id", "p", "--audit", "-o", "json")
    assert done.code == 4
    assert (done.document["code"], done.document["where"][0].partition(":")[0]) == (
        "non-determinism",
        "histories/p.jsonl",
    )


def test_the_children_that_ran_with_it_are_audited_too(project: Project) -> None:
    project.write(SET_ORDER)
    done = project.aion("run", "batch", "--id", "b", "--audit", "-q", environ={"PYTHONHASHSEED": "7"})
    assert done.code == 4
    assert done.stderr.startswith("error[non-determinism]: b.1-2 does not match its history under PYTHONHASHSEED=")


def test_a_child_whose_code_cannot_be_found_is_named_and_fails_nothing(project: Project) -> None:
    project.write(STEADY.replace("raise ValueError", "await steady()\n        raise ValueError"), "../elsewhere.py")
    target = str(project.root.parent / "elsewhere.py") + ":fails"
    done = project.here("run", target, "--id", "f", "--until-blocked", "--audit")
    assert done.code == 3
    assert "histories/f.1-2.jsonl is not audited: there is no code for workflow steady" in done.stderr


def test_an_interrupted_run_is_not_audited(project: Project) -> None:
    project.write("""
        @workflow
        async def sleeps() -> None:
            await asyncio.sleep(600)
    """)
    with project.start("run", "sleeps", "--id", "s", "--audit") as running:
        running.until_stderr_says("timer set")
        running.signal(2)
        done = running.end()
    assert (done.code, done.stdout) == (130, "")
    assert "hash seeds" not in done.stderr
