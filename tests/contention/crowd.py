"""Many processes at one run, cheaply: this module, run as a script, imports the engine once and forks.

    python -m tests.contention.crowd SCENE FOLDER NUMBERS...

Each scene prints one JSON object. Forking happens here and not in pytest, whose workers have threads.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aion_cli import activity, workflow
from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.core import ids
from aion_cli.core.source import SourcePaths
from aion_cli.errors import OwnedElsewhereError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.delivery import deliver, drain_unowned
from aion_cli.runtime.endings import RunSettings
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox, MessageId, drain, message_id
from aion_cli.runtime.journal import JsonlStore, read_history
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.recorder import Recorder
from aion_cli.runtime.wall import WallClock, instant
from aion_cli.runtime.workshop import Workshop

RUN = "order-1"
OWNED_ELSEWHERE = 6
_CHANGING = frozenset(
    {"open", "write", "fdatasync", "fsync_directory", "ftruncate", "rename", "link", "unlink", "mkdir", "flock"}
)


class Dying(Calls):
    """Real calls of a process that kills itself with SIGKILL at one of them.

    die_at: half-steps until then, counted over the calls that change something, flock included: an even one is before
    such a call, an odd one half-way through it (a write has written half) or else right after it.
    """

    def __init__(self, die_at: int) -> None:
        self._left = die_at

    def __getattribute__(self, name: str) -> Any:
        real = super().__getattribute__(name)
        if name not in _CHANGING:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            left = self._left
            self._left = left - 2
            if left == 0:
                _die()
            if left == 1 and name == "write":
                fd, data = args
                real(fd, bytes(data)[: len(data) // 2])
                _die()
            try:
                return real(*args, **kwargs)
            finally:
                if left == 1:
                    _die()

        return call

    def fdatasync(self, fd: int) -> None:
        """What a killed process wrote survives it without a sync."""

    def fsync_directory(self, path: Path) -> None:
        """The same holds for names."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def quiet(notice: str) -> None:
    """Nobody reads notices."""
    del notice


def spawn(work: Callable[[], int]) -> int:
    """Fork a process that does work and exits with what it returns; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = work()
    except OwnedElsewhereError:
        code = OWNED_ELSEWHERE
    except BaseException as error:  # noqa: BLE001 - a forked copy of this process must end here, whatever happened
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def exit_code(status: int) -> int:
    """What a shell would show for a wait status: minus the signal for a process that was killed."""
    return os.waitstatus_to_exitcode(status)


class Gate:
    """Holds processes that were forked after it was made, until it is opened for all of them at once."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> None:
        """Wait in a forked process."""
        os.close(self._write)
        os.read(self._read, 1)
        os.close(self._read)

    def open(self) -> None:
        """Let them go."""
        os.close(self._write)
        os.close(self._read)


def event(sender: int, number: int) -> ev.SignalReceived:
    """The number-th signal of a sender."""
    return ev.SignalReceived(name=f"s{sender}", payload=msgspec.Raw(b"%d" % number), signal_id=f"{sender}/{number}")


# Scene "signallers": many senders, some of which are killed and repeat themselves, and owners that come and go.


class Sender(NamedTuple):
    """One who sends a number of signals, each acknowledged by a byte in a file of its own."""

    root: Path
    number: int
    messages: int

    @property
    def acknowledged(self) -> Path:
        return self.root / "acks" / str(self.number)

    def send_all(self, files: Files) -> int:
        """Go on after the last acknowledged signal; every third is sent twice. Returns an exit code."""
        folder = HistoriesFolder(self.root / "histories", files)
        inbox = Inbox(folder, RUN)
        fd = os.open(self.acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in range(os.fstat(fd).st_size, self.messages):
            for _ in range(2 if number % 3 == 0 else 1):
                inbox.accept(event(self.number, number), chosen_id=True)
            os.write(fd, b".")
            if not drain_unowned(folder, RUN, role=Role.SIGNAL, clock=WallClock(), notice=quiet):
                inbox.ring()
        return 0


def own_for_a_while(root: Path, seconds: float, files: Files) -> int:
    """Own the run as `aion run` does, and drain when the bell rings; returns an exit code. May be killed."""
    folder = HistoriesFolder(root / "histories", files)
    with take(folder, RUN, Role.RUN):
        inbox, store = Inbox(folder, RUN), JsonlStore.open_to_write(folder.latest(RUN).path, files)
        bell, recorder = inbox.open_doorbell(), Recorder(store)
        known = {found for each in store.read() if (found := message_id(each)) is not None}
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            drain(inbox, recorder, known, instant(WallClock()))
            if bell is not None and select.select([bell], [], [], 0.05)[0]:
                bell.silence()
        store.close()
    drain_unowned(folder, RUN, role=Role.RUN, clock=WallClock(), notice=quiet)
    return 0


def signallers(root: Path, senders: int, messages: int, seed: int) -> dict[str, Any]:
    """Have senders and owners at one run until all is sent. Some senders and owners are killed on the way."""
    chance = random.Random(seed)
    (root / "acks").mkdir()
    gate, waiting, deaths, owners = Gate(), dict[int, Sender](), 0, 0
    for number in range(senders):
        sender = Sender(root, number, messages)
        waiting[_start_sender(sender, chance, gate)] = sender
    gate.open()
    owner: int | None = None
    while waiting:
        if owner is None and chance.random() < 0.5:
            owner, owners = _start_owner(root, chance), owners + 1
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.002)
        elif pid == owner:
            owner = None
        else:
            sender = waiting.pop(pid)
            if exit_code(status) == -signal.SIGKILL:
                deaths += 1
                waiting[_start_sender(sender, chance, None)] = sender
            elif status:
                raise SystemExit(f"sender {sender.number} ended with {exit_code(status)}")
    if owner is not None:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
    folder = HistoriesFolder(root / "histories")
    drain_unowned(folder, RUN, role=Role.SIGNAL, clock=WallClock(), notice=quiet)
    return {"killed_senders": deaths, "owners": owners}


def _start_sender(sender: Sender, chance: random.Random, gate: Gate | None) -> int:
    dies = gate is not None and chance.random() < 0.4
    die_at = chance.randrange(40 * sender.messages) if dies else -1

    def work() -> int:
        if gate is not None:
            gate.wait()
        return sender.send_all(Files(Dying(die_at)))

    return spawn(work)


def _start_owner(root: Path, chance: random.Random) -> int:
    seconds, die_at = chance.uniform(0.0, 0.4), chance.choice([-1, chance.randrange(300)])
    return spawn(lambda: own_for_a_while(root, seconds, Files(Dying(die_at))))


# Scenes "race" and "succession": many that run one id, of which one works; and who comes after it is killed.


def _file(name: str) -> Path:
    return Path(os.environ["CROWD_ROOT"]) / name


@activity
def work(fork: bool) -> str:
    """Say that this process works, and go on until it is told to end. fork: leave a copy of this process behind."""
    if fork:
        begun, begins = os.pipe()
        with warnings.catch_warnings():
            # From Python 3.12 on it warns of what is tried here: a fork of a process with threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.write(begins, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(begun, 1)  # before its first step it has a copy of everything, whatever anybody does about that
        with _file("children").open("a") as file:
            file.write(f"{child}\n")
    with _file("works").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not _file("finish").exists():
        time.sleep(0.005)
    return "worked"


@workflow
async def job(fork: bool) -> str:
    return await work(fork)


@workflow
async def listener() -> None:
    await asyncio.Event().wait()


def run_once(root: Path, definition: WorkflowDefinition[..., Any] = job, input: bytes = b"false") -> int:
    """Do what `aion run` does, up to the exit code."""
    paths = SourcePaths(str(root))
    shop = Workshop(
        folder=HistoriesFolder(root / "histories"),
        clock=WallClock(),
        paths=paths,
        activities=ActivityRunner(paths, grace_s=0.1),
        listener=lambda _id, _events: None,
        notice=quiet,
        settings=RunSettings(grace_s=0.1),
    )
    started = shop.first_event(definition, RUN, msgspec.Raw(input))
    end = asyncio.run(LocalRuns(shop).runner(RUN).run(definition, started))
    return 0 if end.closed_by is not None else 3


def _until(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.002)


def _pids(name: str) -> list[int]:
    return [int(line) for line in _file(name).read_text().split()] if _file(name).exists() else []


def _workers() -> list[int]:
    return _pids("works")


def race(root: Path, racers: int) -> dict[str, Any]:
    """Have many run one id at the same moment. Returns how they ended, and which processes did the work."""
    gate = Gate()

    def racer() -> int:
        gate.wait()
        return run_once(root)

    left = {spawn(racer) for _ in range(racers)}
    gate.open()
    codes: list[int] = []
    while len(left) > 1:
        pid, status = os.wait()
        left.remove(pid)
        codes.append(exit_code(status))
    _until(_workers)
    _file("finish").touch()
    (winner,) = left
    _, status = os.waitpid(winner, 0)
    return {"losers": codes, "winner": exit_code(status), "winner_worked": _workers() == [winner]}


def succession(root: Path, fork: int) -> dict[str, Any]:
    """Kill an owner in mid-work, with or without a living copy of it, and have a successor take over at once."""
    input = b"true" if fork else b"false"
    owner = spawn(lambda: run_once(root, job, input))
    _until(_workers)
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    killed_at = time.monotonic()
    successor = spawn(lambda: run_once(root, job, input))
    _until(lambda: len(_workers()) == 2 or os.waitid(os.P_PID, successor, os.WEXITED | os.WNOHANG | os.WNOWAIT))
    took_s = time.monotonic() - killed_at
    _file("finish").touch()
    _, status = os.waitpid(successor, 0)
    for child in _pids("children"):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return {"successor": exit_code(status), "workers": _workers() == [owner, successor], "took_s": took_s}


# Scenes "kill-drain" and "kill-send": one process, killed at each of its system calls.


def _immortal() -> Files:
    return Files(Dying(-1))


def _fresh_folder(root: Path, name: str) -> HistoriesFolder:
    folder = HistoriesFolder(root / name, _immortal())
    started = ev.WorkflowStarted(
        seq=1,
        recorded_at="2026-03-01T09:30:00.000000Z",
        format=ev.FORMAT,
        workflow_id=RUN,
        run_id="r1",
        workflow_type="order",
        input=msgspec.Raw(b"null"),
        definition=ev.DefinitionRef("order", "order.py", ""),
        runtime=ev.RuntimeRef("0", "3"),
    )
    JsonlStore.create(folder.history(ids.RunName(RUN)), [started], folder.files).close()
    return folder


def recorded(folder: HistoriesFolder) -> list[str]:
    """The ids of the signals in the history, in order; seq must have no gaps."""
    events = list(read_history(folder.latest(RUN).path))
    if [each.seq for each in events] != list(range(1, len(events) + 1)):
        raise SystemExit("seq has gaps")
    return [each.signal_id for each in events[1:]]


def kill_drain(root: Path, step: int) -> dict[str, Any]:
    """Kill an owner at each half-step of draining three signals, of which the history holds the first already."""
    expected = ["0/0", "0/1", "0/2"]

    def prepare(folder: HistoriesFolder) -> None:
        deliver_plain(folder, event(0, 0))
        inbox = Inbox(folder, RUN)
        for number in range(3):
            inbox.accept(event(0, number), chosen_id=False)

    def drain_all(folder: HistoriesFolder) -> int:
        drain_unowned(folder, RUN, role=Role.SIGNAL, clock=WallClock(), notice=quiet)
        return 0

    def check(folder: HistoriesFolder) -> str:
        drain_all(folder)
        found = recorded(folder)
        return "" if found == expected and not Inbox(folder, RUN).names() else f"found {found}"

    return _at_each_step(root, step, prepare, drain_all, check)


def kill_send(root: Path, step: int) -> dict[str, Any]:
    """Kill a signaller at each half-step; whether it got so far or not, its signal is there once after a repeat."""

    def send(folder: HistoriesFolder) -> int:
        deliver_plain(folder, event(0, 1))
        return 0

    def check(folder: HistoriesFolder) -> str:
        before = {message.event.signal_id for message in Inbox(folder, RUN).list()} | set(recorded(folder))
        if "0/0" not in before:
            return "an acknowledged signal is gone"
        send(folder)
        found = recorded(folder)
        return "" if found == ["0/0", "0/1"] and not Inbox(folder, RUN).names() else f"found {found}"

    return _at_each_step(root, step, lambda folder: deliver_plain(folder, event(0, 0)), send, check)


def deliver_plain(folder: HistoriesFolder, message: ev.SignalReceived) -> None:
    """Do what `aion signal --id` does once it has checked the signal."""
    deliver(folder, RUN, message, chosen_id=True, role=Role.SIGNAL, clock=WallClock(), notice=quiet)


def _at_each_step(
    root: Path,
    step: int,
    prepare: Callable[[HistoriesFolder], None],
    act: Callable[[HistoriesFolder], int],
    check: Callable[[HistoriesFolder], str],
) -> dict[str, Any]:
    wrong: list[str] = []
    for die_at in range(0, 10_000, step):
        folder = _fresh_folder(root, f"h{die_at}")
        prepare(folder)
        dying = HistoriesFolder(folder.root, Files(Dying(die_at)))
        _, status = os.waitpid(spawn(lambda dying=dying: act(dying)), 0)
        problem = check(HistoriesFolder(folder.root, _immortal()))
        if problem:
            wrong.append(f"killed at {die_at}: {problem}")
        if exit_code(status) == 0:
            return {"killed": die_at // step, "wrong": wrong}
        if exit_code(status) != -signal.SIGKILL:
            wrong.append(f"killed at {die_at}: exit code {exit_code(status)}")
    raise SystemExit("it never ended by itself")


# Scene "latency": how long a signal takes to an idle owner.


def latency(root: Path, signals: int, bell: int) -> dict[str, Any]:
    """Measure, in milliseconds, from before a signal is sent until the history holds it. bell: whether there is one."""
    owner = spawn(lambda: run_once(root, listener, b"null"))
    folder = HistoriesFolder(root / "histories")
    _until(lambda: (folder.inbox(RUN) / ".bell").exists())
    if not bell:
        (folder.inbox(RUN) / ".bell").unlink()
    inbox, chance, took_ms = Inbox(folder, RUN), random.Random(1), list[float]()
    for number in range(signals):
        time.sleep(chance.uniform(0.01, 0.03) if bell else chance.uniform(0.0, 0.3))
        begun = time.monotonic()
        inbox.accept(event(0, number), chosen_id=False)
        inbox.ring()
        while not inbox.is_recorded(MessageId("SignalReceived", f"0/{number}")):
            time.sleep(0.000_2)
        took_ms.append((time.monotonic() - begun) * 1000)
    os.kill(owner, signal.SIGKILL)
    os.waitpid(owner, 0)
    took_ms.sort()
    return {"p50_ms": took_ms[len(took_ms) // 2], "p99_ms": took_ms[int(len(took_ms) * 0.99)]}


SCENES: dict[str, Callable[..., dict[str, Any]]] = {
    "signallers": signallers,
    "race": race,
    "succession": succession,
    "kill-drain": kill_drain,
    "kill-send": kill_send,
    "latency": latency,
}


def main(scene: str, root: str, *numbers: str) -> None:
    """Play one scene."""
    os.environ["CROWD_ROOT"] = root
    print(json.dumps(SCENES[scene](Path(root), *map(int, numbers))))


if __name__ == "__main__":
    main(*sys.argv[1:])
