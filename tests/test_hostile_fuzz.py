"""Hypothesis as a stranger: bytes that are no history, histories in nonsense order, and whatever can be typed.

What comes of it is an answer or one of our errors, never another exception, and it comes. With AION_TORTURE=1 a hundred
times as much is tried, and other things in every run.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aion_cli import RetryPolicy, Signal, activity, patched, set_progress, set_tags, update, workflow
from aion_cli.cli.describe import EventWords, age_words, waiting_words
from aion_cli.cli.inflight import InFlight, Now
from aion_cli.cli.sentences import Sentences
from aion_cli.core import events as ev
from aion_cli.core.lines import BadLineError, LineChain, decode_event
from aion_cli.core.status import summarise
from aion_cli.errors import AionError, DurabilityError
from aion_cli.runtime.files import Files
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.reading import find_reopens, read_first_event, read_history, read_last_event
from tests import nasty
from tests.builders import replay_of
from tests.cli.support import Project
from tests.faults.tally import TORTURE
from tests.runs import AnyWorkflow, HastyClock, Place
from tests.storage import Unsynced, forty_events


def tries(number: int) -> settings:
    return settings(
        max_examples=number * 100 if TORTURE else number,
        derandomize=not TORTURE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# Bytes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return forty_events(tmp_path_factory.mktemp("whole") / "order-1.jsonl", Files(Unsynced()))


@st.composite
def vandalised(draw: st.DrawFn, data: bytes) -> bytes:
    """A history to which somebody did something."""
    lines = data.splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 3))):
        at, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["swap", "drop", "double", "empty", "text", "zeros"])):
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "drop":
                lines[at] = b""
            case "double":
                lines[at] *= 2
            case "empty":
                lines[at] = b"\n"
            case "text":
                lines[at] = draw(st.binary(max_size=40)) + draw(st.sampled_from([b"\n", b""]))
            case _:
                lines[at] = bytes(draw(st.integers(1, 1500)))
    result = bytearray(b"".join(lines))
    for _ in range(draw(st.integers(0, 2))):
        if result:
            result[draw(st.integers(0, len(result) - 1))] = draw(st.integers(0, 255))
    return bytes(result[: draw(st.integers(0, len(result)))] if draw(st.booleans()) else result)


@tries(150)
@given(st.data())
def test_whatever_a_file_holds_reading_it_is_a_history_or_a_clear_error(
    tmp_path: Path, whole: bytes, data: st.DataObject
) -> None:
    content = data.draw(st.one_of(vandalised(whole), st.binary(max_size=200)))
    path = tmp_path / "order-1.jsonl"
    path.write_bytes(content)
    files = Files(Unsynced())
    for read in (
        lambda: deque(read_history(path, files), maxlen=0),
        lambda: read_first_event(path, files),
        lambda: read_last_event(path, files),
        lambda: find_reopens(path, files),
    ):
        try:
            read()
        except AionError as error:
            assert error.message
    assert path.read_bytes() == content
    try:
        JsonlStore.open_to_write(path, files).close()
    except AionError as error:
        assert error.message
    else:
        kept = path.read_bytes()
        assert whole.startswith(kept.removesuffix(b"\n")) or content.startswith(kept)


@tries(200)
@given(st.one_of(st.binary(max_size=100), nasty.json_values.map(lambda value: json.dumps(value).encode())))
def test_a_line_is_an_event_or_a_bad_line(line: bytes) -> None:
    for read in (decode_event, LineChain().read):
        try:
            read(line)
        except BadLineError as error:
            assert error.reason


FIELDS = sorted({field.name for kind in nasty.KINDS for field in msgspec.structs.fields(kind)} | {"type", "h"})


@tries(100)
@given(
    st.sampled_from(nasty.KINDS).flatmap(nasty.events_of),
    st.dictionaries(st.sampled_from(FIELDS), nasty.json_values, max_size=3),
)
def test_an_event_with_fields_of_other_types_is_an_event_or_a_bad_line(event: Any, fields: dict[str, Any]) -> None:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    try:
        decode_event(msgspec.json.encode(plain | fields))
    except BadLineError as error:
        assert error.reason


# Order

go = Signal("go", int)
flips = itertools.count()


@activity(retry=RetryPolicy(max_attempts=3))
async def charge(n: int = 1) -> int:
    if next(flips) % 2:
        raise ConnectionError("not now")
    return n


@workflow
async def child(n: int = 0) -> int:
    return n


@workflow
async def one_by_one(text: str = "") -> int:
    @update
    async def change(n: int) -> int:
        return n

    patched("p")
    set_tags(a=text)
    total = await charge(1) + await go.receive()
    try:
        async with asyncio.timeout(5):
            total += await child(1)
            set_progress(1, 2, text)
            await asyncio.sleep(60)
    except TimeoutError:
        total += await charge(3)
    finally:
        await charge(2)
    return total


@workflow
async def all_at_once(text: str = "") -> int:
    found = await asyncio.gather(charge(0), charge(1), child(2), asyncio.sleep(3), go.receive(), return_exceptions=True)
    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(charge(n))
    return len(found) + len(text)


def recorded(root: Path, definition: AnyWorkflow) -> list[Any]:
    """What a real run of a workflow recorded."""
    place = Place(root, HastyClock())

    async def run() -> None:
        task = asyncio.create_task(place.go(definition, "x"))
        await place.until_told(ev.WorkflowStarted)
        place.deliver(ev.SignalReceived(name="go", payload=msgspec.Raw(b"1"), signal_id="s"))
        place.deliver(ev.UpdateRequested(update_id="u", name="change", args=msgspec.Raw(b"1")))
        await task

    asyncio.run(run())
    return place.events()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[AnyWorkflow, list[Any]]]:
    both = (one_by_one, all_at_once)
    return [(each, recorded(tmp_path_factory.mktemp("run"), each)) for each in both]


@st.composite
def muddled(draw: st.DrawFn, events: list[Any]) -> list[Any]:
    """A history in whose middle somebody moved events about, or put others."""
    events = list(events)
    for _ in range(draw(st.integers(1, 4))):
        if len(events) < 3:
            break
        at, other = draw(st.integers(1, len(events) - 1)), draw(st.integers(1, len(events) - 1))
        match draw(st.sampled_from(["swap", "drop", "double", "insert", "renumber", "cut"])):
            case "swap":
                events[at], events[other] = events[other], events[at]
            case "drop":
                del events[at]
            case "double":
                events.insert(other, events[at])
            case "insert":
                events.insert(at, draw(nasty.any_event))
            case "cut":
                del events[at:]
            case _:
                numbers = [n for n in ("activity_id", "timer_id", "ordinal", "attempt") if hasattr(events[at], n)]
                changes = {name: draw(st.integers(-1, 6)) for name in numbers}
                events[at] = msgspec.structs.replace(events[at], **changes)
    return nasty.stamped(events)


@tries(300)
@given(st.data(), st.integers(0, 1))
def test_a_history_in_nonsense_order_replays_or_is_refused(
    runs: list[tuple[AnyWorkflow, list[Any]]], data: st.DataObject, which: int
) -> None:
    definition, events = runs[which]
    try:
        replay = replay_of(definition, data.draw(muddled(events)))
        try:
            replay.run()
        finally:
            replay.execution.close()
    except DurabilityError as error:
        assert error.message


@tries(100)
@given(st.lists(nasty.events_of(ev.WorkflowStarted), min_size=1, max_size=1), nasty.nonsense)
def test_nonsense_can_be_listed_and_shown(first: list[Any], rest: list[Any]) -> None:
    events = nasty.stamped([*first, *rest])
    words, sentences = EventWords(), Sentences()
    flights, now = InFlight(sentences), Now(1.0, 10**15)
    for event in events:
        words.what(event)
        flights.follow("r", event, now)
        sentences.say("r", event)
        flights.lines(now, 80, 20)
    try:
        summary = summarise(events)
    except AionError as error:
        assert error.message
    else:
        waiting_words(summary.waiting, now.micros)
        age_words(summary.since, now.micros)


# The command line


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.write("""
        go = Signal("go", int)

        @workflow
        async def order(sku: str = "", cents: int = 0):
            await go.receive()
    """)
    assert project.here("run", "order", "--id", "r", "--until-blocked").code == 3
    return project


# Nothing absolute and no parent among them: what is typed here is really done.
typed = st.one_of(
    st.sampled_from(
        [
            *("r", "order", "go", "-", "--", "@", "@nothing", "", "*", "histories", "r@2", "r@1", "json", "h/r.jsonl"),
            *("histories/r.jsonl", "histories/*.jsonl", "workflows/order.py", "workflows/order.py:order", "1", "60s"),
        ]
    ),
    nasty.texts.map(lambda text: text.replace("\0", "")),
    nasty.json_values.map(lambda value: json.dumps(value).replace("\0", "")),
    st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), max_size=3),
)
commands = st.sampled_from(
    [
        *(
            "run",
            "replay",
            "signal",
            "list",
            "show",
            "verify",
            "repair",
            "result",
            "query",
            "cancel",
            "pause",
            "unpause",
        ),
        *("reopen", "terminate"),
    ]
)
options = st.sampled_from(
    [
        *(
            "--id",
            "--input",
            "-p",
            "--if-exists",
            "--max-wait",
            "--durability",
            "--max-concurrency",
            "--tag",
            "--grace",
        ),
        *("--to", "--expect-head", "--workflow", "--status", "-o", "--histories=more", "--workflows=x", "--force"),
        *("-q", "-v", "--no-color", "--dry-run", "--until-blocked", "--reason", "--junit=report.xml", "--step"),
    ]
)


@tries(250)
@given(commands, st.lists(st.one_of(typed, options), max_size=5))
def test_whatever_is_typed_ends_as_the_contract_says(project: Project, command: str, words: list[str]) -> None:
    done = project.here(command, *words, *(["--until-blocked"] if command == "run" else []))
    assert done.code in range(11), done
    assert "-v" in words or "Traceback" not in done.stderr
    assert nasty.RAW.findall(done.stderr) == []
    assert {path.name for path in project.root.iterdir()} <= {"workflows", "histories", "more", "report.xml"}
