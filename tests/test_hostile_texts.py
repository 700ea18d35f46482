"""Ten thousand nasty texts through every renderer: not one control character of theirs comes out.

A selection in `make test`; all of them with AION_TORTURE=1.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from aion_cli import errors
from aion_cli.cli import output, render, reports
from aion_cli.cli.audit import Audit
from aion_cli.cli.describe import EventWords, waiting_words
from aion_cli.cli.ends import end_document, report_end
from aion_cli.cli.inflight import InFlight, Now
from aion_cli.cli.sentences import Sentences
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.steps import StepRows
from aion_cli.cli.table import Cell, Column, Table
from aion_cli.cli.terminal import visible, visible_json
from aion_cli.cli.verdicts import Case, Verdict, VerdictTable, verdict_of
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus, Waiting, WaitKind
from aion_cli.runtime.endings import SuspendReason
from aion_cli.runtime.outcome import RunEnd
from tests import nasty
from tests.faults.tally import TORTURE, Tally

TEXTS = 10_000 if TORTURE else 200
SETTINGS = Settings(Path("histories"), Path("workflows"))
NOW = Now(10.0, 10**15)


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def failure(text: str) -> ev.Failure:
    cause = ev.Failure(kind=ev.ErrorKind.ERROR, type=text, message=text, traceback=text, notes=[text])
    return ev.Failure(ev.ErrorKind.TIMEOUT, text, text, {text: [text]}, text, [text], cause)


def events(text: str) -> list[Any]:
    """One event of each type, in which everything that is text is this text."""
    by_type: dict[Any, Any] = {
        str: text,
        int: 0,
        float: 1.5,
        bool: True,
        msgspec.Raw: raw({text: [text]}),
        ev.Failure: failure(text),
        ev.ParentRef | None: ev.ParentRef(text, text, 1),
        ev.DefinitionRef: ev.DefinitionRef(text, text, text),
        ev.RuntimeRef: ev.RuntimeRef(text, text),
        ev.ParentClose: ev.ParentClose.CANCEL,
        list[ev.AttachedChild]: [ev.AttachedChild(text, text, 1)],
        list[str]: [text],
        dict[str, str]: {text: text},
        dict[str, Any]: {text: text},
        str | None: text,
    }
    found: list[Any] = []
    for seq, kind in enumerate(nasty.KINDS, start=1):
        fields = {field.name: by_type[field.type] for field in msgspec.structs.fields(kind)}
        fields |= {"seq": seq, "recorded_at": "2026-03-01T09:30:00.000000Z"}
        fields |= {name: "2026-03-01T09:30:00.000000Z" for name in ("fire_at", "next_attempt_at") if name in fields}
        found.append(kind(**fields))
    return found


def all_errors(text: str) -> list[errors.AionError]:
    """One error of each sort."""
    step = errors.Step(text, text, text, text)
    return [
        errors.UsageError(text, where=(text, f"{text}:1"), hint=text),
        errors.PayloadError(text, path=text, where=(text,), hint=text),
        errors.WorkflowCodeError(text, trace=f"{text}\n{text}", where=(text,), hint=text),
        errors.NoSuchRunError(text, hint=text),
        errors.WrongStateError(text, hint=text),
        errors.OwnedElsewhereError(text, pid=1, host=text, role=text, since=text),
        errors.NonDeterminismError(
            workflow_id=text, seq=9, recorded=step, requested=step, source=f"{text}:3", last_match=2
        ),
        errors.DamagedHistoryError(path=text, line=1, reason=text),
        errors.UnsupportedFormatError(text, where=(text,), hint=text),
        errors.HistoryShapeError(text),
        errors.StoreError(text, hint=text),
        errors.ActivityError(text, type=text, details={text: text}),
        render.InternalError.of(ValueError(text)),
    ]


def rendered(text: str, color: bool) -> Iterator[str]:
    """Everything that aion would write for people about this text, sort by sort."""
    words, sentences, step_words = EventWords(), Sentences(), list[str]()
    flights = InFlight(sentences)
    table = Table(
        [Column("a", 4), Column("b", 20), Column("c")], width=random.Random(len(text)).choice([None, 60]), color=color
    )
    steps = StepRows(step_words.append, width=80, color=color)
    command = cmd.AwaitSignal(key=key.Signal(text, 0), source=f"{text}:1")
    for event in events(text):
        yield table.row([str(event.seq), Cell(type(event).__name__, "\x1b[31m"), words.what(event)])
        flights.follow(text, event, NOW)
        said = sentences.say(text, event)
        yield visible(f"{text}  {said}")
        yield from flights.lines(NOW, 80, 5)
        steps.observe(event, command)
    yield from step_words
    yield table.row([text, Cell(text, "\x1b[2m"), text])
    yield table.header()
    for error in all_errors(text):
        yield render.error_text(error, SETTINGS, color=color)
        yield visible_json(msgspec.json.encode(render.error_document(error, SETTINGS)).decode())
        yield reports.annotation(error, SETTINGS)
        verdict = verdict_of(Audit(text, Path(text.replace("\0", "")), error=error), SETTINGS)
        yield VerdictTable(SETTINGS, [text]).line(verdict)
    yield render.failure_text(text, failure(text), hint=text, color=color)
    waits = [Waiting(kind, text, "2026-03-01T09:30:00.000000Z", None, text) for kind in WaitKind]
    yield visible(waiting_words(waits, NOW.micros))
    yield visible_json(msgspec.json.encode(end_document(RunEnd(text, text, RunStatus.WAITING, waiting=waits))).decode())


@pytest.mark.parametrize("color", [False, True], ids=["plain", "in-colour"])
def test_no_renderer_lets_a_control_character_out(color: bool, request: pytest.FixtureRequest) -> None:
    chance = random.Random(f"texts {color}")
    rendering = 0
    for _ in range(TEXTS // 2):
        text = nasty.nasty_text(chance)
        for shown in rendered(text, color):
            rendering += 1
            if color:
                shown = nasty.COLOR.sub("", shown)
            assert nasty.RAW.search(shown) is None, (text, shown)
    how = "in colour" if color else "plain"
    Tally(request.node.user_properties).say(
        f"G12: {TEXTS // 2} nasty texts in {rendering} renderings, {how}: 0 raw control characters"
    )


def test_messages_and_endings_are_visible_as_they_are_written(capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random("messages")
    for _ in range(TEXTS // 20):
        text = nasty.nasty_text(chance)
        output.warn(text)
        output.say(SETTINGS, f"{text}\n{text}")
        for end in (
            RunEnd(text, text, RunStatus.WAITING, reason=SuspendReason.BLOCKED),
            RunEnd(text, text, RunStatus.RUNNING, reason=SuspendReason.INTERRUPTED),
            RunEnd(text, text, RunStatus.FAILED, closed_by=ev.WorkflowFailed(error=failure(text))),
            RunEnd(text, text, RunStatus.CANCELLED, closed_by=ev.WorkflowCancelled(reason=text)),
        ):
            report_end(end, SETTINGS, text)
    shown = capfd.readouterr().err
    assert len(shown) > 1_000
    assert nasty.RAW.findall(shown) == []


def test_a_report_for_ci_is_valid_xml_with_the_text_as_it_would_be_shown(tmp_path: Path) -> None:
    chance = random.Random("reports")
    for _ in range(TEXTS // 20):
        text = nasty.nasty_text(chance)
        file = reports.JUnitFile(tmp_path / "report.xml")
        verdict = Verdict(text, text, verdict_of(Audit(text, None), SETTINGS).verdict)
        file.write([Case(verdict, error, 0.0) for error in (None, *all_errors(text))], SETTINGS)
        suite = ElementTree.parse(tmp_path / "report.xml").getroot()[0]
        assert suite[0].get("name", "").replace("\\uffff", "\uffff") == visible(text).replace("\\uffff", "\uffff")
        assert len(suite) == 1 + len(all_errors(text))


def test_an_annotation_is_one_line_and_no_second_command() -> None:
    chance = random.Random("annotations")
    for _ in range(TEXTS // 20):
        for error in all_errors(nasty.nasty_text(chance)):
            line = reports.annotation(error, Settings(Path("h"), Path("w"), OutputMode.HUMAN))
            assert line.startswith("::error ")
            assert "\n" not in line
            assert line.split("::", 3)[1].count("\r") == 0
