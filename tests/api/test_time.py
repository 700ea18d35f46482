"""Time, randomness and ids in workflow code: from the history, never from the machine."""

from __future__ import annotations

import asyncio
import datetime as dt
import random as machine_random
import time
import uuid
from collections.abc import Callable

import pytest

from aion_cli import Signal, history_length, now, randint, random, sleep_until, uuid4, workflow
from aion_cli.core import commands as cmd
from aion_cli.core import events as ev
from aion_cli.errors import AionError
from tests.builders import AnyWorkflow, at, ended, fired, history, replay_of, replayed, signal, started, timer, when

go = Signal("go", int)


def result_of(definition: AnyWorkflow, *events: ev.Event) -> bytes:
    """What a run returns whose last event makes it end."""
    replay = replay_of(definition, history(started(), *events))
    (command,) = replay.run().unmatched
    replay.execution.close()
    assert isinstance(command, cmd.CompleteWorkflow)
    assert isinstance(command.outcome, cmd.Completed), command.outcome
    return bytes(command.outcome.result)


@workflow
async def looks_twice() -> list[str]:
    first = now()
    await go.receive()
    return [first.isoformat(), now().isoformat(), str(now().tzinfo)]


def test_now_is_when_the_event_was_recorded() -> None:
    assert result_of(looks_twice, when(90.25, signal("go", 1))) == (
        b'["2026-03-01T09:30:00+00:00","2026-03-01T09:31:30.250000+00:00","UTC"]'
    )


@workflow
async def draws() -> list[object]:
    return [random(), randint(1, 1000), uuid4(), random()]


def test_what_is_drawn_does_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    first = result_of(draws)
    machine_random.seed(42)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0))
    assert result_of(draws) == first


def test_an_id_is_a_version_4_uuid() -> None:
    @workflow
    async def makes_one() -> uuid.UUID:
        return uuid4()

    assert uuid.UUID(result_of(makes_one).decode().strip('"')).version == 4


def test_the_length_of_the_history_is_the_seq_of_the_event_being_applied() -> None:
    @workflow
    async def counts() -> list[int]:
        first = history_length()
        await go.receive()
        return [first, history_length()]

    assert result_of(counts, signal("go", 1)) == b"[1,2]"


@workflow
async def waits_until_noon() -> str:
    await sleep_until(dt.datetime(2026, 3, 1, 13, tzinfo=dt.timezone(dt.timedelta(hours=1))))
    return "noon"


def test_sleep_until_is_a_timer_at_that_instant_in_any_zone() -> None:
    noon = "2026-03-01T12:00:00.000000Z"
    events = history(started(), timer(0, noon), when(9_000, fired(0)), ended("noon"))
    assert replayed(waits_until_noon, events).closed_by


def test_sleep_until_an_instant_that_has_passed_takes_no_timer() -> None:
    @workflow
    async def late() -> str:
        await sleep_until(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        return "at once"

    assert result_of(late) == b'"at once"'


def test_sleep_until_is_withdrawn_when_it_is_cancelled() -> None:
    @workflow
    async def gives_up() -> str:
        try:
            async with asyncio.timeout(10):
                await sleep_until(now() + dt.timedelta(days=1))
        except TimeoutError:
            pass
        return "gave up"

    events = history(
        started(),
        timer(0, at(10)),
        timer(1, at(86_400)),
        when(10, fired(0)),
        ev.TimerCancelled(timer_id=1),
        ended("gave up"),
    )
    assert replayed(gives_up, events).closed_by


def test_a_moment_without_a_time_zone_is_refused() -> None:
    @workflow
    async def naive() -> str:
        try:
            await sleep_until(dt.datetime(2026, 3, 1, 12))
        except ValueError as error:
            return str(error)
        return ""

    assert b"without a time zone" in result_of(naive)


@pytest.mark.parametrize("use", [now, random, uuid4, history_length, lambda: randint(1, 6)])
def test_outside_of_a_workflow_they_say_so(use: Callable[[], object]) -> None:
    with pytest.raises(AionError, match="inside a running workflow"):
        use()
    with pytest.raises(AionError, match="inside a running workflow"):
        asyncio.run(sleep_until(dt.datetime(2026, 3, 1, tzinfo=dt.UTC)))
