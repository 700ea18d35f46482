"""Whatever the wall clock does: timers fire at their instants, recorded time never decreases, and the order stays."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

from aion_cli import RetryPolicy, Signal, activity, now, sleep_until, workflow
from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.core.ids import RunName
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.outcome import RunEnd
from aion_cli.runtime.recorder import stamped_from_start
from aion_cli.runtime.wall import WallClock
from tests.builders import replay_of
from tests.faults.tally import Tally
from tests.runs import SECOND, START, AnyWorkflow, HastyClock, Place, SetClock, a_while

DAY = 86_400

go = Signal("go", int)


@workflow
async def naps(seconds: list[float]) -> list[float]:
    """Return the naps in the order in which they ended."""
    ended: list[float] = []

    async def nap(length: float) -> None:
        await asyncio.sleep(length)
        ended.append(length)

    await asyncio.gather(*map(nap, seconds))
    return ended


def fired(place: Place) -> list[int]:
    return [event.timer_id for event in place.events() if isinstance(event, ev.TimerFired)]


def replays_clean(place: Place, definition: AnyWorkflow) -> bool:
    replay = replay_of(definition, place.events())
    try:
        return not replay.run().unmatched
    finally:
        replay.execution.close()


def test_timers_that_came_due_while_nobody_ran_fire_at_once_in_the_order_of_their_instants(tmp_path: Path) -> None:
    place = Place(tmp_path, stop_when_blocked=True)
    assert place.run(naps, [30, 10, 20, 10]).closed_by is None
    place.clock.pass_s(DAY)
    end = place.run(naps, [30, 10, 20, 10])
    assert isinstance(end.closed_by, ev.WorkflowCompleted)
    assert fired(place) == [1, 3, 2, 0]
    assert bytes(end.closed_by.result) == b"[10.0,10.0,20.0,30.0]"
    assert replays_clean(place, naps)


def test_so_do_timers_that_were_asked_for_and_not_recorded_when_the_process_was_killed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    started = place.shop.first_event(naps, "order-1", msgspec.Raw(b"[30,10,20]"))
    path = place.folder.history(RunName("order-1"))
    JsonlStore.create(path, stamped_from_start([started], clock.format_instant(START)), place.folder.files).close()
    place.clock.pass_s(DAY)
    place.run(naps, [30, 10, 20])
    assert fired(place) == [1, 2, 0]
    assert replays_clean(place, naps)


def test_a_clock_that_jumps_over_several_timers_fires_them_in_the_order_of_their_instants(tmp_path: Path) -> None:
    async def jump() -> RunEnd:
        run = asyncio.create_task(place.go(naps, [30, 10, 20]))
        await place.until_told(ev.TimerStarted)
        await a_while()
        place.clock.pass_s(DAY)  # as after a suspend
        return await asyncio.wait_for(run, 30)

    place = Place(tmp_path)
    asyncio.run(jump())
    assert fired(place) == [1, 2, 0]


def test_a_clock_that_is_set_back_makes_no_timer_fire_early(tmp_path: Path) -> None:
    async def set_back() -> RunEnd:
        run = asyncio.create_task(place.go(naps, [60]))
        await place.until_told(ev.TimerStarted)
        await a_while()
        place.clock.set(START - DAY * SECOND)
        await a_while()
        place.clock.set(START + 59 * SECOND)
        await a_while()
        assert fired(place) == []
        place.clock.set(START + 60 * SECOND)
        return await asyncio.wait_for(run, 30)

    place = Place(tmp_path)
    asyncio.run(set_back())
    assert fired(place) == [0]


failures: Iterator[int] = itertools.count()


@activity(retry=RetryPolicy(max_attempts=3, initial=timedelta(seconds=5)))
async def flaky(step: int) -> int:
    if next(failures) % 2 == 0:
        raise ConnectionError("not now")
    return step


@workflow
async def child(step: int) -> int:
    await asyncio.sleep(1)
    return await flaky(step)


@workflow
async def everything() -> list[str]:
    """Steps one after the other, so that their order is the code's alone."""
    times = [now()]
    for step in range(2):
        await flaky(step)
        times.append(now())
        await asyncio.sleep(90)
        times.append(now())
        await child(step)
        times.append(now())
    return [moment.isoformat() for moment in sorted(times)] if times == sorted(times) else []


class Jumping(HastyClock):
    """A hasty clock that jumps when the n-th event has been recorded."""

    def __init__(self, at_event: int, by_s: int) -> None:
        super().__init__()
        self._left = at_event
        self._by_s = by_s

    def on_events(self, events: Sequence[ev.Event]) -> None:
        before, self._left = self._left, self._left - len(events)
        if self._left <= 0 < before:
            self.pass_s(self._by_s)


def recorded_order(root: Path, jumping: Jumping) -> list[str]:
    """Run everything with a clock that jumps, and return its events in order, the child's among them."""
    global failures
    failures = itertools.count()
    place = Place(root, jumping)
    place.on_events = jumping.on_events
    end = place.run(everything)
    assert isinstance(end.closed_by, ev.WorkflowCompleted)
    assert bytes(end.closed_by.result) != b"[]", "the present went back for workflow code"
    runs = [location.workflow_id for location in place.folder.runs()]
    assert len(runs) == 3
    for times in ([event.recorded_at for event in place.events(run)] for run in runs):
        assert times == sorted(times)
    assert replays_clean(place, everything)
    return [type(event).__name__ for event in place.told]


def test_a_day_forward_or_back_at_any_event_changes_neither_the_order_nor_lets_time_go_back(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    expected = recorded_order(tmp_path / "straight", Jumping(0, 0))
    assert len(expected) > 30
    for at_event in range(1, len(expected)):
        for by_s in (DAY, -DAY):
            assert recorded_order(tmp_path / f"{at_event}{by_s:+}", Jumping(at_event, by_s)) == expected
    Tally(request.node.user_properties).say(
        f"G14: the clock set by ± 1 day at each of {len(expected)} events: recorded time never decreased, same order"
    )


def test_a_message_from_a_process_whose_clock_is_behind_does_not_let_recorded_time_decrease(tmp_path: Path) -> None:
    @workflow
    async def waits() -> int:
        return await go.receive() + await go.receive()

    place = Place(tmp_path, stop_when_blocked=True)
    place.run(waits)
    behind = Place(tmp_path, SetClock(START - DAY * SECOND), stop_when_blocked=True)
    behind.deliver(ev.SignalReceived(name="go", payload=msgspec.Raw(b"1"), signal_id="a"))
    ahead = Place(tmp_path, SetClock(START + DAY * SECOND), stop_when_blocked=True)
    ahead.deliver(ev.SignalReceived(name="go", payload=msgspec.Raw(b"2"), signal_id="b"))
    place.run(waits)
    times = [clock.parse_instant(event.recorded_at) - START for event in place.events()]
    assert times == [0, 0, DAY * SECOND, DAY * SECOND]


def test_a_clock_that_was_set_back_gives_an_activity_no_more_time_than_it_has(tmp_path: Path) -> None:
    @activity(total_timeout=0.05)
    async def endless() -> None:
        await asyncio.Event().wait()

    @workflow
    async def order() -> None:
        await endless()

    class SetBack(SetClock):
        """Is set back by a day once the first command has been recorded."""

        def micros(self) -> int:
            self.present -= DAY * SECOND if place.told else 0
            return self.present

    place = Place(tmp_path, SetBack())
    end = place.run(order)
    assert isinstance(end.closed_by, ev.WorkflowFailed)
    assert end.closed_by.error.cause is None
    assert end.closed_by.error.type == "TimeoutError"


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in a place where the clock is put forward at 02:00 on 29 March 2026."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_an_hour_that_the_local_clock_skips_is_no_hour_for_a_run(tmp_path: Path) -> None:
    @workflow
    async def over_the_change(until: str) -> list[str]:
        before = now()
        await sleep_until(datetime.fromisoformat(until))
        return [str(now() - before), now().tzname() or ""]

    begins = int(datetime(2026, 3, 29, 1, 30).timestamp())
    place = Place(tmp_path, HastyClock(begins * SECOND))
    local = datetime(2026, 3, 29, 3, 30).astimezone()
    assert local.utcoffset() == timedelta(hours=2)
    end = place.run(over_the_change, local.isoformat())
    assert isinstance(end.closed_by, ev.WorkflowCompleted)
    assert bytes(end.closed_by.result) == b'["1:00:00","UTC"]'
    started, fired_at = place.events()[0].recorded_at, place.events()[-1].recorded_at
    assert (started, fired_at) == ("2026-03-29T00:30:00.000000Z", "2026-03-29T01:30:00.000000Z")


@pytest.mark.usefixtures("berlin")
def test_the_wall_clock_does_not_know_where_it_is() -> None:
    present = WallClock().micros()
    os.environ["TZ"] = "UTC"
    time.tzset()
    assert abs(WallClock().micros() - present) < 60 * SECOND
    assert abs(datetime.fromtimestamp(present / SECOND, UTC) - datetime.now(timezone(timedelta(hours=5)))) < timedelta(
        minutes=1
    )
