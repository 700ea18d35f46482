"""How a live run ends: with nothing left in its inbox, and one terminal event."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import ContinueAsNew, send_signal, set_progress, set_tags, start_child, workflow
from aion_cli.core import events as ev
from aion_cli.core.execution import Phase
from aion_cli.errors import AionError
from aion_cli.runtime.endings import Closed, RunSettings
from aion_cli.runtime.executor import ActivityOutcome, ActivityRequest, AttemptLog
from aion_cli.runtime.inbox import Message
from tests.builders import at, attempted, completed, scheduled, signal, started
from tests.runtime.living import Live, charge, gives_up, go, live, order, settle, ship, stop


def test_the_end_is_appended_under_the_inbox_lock_after_a_listing_that_was_empty() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        await (await here.begin())
        assert here.log[-3:] == ["lock", "append WorkflowCompleted", "unlock"]
        assert here.told[-1] == "WorkflowCompleted"

    live(scenario)


def test_what_arrives_between_the_finish_and_the_end_is_recorded_before_it() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.mailbox.on_lock = [Message("late", signal("go", 1))]
        await (await here.begin())
        assert here.store.batches[-2:] == [["SignalReceived"], ["WorkflowCompleted"]]
        assert here.log[-7:] == [
            "lock",
            "unlock",
            "append SignalReceived",
            "remove 1",
            "lock",
            "append WorkflowCompleted",
            "unlock",
        ]
        here.require_clean_replay()

    live(scenario)


def test_a_termination_between_the_finish_and_the_end_is_the_end() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.mailbox.on_lock = [Message("late", ev.WorkflowTerminated(reason="now"))]
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowTerminated)
        assert here.store.names()[-2:] == ["ActivityCompleted", "WorkflowTerminated"]
        here.require_clean_replay()

    live(scenario)


def test_a_terminated_run_ends_at_once_and_what_runs_is_cancelled() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated(reason="enough"))
        end = await task
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowTerminated)
        assert here.store.names()[-1] == "WorkflowTerminated"
        assert here.log[-1] == "cancelled charge 0"

    live(scenario)


def test_a_child_that_was_asked_for_in_the_same_breath_is_recorded_before_it_is_told_of_a_termination() -> None:
    @workflow
    async def ships_when_told() -> str:
        await go.receive()
        return await ship("a")

    async def scenario() -> None:
        here = Live(ships_when_told, started())
        task = await here.begin()
        here.mailbox.put(signal("go", 1), ev.WorkflowTerminated())
        while not here.executor.child_outcomes:
            await settle()
        here.executor.child_outcomes["order-1.1-3"].set_result(ev.ChildWorkflowCancelled(ordinal=0))
        await task
        recorded = here.log.index("append SignalReceived ChildWorkflowStarted")
        assert recorded < here.log.index("close child order-1.1-3 as r1/3/close")

    live(scenario)


def test_nothing_that_the_code_says_as_it_is_closed_is_written_behind_a_termination() -> None:
    @workflow
    async def tidies_up() -> None:
        try:
            await go.receive()
        finally:
            set_progress(2, 2, "over")
            set_tags(state="over")

    async def scenario() -> None:
        here = Live(tidies_up, started())
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated())
        await task
        assert here.store.names() == ["WorkflowStarted", "WorkflowTerminated"]
        here.require_clean_replay()

    live(scenario)


def test_what_a_message_has_the_code_say_is_not_written_behind_a_termination_that_came_with_it() -> None:
    @workflow
    async def says_so() -> None:
        await go.receive()
        set_tags(state="working")
        await stop.receive()

    async def scenario() -> None:
        here = Live(says_so, started())
        here.mailbox.put(signal("go", 1), ev.WorkflowTerminated())
        await (await here.begin())
        assert here.store.names()[-1] == "WorkflowTerminated"

    live(scenario)


def test_messages_after_a_termination_are_left_in_the_inbox() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated(), signal("go", 1))
        await task
        assert here.store.names()[-1] == "WorkflowTerminated"
        assert [type(message.event) for message in here.mailbox.messages] == [ev.SignalReceived]

    live(scenario)


def test_a_run_that_ends_cancels_what_still_runs_and_records_nothing_of_it() -> None:
    @workflow
    async def leaves() -> str:
        asyncio.create_task(charge("a"))  # noqa: RUF006 - left behind
        await go.receive()
        return "done"

    async def scenario() -> None:
        here = Live(leaves, started())
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        assert isinstance(await task, Closed)
        assert here.store.names()[-2:] == ["SignalReceived", "WorkflowCompleted"]
        assert here.log[-1] == "cancelled charge 0"

    live(scenario)


def test_what_was_emitted_as_the_run_ended_is_recorded_and_not_begun_but_a_child_which_is_told_to_end() -> None:
    @workflow
    async def leaves_much() -> None:
        await go.receive()
        for one in (charge("a"), send_signal("order-2", go, 1), ship("c")):
            asyncio.create_task(one)  # noqa: RUF006 - left behind
        await asyncio.sleep(0)

    async def scenario() -> None:
        here = Live(leaves_much, started())
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        while not here.executor.child_outcomes:
            await settle()
        (over,) = here.executor.child_outcomes.values()
        over.set_result(ev.ChildWorkflowCancelled(ordinal=0))
        await task
        assert here.store.batches[0][0] == "SignalReceived"
        assert set(here.store.batches[0]) == {
            "SignalReceived",
            "ActivityScheduled",
            "SignalSendRequested",
            "ChildWorkflowStarted",
        }
        assert not any(line.startswith(("run", "send")) for line in here.log)
        # A recorded child is told of the end of its parent before that end is written.
        closed = [n for n, line in enumerate(here.log) if line.startswith("close child")]
        ended = here.log.index("append WorkflowCompleted")
        assert closed == [ended - 2]
        assert not any(line.startswith("child") for line in here.log[:ended])
        here.require_clean_replay()

    live(scenario)


def test_children_are_told_before_a_termination_is_written() -> None:
    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.hold = True
        task = await here.begin()
        here.mailbox.put(ev.WorkflowTerminated())
        await task
        told = here.log.index("close child order-1.1-5 as r1/5/close")
        assert told < here.log.index("append WorkflowTerminated")

    live(scenario)


def test_a_run_that_takes_longer_than_its_limit_is_timed_out() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), settings=RunSettings(timeout_s=300.0))
        here.executor.hold = True
        task = await here.begin()
        here.clock.advance(199)
        await settle()
        assert not task.done()
        here.clock.advance(1)
        end = await task
        assert isinstance(end, Closed)
        assert end.event == ev.WorkflowTimedOut(seq=4, recorded_at=at(300), timeout_s=300.0)
        here.require_clean_replay()

    live(scenario)


def test_a_failure_of_the_executor_ends_the_run_here_and_leaves_it_open() -> None:
    async def breaks(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        raise OSError("no threads left")

    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.outcomes["charge"] = breaks
        with pytest.raises(OSError, match="no threads left"):
            await (await here.begin())
        assert here.store.names() == ["WorkflowStarted", "ActivityScheduled", "ActivityStarted"]
        assert here.replay.execution.phase is Phase.CLOSED

    live(scenario)


def test_a_result_that_does_not_fit_its_type_is_a_divergence_and_is_not_written() -> None:
    async def wrong(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        return completed(0, 5)

    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.outcomes["charge"] = wrong
        with pytest.raises(AionError, match="no longer matches its history"):
            await (await here.begin())
        assert here.store.names()[-1] == "ActivityStarted"

    live(scenario)


def test_nothing_begins_in_a_run_whose_time_is_up() -> None:
    async def scenario() -> None:
        begun = [started("A1"), scheduled(0, "charge", "A1"), attempted(0)]
        for recorded in ([started("A1")], begun):
            here = Live(order, *recorded, settings=RunSettings(timeout_s=60.0))
            here.clock.advance(500)
            end = await (await here.begin())
            assert isinstance(end, Closed)
            assert isinstance(end.event, ev.WorkflowTimedOut)
            assert not any(line.startswith("run") for line in here.log)
            here.require_clean_replay()

    live(scenario)


def test_a_run_that_can_end_by_itself_does_although_its_time_is_up() -> None:
    async def scenario() -> None:
        recorded = [started("A1"), scheduled(0, "charge", "A1"), completed(0), scheduled(1, "bill", "b"), completed(1)]
        here = Live(order, *recorded, settings=RunSettings(timeout_s=60.0))
        here.clock.advance(500)
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowCompleted)

    live(scenario)


def test_a_run_that_continues_with_its_last_message_as_its_time_is_up_leaves_its_children_alone() -> None:
    @workflow
    async def continues_when_told() -> None:
        await start_child(ship, "a")
        await go.receive()
        raise ContinueAsNew

    async def scenario() -> None:
        here = Live(continues_when_told, started(), settings=RunSettings(timeout_s=300.0))
        task = await here.begin()
        here.mailbox.messages.append(Message("unnoticed", signal("go", 1)))
        here.clock.advance(200)
        end = await task
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowContinuedAsNew)
        assert not any(line.startswith("close child") for line in here.log)

    live(scenario)


def test_messages_that_come_as_a_run_is_timed_out_are_recorded_and_begin_nothing() -> None:
    @workflow
    async def charges_when_told() -> None:
        await go.receive()
        await charge("a")

    async def scenario() -> None:
        here = Live(charges_when_told, started(), settings=RunSettings(timeout_s=300.0))
        task = await here.begin()
        here.mailbox.messages.append(Message("unnoticed", signal("go", 1)))
        here.mailbox.on_lock = [Message("late", signal("go", 2, "s2"))]
        here.clock.advance(200)
        await task
        assert [type(event).__name__ for event in here.store.read()][1:] == [
            "SignalReceived",
            "ActivityScheduled",
            "SignalReceived",
            "WorkflowTimedOut",
        ]
        assert not any(line.startswith("run") for line in here.log)
        here.require_clean_replay()

    live(scenario)
