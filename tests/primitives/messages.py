"""Signals, queries and updates."""

from __future__ import annotations

import asyncio

from aion_cli import ActivityError, query, send_signal, update, wait_until, workflow
from aion_cli.core import events as ev
from tests.builders import raw
from tests.primitives.shop import Tidying, approval, bill, hangs, note
from tests.primitives.stage import RUN, Cancelled, Changed, Message, NeverWaits, Primitive, sends


@workflow
async def receive_a_signal() -> list[object]:
    async with Tidying():
        return [await approval.receive(), approval.pending()]


@workflow
async def receives_a_note() -> str:
    return await note.receive()


@workflow
async def all_signals_of_a_name() -> list[str]:
    taken: list[str] = []
    async with Tidying():
        async for text in note:
            if text == "end":
                break
            taken.append(text)
    return taken


@workflow
async def bills_every_note() -> list[str]:
    taken: list[str] = []
    async for text in note:
        taken.append(await bill(text))
    return taken


@workflow
async def send_a_signal() -> str:
    async with Tidying():
        await send_signal(RUN, note, "to myself")
        return await note.receive()


@workflow
async def sends_something_else() -> str:
    await send_signal(RUN, note, "to me")
    return await note.receive()


@workflow
async def send_a_signal_to_nobody() -> str:
    async with Tidying():
        try:
            await send_signal("nobody", note, "hello")
        except ActivityError as error:
            return error.type
    return ""


@workflow
async def sends_to_somebody_else() -> str:
    await send_signal("somebody", note, "hello")
    return ""


@workflow
async def ask_a_query() -> int:
    items: list[str] = []

    @query
    def count() -> int:
        return len(items)

    query("last", lambda: items[-1])

    items.append(await bill("A1"))
    items.append(await bill("B2"))
    return len(items)


@workflow
async def has_no_query_any_more() -> int:
    await bill("A1")
    return 1


@workflow
async def answer_an_update() -> list[str]:
    items: list[str] = []

    @update
    async def add(item: str) -> int:
        items.append(await bill(item))
        return len(items)

    @add.validator
    def check(item: str) -> None:
        if not item:
            raise ValueError("an item needs a name")

    async with Tidying():
        await wait_until(lambda: len(items) == 2)
        await asyncio.sleep(0)
    return items


@workflow
async def answers_something_else() -> list[str]:
    items: list[str] = []

    @update
    async def add(item: str) -> int:
        items.append(await bill(item))
        return -len(items)

    @add.validator
    def check(item: str) -> None:
        if not item:
            raise ValueError("an item needs a name")

    await wait_until(lambda: len(items) == 2)
    return items


@workflow
async def refuse_an_update() -> None:
    @update
    async def add(item: str) -> None:
        await bill(item)

    @add.validator
    def check(item: str) -> None:
        if not item:
            raise ValueError("an item needs a name")

    async with Tidying():
        await approval.receive()


@workflow
async def accepts_every_update() -> None:
    @update
    async def add(item: str) -> None:
        await bill(item)

    await approval.receive()


def asks(update_id: str, item: str, *, after_s: float) -> Message:
    return Message(after_s, ev.UpdateRequested(update_id=update_id, name="add", args=raw(item)))


PRIMITIVES = [
    Primitive(
        names=("Signal",),
        workflow=receive_a_signal,
        messages=(sends("approval", False), sends("approval", True)),
        records="SignalReceived",
        result=[False, 0],
        docs="`await approval.receive()` takes the next one",
        changed=Changed(
            receives_a_note, 3, "completion with [false,0]", 'wait for signal "note" (0)', "note.receive()"
        ),
        cancelled=Cancelled(),
    ),
    Primitive(
        names=("Signal",),
        workflow=all_signals_of_a_name,
        messages=(sends("note", "one"), sends("note", "two", after_s=2), sends("note", "end", after_s=3)),
        records="SignalReceived SignalReceived SignalReceived",
        result=["one", "two"],
        docs="`async for x in approval` all of them",
        changed=Changed(
            bills_every_note, 5, 'completion with ["one","two"]', 'activity "bill" (0) with "one"', "bill(text)"
        ),
        cancelled=Cancelled(messages=(sends("note", "one"),)),
    ),
    Primitive(
        names=("send_signal",),
        workflow=send_a_signal,
        records="SignalSendRequested SignalSent SignalReceived",
        result="to myself",
        docs="`await send_signal(run_id, approval, True)` sends one from another workflow, exactly once.",
        changed=Changed(
            sends_something_else,
            2,
            'signal "note to run" (0) with "to myself"',
            'signal "note to run" (0) with "to me"',
            "send_signal(",
        ),
        cancelled=NeverWaits("it is accepted or refused at once, and cannot be taken back"),
    ),
    Primitive(
        names=("send_signal",),
        workflow=send_a_signal_to_nobody,
        records="SignalSendRequested SignalSendFailed",
        result="NoSuchRunError",
        docs="`await send_signal(run_id, approval, True)` sends one from another workflow, exactly once.",
        changed=Changed(
            sends_to_somebody_else,
            2,
            'signal "note to nobody" (0) with "hello"',
            'signal "note to somebody" (0) with "hello"',
            "send_signal(",
        ),
        cancelled=NeverWaits("it is accepted or refused at once, and cannot be taken back"),
    ),
    Primitive(
        names=("query",),
        workflow=ask_a_query,
        records=(
            "ActivityScheduled ActivityStarted ActivityCompleted ActivityScheduled ActivityStarted ActivityCompleted"
        ),
        result=2,
        docs="`@query` on a function offers a read-only question",
        answers={"count": 2, "last": "bill of B2"},
        changed=Changed(has_no_query_any_more, 5, 'activity "bill" (1) with "B2"', "completion with 1", "return 1"),
        cancelled=NeverWaits("it is answered at once"),
    ),
    Primitive(
        names=("update",),
        workflow=answer_an_update,
        messages=(asks("u1", "A1", after_s=1), asks("u2", "", after_s=2), asks("u3", "B2", after_s=3)),
        records=(
            "UpdateRequested ActivityScheduled ActivityStarted ActivityCompleted UpdateCompleted "
            "UpdateRequested UpdateFailed UpdateRequested ActivityScheduled ActivityStarted "
            "ActivityCompleted UpdateCompleted"
        ),
        result=["bill of A1", "bill of B2"],
        docs="`@update` on an `async def` offers a validated request with an answer",
        changed=Changed(
            answers_something_else,
            6,
            "answer to update (u1) with 1",
            "answer to update (u1) with -1",
            "@update",
        ),
        cancelled=Cancelled(messages=(asks("u1", "A1", after_s=1),), fakes={bill: hangs}),
    ),
    Primitive(
        names=("update",),
        workflow=refuse_an_update,
        messages=(asks("u1", "", after_s=1), sends("approval", True, after_s=2)),
        records="UpdateRequested UpdateFailed SignalReceived",
        result=None,
        docs="`@update` on an `async def` offers a validated request with an answer",
        changed=Changed(
            accepts_every_update,
            3,
            'refusal of update "ValueError" (u1) with an item needs a name',
            'activity "bill" (0) with ""',
            "await bill",
        ),
        cancelled=Cancelled(messages=(asks("u1", "", after_s=1),)),
    ),
]
