"""What authors give as plain arguments: refused in their code, at the call, and never by the event it is for."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import aion_cli
from aion_cli import (
    RetryPolicy,
    Saga,
    Signal,
    activity,
    deprecate_patch,
    map_activities,
    now,
    patched,
    query,
    randint,
    send_signal,
    set_progress,
    set_tags,
    shell,
    sleep_until,
    start_child,
    update,
    wait_until,
    workflow,
)
from aion_cli.core import events as ev
from aion_cli.errors import ActivityError, AionError, ChildError, ContinueAsNew, NonRetryable, PayloadError, UsageError
from aion_cli.testing import run_workflow
from tests.runs import HastyClock, Place

Code = Callable[[Any], Any]
go = Signal("go", int)
api: Any = aion_cli
"""For calls that a type checker would refuse."""


class Loud(enum.StrEnum):
    NAME = "loud"


class Odd:
    def __repr__(self) -> str:
        return "odd"  # without its address, which is another one in each replay


class BrokenTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@activity
async def step(n: int = 0) -> int:
    return n


@activity
async def fails(error: str) -> None:
    raise _ERRORS[error]


@workflow
async def kid(n: int) -> int:
    return n


_ERRORS: dict[str, BaseException] = {}


def values() -> list[Any]:
    """What no signature asks for. Fresh each time, since some are consumed."""
    return [
        None,
        True,
        0.5,
        float("nan"),
        -1,
        10**5000,
        b"bytes",
        Odd(),
        "",
        "half \ud800 a character",
        "x" * 1_050_000,
        "\x00" * 45_000,
        Loud.NAME,
        {"\ud800": "key"},
        lambda: None,
        BrokenTextError(),
        kid,
        go,
        now(),
    ]


async def saga(value: Any) -> None:
    async with Saga() as undo:
        undo.compensate(value)
        raise ValueError


async def deadline(value: Any) -> None:
    async with asyncio.timeout(value):
        await asyncio.sleep(1)


async def child(value: Any, **options: Any) -> None:
    await (await start_child(kid, 1 if options else value, **options))


async def throws(error: BaseException) -> None:
    raise error


async def from_activity(error: BaseException) -> None:
    _ERRORS["next"] = error
    await fails("next")


def noted(note: Any) -> Exception:
    error = ValueError("noted")
    error.__notes__ = [note] * 20  # `add_note` alone would see that it is a str
    return error


def chained(text: Any) -> Exception:
    error: Exception = noted(str(text))
    for _ in range(10):
        outer = noted(str(text))
        outer.__cause__ = error
        error = outer
    return error


AUTHORING: dict[str, Code] = {
    "set_progress(done)": lambda v: set_progress(v, 1),
    "set_progress(total)": lambda v: set_progress(1, v, "half"),
    "set_progress(text)": lambda v: set_progress(1, 2, v),
    "set_tags": lambda v: set_tags(a=v),
    "set_tags(name)": lambda v: set_tags(**{v: "x"}),
    "send_signal(run)": lambda v: send_signal(v, go, 1),
    "send_signal(signal)": lambda v: send_signal("other", v, 1),
    "send_signal(value)": lambda v: send_signal("other", go, v),
    "patched": patched,
    "deprecate_patch": deprecate_patch,
    "start_child": lambda v: start_child(v, 1),
    "start_child(input)": child,
    "start_child(id)": lambda v: child(1, id=v),
    "start_child(parent_close)": lambda v: child(1, parent_close=v),
    "a workflow": lambda v: kid(v),
    "an activity": lambda v: step(v),
    "an activity's keyword": lambda v: step(**{"m": v}),
    "Signal": lambda v: Signal(v),
    "Signal(type)": lambda v: Signal("x", v),
    "sleep_until": lambda v: sleep_until(v),
    "sleep": lambda v: asyncio.sleep(v),
    "timeout": deadline,
    "wait_until": lambda v: wait_until(v),
    "query": lambda v: query(v),
    "query(function)": lambda v: query("q", v),
    "query(name)": lambda v: query(v, lambda: 1),
    "update": lambda v: update(v),
    "map_activities": lambda v: map_activities(v, [1]),
    "map_activities(items)": lambda v: map_activities(step, v),
    "map_activities(item)": lambda v: map_activities(step, [v]),
    "map_activities(limit)": lambda v: map_activities(step, [1], limit=v),
    "shell": lambda v: shell(v) if v not in ("", Loud.NAME) else None,
    "shell(cwd)": lambda v: shell("true", cwd=v),
    "Saga": saga,
    "randint": lambda v: randint(v, 2),
    "activity": lambda v: activity(v),
    "activity(name)": lambda v: activity(name=v)(lambda: None),
    "workflow": lambda v: workflow(v),
    "raise ActivityError": lambda v: throws(ActivityError(v, type=v, details=v)),
    "raise ChildError": lambda v: throws(ChildError(v)),
    "raise PayloadError": lambda v: throws(PayloadError(v, path=v, where=[v])),
    "raise ContinueAsNew": lambda v: throws(ContinueAsNew(v, v)),
    "raise with notes": lambda v: throws(noted(v)),
    "raise with causes": lambda v: throws(chained(v) if isinstance(v, str) else ValueError(v)),
    "an activity that raises": lambda v: from_activity(NonRetryable(v, details=v)),
    "an activity that raises with causes": lambda v: from_activity(chained(v) if isinstance(v, str) else noted(v)),
    "retry": lambda v: step.options(retry=v)(1),
    "retry(max_attempts)": lambda v: step.options(retry=RetryPolicy(max_attempts=v))(1),
    "retry(initial)": lambda v: step.options(retry=RetryPolicy(initial=v))(1),
    "retry(cap)": lambda v: step.options(retry=RetryPolicy(cap=v))(1),
    "retry(factor)": lambda v: step.options(retry=RetryPolicy(factor=v))(1),
    "retry(jitter)": lambda v: step.options(retry=RetryPolicy(jitter=v))(1),
    "retry(max_elapsed)": lambda v: step.options(retry=RetryPolicy(max_elapsed=v))(1),
    "retry(non_retryable)": lambda v: step.options(retry=RetryPolicy(non_retryable=v))(1),
    "retry(a non_retryable)": lambda v: step.options(retry=RetryPolicy(non_retryable=[v]))(1),
    "timeout of an activity": lambda v: step.options(timeout=v)(1),
    "total_timeout": lambda v: step.options(total_timeout=v)(1),
    "heartbeat_timeout": lambda v: step.options(heartbeat_timeout=v)(1),
    "at_most_once": lambda v: step.options(at_most_once=v)(1),
    "process": lambda v: step.options(process=v)(1),
    "timeout of a workflow": lambda v: workflow(timeout=v),
    "a result": lambda v: v,
}


@pytest.mark.parametrize("name", AUTHORING)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_whatever_value_authors_give_the_run_ends_as_their_code_does(name: str, tmp_path: Path) -> None:
    call = AUTHORING[name]

    @workflow
    async def order(index: int) -> Any:
        await step(index)
        found = call(values()[index])
        return await found if asyncio.iscoroutine(found) else found

    place = Place(tmp_path, HastyClock(), stop_when_blocked=True)
    for index, value in enumerate(made_in_a_workflow()):
        run = f"order-{index}"
        said = f"{name} of {type(value).__name__}"
        place.run(order, index, workflow_id=run)
        end = place.events(run)[-1]
        ends = (ev.WorkflowCompleted, ev.WorkflowFailed)
        if name not in ("sleep", "sleep_until", "wait_until"):  # these may wait for ever
            assert isinstance(end, ends), f"{said}: {end}"
        place.run(order, index, workflow_id=run)
        done = [e for e in place.events(run) if isinstance(e, ev.ActivityCompleted) and e.activity_id == 0]
        assert len(done) == 1, said


def made_in_a_workflow() -> list[Any]:
    """The values, here; some can be made in a workflow alone."""
    found: list[Any] = []

    @workflow
    async def collect() -> None:
        found.extend(values())

    run_workflow(collect)
    return found


def refusal(code: Code) -> str:
    """What a workflow is told that does nothing else."""

    @workflow
    async def order() -> None:
        found = code(None)
        if asyncio.iscoroutine(found):
            await found

    with pytest.raises(UsageError) as caught:
        run_workflow(order)
    return caught.value.message


REFUSED: list[tuple[Code, str]] = [
    (lambda _: api.set_progress(0.5, 1), "what is done is 0.5, it must be a whole number (int)"),
    (lambda _: api.set_progress(True, 1), "what is done is True, it must be a whole number (int)"),
    (lambda _: api.set_progress(1, 10**30), "the total of a progress is an int of more than 64 bits"),
    (lambda _: api.set_progress(1, 2, None), "the text of a progress is None, it must be a text"),
    (lambda _: api.set_tags(a=1), "the tag 'a' is 1, it must be a text"),
    (
        lambda _: api.set_tags(a="\ud800"),
        "the tag 'a' holds half a character (the lone surrogate \\ud800), which UTF-8 cannot hold",
    ),
    (lambda _: api.set_tags(a="x" * 300_000), "the tag 'a' takes 300,002 bytes, and may take 262,144"),
    (
        lambda _: [api.set_tags(**{f"t{n}": "x" * 200_000}) for n in range(2)],
        "what the run has of tags takes 400,017 bytes, and may take 262,144",
    ),
    (lambda _: api.send_signal(None, go, 1), "the run that a signal is sent to is None, it must be a text"),
    (lambda _: api.send_signal("other", "go", 1), "send_signal takes a Signal, and got 'go'"),
    (lambda _: api.patched(5), "the name of a patch is 5, it must be a text"),
    (lambda _: api.deprecate_patch("x" * 2_000), "the name of a patch takes 2,002 bytes, and may take 1,000"),
    (lambda _: api.start_child(step, 1), "start_child takes a workflow, and got the activity step"),
    (lambda _: api.start_child(kid.fn, 1), "start_child takes a workflow, and got the function kid"),
    (lambda _: api.start_child(kid, 1, id=5), "the id of a child is 5, it must be a text"),
    (
        lambda _: api.start_child(kid, 1, parent_close="foo"),
        'parent_close is \'foo\', it must be one of "cancel", "terminate", "abandon"',
    ),
    (lambda _: api.sleep_until("tomorrow"), "sleep_until takes an aware datetime, and got 'tomorrow'"),
    (lambda _: api.Signal(5), "the name of a signal is 5, it must be a text"),
    (lambda _: api.map_activities(step, [1], limit=0.5), "limit is 0.5, it must be a whole number (int)"),
    (lambda _: api.query(5), "@query takes a function, and got 5"),
    (lambda _: api.update(5), "@update takes an `async def` function, and got 5"),
]


@pytest.mark.parametrize(("code", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_wrong_argument_is_told_with_what_it_is_and_what_is_taken(code: Code, message: str) -> None:
    assert refusal(code) == message


def test_a_refused_argument_changes_nothing() -> None:
    @workflow
    async def order() -> bool:
        set_tags(a="x")
        set_progress(1, 2, "half")
        with contextlib.suppress(UsageError):
            api.set_tags(a="y", b=None)
        with contextlib.suppress(UsageError):
            api.set_progress(2, 2, None)
        with contextlib.suppress(UsageError):
            patched("\ud800")
        return patched("p")

    assert run_workflow(order)


OUTSIDE: dict[str, Callable[[], Any]] = {
    "set_progress()": lambda: set_progress(1, 2),
    "set_tags()": lambda: set_tags(a="x"),
    "patched()": lambda: patched("x"),
    "deprecate_patch()": lambda: deprecate_patch("x"),
    "now()": now,
    "randint()": lambda: randint(1, 2),
    "start_child()": lambda: start_child(kid, 1),
    "send_signal()": lambda: send_signal("other", go, 1),
    "receive()": go.receive,
    "pending()": go.pending,
    "wait_until()": lambda: wait_until(lambda: True),
    "@query": lambda: query(lambda: 1),
    "@update": lambda: update(step.fn),
    "shell()": lambda: shell("true"),
    "sleep_until()": lambda: sleep_until(datetime.now(UTC)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_called_outside_of_a_workflow_is_named(name: str) -> None:
    async def call() -> None:
        found = OUTSIDE[name]()
        if asyncio.iscoroutine(found):
            await found

    with pytest.raises(AionError) as caught:
        asyncio.run(call())
    assert caught.value.message == f"{name} can only be used inside a running workflow"
