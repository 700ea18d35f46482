"""What has to hold between a run and the one that it continued as, read off their histories."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aion_cli.core import events as ev
from aion_cli.testing.ledger import Ledger

Left = list[Any]
"""The messages that one history leaves to the next, in order."""


def left_over(history: Sequence[Any], taken: Counter[str], ended_at: int) -> Left:
    """Return the signals that the code did not take, the updates it did not answer, and the pause that still holds.

    And the first request to cancel, if it came when the code had ended. taken: how many signals of each name the code
    was handed. ended_at: seq of the event that made it end.
    """
    to_skip = Counter(taken)
    was_told = False
    found: dict[Any, Any] = {}
    for event in history:
        match event:
            case ev.SignalReceived() if to_skip[event.name] > 0:
                to_skip[event.name] -= 1
            case ev.SignalReceived():
                found["signal", event.signal_id] = event
            case ev.UpdateRequested():
                found["update", event.update_id] = event
            case ev.UpdateCompleted() | ev.UpdateFailed():
                del found["update", event.update_id]
            case ev.WorkflowCancelRequested() if not was_told:
                was_told = True
                if event.seq > ended_at:
                    found["cancel"] = event
            case ev.WorkflowPaused():
                found["pause"] = event
            case ev.WorkflowResumed():
                found.pop("pause", None)
            case _:
                pass
    assert not +to_skip, f"the code took {+to_skip} more signals than there are"
    return sorted(found.values(), key=lambda event: event.seq)


def check_chain(ledger: Ledger, workflow_id: str, left: Sequence[Left]) -> None:
    """Each history begins where the one before ended, with what that left over, in one batch. left: by each of them."""
    stores = ledger.histories[workflow_id]
    for number, (old, new) in enumerate(itertools.pairwise(stores)):
        end, first, before = old.events[-1], new.events[0], old.events[0]
        assert isinstance(end, ev.WorkflowContinuedAsNew), f"{workflow_id} goes on after {end}"
        assert (first.run_id, first.input) == (end.new_run_id, end.input)
        assert (first.continued_from, first.parent, first.workflow_type) == (
            before.run_id, before.parent, before.workflow_type,
        )  # fmt: skip
        carried = new.events[1 : 1 + first.b]
        expected = [_content(event) for event in left[number]]
        assert [_content(event) for event in carried] == expected, f"carried over {carried}, and left was {expected}"
        _check_children(ledger, old.events, first)


def own_messages(history: Sequence[Any]) -> Sequence[Any]:
    """Return the events of a history without the messages that it was begun with."""
    return history[1 + history[0].b :]


def _content(event: Any) -> Any:
    match event:
        case ev.SignalReceived():
            return "signal", event.signal_id, event.name, bytes(event.payload)
        case ev.UpdateRequested():
            return "update", event.update_id, event.name, bytes(event.args)
        case ev.WorkflowCancelRequested():
            return "cancel", event.request_id
        case _:
            return type(event).__name__


def _check_children(ledger: Ledger, old: Sequence[Any], first: ev.WorkflowStarted) -> None:
    """The children that were open stay attached, as they were asked for; none that had ended does."""
    candidates = [*old[0].children, *_unfinished(old)]
    assert all(child in candidates for child in first.children), f"{first.children} are not among {candidates}"
    assert len({(child.run_id, child.seq) for child in first.children}) == len(first.children)
    for child in candidates:
        end = ledger.end_of(child.workflow_id)
        if child in first.children:
            assert end is None or end.recorded_at >= first.recorded_at, f"{child} had ended"
        else:
            assert end is not None and end.recorded_at <= first.recorded_at, f"{child} was left behind"


def _unfinished(history: Sequence[Any]) -> list[ev.AttachedChild]:
    open_: dict[int, ev.AttachedChild] = {}
    for event in history:
        match event:
            case ev.ChildWorkflowStarted():
                open_[event.ordinal] = ev.AttachedChild(
                    event.child_workflow_id, history[0].run_id, event.seq, event.parent_close
                )
            case ev.ChildWorkflowCompleted() | ev.ChildWorkflowFailed() | ev.ChildWorkflowCancelled():
                del open_[event.ordinal]
            case _:
                pass
    return list(open_.values())
