"""What is done to a folder of histories while faults strike: commands, as a person or a script would give them.

A scene is played by giving its commands from the start, whatever became of them before; that is how `aion` is used
after a crash. It is played in this process, on a `Machine`: a real folder, or a model disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import selectors
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from aion_cli import ContinueAsNew, RetryPolicy, Signal, activity, activity_info, workflow
from aion_cli.core import events as ev
from aion_cli.core.source import SourcePaths
from aion_cli.errors import OwnedElsewhereError, StoreError
from aion_cli.runtime import ownership
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.delivery import deliver
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.handoff import Worker
from aion_cli.runtime.journal import Durability
from aion_cli.runtime.live import RunSettings
from aion_cli.runtime.outcome import RunEnd, settled_end
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop
from tests.faults.promises import (
    DEADLOCKED,
    Accepted,
    BrokenPromise,
    Effect,
    Ended,
    Entry,
    durable,
    has_outcome,
    is_announced,
    is_run_of,
)

T = TypeVar("T")

RUN = "order-1"
_LONGEST_S = 600.0
_PATHS = SourcePaths("/")


class Machine(Protocol):
    """Where commands are carried out. root: the folder of histories."""

    root: Path

    def calls(self) -> Calls:
        """The system calls of a new process."""
        ...

    def histories(self) -> dict[str, bytes]:
        """The bytes of every history by file name, as the kernel shows them."""
        ...

    def remember(self, entry: Entry) -> None:
        """Enter something in the world's ledger, where no fault reaches it."""
        ...

    def remembers(self, entry: Entry) -> bool:
        """Whether something was entered."""
        ...


class Scene(Protocol):
    """Commands that may be given again and again. expected: the result that they come to, as JSON."""

    @property
    def expected(self) -> str: ...

    def play(self, machine: Machine) -> list[StoreError]:
        """Give all commands from the start, up to one that fails; returns what storage refused."""
        ...

    def recover(self, machine: Machine) -> list[StoreError]:
        """Give the one command that goes on with the run; returns what storage refused."""
        ...


class Plan(msgspec.Struct, frozen=True):
    """What a run does. steps: pairs of what and a size or number."""

    steps: list[tuple[str, int]]


go = Signal("go", int)
told = Signal("told", int)


@activity(retry=RetryPolicy(max_attempts=3, initial=0.1, jitter=0.0))
async def work(size: int, flaky: bool = False) -> str:
    """Have an effect; returns that many bytes, never the same. flaky: the first attempt fails."""
    here().effect()
    if flaky and activity_info().attempt == 1:
        raise ValueError("not yet")
    return unlike_any(size)


@activity
async def tell(number: int) -> bool:
    """Have another process signal this run, under an id that it repeats if it is run again."""
    info = activity_info()
    here().effect()
    here().persist(lambda: here().signal(info.workflow_id, "told", number, f"told-{info.ordinal}"))
    return True


@activity
async def claim() -> bool:
    """Have another process try to own this run; returns whether it was refused."""
    info = activity_info()
    here().effect()
    return here().persist(lambda: here().is_owned(info.workflow_id))


@workflow
async def parcel(size: int) -> str:
    """A child."""
    return await work(size)


@workflow
async def order(plan: Plan) -> list[int]:
    """Do what the plan says, in order; returns what came of each step: the length of what was made, or a number."""
    done: list[int] = []
    for n, (kind, number) in enumerate(plan.steps):
        match kind:
            case "work":
                done.append(len(await work(number)))
            case "again":
                raise ContinueAsNew(Plan(plan.steps[n + 1 :]))
            case "flaky":
                done.append(len(await work(number, True)))
            case "both":
                done += [len(each) for each in await asyncio.gather(work(number), work(number // 2))]
            case "receive":
                done.append(await go.receive())
            case "tell":
                await tell(number)
                done.append(await told.receive())
            case "claim":
                done.append(int(await claim()))
            case "child":
                done.append(len(await parcel(number)))
            case _:
                await asyncio.sleep(0.1)
    return done


def expected(plan: Plan) -> str:
    """What a run must end with, as JSON."""
    done: list[int] = []
    received = 0
    for kind, number in plan.steps:
        match kind:
            case "work" | "flaky" | "child" | "tell":
                done.append(number)
            case "both":
                done += [number, number // 2]
            case "receive":
                done.append(received)
                received += 1
            case "claim":
                done.append(1)
            case "again":
                done = []
            case _:
                pass
    return json.dumps(done)


def unlike_any(size: int) -> str:
    """A text of that many bytes, from 8 on: what is done twice is not the same the second time."""
    return os.urandom(4).hex() + "x" * (size - 8)


KINDS = ("work", "flaky", "both", "receive", "tell", "claim", "child", "sleep", "again")
SIZES = (20, 60, 350, 600, 1100)
"""Lengths of payloads: short, with a line longer than a sector, and stored as blobs."""


class RunScene:
    """The whole engine: a workflow is run until it is blocked, signalled, and run to its end.

    repeats: signals that were accepted are sent again all the same.
    """

    def __init__(self, plan: Plan, *, repeats: bool = False) -> None:
        self.plan = plan
        self.repeats = repeats

    @classmethod
    def random(cls, rng: random.Random, length: int) -> RunScene:
        """A scene of so many steps."""
        steps = [(rng.choice(KINDS), rng.choice(SIZES) + rng.randrange(40)) for _ in range(length)]
        return cls(Plan(steps), repeats=rng.random() < 0.5)

    @property
    def expected(self) -> str:
        return expected(self.plan)

    def play(self, machine: Machine) -> list[StoreError]:
        """Give all commands from the start; see Scene."""
        receives = sum(kind == "receive" for kind, _ in self.plan.steps)

        def commands(shell: Shell) -> None:
            shell.run(self.plan, until_blocked=True)
            for number in range(receives):
                shell.signal(RUN, "go", number, f"go-{number}")
            shell.run(self.plan)

        return Shell(machine, repeats=self.repeats).script(commands)

    def recover(self, machine: Machine) -> list[StoreError]:
        """Go on with the run; see Scene."""
        return Shell(machine).script(lambda shell: shell.run(self.plan))

    def __repr__(self) -> str:
        return f"RunScene(Plan({self.plan.steps}), repeats={self.repeats})"


class Shell:
    """Gives commands on a machine. Each command is a process of its own: what it learned about files ends with it.

    repeats: signals that were accepted are sent again. refusals: what storage refused.
    """

    def __init__(self, machine: Machine, *, repeats: bool = False) -> None:
        self.machine = machine
        self._repeats = repeats
        self.refusals: list[StoreError] = []

    def script(self, commands: Callable[[Shell], object]) -> list[StoreError]:
        """Give commands up to one that storage refuses, as a script with `set -e`; returns the refusals."""
        try:
            commands(self)
        except StoreError as error:
            self.refusals.append(error)
        return self.refusals

    def persist(self, command: Callable[[], T]) -> T:
        """Give a command; if storage refuses it, a second time."""
        try:
            return command()
        except StoreError as error:
            self.refusals.append(error)
            return command()

    def run(self, plan: Plan, *, until_blocked: bool = False) -> RunEnd:
        """`aion run order --id order-1`."""
        end = self._run(plan, Files(self.machine.calls()), until_blocked=until_blocked)
        if isinstance(end.closed_by, ev.WorkflowCompleted):
            self._listened(RUN)  # also where another process wrote the end: who is told of it relies on it
            self.machine.remember(Ended(RUN, json.dumps(json.loads(bytes(end.closed_by.result)))))
        return end

    def _run(self, plan: Plan, files: Files, *, until_blocked: bool) -> RunEnd:
        folder = HistoriesFolder(self.machine.root, files)
        found = folder.runs_of(RUN)
        if found and (end := settled_end(found[-1].path, files)) is not None:
            return end
        loop = SkippingLoop()
        shop = Workshop(
            folder=folder,
            clock=SkippingClock(loop),
            paths=_PATHS,
            activities=ActivityRunner(_PATHS),
            listener=lambda workflow_id, events: self._listened(workflow_id),
            notice=_ignore,
            durability=Durability.FULL,
            settings=RunSettings(grace_s=1.0, stop_when_blocked=until_blocked),
            worker=Worker("host", 1),
        )
        started = shop.first_event(order, RUN, msgspec.Raw(msgspec.json.encode(plan)))
        before = _shells[-1:]
        _shells.append(self)
        try:
            return loop.run_until_complete(LocalRuns(shop).runner(RUN).run(order, started))
        finally:
            _abandon(loop)
            _shells[:] = before
            loop.close()

    def signal(self, workflow_id: str, name: str, payload: int, signal_id: str) -> None:
        """`aion signal RUN NAME PAYLOAD --id ID`."""
        accepted = Accepted(workflow_id, signal_id)
        if self.machine.remembers(accepted) and not self._repeats:
            return
        folder = HistoriesFolder(self.machine.root, Files(self.machine.calls()))
        event = ev.SignalReceived(name=name, payload=msgspec.Raw(b"%d" % payload), signal_id=signal_id)
        deliver(folder, workflow_id, event, chosen_id=True, role=Role.SIGNAL, clock=WallClock(), notice=_ignore)
        self.machine.remember(accepted)

    def is_owned(self, workflow_id: str) -> bool:
        """Whether another process is refused the run, as it must be."""
        folder = HistoriesFolder(self.machine.root, Files(self.machine.calls()))
        try:
            with ownership.take(folder, workflow_id, Role.RUN):
                return False
        except OwnedElsewhereError:
            return True

    def effect(self) -> None:
        """An activity takes effect: its history must announce it and hold no outcome of it, and be on the disk."""
        info = activity_info()
        number = info.run_id.partition("@")[2]
        file = f"{info.workflow_id}@{number}.jsonl" if number else f"{info.workflow_id}.jsonl"
        self.took_effect(file, info.ordinal, info.attempt)

    def took_effect(self, file: str, ordinal: int, attempt: int | None = None) -> None:
        """Note an effect; see effect. attempt: None where attempts are not recorded."""
        histories = self.machine.histories()
        for name, data in histories.items():
            self.machine.remember(durable(name, data))
        data = histories.get(file, b"")
        self.machine.remember(Effect(file, ordinal, has_outcome(data, ordinal), is_announced(data, ordinal, attempt)))

    def _listened(self, workflow_id: str) -> None:
        for file, data in self.machine.histories().items():
            if is_run_of(file, workflow_id):
                self.machine.remember(durable(file, data))


def _abandon(loop: SkippingLoop) -> None:
    """End what a run left behind that was cut off, or it would complain when it is collected."""
    left = asyncio.all_tasks(loop)
    if not left:
        return
    loop.now_s = 0.0
    for task in left:
        task.cancel()
    with suppress(BaseException):
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


_shells: list[Shell] = []


def here() -> Shell:
    """The shell whose command this activity is part of."""
    return _shells[-1]


def _ignore(sentence: str) -> None:
    del sentence


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop without files and sockets, whose time passes at once. Nothing left to wait for is a deadlock."""

    def __init__(self) -> None:
        super().__init__(_SkippingSelector(self))
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s


class _SkippingSelector(selectors.SelectSelector):
    def __init__(self, loop: SkippingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self._loop.now_s > _LONGEST_S:
            raise BrokenPromise(DEADLOCKED, "nothing will ever happen again")
        if timeout > 0:
            self._loop.now_s += timeout
        return []


class SkippingClock:
    """The wall clock of a skipping loop."""

    def __init__(self, loop: SkippingLoop) -> None:
        self._loop = loop
        self._begun = WallClock().micros()

    def micros(self) -> int:
        return self._begun + round(self._loop.now_s * 1_000_000)

    async def until(self, micros: int) -> None:
        while (left := micros - self.micros()) > 0:
            await asyncio.sleep(left / 1_000_000)
