"""Every disk that a power cut may leave, at every operation of a scene: the engine is started on each."""

from __future__ import annotations

import random

import pytest

from aion_cli.runtime.files import Files
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.recorder import Recorder
from tests import storage
from tests.faults.clerk import ClerkScene
from tests.faults.crashes import disks_after
from tests.faults.disk import CHANGING, Disk, Step
from tests.faults.model import (
    ROOT,
    KilledError,
    ModelMachine,
    crashes_of,
    killed_at,
    points_of,
    recover,
    torn_tails,
)
from tests.faults.promises import LOST, BrokenPromise, Entry
from tests.faults.scenes import Plan, RunScene, Scene
from tests.faults.tally import REFUSED, STATES, TORTURE, Tally
from tests.storage import completed, create, scheduled, started

SHARDS = 4
HISTORY = ROOT / "order-1.jsonl"
MOST_OF_A_MOMENT = 4096 if TORTURE else 48
RUN_STATES = (20_000 if TORTURE else 2_000) // SHARDS
CLERK_STATES = (100_000 if TORTURE else 9_200) // SHARDS
AGAIN_STATES = (20_000 if TORTURE else 1_200) // SHARDS
KILLED_STATES = (20_000 if TORTURE else 1_200) // SHARDS

PLANS = (
    [("tell", 5), ("again", 0), ("work", 9)],
    [("receive", 0), ("again", 0), ("receive", 0)],
    [("child", 1100), ("flaky", 30)],
)
"""Scenes that random ones seldom meet."""

KILLED_PLANS = ([("work", 20)], [("receive", 0), ("again", 0), ("child", 700)]) if TORTURE else ([("work", 20)],)
MOST_AFTER_A_KILL = 6 if TORTURE else 2


def recovered(scene: Scene, disk: Disk, entries: list[Entry], tally: Tally) -> None:
    """Recover, and count the state."""
    try:
        if not recover(scene, disk, entries):
            tally.add(REFUSED)
    except Exception as error:
        error.add_note(f"{scene!r}, after {len(entries)} entries in the ledger")
        raise


def try_all(scene: Scene, rng: random.Random, tally: Tally, most: int = MOST_OF_A_MOMENT) -> int:
    """Recover from every state of a scene, each once; returns how many there were."""
    machine = ModelMachine(Disk())
    crashes = crashes_of(scene, machine, rng, most)
    for crash in crashes:
        recovered(scene, crash.disk, machine.entries[: crash.entries], tally)
    tally.add(STATES, len(crashes))
    return len(crashes)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_engine_keeps_all_promises_whatever_a_power_cut_leaves(model: None, shard: int, tally: Tally) -> None:
    rng = random.Random(1000 + shard)
    tried = 0
    while tried < RUN_STATES:
        scene = RunScene.random(rng, 2 + rng.randrange(2))
        tried += (states := try_all(scene, rng, tally))
        assert states, scene


@pytest.mark.parametrize("plan", PLANS)
def test_no_signal_is_received_twice_and_no_child_started_twice_after_a_power_cut(
    model: None, plan: list[tuple[str, int]], tally: Tally
) -> None:
    assert try_all(RunScene(Plan(plan)), random.Random(0), tally) > MOST_OF_A_MOMENT


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_storage_floor_keeps_all_promises_whatever_a_power_cut_leaves(
    model: None, shard: int, tally: Tally
) -> None:
    rng = random.Random(2000 + shard)
    tried = 0
    while tried < CLERK_STATES:
        scene = ClerkScene.random(rng, 2 + TORTURE * rng.randrange(2))
        tried += (states := try_all(scene, rng, tally))
        assert states, scene


def power_cut_in_recovery(
    scene: Scene, disk: Disk, entries: list[Entry], rng: random.Random, tally: Tally, most: int = 6
) -> int:
    """Go on with a scene, and recover from every state that a power cut may leave meanwhile."""
    machine = ModelMachine(disk, entries=list(entries))
    crashes = crashes_of(scene, machine, rng, most)
    for crash in crashes:
        recovered(scene, crash.disk, machine.entries[: crash.entries], tally)
    tally.add(STATES, len(crashes))
    return len(crashes)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_power_cut_in_the_middle_of_a_recovery_can_be_recovered_from(model: None, shard: int, tally: Tally) -> None:
    rng = random.Random(3000 + shard)
    tried = 0
    while tried < AGAIN_STATES:
        scene = ClerkScene.random(rng, 2)
        first = ModelMachine(Disk())
        for crash in rng.sample(crashes_of(scene, first, rng, MOST_OF_A_MOMENT), 4):
            entries = first.entries[: crash.entries] + torn_tails(ModelMachine(crash.disk).histories())
            tried += (states := power_cut_in_recovery(scene, crash.disk, entries, rng, tally))
            assert states, scene


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_power_cut_after_a_kill_takes_nothing_that_the_next_process_acted_on(
    model: None, shard: int, tally: Tally
) -> None:
    rng = random.Random(3500 + shard)
    tried = 0
    while tried < KILLED_STATES:
        scene = ClerkScene.random(rng, 2)
        for at in rng.sample(range(points_of(scene)), 4):
            machine = killed_at(scene, at)
            tried += (states := power_cut_in_recovery(scene, machine.disk, machine.entries, rng, tally))
            assert states, scene


@pytest.mark.parametrize("plan", KILLED_PLANS)
def test_a_power_cut_after_a_kill_takes_nothing_that_somebody_was_told_of_since(
    model: None, plan: list[tuple[str, int]], tally: Tally
) -> None:
    rng, scene = random.Random(0), RunScene(Plan(plan))
    for at in range(0, points_of(scene)):
        machine = killed_at(scene, at)
        assert power_cut_in_recovery(scene, machine.disk, machine.entries, rng, tally, MOST_AFTER_A_KILL), at


def append_through_power_cuts(disk: Disk, files: Files, tally: Tally) -> int:
    """Open a history, append one event, and open it again on every disk that a power cut may leave on the way.

    Returns how many there were.
    """
    crashes: list[tuple[Disk, bytes]] = []
    acknowledged = b""

    def watch(step: Step) -> None:
        if step.name in CHANGING:
            crashes.extend((each, acknowledged) for each in disks_after(disk, random.Random(0), MOST_OF_A_MOMENT))

    machine = ModelMachine(disk, watch)
    files.calls = machine.calls()
    store = JsonlStore.open_to_write(HISTORY, files)
    acknowledged = machine.histories()[HISTORY.name]
    Recorder(store).append([completed(7, b'"%b"' % (b"y" * 660))], storage.at(2))
    acknowledged = machine.histories()[HISTORY.name]
    watch(Step("write", ""))
    for each, kept in crashes:
        again = Files(ModelMachine(each).calls())
        data = again.read_whole(HISTORY, 1 << 20) if again.look(HISTORY) else b""
        if not data.startswith(kept):
            raise BrokenPromise(LOST, f"the history no longer begins with {len(kept)} bytes that were acknowledged")
        if data:
            JsonlStore.open_to_write(HISTORY, again).close()
    tally.add(STATES, len(crashes))
    return len(crashes)


def test_a_history_that_a_killed_process_had_just_named_stays_when_another_one_goes_on_with_it(
    model: None, tally: Tally
) -> None:
    disk = Disk()
    files = Files(ModelMachine(disk).calls())
    files.ensure_directory(ROOT / ".aion" / "tmp", ROOT)  # by one that lives on, and need not sync it again

    def die(step: Step) -> None:
        if step == ("fsync_directory", str(ROOT), 0, step.process) and disk.find(str(HISTORY)):
            raise KilledError

    with pytest.raises(KilledError):
        create(HISTORY, [started()], files=Files(ModelMachine(disk, die).calls()))
    assert append_through_power_cuts(disk, files, tally)


def test_a_torn_tail_that_was_cut_off_never_comes_back_behind_what_is_appended(model: None, tally: Tally) -> None:
    disk = Disk()
    files = Files(ModelMachine(disk).calls())
    create(HISTORY, [started()], [scheduled(n, b'"%b"' % (b"x" * 400)) for n in range(4)], files=files).close()
    node = disk.names_of(str(ROOT))[HISTORY.name]
    node.data = node.durable = node.data[:1024] + bytes(512) + node.data[1536:]
    assert append_through_power_cuts(disk, files, tally)
