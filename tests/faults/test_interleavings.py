"""Two processes: one acts in full at every call of the other. A process that would have to wait begins again later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aion_cli.errors import NoSuchRunError, OwnedElsewhereError, WrongStateError
from aion_cli.runtime.delivery import drain_unowned
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.ownership import Role
from aion_cli.runtime.wall import WallClock
from tests.faults.clerk import ClerkScene, Task
from tests.faults.disk import BlockedError, Disk, Step
from tests.faults.model import ModelMachine, aside_on, blobs_of
from tests.faults.promises import DEADLOCKED, LOST, BrokenPromise, Ended, hold_against, require_whole
from tests.faults.scenes import RUN, Plan, Shell
from tests.faults.tally import ORDERS, TORTURE, Tally

Act = Callable[[Shell], object]
"""A command, or several by one process after another."""


class Interleaved:
    """Lets another act in full before a call of a number; while it is blocked, before later ones too."""

    def __init__(self, machine: ModelMachine, at: int, other: Act) -> None:
        self._shell = Shell(machine, repeats=True)
        self._at = at
        self._other = other
        self.count = 0
        self.done = False
        self._acting = False

    def __call__(self, step: Step) -> None:
        del step
        if self._acting:
            return
        index = self.count
        self.count += 1
        if index >= self._at and not self.done:
            self.act()

    def act(self) -> None:
        """Act now, unless somebody else holds a lock that is waited for."""
        self._acting = True
        try:
            self._other(self._shell)
            self.done = True
        except BlockedError:
            pass
        finally:
            self._acting = False


def interleave(prepare: Act, one: Act, other: Act, finish: Act, tally: Tally, stride: int = 1) -> list[ModelMachine]:
    """Play two acts on a prepared disk, with the other one at every call of the first, and judge each outcome."""
    machines: list[ModelMachine] = []
    at = 0
    while True:
        machine = ModelMachine(Disk())
        prepare(Shell(machine))
        interleaved = Interleaved(machine, at, other)
        machine.watch = interleaved
        one(Shell(machine, repeats=True))
        calls = interleaved.count
        if not interleaved.done:
            interleaved.act()
            if not interleaved.done:
                raise BrokenPromise(DEADLOCKED, f"the other act waits for a lock that nobody holds, from call {at} on")
        try:
            finish(Shell(machine))
            hold_against(machine.entries, machine.histories(), blobs_of(machine.disk), aside_on(machine.disk))
            require_nothing_stranded(machine)
        except BrokenPromise as broken:
            broken.add_note(f"the other act at call {at} of {calls}")
            raise
        machines.append(machine)
        tally.add(ORDERS)
        if at >= calls:
            return machines
        at += stride


def require_nothing_stranded(machine: ModelMachine) -> None:
    left = [path for path in machine.disk.contents() if "/inbox/" in path and path.endswith(".json")]
    if left:
        raise BrokenPromise(LOST, f"accepted messages were left in the inbox: {left}")


def send(*ids: str) -> Act:
    """Signals of one sender, in order; it stops at the first that is refused because the run is closed or not there."""

    def act(shell: Shell) -> None:
        for n, signal_id in enumerate(ids):
            try:
                shell.signal(RUN, "go", n, signal_id)
            except (WrongStateError, NoSuchRunError):
                return

    return act


def run(plan: Plan, *, until_blocked: bool = False) -> Act:
    """`aion run`, which waits for an owner that is only sending a signal."""

    def act(shell: Shell) -> None:
        assert isinstance(shell.machine, ModelMachine)
        if shell.machine.disk.lock_holders:
            raise BlockedError("a brief owner")
        shell.run(plan, until_blocked=until_blocked)

    return act


def start(shell: Shell) -> None:
    """Make the run, which nobody owns then."""
    ClerkScene([], 0).work(shell.machine, shell, tasks=0)


def close_as_clerk(shell: Shell) -> None:
    """Own the run, do all that is left, and close it; or leave it to whoever owns it."""
    scene = ClerkScene([Task(1, 1, 0)], 0)
    try:
        scene.work(shell.machine, shell, tasks=1)
    except OwnedElsewhereError:
        return


def drain(shell: Shell) -> None:
    """What every sender does after its message is accepted."""
    folder = HistoriesFolder(shell.machine.root, Files(shell.machine.calls()))
    drain_unowned(folder, RUN, role=Role.SIGNAL, clock=WallClock(), notice=lambda sentence: None)


def nothing(shell: Shell) -> None:
    del shell


def signals_in(machine: ModelMachine) -> list[str]:
    events = require_whole(RUN, machine.histories()[f"{RUN}.jsonl"])
    return [event["signal_id"] for event in events if event["type"] == "SignalReceived"]


STRIDE = 1 if TORTURE else 2
PLAN = Plan([("work", 3), ("receive", 0), ("work", 4)])


def test_a_signal_at_any_moment_of_a_run_is_received_once(model: None, tally: Tally) -> None:
    for machine in interleave(nothing, run(PLAN, until_blocked=True), send("a"), nothing, tally, STRIDE):
        shell = Shell(machine)
        if "a" not in signals_in(machine):
            shell.signal(RUN, "go", 0, "a")
        shell.run(PLAN)
        assert signals_in(machine) == ["a"]


@pytest.mark.parametrize("steps", [[("work", 1)], [("child", 2)]])
def test_a_signal_while_a_run_ends_is_recorded_before_the_end_or_refused(
    model: None, steps: list[tuple[str, int]], tally: Tally
) -> None:
    accepted = {
        tuple(signals_in(machine))
        for machine in interleave(nothing, run(Plan(steps)), send("a", "b"), nothing, tally, STRIDE)
    }
    assert {(), ("a", "b")} <= accepted <= {(), ("a",), ("a", "b")}


def test_signals_of_one_sender_keep_their_order_however_the_owner_drains(model: None, tally: Tally) -> None:
    plan = Plan([("receive", 0), ("receive", 0), ("receive", 0)])
    first = run(plan, until_blocked=True)
    for machine in interleave(first, send("a", "b", "c"), run(plan, until_blocked=True), run(plan), tally):
        assert signals_in(machine) == ["a", "b", "c"]
        assert {entry.result for entry in machine.entries if isinstance(entry, Ended)} == {"[0, 1, 2]"}


def test_a_run_that_ends_while_a_signal_is_being_accepted_refuses_it_or_records_it(model: None, tally: Tally) -> None:
    accepted = {tuple(signals_in(machine)) for machine in interleave(start, send("a"), close_as_clerk, drain, tally)}
    assert accepted == {(), ("a",)}


def test_a_repeated_signal_is_recorded_once_however_two_senders_meet(model: None, tally: Tally) -> None:
    for machine in interleave(start, send("a", "b"), send("a"), drain, tally):
        assert sorted(signals_in(machine)) == ["a", "b"]


def test_no_signal_is_stranded_because_its_sender_met_another_one_at_work(model: None, tally: Tally) -> None:
    for machine in interleave(start, send("a"), send("b"), nothing, tally):
        assert sorted(signals_in(machine)) == ["a", "b"]
