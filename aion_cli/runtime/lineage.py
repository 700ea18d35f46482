"""Which children of a run are open, and what its end means for them: read off a history, without any code."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from aion_cli.core import events as ev


class Unfinished(msgspec.Struct, frozen=True):
    """A child of which a history holds no outcome. event: what recorded it. asked: seq of the request to cancel it."""

    event: ev.ChildWorkflowStarted
    asked: int | None = None


def unfinished_children(events: Iterable[ev.Event]) -> tuple[ev.WorkflowStarted, list[Unfinished]]:
    """Return the first event of a history, and the children that it records without an outcome. One pass."""
    first: ev.WorkflowStarted | None = None
    found: dict[int, Unfinished] = {}
    for event in events:
        match event:
            case ev.WorkflowStarted():
                first = event
            case ev.ChildWorkflowStarted():
                found[event.ordinal] = Unfinished(event)
            case ev.ChildCancelRequested() if event.ordinal in found:
                found[event.ordinal] = Unfinished(found[event.ordinal].event, event.seq)
            case ev.ChildWorkflowCompleted() | ev.ChildWorkflowFailed() | ev.ChildWorkflowCancelled():
                found.pop(event.ordinal, None)
            case _:
                pass
    assert first is not None, "a history has a first event"
    return first, list(found.values())


def attached_to(first: ev.WorkflowStarted, unfinished: Iterable[Unfinished]) -> list[ev.AttachedChild]:
    """Return the children that a run took over, then those of its own that have no outcome in its history."""
    own = [
        ev.AttachedChild(child.event.child_workflow_id, first.run_id, child.event.seq, child.event.parent_close)
        for child in unfinished
    ]
    return [*first.children, *own]


def open_children(events: Iterable[ev.Event], is_open: Callable[[str], bool]) -> list[ev.AttachedChild]:
    """Return the children that a run started or took over, and that are open. is_open: by workflow id."""
    return [child for child in attached_to(*unfinished_children(events)) if is_open(child.workflow_id)]


def closing_message(parent_close: ev.ParentClose, request_id: str) -> ev.Event | None:
    """Return what an open child is sent as its parent ends, if anything. request_id: of a cancel request."""
    match parent_close:
        case ev.ParentClose.CANCEL:
            return ev.WorkflowCancelRequested(request_id=request_id, reason="its parent ended")
        case ev.ParentClose.TERMINATE:
            return ev.WorkflowTerminated(reason="its parent ended")
        case ev.ParentClose.ABANDON:
            return None


def cancelling_message(request_id: str) -> ev.Event:
    """Return what a child is sent as its parent cancels it. request_id: the stable id of the command that did."""
    return ev.WorkflowCancelRequested(request_id=request_id, reason="its parent cancelled it")


def closing_id(run_id: str, seq: int, reopened: int) -> str:
    """Return the id of that request: the stable id of the command that asked for the child, and what it is about.

    reopened: seq of the parent's last reopening, 0 if there was none. A parent that was reopened may end once more, and
    so may a child that was told of its first end and reopened since.
    """
    return f"{run_id}/{seq}/close" + (f"/{reopened}" if reopened else "")
