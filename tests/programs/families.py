"""What has to hold between runs and their children, read off all histories of a world."""

from __future__ import annotations

from typing import Any

from aion_cli.core import events as ev
from aion_cli.testing.ledger import Ledger


def check_families(ledger: Ledger) -> None:
    """Every recorded child exists, is told once that it is to end, and for no other reason."""
    for workflow_id, stores in ledger.histories.items():
        for store in stores:
            run_id = store.events[0].run_id
            asked = {event.ordinal: event for event in store.events if isinstance(event, ev.ChildCancelRequested)}
            for event in store.events:
                if isinstance(event, ev.ChildWorkflowStarted):
                    cancelled = asked.get(event.ordinal)
                    request_id = f"{run_id}/{cancelled.seq}" if cancelled is not None else None
                    _check_child(ledger, ev.ParentRef(workflow_id, run_id, event.seq), event, request_id)


def _check_child(ledger: Ledger, asker: ev.ParentRef, started: ev.ChildWorkflowStarted, request_id: str | None) -> None:
    child_id = started.child_workflow_id
    parent_ended = ledger.end_of(asker.workflow_id) is not None
    if child_id not in ledger.histories:
        assert not parent_ended, f"{child_id} was recorded, and never started"
        return
    if ledger.histories[child_id][0].events[0].parent != asker:
        return
    end = ledger.end_of(child_id)
    told = _requests(ledger, child_id)
    closing = f"{asker.run_id}/{asker.seq}/close"
    may_tell = {request_id} if request_id is not None else set[str]()
    # A crash may come in between, and then a pause, also of who runs the parent.
    held = any(ledger.is_paused(workflow_id) for workflow_id in ledger.histories)
    parent_ends = parent_ended or held
    match started.parent_close:
        case ev.ParentClose.CANCEL if parent_ended:
            assert end is not None or closing in told, f"{child_id} does not know that its parent ended"
        case ev.ParentClose.TERMINATE if parent_ended:
            assert end is not None, f"{child_id} was not terminated as its parent ended"
        case _:
            pass
    if started.parent_close is ev.ParentClose.CANCEL and parent_ends:
        may_tell |= {closing}
    if started.parent_close is not ev.ParentClose.TERMINATE or not parent_ends:
        assert not isinstance(end, ev.WorkflowTerminated), f"{child_id} was terminated by nobody"
    assert told <= may_tell, f"{child_id} was told by {told - may_tell} to end"
    if request_id is not None and not held:
        assert end is not None or request_id in told, f"{child_id} does not know that it was cancelled"


def _requests(ledger: Ledger, workflow_id: str) -> set[str]:
    """Return the ids of the cancel requests that a run has, or has in its inbox."""
    waiting: list[Any] = [message.event for message in ledger.mailbox(workflow_id).list()]
    found = [*ledger.events(workflow_id), *waiting]
    return {event.request_id for event in found if isinstance(event, ev.WorkflowCancelRequested)}
