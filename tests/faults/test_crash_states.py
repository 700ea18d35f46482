"""Every disk that a power cut may leave, at every operation of a scene: the engine is started on each."""

from __future__ import annotations

import random

import pytest

from tests.faults.clerk import ClerkScene
from tests.faults.disk import Disk
from tests.faults.model import Crash, ModelMachine, crashes_of, recover
from tests.faults.promises import Entry
from tests.faults.scenes import RunScene, Scene
from tests.faults.tally import REFUSED, STATES, TORTURE, Tally

SHARDS = 4
MOST_OF_A_MOMENT = 4096 if TORTURE else 48
RUN_STATES = (20_000 if TORTURE else 2_400) // SHARDS
CLERK_STATES = (100_000 if TORTURE else 16_400) // SHARDS
AGAIN_STATES = (20_000 if TORTURE else 1_200) // SHARDS


def try_all(scenes: random.Random, make: type[RunScene] | type[ClerkScene], wanted: int, tally: Tally) -> None:
    """Play scenes until so many states were tried; each state of a scene once."""
    tried = 0
    while tried < wanted:
        scene = make.random(scenes, 2 + scenes.randrange(2))
        machine = ModelMachine(Disk())
        for crash in crashes_of(scene, machine, scenes, MOST_OF_A_MOMENT):
            if not recovered(scene, crash, machine.entries):
                tally.add(REFUSED)
            tried += 1
    tally.add(STATES, tried)


def recovered(scene: Scene, crash: Crash, entries: list[Entry]) -> bool:
    try:
        return recover(scene, crash.disk, entries[: crash.entries])
    except Exception as error:
        error.add_note(f"{scene!r}, after {crash.entries} entries in the ledger")
        raise


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_engine_keeps_all_promises_whatever_a_power_cut_leaves(model: None, shard: int, tally: Tally) -> None:
    try_all(random.Random(1000 + shard), RunScene, RUN_STATES, tally)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_storage_floor_keeps_all_promises_whatever_a_power_cut_leaves(
    model: None, shard: int, tally: Tally
) -> None:
    try_all(random.Random(2000 + shard), ClerkScene, CLERK_STATES, tally)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_power_cut_in_the_middle_of_a_recovery_can_be_recovered_from(model: None, shard: int, tally: Tally) -> None:
    rng = random.Random(3000 + shard)
    tried = 0
    while tried < AGAIN_STATES:
        scene = ClerkScene.random(rng, 2)
        first = ModelMachine(Disk())
        crashes = crashes_of(scene, first, rng, MOST_OF_A_MOMENT)
        for crash in rng.sample(crashes, 4):
            remembered = first.entries[: crash.entries]
            second = ModelMachine(crash.disk, entries=list(remembered))
            for again in crashes_of(scene, second, rng, 6):
                if not recovered(scene, again, second.entries):
                    tally.add(REFUSED)
                tried += 1
    tally.add(STATES, tried)
