"""Which children of a run are open, and what its end means for them: read off a history, without any code."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aion_cli.core import events as ev


def open_children(events: Iterable[ev.Event], is_open: Callable[[str], bool]) -> list[ev.AttachedChild]:
    """Return the children that a run started or took over, and that are open. is_open: by workflow id."""
    inherited: list[ev.AttachedChild] = []
    started: dict[int, ev.AttachedChild] = {}
    run_id = ""
    for event in events:
        match event:
            case ev.WorkflowStarted():
                run_id, inherited = event.run_id, event.children
            case ev.ChildWorkflowStarted():
                started[event.ordinal] = ev.AttachedChild(
                    event.child_workflow_id, run_id, event.seq, event.parent_close
                )
            case ev.ChildWorkflowCompleted() | ev.ChildWorkflowFailed() | ev.ChildWorkflowCancelled():
                started.pop(event.ordinal, None)
            case _:
                pass
    return [child for child in [*inherited, *started.values()] if is_open(child.workflow_id)]


def closing_message(parent_close: ev.ParentClose, request_id: str) -> ev.Event | None:
    """Return what an open child is sent as its parent ends, if anything. request_id: of a cancel request."""
    match parent_close:
        case ev.ParentClose.CANCEL:
            return ev.WorkflowCancelRequested(request_id=request_id, reason="its parent ended")
        case ev.ParentClose.TERMINATE:
            return ev.WorkflowTerminated(reason="its parent ended")
        case ev.ParentClose.ABANDON:
            return None


def closing_id(run_id: str, seq: int) -> str:
    """Return the id of that request: the stable id of the command that asked for the child, and what it is about."""
    return f"{run_id}/{seq}/close"
