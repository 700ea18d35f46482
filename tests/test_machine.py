"""A state machine of everything that happens to runs: they run, are signalled, cancelled, killed, resumed; disks fill,
clocks jump, files are damaged. After each step the promises of design.md, section 2, hold.

In one process: a kill is an exception that no call to the disk gets past. AION_TORTURE=1 takes more than 10,000 steps.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType] - Hypothesis does not annotate it
)

from aion_cli import RetryPolicy, Signal, activity, activity_info, workflow
from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.errors import (
    DamagedHistoryError,
    NoSuchRunError,
    StoreError,
    UnsupportedFormatError,
    WrongStateError,
)
from aion_cli.runtime.files import Calls, Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.reading import read_history
from aion_cli.runtime.workshop import open_replay
from tests.faults.tally import STEPS as STEPS_TAKEN
from tests.faults.tally import TORTURE, Tally
from tests.runs import Place, SetClock
from tests.storage import Unsynced

STEPS = 40

_steps = Counter[str]()
_results = Counter[str]()


class Killed(BaseException):
    """The process is dead, and does nothing more."""


class Death(NamedTuple):
    """When a process is killed: at its n-th changing call, or at the n-th of one sort. half: a write was half done."""

    n: int
    sort: str = ""
    half: bool = False


deaths = st.none() | st.one_of(
    st.builds(Death, st.integers(0, 60), st.just(""), st.booleans()),
    st.builds(
        Death,
        st.integers(0, 9),
        st.sampled_from(["write", "fdatasync", "unlink", "fsync_directory"]),
        st.booleans(),
    ),
)


class Disk(Calls):
    """Real calls of a process that can be killed at any of them, on a disk that can be full. Nothing is synced."""

    def __init__(self) -> None:
        self.death: Death | None = None
        self.dead = False
        self.full = False

    def _live(self, sort: str, half: Callable[[], object] | None = None) -> None:
        if self.death is not None and not self.dead and self.death.sort in ("", sort):
            self.death = self.death._replace(n=self.death.n - 1)
            if self.death.n < 0:
                self.dead = True
                if half is not None and self.death.half:
                    half()
        if self.dead:
            raise Killed

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        self._live("open")
        return super().open(path, flags, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        half = bytes(data)[: len(data) // 2]
        self._live("write", lambda: super(Disk, self).write(fd, half))
        if self.full:
            if half and super().write(fd, half):
                return len(half)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._live("fdatasync")

    def fsync_directory(self, path: Path) -> None:
        self._live("fsync_directory")

    def ftruncate(self, fd: int, size: int) -> None:
        self._live("ftruncate")
        super().ftruncate(fd, size)

    def rename(self, source: Path, target: Path) -> None:
        self._live("rename")
        super().rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._live("link")
        super().link(source, target)

    def unlink(self, path: Path) -> None:
        self._live("unlink")
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        self._live("mkdir")
        super().mkdir(path)

    def flock(self, fd: int, operation: int) -> None:
        self._live("flock")
        super().flock(fd, operation)


class Ticking(SetClock):
    """A clock that goes on a little whenever it is looked at."""

    def micros(self) -> int:
        self.present += 50
        return self.present


class World:
    """What activities do. effects: by idempotency key. on_effect: told of each before it happens."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.effects = Counter[str]()
        self.on_effect: Callable[[str], None] = lambda _: None


world = World()
go = Signal("go", str)


@activity(retry=RetryPolicy(max_attempts=4, initial=0.001))
async def effect(name: str) -> str:
    await asyncio.sleep(0)
    if world.disk.dead:
        raise asyncio.CancelledError
    key = activity_info().idempotency_key
    world.on_effect(key)
    world.effects[key] += 1
    if name == "flaky" and activity_info().attempt == 1:
        raise ConnectionError("not now")
    return f"{name} {key}"


@workflow
async def part(name: str) -> str:
    await asyncio.sleep(1)
    return await effect(name)


@workflow
async def saga(rounds: int) -> list[str]:
    done: list[str] = []
    try:
        for n in range(rounds):
            done.append(await effect("flaky"))
            with suppress(TimeoutError):
                async with asyncio.timeout(60):
                    done.append(await go.receive())
            done += await asyncio.gather(effect(f"left {n}"), effect(f"right {n}"))
            await asyncio.sleep(5)
            done.append(await part(f"part {n}"))
    except asyncio.CancelledError:
        await effect("cleanup")
        raise
    return done


class Machine(RuleBasedStateMachine):
    """The model: what was acknowledged, to whom it was told, and what the world saw."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="aion-machine-"))
        self.clock = Ticking()
        self.number = 1
        self.told: dict[str, dict[int, ev.Event]] = {}
        self.completed: set[str] = set()
        self.acknowledged: list[tuple[str, str]] = []
        self.sent = 0
        self.meanwhile = 0
        self.outcome: ev.Event | None = None
        global world
        world = World()
        world.on_effect = self.require_not_completed

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @property
    def workflow_id(self) -> str:
        return f"saga-{self.number}"

    @property
    def path(self) -> Path:
        return self.root / f"{self.workflow_id}.jsonl"

    def folder(self) -> HistoriesFolder:
        """The folder as somebody sees it whom nothing ails."""
        return HistoriesFolder(self.root, Files(Calls()))

    def is_there(self) -> bool:
        return bool(self.folder().runs_of(self.workflow_id))

    def require_not_completed(self, key: str) -> None:
        assert key not in self.completed, f"{key} is done again"

    # What happens

    @initialize()
    def begin(self) -> None:
        self.run_until_blocked(None)

    @rule(death=deaths, meanwhile=st.integers(0, 3))
    def run_until_blocked(self, death: Death | None, meanwhile: int = 0) -> None:
        """`aion run --until-blocked`, killed on the way or not. meanwhile: how many signals come while it works."""
        _steps["run" if death is None else "run to be killed"] += 1
        self.meanwhile = meanwhile
        place = Place(self.root, self.clock, calls=world.disk, grace_s=0.05, stop_when_blocked=True)
        shop = msgspec.structs.replace(place.shop, listener=self.listen)
        place.shop = shop
        run = place.go(saga, 1 + self.number % 2, workflow_id=self.workflow_id)
        end = self.attempted(death, lambda: asyncio.run(asyncio.wait_for(run, 30)))
        if isinstance(end, RunEnd) and end.closed_by is not None:
            _results[f"closed by {type(end.closed_by).__name__}"] += self.outcome is None
            assert self.outcome in (None, end.closed_by), "a closed run has another outcome than before"
            self.outcome = end.closed_by

    @precondition(lambda self: self.is_there())
    @rule(death=deaths, sender=st.sampled_from("ab"), again=st.booleans())
    def signal(self, death: Death | None, sender: str, again: bool) -> None:
        """`aion signal --id`; again: one that was acknowledged is repeated."""
        _steps["signal"] += 1
        mine = [signal_id for run, signal_id in self.acknowledged if run == self.workflow_id and signal_id[0] == sender]
        event = self.next_signal(sender, mine[0] if again and mine else None)
        if self.deliver(event, death, chosen_id=True) and (self.workflow_id, event.signal_id) not in self.acknowledged:
            self.acknowledged.append((self.workflow_id, event.signal_id))

    @precondition(lambda self: self.is_there())
    @rule(sender=st.sampled_from("ab"))
    def signal_to_an_owned_run(self, sender: str) -> None:
        """A signal that is accepted, and left to the owner: who may have died since."""
        _steps["signal to an owned run"] += 1
        self.accept(self.next_signal(sender))

    def accept(self, event: ev.SignalReceived) -> None:
        inbox = Inbox(HistoriesFolder(self.root, Files(Unsynced())), self.workflow_id)
        with suppress(WrongStateError):
            inbox.accept(event, chosen_id=True)
            self.acknowledged.append((self.workflow_id, event.signal_id))
            inbox.ring()

    def next_signal(self, sender: str, signal_id: str | None = None) -> ev.SignalReceived:
        self.sent += 1
        signal_id = signal_id or f"{sender}{self.sent:06d}"
        return ev.SignalReceived(name="go", payload=msgspec.Raw(b'"%b"' % signal_id.encode()), signal_id=signal_id)

    @precondition(lambda self: self.is_there())
    @rule(death=deaths)
    def cancel(self, death: Death | None) -> None:
        """`aion cancel`."""
        _steps["cancel"] += 1
        self.sent += 1
        self.deliver(ev.WorkflowCancelRequested(request_id=f"c{self.sent}"), death)

    @rule(seconds=st.sampled_from([-86_400, -10, 1, 10, 61, 61, 90_000, 90_000]), death=deaths)
    def clock_jumps(self, seconds: int, death: Death | None) -> None:
        _steps["clock jump"] += 1
        self.clock.pass_s(seconds)
        self.run_until_blocked(death)

    @rule()
    def disk_fills(self) -> None:
        _steps["fill disk"] += 1
        world.disk.full = True
        self.run_until_blocked(None)
        if self.is_there():
            self.signal(None, "a", False)
        world.disk.full = False

    @precondition(lambda self: self.is_there())
    @rule(data=st.data())
    def file_is_damaged_and_restored(self, data: st.DataObject) -> None:
        """A byte of a whole line changes, or a line is lost: everybody says so, and nobody touches the file."""
        _steps["damage"] += 1
        whole = self.path.read_bytes()
        lines = whole.splitlines(keepends=True)
        if len(lines) < 3:
            return
        at = data.draw(st.integers(0, len(lines) - 2))
        if data.draw(st.booleans()):
            lines[at] = b""
        else:
            column = data.draw(st.integers(0, len(lines[at]) - 2))
            changed = lines[at][column] ^ (1 << data.draw(st.integers(0, 6)))
            if changed == 0x0A:
                return
            lines[at] = lines[at][:column] + bytes([changed]) + lines[at][column + 1 :]
        damaged = b"".join(lines)
        self.path.write_bytes(damaged)
        before = world.effects.copy()
        with pytest.raises((DamagedHistoryError, UnsupportedFormatError, NoSuchRunError, StoreError)):
            place = Place(self.root, self.clock, stop_when_blocked=True)
            place.run(saga, 1, workflow_id=self.workflow_id)
        assert world.effects == before
        assert self.path.read_bytes() == damaged
        self.path.write_bytes(whole)

    @precondition(lambda self: self.outcome is not None)
    @rule()
    def another_run_is_next(self) -> None:
        _steps["next run"] += 1
        self.number += 1
        self.outcome = None

    # How it is done

    def deliver(self, event: ev.Event, death: Death | None, *, chosen_id: bool = False) -> bool:
        """Send a message; returns whether it was acknowledged."""
        place = Place(self.root, self.clock, calls=world.disk)
        done = self.attempted(death, lambda: place.deliver(event, self.workflow_id, chosen_id=chosen_id) or True)
        return done is True

    def attempted(self, death: Death | None, act: Callable[[], object]) -> object:
        """Do something in a process that may be killed on the way. A full disk and a closed run may refuse it."""
        world.disk.death = death
        try:
            return act()
        except Killed:
            _results["killed"] += 1
        except WrongStateError:
            assert self.is_closed(), "an open run refused a message"
        except StoreError as error:
            if world.disk.dead:  # what a process that is dead would have said next
                _results["killed"] += 1
            else:
                _results["refused by a full disk"] += 1
                assert world.disk.full, error
        finally:
            world.disk.death, world.disk.dead = None, False
        return None

    def is_closed(self) -> bool:
        events = list(read_history(self.path, self.folder().files))
        waiting = [message.event for message in Inbox(self.folder(), self.workflow_id).list()]
        return any(isinstance(event, ev.TERMINAL_EVENTS) for event in [*events[-1:], *waiting])

    def listen(self, workflow_id: str, events: Any) -> None:
        """What is told is on disk: from now on it must stay."""
        for event in events:
            self.told.setdefault(workflow_id, {})[event.seq] = event
        # A terminal event is told while the inbox is locked: then nothing is accepted.
        if self.meanwhile and workflow_id == self.workflow_id and not isinstance(events[-1], ev.TERMINAL_EVENTS):
            self.meanwhile -= 1
            self.accept(self.next_signal("b"))

    # What must hold

    @invariant()
    def promises_hold(self) -> None:
        folder = self.folder()
        for location in folder.runs():
            self.check_history(location.workflow_id, list(self.whole_events(location.path)))
        for run in {run for run, _ in self.acknowledged}:
            self.check_signals(folder, run)

    def whole_events(self, path: Path) -> Iterator[Any]:
        with suppress(NoSuchRunError):  # killed in its first write
            yield from read_history(path, self.folder().files)

    def check_history(self, workflow_id: str, events: list[Any]) -> None:
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        times = [event.recorded_at for event in events]
        assert times == sorted(times), "recorded time decreases"
        for seq, told in self.told.get(workflow_id, {}).items():
            assert len(events) >= seq, f"event {seq} of {workflow_id} was told and is lost"
            assert type(events[seq - 1]) is type(told)
        run_id = events[0].run_id if events else ""
        scheduled = {event.activity_id: event.seq for event in events if isinstance(event, ev.ActivityScheduled)}
        outcomes = Counter(event.activity_id for event in events if isinstance(event, ev.ActivityCompleted))
        assert all(count == 1 for count in outcomes.values()), "an activity has two outcomes"
        self.completed |= {f"{run_id}/{scheduled[n]}" for n in outcomes}
        if events:
            replay = open_replay(
                self.root / f"{workflow_id}.jsonl",
                self.folder(),
                part if "." in workflow_id else saga,
                Place(self.root).shop.paths,
            )
            try:
                replay.run()
            finally:
                replay.execution.close()

    def check_signals(self, folder: HistoriesFolder, run: str) -> None:
        """Each acknowledged signal is recorded once, or waits; those of a sender are in the order of sending."""
        events = list(read_history(folder.history(RunName(run)), folder.files))
        recorded = [event.signal_id for event in events if isinstance(event, ev.SignalReceived)]
        waiting = [m.event.signal_id for m in Inbox(folder, run).list() if isinstance(m.event, ev.SignalReceived)]
        assert all(count == 1 for count in Counter(recorded).values()), "a signal is recorded twice"
        there = [*recorded, *(signal_id for signal_id in waiting if signal_id not in recorded)]
        for sender in "ab":
            mine = [signal_id for signal_id in there if signal_id[0] == sender]
            assert mine == sorted(mine), "signals of a sender are out of order"
        lost = {signal_id for of, signal_id in self.acknowledged if of == run} - set(there)
        assert not lost, f"acknowledged and lost: {lost}"


def test_no_promise_is_broken_whatever_happens_in_whatever_order(request: pytest.FixtureRequest) -> None:
    _steps.clear()
    _results.clear()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=400 if TORTURE else 10,
            stateful_step_count=STEPS,
            derandomize=not TORTURE,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
    what = ", ".join(f"{count} {name}" for name, count in (_steps + _results).most_common())
    tally = Tally(request.node.user_properties)
    tally.add(STEPS_TAKEN, _steps.total())
    tally.say(f"G15: {what}")
    assert _steps.total() >= (10_000 if TORTURE else 200)
    assert _results["killed"]
    assert _results["refused by a full disk"]
