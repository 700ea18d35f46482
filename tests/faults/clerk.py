"""The storage floor alone: a process that owns a run and appends what comes next, without workflow code or event loop.

It does what the engine does, in a tenth of the time: own, open, drain, go on from the head, acknowledge, close.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec

from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.errors import NoSuchRunError, StoreError
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox, MessageId, drain, message_id
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.recorder import Recorder, stamped_from_start
from aion_cli.runtime.wall import WallClock, instant
from tests.faults.promises import DEADLOCKED, BrokenPromise, Ended, durable, is_announced
from tests.faults.scenes import RUN, SIZES, Machine, Shell, unlike_any
from tests.storage import completed, scheduled, signal, started

FILE = f"{RUN}.jsonl"
_MOST_ROUNDS = 20


class Task(msgspec.Struct, frozen=True):
    """One step of a clerk. size: of its result. lines: of its batch. signals: sent to the run before it is recorded."""

    size: int
    lines: int
    signals: int


class ClerkScene:
    """A run of so many tasks, with signals while it is owned and while it is not.

    early: signals before the first task. repeats: signals that were accepted are sent again all the same.
    """

    def __init__(self, tasks: list[Task], early: int, *, repeats: bool = False) -> None:
        self.tasks = tasks
        self.early = early
        self.repeats = repeats

    @classmethod
    def random(cls, rng: random.Random, length: int) -> ClerkScene:
        """A scene of so many tasks."""
        tasks = [
            Task(rng.choice(SIZES) + rng.randrange(40), rng.choice((1, 2, 3)), rng.randrange(2)) for _ in range(length)
        ]
        return cls(tasks, rng.randrange(2), repeats=rng.random() < 0.5)

    @property
    def expected(self) -> str:
        return json.dumps([task.size for task in self.tasks])

    def play(self, machine: Machine) -> list[StoreError]:
        """Give all commands from the start; see Scene."""

        def commands(shell: Shell) -> None:
            if self.early:
                self.work(machine, shell, tasks=0)
            for n in range(self.early):
                shell.signal(RUN, "early", n, f"early-{n}")
            self.work(machine, shell, tasks=len(self.tasks))

        return Shell(machine, repeats=self.repeats).script(commands)

    def recover(self, machine: Machine) -> list[StoreError]:
        """Own the run and drain its inbox; see Scene."""
        return Shell(machine).script(lambda shell: self.work(machine, shell, tasks=0))

    def work(self, machine: Machine, shell: Shell, tasks: int) -> None:
        """Own the run, made if there is none, and do up to so many tasks; with any, close it."""
        folder = HistoriesFolder(machine.root, Files(machine.calls()))
        with take(folder, RUN, Role.RUN):
            store = _open(folder)
            try:
                self._go_on(machine, shell, folder, store, tasks)
            finally:
                store.close()

    def _go_on(self, machine: Machine, shell: Shell, folder: HistoriesFolder, store: JsonlStore, tasks: int) -> None:
        events: list[Any] = list(store.read())
        recorder = Recorder(store)
        inbox = Inbox(folder, RUN)
        known: set[MessageId] = {found for event in events if (found := message_id(event)) is not None}
        closed = isinstance(events[-1], ev.TERMINAL_EVENTS)
        drain(inbox, recorder, known, now(), closed=closed)
        done = sum(isinstance(event, ev.ActivityCompleted) for event in events)
        for n, task in enumerate(self.tasks[:tasks]):
            if n < done:
                continue
            if not is_announced(machine.histories()[FILE], n, None):
                recorder.append([scheduled(n)], now())  # a crash left its batch without its end
            shell.took_effect(FILE, n)
            for number in range(task.signals):
                self._signal_late(shell, n, number)
            drain(inbox, recorder, known, now())
            extra = [signal(f"extra-{n}-{k}", b'"%b"' % (b"y" * task.size)) for k in range(task.lines - 1)]
            recorder.append([completed(n, msgspec.json.encode(unlike_any(task.size))), *extra, scheduled(n + 1)], now())
            machine.remember(durable(FILE, machine.histories()[FILE]))
        if tasks and not closed:
            self._close(inbox, recorder, known)
        if tasks:
            machine.remember(durable(FILE, machine.histories()[FILE]))
            machine.remember(Ended(RUN, self.expected))

    def _signal_late(self, shell: Shell, task: int, number: int) -> None:
        shell.persist(lambda: shell.signal(RUN, "late", number, f"late-{task}-{number}"))

    def _close(self, inbox: Inbox, recorder: Recorder, known: set[MessageId]) -> None:
        for _ in range(_MOST_ROUNDS):
            with inbox.locked():
                if not inbox.list():
                    recorder.append([ev.WorkflowCompleted(result=msgspec.Raw(self.expected.encode()))], now())
                    return
            drain(inbox, recorder, known, now())
        raise BrokenPromise(DEADLOCKED, "the inbox never got empty")

    def __repr__(self) -> str:
        return f"ClerkScene({self.tasks}, {self.early}, repeats={self.repeats})"


def now() -> str:
    """The present as an instant: what is done twice is not the same the second time."""
    return instant(WallClock())


def _open(folder: HistoriesFolder) -> JsonlStore:
    path = folder.history(RunName(RUN))
    try:
        folder.latest(RUN)
        return JsonlStore.open_to_write(path, folder.files)
    except NoSuchRunError:
        return JsonlStore.create(path, stamped_from_start([started(RUN), scheduled(0)], now()), folder.files)
