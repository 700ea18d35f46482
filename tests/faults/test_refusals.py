"""Storage that refuses, at every system call: once, or from then on. What the model disk lost is lost for good."""

from __future__ import annotations

import errno
import os
import random
import sys
from collections.abc import Container, Sequence

import pytest

from aion_cli.cli.output import ExitCode, exit_code_of
from aion_cli.errors import AionError
from tests.faults.clerk import ClerkScene
from tests.faults.crashes import disks_after
from tests.faults.disk import CHANGING, Disk, Step
from tests.faults.model import ModelMachine, recover
from tests.faults.promises import LOST, UNCLEAR, BrokenPromise
from tests.faults.scenes import RunScene, Scene
from tests.faults.tally import INJECTED, TORTURE, Tally

SHORT = -1
"""In place of an error: a write takes half of its bytes."""

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, SHORT)
EVERY = 1 if TORTURE else 8
"""Of the calls that only look at something, each so-many-th is refused."""

RUN_SEEDS, CLERK_SEEDS = (12, 24) if TORTURE else (1, 2)


class Refusing:
    """Refuses the call of a number, once or from then on, and watches what the process does after that."""

    def __init__(self, at: int, error: int, *, lasting: bool) -> None:
        self._at = at
        self._error = error
        self._lasting = lasting
        self.steps: list[Step] = []
        self.refused: list[Step] = []
        self.tried_again: list[Step] = []

    def __call__(self, step: Step) -> int | None:
        index = len(self.steps)
        self.steps.append(step)
        self._look(step)
        if index < self._at or (index > self._at and not self._lasting) or not may_fail(step, self._error):
            return None
        self.refused.append(step)
        if self._error == SHORT:
            return step.size // 2
        raise OSError(self._error, os.strerror(self._error), step.path)

    def _look(self, step: Step) -> None:
        """Note an append to a history after one that failed, and a sync of a file whose sync failed."""
        for before in self.refused:
            if (before.process, before.path) != (step.process, step.path):
                continue
            appended = step.name == "write" and step.path.endswith(".jsonl") and before.name in ("write", "fdatasync")
            synced = step.name in ("fdatasync", "fsync_directory") and before.name == step.name
            if appended or synced:
                self.tried_again.append(step)


def may_fail(step: Step, error: int) -> bool:
    """Whether an error can come from a call: every one meets EIO, only those that take space meet a full disk."""
    if error == SHORT:
        return step.name == "write"
    return error == errno.EIO or step.name in CHANGING - {"unlink", "ftruncate"}


def refuse_everywhere(
    scene: Scene, error: int, rng: random.Random, tally: Tally, only: Container[str] | None = None
) -> int:
    """Play a scene twice for every call that there is, refusing it once, and from then on; returns how often it was.

    only: names of calls.
    """
    refused = 0
    counting = Refusing(sys.maxsize, error, lasting=False)
    scene.play(ModelMachine(Disk(), counting))
    for at, step in enumerate(list(counting.steps)):
        if not may_fail(step, error) or (only is not None and step.name not in only):
            continue
        if step.name not in CHANGING and at % EVERY:
            continue
        for lasting in (False, True):
            refusing = Refusing(at, error, lasting=lasting)
            machine = ModelMachine(Disk(), refusing)
            refusals = scene.play(machine)
            try:
                require_clear(refusing, refusals)
                for disk in disks_after(machine.disk, rng, 2):
                    recover(scene, disk, machine.entries)
            except Exception as broken:
                broken.add_note(f"{scene!r}: {refusing.refused[0]} refused, {error=} {lasting=}: {refusals}")
                raise
            tally.add(INJECTED, len(refusing.refused))
            refused += len(refusing.refused)
    return refused


def require_clear(refusing: Refusing, refusals: Sequence[AionError]) -> None:
    for refusal in refusals:
        if exit_code_of(refusal) is not ExitCode.STORAGE or "/disk" not in str(refusal):
            raise BrokenPromise(UNCLEAR, f"exit {exit_code_of(refusal)}: {refusal}")
    if refusing.tried_again:
        raise BrokenPromise(LOST, f"after a failure the same process went on with {refusing.tried_again[0]}")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("seed", range(RUN_SEEDS))
def test_nothing_acknowledged_is_lost_whichever_call_of_the_engine_is_refused(
    model: None, seed: int, error: int, tally: Tally
) -> None:
    rng = random.Random(4000 + seed)
    assert refuse_everywhere(RunScene.random(rng, 2), error, rng, tally)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("seed", range(CLERK_SEEDS))
def test_nothing_acknowledged_is_lost_whichever_call_of_the_storage_floor_is_refused(
    model: None, seed: int, error: int, tally: Tally
) -> None:
    rng = random.Random(5000 + seed)
    assert refuse_everywhere(ClerkScene.random(rng, 2), error, rng, tally)
