"""Ledger: all that is durable in a world in memory, and what a crash leaves of it.

Everything durable that happens is a fact of the log: a batch appended to a history, a message accepted, a message
removed. So a crash at any moment is a prefix of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.errors import NoSuchRunError, WrongStateError
from aion_cli.runtime.inbox import Message, MessageId, message_id
from aion_cli.runtime.lineage import (
    cancelling_message,
    closing_id,
    closing_message,
    open_children,
    unfinished_children,
)
from aion_cli.runtime.recorder import Recorder, stamped_from_start
from aion_cli.testing.mailbox import MemoryMailbox
from aion_cli.testing.store import CuttableStore

T = TypeVar("T")


class Appended(NamedTuple):
    """A batch was written to a history. first, last: seq of its first and last event."""

    run: RunName
    first: int
    last: int
    micros: int


class Accepted(NamedTuple):
    """A message is in an inbox. outside: number of the outsider's message, None if a run sent it."""

    workflow_id: str
    message: Message
    outside: int | None
    micros: int


class Removed(NamedTuple):
    """A message that history holds was removed from an inbox."""

    workflow_id: str
    name: str
    micros: int


Fact = Appended | Accepted | Removed


class Cut(NamedTuple):
    """A moment of a crash: so many facts, and so many events of the next one, a batch that was not written whole."""

    facts: int
    events: int = 0


class Ledger:
    """Histories and inboxes by workflow id, and the log of how they came about.

    micros: reads the clock. owned: the workflow ids of runs that somebody runs.
    """

    def __init__(self, micros: Callable[[], int]) -> None:
        self._micros = micros
        self.log: list[Fact] = []
        self.histories: dict[str, list[CuttableStore]] = {}
        self.owned: set[str] = set()
        self._mailboxes: dict[str, MemoryMailbox] = {}
        self._remembered: dict[Any, tuple[int, Any]] = {}
        self._messages = 0

    def now(self) -> str:
        """The present as an instant."""
        return clock.format_instant(self._micros())

    def create_history(self, run: RunName, events: list[ev.Event]) -> CuttableStore:
        """Create a history with its first batch, as a whole."""
        store = CuttableStore(self._appended(run))
        self.histories.setdefault(run.workflow_id, []).append(store)
        store.append(stamped_from_start(events, self.now()), 0)
        return store

    def _appended(self, run: RunName) -> Callable[[int, int], None]:
        return lambda first, last: self.log.append(Appended(run, first, last, self._micros()))

    def mailbox(self, workflow_id: str) -> MemoryMailbox:
        """Return the inbox of a run."""
        if workflow_id not in self._mailboxes:
            self._mailboxes[workflow_id] = self._make_mailbox(workflow_id, [])
        return self._mailboxes[workflow_id]

    def _make_mailbox(self, workflow_id: str, messages: list[Message]) -> MemoryMailbox:
        def removed(names: list[str]) -> None:
            self.log.extend(Removed(workflow_id, name, self._micros()) for name in names)

        return MemoryMailbox(messages, removed)

    def events(self, workflow_id: str) -> list[Any]:
        """Return the events of all histories of a workflow id, in order; none if there is no such run."""
        return [event for store in self.histories.get(workflow_id, ()) for event in store.events]

    def end_of(self, workflow_id: str) -> Any:
        """Return the event that closed a run, or None."""
        last = self.histories[workflow_id][-1].events[-1]
        closed = isinstance(last, ev.TERMINAL_EVENTS) and not isinstance(last, ev.WorkflowContinuedAsNew)
        return last if closed else None

    def is_paused(self, workflow_id: str) -> bool:
        """Say whether a run was paused and not resumed."""
        for event in reversed(self.histories[workflow_id][-1].events):
            if isinstance(event, ev.WorkflowPaused | ev.WorkflowResumed):
                return isinstance(event, ev.WorkflowPaused)
        return False

    def remember(self, key: object, value: T) -> T:
        """Return what the world remembers for a key since before the last crash, else value, which it does from now."""
        return self._remembered.setdefault(key, (len(self.log), value))[1]

    def deliver(self, workflow_id: str, event: ev.Event, outside: int | None = None) -> None:
        """Have a message accepted, and recorded at once if nobody owns the run; as `runtime.delivery` does.

        Raises NoSuchRunError, and WrongStateError if the run is closed.
        """
        if workflow_id not in self.histories:
            raise NoSuchRunError(workflow_id)
        mailbox = self.mailbox(workflow_id)
        identity = message_id(event)
        if identity is not None and (
            identity in self.known_ids(workflow_id) or any(message_id(m.event) == identity for m in mailbox.list())
        ):
            return
        if self.end_of(workflow_id) is not None:
            raise WrongStateError(f"{workflow_id} is closed")
        if any(isinstance(message.event, ev.WorkflowTerminated) for message in mailbox.list()):
            raise WrongStateError(f"{workflow_id} is being terminated")
        self._messages += 1
        message = Message(f"{self._messages:06d}", event)
        self.log.append(Accepted(workflow_id, message, outside, self._micros()))
        mailbox.accept(message)
        if workflow_id not in self.owned:
            self.drain_unowned(workflow_id)

    def known_ids(self, workflow_id: str) -> set[MessageId]:
        """The ids of the messages that all histories of a workflow id hold."""
        return {found for event in self.events(workflow_id) if (found := message_id(event)) is not None}

    def drain_unowned(self, workflow_id: str) -> None:
        """Record what is in the inbox of a run that nobody owns."""
        store = self.histories[workflow_id][-1]
        last = store.events[-1]
        mailbox = self.mailbox(workflow_id)
        if isinstance(last, ev.WorkflowContinuedAsNew):
            return
        recorder = Recorder(store)
        known = self.known_ids(workflow_id)
        for message in mailbox.list():
            is_open = not isinstance(store.events[-1], ev.TERMINAL_EVENTS)
            if is_open and message_id(message.event) not in known:
                if isinstance(message.event, ev.WorkflowTerminated):
                    self._tell_children(workflow_id)
                recorder.append([message.event], self.now())
            mailbox.remove([message.name])

    def _tell_children(self, workflow_id: str) -> None:
        """Leave the children of a run that is about to be terminated as an owner would; as `runtime.delivery` does."""
        history = self.histories[workflow_id][-1].events
        started, unfinished = unfinished_children(history)
        for child in unfinished:
            asker = ev.ParentRef(workflow_id, started.run_id, child.event.seq)
            self._ensure_exists(started, child.event, asker)
            if child.asked is not None:
                self._tell(child.event.child_workflow_id, asker, cancelling_message(f"{started.run_id}/{child.asked}"))
        for child in open_children(history, self._is_open):
            message = closing_message(child.parent_close, closing_id(child.run_id, child.seq, 0))
            if message is not None:
                self._tell(child.workflow_id, ev.ParentRef(workflow_id, child.run_id, child.seq), message)

    def _ensure_exists(self, parent: ev.WorkflowStarted, child: ev.ChildWorkflowStarted, asker: ev.ParentRef) -> None:
        if child.child_workflow_id in self.histories:
            return
        first = ev.WorkflowStarted(
            format=ev.FORMAT,
            workflow_id=child.child_workflow_id,
            run_id=f"r-{child.child_workflow_id}",
            workflow_type=child.workflow_type,
            input=child.input,
            parent=asker,
            definition=parent.definition,
            runtime=parent.runtime,
        )
        self.create_history(RunName(child.child_workflow_id), [first])

    def _tell(self, child_id: str, asker: ev.ParentRef, message: ev.Event) -> None:
        if self.histories[child_id][0].events[0].parent == asker:
            with suppress(WrongStateError):  # it has ended meanwhile
                self.deliver(child_id, message)

    def _is_open(self, workflow_id: str) -> bool:
        return workflow_id in self.histories and self.end_of(workflow_id) is None

    def cuts(self) -> Iterator[Cut]:
        """Yield every moment at which a crash can have struck: between facts, and inside batches.

        The first batch of a history is written whole or not at all.
        """
        for count in range(1, len(self.log) + 1):
            yield Cut(count)
            if count < len(self.log):
                following = self.log[count]
                if isinstance(following, Appended) and following.first > 1:
                    yield from (Cut(count, n) for n in range(1, following.last - following.first + 1))

    def crashed(self, cut: Cut) -> Ledger:
        """Return what a crash at this moment leaves."""
        found = Ledger(self._micros)
        found.log = self.log[: cut.facts]
        if cut.events:
            whole = self.log[cut.facts]
            assert isinstance(whole, Appended)
            found.log.append(whole._replace(last=whole.first + cut.events - 1))
        found._messages = self._messages
        found._remembered = {key: kept for key, kept in self._remembered.items() if kept[0] <= cut.facts}
        found._take_over(self.histories)
        return found

    def _take_over(self, histories: dict[str, list[CuttableStore]]) -> None:
        heads: dict[RunName, int] = {}
        inboxes: dict[str, dict[str, Message]] = {}
        for fact in self.log:
            match fact:
                case Appended():
                    heads[fact.run] = fact.last
                case Accepted():
                    inboxes.setdefault(fact.workflow_id, {})[fact.message.name] = fact.message
                case Removed():
                    del inboxes[fact.workflow_id][fact.name]
        for run, seq in heads.items():
            store = histories[run.workflow_id][run.number - 1].cut(seq, self._appended(run))
            self.histories.setdefault(run.workflow_id, []).append(store)
        for workflow_id, messages in inboxes.items():
            self._mailboxes[workflow_id] = self._make_mailbox(workflow_id, list(messages.values()))
