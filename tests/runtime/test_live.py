"""A live run: what is written when, and what begins when."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from aion_cli import send_signal, wait_until, workflow
from aion_cli.core import events as ev
from aion_cli.errors import StoreError
from aion_cli.runtime.endings import Closed, RunSettings
from aion_cli.runtime.executor import ActivityOutcome, ActivityRequest, AttemptLog
from aion_cli.runtime.inbox import Message
from tests.builders import (
    at,
    attempted,
    cancel_requested,
    completed,
    raw,
    scheduled,
    signal,
    started,
)
from tests.runtime.living import Live, bill, both, charge, gives_up, go, live, order, settle, ship, stop

# --- batches, and what is on disk before what


def test_a_sequential_run_costs_one_append_a_step() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert here.store.batches == [
            ["ActivityScheduled", "ActivityStarted"],
            ["ActivityCompleted", "ActivityScheduled", "ActivityStarted"],
            ["ActivityCompleted"],
            ["WorkflowCompleted"],
        ]
        here.require_clean_replay()

    live(scenario)


def test_answers_that_come_together_share_an_append_each_directly_followed_by_its_commands() -> None:
    async def scenario() -> None:
        here = Live(both, started())
        here.executor.hold = True
        await here.begin()
        await here.answer(completed(1, "rb"), completed(0, "ra"))
        assert here.store.batches[1:] == [
            [
                "ActivityCompleted",
                "ActivityScheduled",
                "ActivityStarted",
                "ActivityCompleted",
                "ActivityScheduled",
                "ActivityStarted",
            ]
        ]
        done = here.store.events(ev.ActivityCompleted)
        begun = here.store.events(ev.ActivityScheduled)
        assert [(event.activity_id, event.seq) for event in done] == [(1, 6), (0, 9)]
        assert [(event.input, event.seq) for event in begun[2:]] == [(raw("b"), 7), (raw("a"), 10)]
        here.require_clean_replay()

    live(scenario)


def test_no_effect_begins_before_what_caused_it_is_on_disk() -> None:
    @workflow
    async def all_kinds() -> None:
        await asyncio.gather(charge("a"), asyncio.sleep(60), ship("c"), send_signal("order-2", go, 1), go.receive())

    async def scenario() -> None:
        here = Live(all_kinds, started())
        here.executor.hold = True
        await here.begin()
        assert here.log == [
            "await signal go",
            "append ActivityScheduled ActivityStarted TimerStarted ChildWorkflowStarted SignalSendRequested",
            "run charge 0",
            "timer 0",
            "child order-1.1-5",
            "send go to order-2 as r1/6",
            "append SignalSent",
        ]

    live(scenario)


def test_messages_are_removed_and_listeners_told_only_of_what_is_on_disk() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        task = await here.begin()
        mark = len(here.log)
        here.mailbox.put(signal("go", 1))
        await settle()
        assert here.since(mark) == ["append SignalReceived", "remove 1"]

        def full(events: Any, expected_seq: int) -> int:
            raise StoreError("the disk is full")

        here.store.append = full
        told = len(here.told)
        here.mailbox.put(signal("go", 2, "s2"))
        with pytest.raises(StoreError, match="full"):
            await task
        assert len(here.mailbox.messages) == 1
        assert len(here.told) == told
        assert not any(line.startswith("run bill") for line in here.log)

    live(scenario)


def test_what_history_left_unmatched_is_recorded_first_and_then_begun() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), attempted(0), completed(0, "r1"))
        here.executor.hold = True
        await here.begin()
        assert here.log == ["append ActivityScheduled ActivityStarted", "run bill 1"]

    live(scenario)


def test_the_listener_is_told_of_every_event_in_order() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        await (await here.begin())
        assert here.told == here.store.names()[1:]

    live(scenario)


def test_workflow_code_is_stepped_from_a_plain_callback_and_never_inside_a_task() -> None:
    # Python 3.14 refuses to enter a task while another one runs, also one of another loop.
    inside: set[str] = set()

    async def scenario() -> None:
        outer = asyncio.get_running_loop()

        def look() -> bool:
            inside.add(str(asyncio.current_task(outer) and asyncio.current_task(outer).get_coro()))  # pyright: ignore[reportOptionalMemberAccess] - asked in the same expression
            return False

        @workflow(timeout=60)
        async def looks() -> None:
            await charge("a")
            await go.receive()
            await wait_until(look)

        here = Live(looks, started(), settings=RunSettings(timeout_s=3_600))
        task = await here.begin()
        here.mailbox.put(signal("go", 1))
        await settle()
        here.mailbox.on_lock.append(Message("late", signal("go", 2, "s2")))
        here.clock.advance(10_000)
        await settle()
        assert isinstance(await task, Closed)

    live(scenario)
    assert inside == {"None"}


def test_a_context_variable_that_an_activity_sets_does_not_leak_into_workflow_code_or_other_activities() -> None:
    leaky: ContextVar[str] = ContextVar("leaky", default="clean")
    seen: list[str] = []

    @workflow
    async def looks() -> None:
        await charge("a")
        task = asyncio.create_task(bill("b"))
        await wait_until(lambda: seen.append(leaky.get()) is not None or task.done())

    async def sets(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        seen.append(leaky.get())
        leaky.set("leaked")
        return ev.ActivityCompleted(activity_id=request.command.key.ordinal, attempt=1, result=raw(None))

    async def scenario() -> None:
        here = Live(looks, started())
        here.executor.outcomes = {"charge": sets, "bill": sets}
        await (await here.begin())

    live(scenario)
    assert set(seen) == {"clean"}


# --- messages


def test_messages_are_recorded_in_their_order_and_repeats_are_removed_without_an_event() -> None:
    @workflow
    async def adds() -> int:
        return sum([await go.receive() for _ in range(3)])

    async def scenario() -> None:
        here = Live(adds, started(), signal("go", 1, "s1"))
        here.mailbox.messages = [Message("m0", signal("go", 1, "s1")), Message("m1", signal("go", 2, "s2"))]
        task = await here.begin()
        here.mailbox.put(signal("go", 2, "s2"), signal("go", 3, "s3"))
        end = await task
        assert isinstance(end, Closed)
        assert end.event == ev.WorkflowCompleted(seq=5, recorded_at=at(100), result=raw(6))
        assert [event.signal_id for event in here.store.events(ev.SignalReceived)] == ["s1", "s2", "s3"]
        assert here.mailbox.messages == []

    live(scenario)


def test_what_was_accepted_before_is_drained_before_anything_begins() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), attempted(0))
        here.mailbox.messages = [Message("m0", cancel_requested())]
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowCancelled)
        assert here.store.names()[3:] == ["WorkflowCancelRequested", "ActivityCancelled", "WorkflowCancelled"]
        assert not any(line.startswith("run") for line in here.log)
        here.require_clean_replay()

    live(scenario)


def test_a_message_under_way_is_not_handed_out_twice() -> None:
    async def scenario() -> None:
        here = Live(order, started("A1"))
        here.executor.hold = True
        await here.begin()
        here.mailbox.put(ev.WorkflowResumed())
        here.mailbox.look()
        here.mailbox.look()
        await settle()
        assert here.store.names().count("WorkflowResumed") == 1

    live(scenario)


# --- withdrawing


def test_what_is_withdrawn_is_stopped_after_that_is_on_disk_and_a_child_is_asked() -> None:
    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.hold = True
        await here.begin()
        mark = len(here.log)
        here.mailbox.put(signal("go", 1))
        await settle()
        assert here.since(mark) == [
            "await signal stop",
            "append SignalReceived ActivityCancelled ChildCancelRequested TimerCancelled",
            "remove 1",
            "cancel child order-1.1-5 as r1/8",
            "cancelled charge 0",
            "timer 0 withdrawn",
        ]

    live(scenario)


def test_an_outcome_that_nobody_waits_for_any_more_is_not_recorded() -> None:
    async def stubborn(request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return completed(0, "late")
        raise AssertionError

    async def scenario() -> None:
        here = Live(gives_up, started())
        here.executor.outcomes["charge"] = stubborn
        await here.begin()
        here.mailbox.put(signal("go", 1))
        await settle()
        assert "ActivityCompleted" not in here.store.names()
        here.require_clean_replay()

    live(scenario)


def test_what_was_scheduled_and_withdrawn_in_one_batch_never_begins() -> None:
    @workflow
    async def changes_its_mind() -> int:
        await go.receive()
        task = asyncio.create_task(charge("a"))
        await go.receive()
        task.cancel()
        return await stop.receive()

    async def scenario() -> None:
        here = Live(changes_its_mind, started())
        await here.begin()
        here.mailbox.put(signal("go", 1, "s1"), signal("go", 2, "s2"))
        await settle()
        assert here.store.batches == [
            ["SignalReceived", "ActivityScheduled", "ActivityStarted", "SignalReceived", "ActivityCancelled"]
        ]
        assert not any(line.startswith("run") for line in here.log)
        assert "give back charge" in here.log
        here.require_clean_replay()

    live(scenario)
