"""Delivering a message to a run: into its inbox, then into its history by whoever may write it.

Inbox first, then lock, then drain: once `deliver` returns, the message is accepted and cannot be lost, whether this
process, the owner or the next owner records it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from aion_cli.core import events as ev
from aion_cli.errors import DamagedHistoryError, NoSuchRunError, OwnedElsewhereError, UsageError, WrongStateError
from aion_cli.runtime.folder import HistoriesFolder, RunLocation
from aion_cli.runtime.inbox import Accepted, AlreadyKnown, Inbox, drain
from aion_cli.runtime.journal import Durability, JsonlStore
from aion_cli.runtime.lineage import attached_to, cancelling_message, closing_id, closing_message, unfinished_children
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.reading import find_reopens, read_first_event, read_last_event, visible_history
from aion_cli.runtime.recorder import Recorder
from aion_cli.runtime.starting import first_event_on_record, make_history
from aion_cli.runtime.wall import Clock, instant

Notice = Callable[[str], None]
"""Told, in a sentence, what happened beside the point: a torn tail that was set aside."""


def deliver(
    folder: HistoriesFolder,
    workflow_id: str,
    event: ev.Event,
    *,
    chosen_id: bool,
    role: Role,
    clock: Clock,
    notice: Notice,
) -> Accepted | AlreadyKnown:
    """Have a message accepted, then see that it gets into the history: by this process if nobody owns the run.

    event: one of the inbox's message types, unstamped. chosen_id: the sender chose its id and may repeat itself.
    Raises NoSuchRunError, WrongStateError if the run is closed, UsageError if the id was used for another message,
    DamagedHistoryError if its history is damaged: then the message is withdrawn.
    """
    inbox = Inbox(folder, workflow_id)
    outcome = inbox.accept(event, chosen_id=chosen_id)
    try:
        if not drain_unowned(folder, workflow_id, role=role, clock=clock, notice=notice):
            inbox.ring()
    except DamagedHistoryError:
        # The sender learns that it failed, and may send it again: it must not come to life when the file is restored.
        if isinstance(outcome, Accepted):
            inbox.remove([outcome.name])
        raise
    return outcome


def drain_unowned(folder: HistoriesFolder, workflow_id: str, *, role: Role, clock: Clock, notice: Notice) -> bool:
    """Record what lies in the inbox of a run that nobody owns. Returns False if somebody owns it.

    Looks once more after letting go of the run: what was accepted meanwhile found it owned.
    """
    inbox = Inbox(folder, workflow_id)
    before: list[str] = []
    # What is still there after it was looked at is none of a closed run's business.
    while (names := inbox.names()) and names != before:
        before = names
        try:
            ownership = take(folder, workflow_id, role)
        except OwnedElsewhereError:
            return False
        with ownership:
            if not _drain_owned(folder, inbox, clock, notice):
                return True
    return True


def _drain_owned(folder: HistoriesFolder, inbox: Inbox, clock: Clock, notice: Notice) -> bool:
    """Drain the inbox of a run that this process owns. False if what is in it has to wait for a `run`."""
    with suppress(NoSuchRunError):
        location = folder.latest(inbox.workflow_id)
        store = JsonlStore.open_to_write(location.path, folder.files, Durability.FULL)
        try:
            report_torn_tail(store, notice)
            last = read_last_event(location.path, folder.files)
            if isinstance(last, ev.WorkflowContinuedAsNew):
                # Which signals the next run inherits only the code can tell; the messages are safe where they are.
                return False
            closed = isinstance(last, ev.TERMINAL_EVENTS)
            if not closed and any(isinstance(event, ev.WorkflowTerminated) for _, event in inbox.list()):
                _tell_children(folder, location, clock, notice)
            drain(
                inbox,
                Recorder(store),
                inbox.recorded_ids(),
                instant(clock),
                closed=closed,
            )
        finally:
            store.close()
    return True


def _tell_children(folder: HistoriesFolder, location: RunLocation, clock: Clock, notice: Notice) -> None:
    """Leave the children of a run that is about to be terminated as an owner would have left them.

    A crash may have come before a recorded child was started, or before a recorded request to cancel it was delivered;
    then both are done now. To those that are open is done what their parent_close says.
    """

    def tell(child_id: str, parent: ev.ParentRef, message: ev.Event) -> None:
        if read_first_event(folder.runs_of(child_id)[0].path, folder.files).parent == parent:
            with suppress(WrongStateError):  # it has ended meanwhile
                deliver(folder, child_id, message, chosen_id=True, role=Role.SIGNAL, clock=clock, notice=notice)

    started, unfinished = unfinished_children(visible_history(location.path, folder.files))
    for child in unfinished:
        first = first_event_on_record(started, child.event, clock=clock)
        with suppress(UsageError):  # an id that it cannot have
            make_history(folder, first, clock=clock)
            if child.asked is not None and first.parent is not None:
                tell(first.workflow_id, first.parent, cancelling_message(f"{started.run_id}/{child.asked}"))
    reopens = find_reopens(location.path, folder.files)
    reopened = reopens[-1].seq if reopens else 0
    for child in attached_to(started, unfinished):
        message = closing_message(child.parent_close, closing_id(child.run_id, child.seq, reopened))
        if message is not None and folder.is_open(child.workflow_id):
            tell(child.workflow_id, ev.ParentRef(location.workflow_id, child.run_id, child.seq), message)


def report_torn_tail(store: JsonlStore, notice: Notice) -> None:
    """Say what opening a history to write did about its torn tail."""
    torn = store.set_aside
    if torn is None:
        return
    if torn.path is None:
        notice(f"{store.path}:{torn.line}: the last line lacked only its newline, which was added")
    else:
        notice(f"{store.path}:{torn.line}: a torn tail of {torn.size} bytes (never acknowledged) is now in {torn.path}")
