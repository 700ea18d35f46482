"""What has to hold of every history, found out without the code that has to make it hold.

The matching rule is written down again here, in its plainest form: a list of commands beside a list of events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.execution import Execution
from aion_cli.core.pending import UndecodableResultError
from aion_cli.core.replay import Boundary, Replay
from aion_cli.errors import HistoryShapeError, NonDeterminismError, PayloadError
from aion_cli.runtime.inbox import message_id
from aion_cli.testing.ledger import Accepted
from aion_cli.testing.world import World
from tests.programs.chains import Left, check_chain, left_over, own_messages
from tests.programs.families import check_families
from tests.programs.workflows import Workflow


def check_world(world: World, found_good: dict[bytes, Left], *, uncut: bool) -> None:
    """Check every history of a world. uncut: no crash and no stop was in it, so that batches are whole.

    found_good: what histories leave over that need no further look, by their digests; grows.
    """
    ledger = world.ledger
    for workflow_id, stores in ledger.histories.items():
        for store in stores:
            if store.head.digest not in found_good:
                found_good[store.head.digest] = _check_history(world, store.events, uncut=uncut)
        check_chain(ledger, workflow_id, [found_good[store.head.digest] for store in stores])
        check_messages(world, workflow_id)
    check_families(ledger)


def _check_history(world: World, history: Sequence[Any], *, uncut: bool) -> Left:
    check_shape(history)
    program: Any = world.place.code[history[0].workflow_type]
    check_clean(history, program)
    left = left_over(history, program.latest.taken, program.latest.ended_at)
    if uncut:
        check_batches(history, program)
    return left


def check_shape(history: Sequence[Any]) -> None:
    """Seqs without gaps, time that never goes back, nothing after the end, attempts that are accounted for."""
    for index, event in enumerate(history):
        assert event.seq == index + 1
        assert index == 0 or event.recorded_at >= history[index - 1].recorded_at
        assert index == len(history) - 1 or not isinstance(event, ev.TERMINAL_EVENTS)
        assert (index == 0) == isinstance(event, ev.WorkflowStarted)
    attempts: dict[int, int] = {}
    unanswered: set[str] = set()
    closed: set[tuple[type, int]] = set()
    for event in history:
        match event:
            case ev.ActivityStarted(activity_id=n, attempt=attempt):
                assert attempt == attempts.get(n, 0) + 1, f"attempt {attempt} of {n} follows {attempts.get(n, 0)}"
                assert (ev.ActivityScheduled, n) not in closed, f"activity {n} was started after its end"
                attempts[n] = attempt
            case (
                ev.ActivityCompleted(activity_id=n, attempt=attempt) | ev.ActivityFailed(activity_id=n, attempt=attempt)
            ):
                assert attempt == attempts[n], f"the outcome of attempt {attempt} of {n} follows {attempts[n]}"
            case ev.UpdateRequested(update_id=found):
                unanswered.add(found)
            case ev.UpdateCompleted(update_id=found) | ev.UpdateFailed(update_id=found):
                assert found in unanswered, f"the answer to update {found} has no request, or is its second"
                unanswered.remove(found)
            case _:
                pass
        end = _ends(event)
        if end is not None:
            assert end not in closed, f"{end} ended twice"
            closed.add(end)


def _ends(event: Any) -> tuple[type, int] | None:
    """Which command has no further events after this one."""
    match event:
        case ev.ActivityCompleted(activity_id=n) | ev.ActivityCancelled(activity_id=n):
            return ev.ActivityScheduled, n
        case ev.ActivityFailed(activity_id=n, next_attempt_at=None):
            return ev.ActivityScheduled, n
        case ev.TimerFired(timer_id=n) | ev.TimerCancelled(timer_id=n):
            return ev.TimerStarted, n
        case ev.ChildWorkflowCompleted(ordinal=n) | ev.ChildWorkflowFailed(ordinal=n):
            return ev.ChildWorkflowStarted, n
        case ev.ChildWorkflowCancelled(ordinal=n):
            return ev.ChildWorkflowStarted, n
        case ev.SignalSent(ordinal=n) | ev.SignalSendFailed(ordinal=n):
            return ev.SignalSendRequested, n
        case _:
            return None


def check_clean(history: Sequence[Any], program: Workflow | Any) -> Boundary:
    """A replay of this code agrees, and so does the plain rule."""
    boundary = replayed(history, program)
    assert isinstance(boundary, Boundary), f"replay reports {boundary!r}"
    found = first_misfit(history, program)
    assert found is None, f"replay is clean, and yet {found}"
    assert boundary.last_seq == history[-1].seq
    assert (boundary.closed_by is not None) == isinstance(history[-1], ev.TERMINAL_EVENTS)
    if isinstance(boundary.closed_by, ev.Event) and event_class(boundary.closed_by) is EventClass.COMMAND:
        assert not boundary.unmatched, f"left over: {boundary.unmatched}"
    return boundary


def replayed(history: Sequence[Any], program: Any) -> Boundary | NonDeterminismError:
    """Replay a history."""
    replay = Replay(HistoryCursor(history), program)
    try:
        return replay.run()
    except NonDeterminismError as error:
        return error
    finally:
        replay.execution.close()


def first_misfit(history: Sequence[Any], program: Any) -> str | None:
    """Where code and history part by the plain rule; None if they agree to the end of the history.

    Arrivals are applied in order. The k-th command is the k-th command event. An answer comes only after all commands
    before it; a message from outside may come between a command and its event.
    """
    asked: deque[Any] = deque()
    for event, commands in _driven(history, program):
        match event_class(event):
            case EventClass.COMMAND:
                if not asked:
                    return f"nobody asked for {event}"
                wanted = asked.popleft()
                if not _is_same(wanted, event):
                    return f"{wanted} was asked for, and {event} is recorded"
            case EventClass.EXECUTOR if asked:
                return f"{event} comes before {asked[0]}"
            case _:
                pass
        if isinstance(commands, Exception):
            return f"{event} cannot be applied: {commands}"
        asked += commands
    return None


def _driven(history: Sequence[Any], program: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each event with the command events that the code asks for when it is applied, or what that raised."""
    execution = Execution(history[0], program)
    try:
        for event in history:
            commands: Any = []
            if event_class(event) in (EventClass.EXECUTOR, EventClass.OUTSIDE):
                try:
                    execution.apply(event)
                    commands = [made for command in execution.take_commands() if (made := cmd.command_event(command))]
                except (HistoryShapeError, UndecodableResultError, PayloadError) as error:
                    commands = error
            yield event, commands
    finally:
        execution.close()


def _is_same(wanted: Any, event: Any) -> bool:
    """Say whether an event is what was asked for. A child's id is compared if the code has chosen one."""
    if compared(wanted) != compared(event):
        return False
    return not isinstance(wanted, ev.ChildWorkflowStarted) or wanted.child_workflow_id in ("", event.child_workflow_id)


def compared(event: Any) -> Any:
    """Return what of a command's event has to be equal."""
    match event:
        case ev.ActivityScheduled():
            return "activity", event.activity_id, event.activity_type, _value(event.input)
        case ev.TimerStarted():
            return "timer", event.timer_id, event.fire_at
        case ev.ChildWorkflowStarted():
            return "child", event.ordinal, event.workflow_type, _value(event.input)
        case ev.SignalSendRequested():
            return "send", event.ordinal, event.target_workflow_id, event.name, _value(event.payload)
        case ev.UpdateCompleted():
            return "answered", event.update_id, _value(event.result)
        case ev.UpdateFailed():
            return "not answered", event.update_id, event.error.kind, event.error.type
        case ev.WorkflowCompleted():
            return "completed", _value(event.result)
        case ev.WorkflowFailed():
            return "failed", event.error.kind, event.error.type
        case ev.WorkflowCancelled():
            return "cancelled"
        case ev.WorkflowContinuedAsNew():
            return "again", _value(event.input)
        case _:
            return (
                type(event).__name__,
                getattr(event, "activity_id", None),
                getattr(event, "timer_id", None),
                getattr(event, "ordinal", None),
            )


def _value(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


def commands_of(history: Sequence[Any]) -> list[Any]:
    """Return the commands that a history records, as what is compared of them."""
    return [compared(event) for event in history if event_class(event) is EventClass.COMMAND]


def check_batches(history: Sequence[Any], program: Any) -> None:
    """Each answer is directly followed by the commands of its activation, in the same batch.

    Attempts that begin with their activity stand among them. The end of a run is a batch of its own. What came from
    outside while nobody ran the run has its commands later, where somebody goes on with it.
    """
    asked: deque[Any] = deque()
    answered = False
    left = 0
    for event, commands in _driven(history, program):
        kind = event_class(event)
        assert left == 0 or event.b == left - 1, f"the batch of {event} should go on for {left} events"
        if isinstance(event, ev.TERMINAL_EVENTS) and kind is EventClass.COMMAND:
            assert left == 0 and event.b == 0, f"{event} is no batch of its own"
        if kind is EventClass.COMMAND:
            asked.popleft()
        asked += commands
        answered |= kind is EventClass.EXECUTOR
        left = event.b
        if left == 0:
            waiting = [item for item in asked if not isinstance(item, ev.TERMINAL_EVENTS)]
            assert not (answered and waiting), f"the batch that ends with {event} lacks {waiting[0]}"
            answered = False


def check_messages(world: World, workflow_id: str) -> None:
    """Every accepted message is recorded exactly once, in order; one to an open run may still be in its inbox.

    Messages that one history took over from another count once.

    What lay behind a termination is not recorded any more.
    """
    ledger = world.ledger
    accepted = [
        fact.message.event for fact in ledger.log if isinstance(fact, Accepted) and fact.workflow_id == workflow_id
    ]
    recorded = [event for store in ledger.histories[workflow_id] for event in own_messages(store.events)]
    expected = [message_id(event) for event in accepted if message_id(event) is not None]
    found = [message_id(event) for event in recorded if message_id(event) is not None]
    waiting = [named for message in ledger.mailbox(workflow_id).list() if (named := message_id(message.event))]
    if isinstance(ledger.end_of(workflow_id), ev.WorkflowTerminated):
        expected = expected[: len(found)]
    if ledger.end_of(workflow_id) is None:
        found += [item for item in waiting if item not in found]
    else:
        # A crash may leave what is recorded already; what is not would be lost.
        assert set(waiting) <= set(found), f"{workflow_id} ended, and left {waiting} behind"
    assert found == expected, f"{workflow_id} recorded {found}, and accepted were {expected}"
