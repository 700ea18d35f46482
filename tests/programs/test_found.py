"""What random programs have found, as the smallest programs that show it."""

from __future__ import annotations

import asyncio

import pytest

from aion_cli import RetryPolicy, activity, activity_info, workflow
from aion_cli.core import clock
from aion_cli.testing.loop import START, SkippingLoop
from aion_cli.testing.world import World
from tests.builders import raw
from tests.programs import nodes
from tests.programs.plain import SettlingLoop
from tests.programs.promises import Trial

AT_ONCE = (nodes.Answer(0.0),) * 4
CANCEL = nodes.Stimulus(0.0, "cancel")
ACT = nodes.Act("plain", 0)

FOUND = {
    "a child whose cancellation was recorded is cancelled after a crash": nodes.Case(
        nodes.Child(ACT, "child-1"), AT_ONCE, (CANCEL,)
    ),
    "a child that is cancelled while its parent goes on has an owner after a crash": nodes.Case(
        nodes.Seq((nodes.CancelAfter(nodes.Child(nodes.Finally(ACT, ACT), "child-1"), 0.0), nodes.Receive("a"))),
        AT_ONCE,
    ),
    "a cancellation that lay in the inbox reaches the children of children": nodes.Case(
        nodes.Child(nodes.Child(nodes.Receive("a"), "child-2"), "child-1"), AT_ONCE, (CANCEL,)
    ),
    "nothing is recorded behind a termination that lay in the inbox": nodes.Case(
        ACT, AT_ONCE, (CANCEL, nodes.Stimulus(0.0, "terminate")), tied=True
    ),
    "a grandchild that cleans up for longer than the grace of its parent still ends": nodes.Case(
        nodes.Child(nodes.Child(nodes.Finally(nodes.Receive("a"), ACT), "child-2"), "child-1"),
        (nodes.Answer(20_000.0),) * 4,
        (nodes.Stimulus(1000.0, "cancel"),),
    ),
    "a child that a crash kept from starting is started as its parent is terminated": nodes.Case(
        nodes.Seq((nodes.Start(nodes.Derive(), "child-1", "abandon"), nodes.Receive("a"))),
        AT_ONCE,
        (nodes.Stimulus(500.0, "pause"), nodes.Stimulus(20_000.0, "terminate")),
        tied=True,
        luck=4,
    ),
    "a child of an earlier run is told of a termination that lay in the inbox": nodes.Case(
        nodes.Seq((nodes.Start(nodes.Until(4), "child-1", "terminate", named=True), nodes.Again(ACT, 1))),
        AT_ONCE,
        (nodes.Stimulus(2000.0, "terminate"),),
        tied=True,
        luck=893,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_holds(name: str) -> None:
    loop = SettlingLoop()
    trial = Trial(FOUND[name], loop)
    try:
        trial.run()
    finally:
        loop.close()
    assert trial.cuts


def test_an_attempt_that_was_recorded_as_begun_does_not_begin_once_its_activity_is_cancelled() -> None:
    made: list[int] = []

    @activity(retry=RetryPolicy(initial=1, jitter=0))
    async def fails() -> None:
        made.append(activity_info().attempt)
        raise ValueError("broken")

    @activity
    async def takes_a_second() -> None:
        await asyncio.sleep(0.5)
        await asyncio.sleep(0.5)

    @workflow
    async def race() -> str:
        async with asyncio.TaskGroup() as group:
            hopeless = group.create_task(fails())
            await takes_a_second()
            hopeless.cancel()
        await asyncio.sleep(9)
        return "over"

    at_one_second = clock.format_instant(START + 1_000_000)
    loop = SkippingLoop()
    world = World(loop, {"fails": fails.fn, "takes_a_second": takes_a_second.fn})
    loop.bursts = True
    world.start(race, "main", raw(None))
    world.go()
    loop.close()
    batch = [type(event).__name__ for event in world.ledger.events("main") if event.recorded_at == at_one_second]
    assert batch == ["ActivityStarted", "ActivityCompleted", "ActivityCancelled", "TimerStarted"]
    assert made == [1]
