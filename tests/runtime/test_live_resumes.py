"""How a live run takes up what history began and did not finish."""

from __future__ import annotations

import asyncio

from aion_cli import ActivityError, send_signal, set_tags, workflow
from aion_cli.core import events as ev
from aion_cli.runtime.endings import Closed
from tests.builders import (
    activity_cancelled,
    at,
    attempted,
    child,
    child_completed,
    failed,
    raw,
    scheduled,
    send,
    signal,
    started,
    timer,
)
from tests.runtime.living import Live, charge, charge_once, gives_up, go, live, order, settle, ship


def test_what_history_began_is_taken_up_in_the_order_of_asking_without_another_event_for_the_command() -> None:
    @workflow
    async def all_kinds() -> None:
        await asyncio.gather(charge("a"), asyncio.sleep(160), ship("c"), send_signal("order-2", go, 1), go.receive())

    async def scenario() -> None:
        here = Live(
            all_kinds,
            started(),
            scheduled(0, "charge", "a"),
            attempted(0),
            timer(0, at(160)),
            child(0, "ship", "c", "parcel-7"),
            send(0, "order-2", "go", 1),
        )
        here.executor.hold = True
        await here.begin()
        assert here.log == [
            "await signal go",
            "append ActivityStarted",
            "run charge 0",
            "timer 0",
            "child parcel-7",
            "send go to order-2 as r1/6",
            "append SignalSent",
        ]
        assert here.executor.requests[0].attempt == 2

    live(scenario)


def test_a_crash_in_backoff_resumes_the_wait() -> None:
    async def scenario() -> None:
        again = failed(0, again_at=at(500))
        here = Live(order, started("A1"), scheduled(0, "charge", "A1"), attempted(0), again)
        here.executor.hold = True
        await here.begin()
        request = here.executor.requests[0]
        assert (request.due, request.attempt, request.failures, request.started) == (at(500), 2, 1, False)

    live(scenario)


def test_an_at_most_once_activity_that_a_crash_cut_off_is_raised_as_interrupted() -> None:
    @workflow
    async def careful() -> str:
        try:
            await charge_once("a")
        except ActivityError as error:
            return type(error).__name__
        return "charged"

    async def scenario() -> None:
        here = Live(careful, started(), scheduled(0, "charge_once", "a"), attempted(0))
        end = await (await here.begin())
        assert isinstance(end, Closed)
        assert isinstance(end.event, ev.WorkflowCompleted)
        assert end.event.result == raw("ActivityInterrupted")
        assert here.executor.requests == []
        here.require_clean_replay()

    live(scenario)


def test_a_childs_cancellation_that_a_crash_kept_from_being_delivered_is_delivered_again() -> None:
    async def scenario() -> None:
        here = Live(
            gives_up,
            started(),
            scheduled(0, "charge", "a"),
            timer(0, at(600)),
            child(0, "ship", "c", "parcel-7"),
            signal("go", 1),
            activity_cancelled(0),
            ev.ChildCancelRequested(ordinal=0),
            ev.TimerCancelled(timer_id=0),
        )
        await here.begin()
        assert "cancel child parcel-7 as r1/7" in here.log
        assert "child parcel-7" in here.log
        here.executor.child_outcomes["parcel-7"].set_result(child_completed(0, "late"))
        await settle()
        assert here.store.names()[-1] == "TimerCancelled"

    live(scenario)


def test_tags_that_were_said_by_code_which_a_reopen_took_back_are_not_said_again_each_time() -> None:
    @workflow
    async def tags_itself() -> None:
        set_tags(kind="order")
        await go.receive()

    async def scenario() -> None:
        recorded = [started(), ev.TagsSet(tags={"kind": "order", "state": "failed"})]
        here = Live(tags_itself, *recorded)
        task = await here.begin()
        assert here.store.batches == []
        here.mailbox.put(signal("go", 1))
        await task

    live(scenario)
