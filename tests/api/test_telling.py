"""What a run says about itself: log lines that never change what its code does."""

from __future__ import annotations

import logging

import pytest

from aion_cli import log, workflow
from aion_cli.testing import run_workflow
from tests.builders import ended, history, replayed, started


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@workflow
async def chatty() -> str:
    log.info("%d", "x")
    log.info(Unspeakable())
    return "done"


def test_a_log_record_that_cannot_be_formatted_is_told_with_its_place_and_raises_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_workflow(chatty) == "done"
    told = capsys.readouterr().err
    assert f"tests/api/test_telling.py:{chatty.line + 2}: a log record cannot be written: TypeError: %d format" in told
    assert "a log record cannot be written: RuntimeError: no text" in told
    assert told.count("cannot be written") == 2, "it is told once, when it happened, and not in the replay"


def test_a_log_record_that_cannot_be_formatted_changes_no_replay() -> None:
    assert replayed(chatty, history(started(), ended("done"))).closed_by is not None


def test_a_handler_that_raises_is_told_and_raises_nothing_into_workflow_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise LookupError("no disk")

    broken = Broken()
    log.addHandler(broken)
    try:
        log.warning("hello")
    finally:
        log.removeHandler(broken)
    assert "a log record cannot be written: LookupError: no disk" in capsys.readouterr().err
