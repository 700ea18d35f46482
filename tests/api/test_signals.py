"""Signals as an author declares and takes them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from aion_cli import Signal, send_signal, workflow
from aion_cli.api.signals import signals_of
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.errors import AionError, PayloadError, UsageError
from tests.builders import divergence, ended, history, raw, replay_of, replayed, send, sent, signal, started


class Answer(msgspec.Struct):
    ok: bool
    reason: str = ""


approval = Signal("approval", Answer)
anything = Signal("anything")


@pytest.mark.parametrize("name", ["", "x" * 121, "new\nline", "bell\a"])
def test_a_name_has_to_be_printable_and_short(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a signal"):
        Signal(name, int)


@pytest.mark.parametrize("name", ["a", "x" * 120, "stock / A1", "größe"])
def test_other_names_are_fine(name: str) -> None:
    assert repr(Signal(name, int)) == f"Signal({name!r})"


def test_a_type_that_cannot_be_recorded_is_refused_where_it_is_declared() -> None:
    with pytest.raises(PayloadError):
        Signal("socket", ModuleType)


def test_a_payload_is_encoded_if_it_fits() -> None:
    assert approval.encode(Answer(True)) == raw({"ok": True, "reason": ""})
    assert anything.encode([1, "two"]) == raw([1, "two"])
    for wrong in ({"ok": "maybe"}, None, [Answer(True)]):
        with pytest.raises(PayloadError):
            approval.encode(wrong)


@workflow
async def decides() -> str:
    answer = await approval.receive()
    return f"{answer.ok}: {answer.reason}"


def test_a_payload_arrives_as_its_type_with_defaults_filled_in() -> None:
    events = history(started(), signal("approval", {"ok": True}), ended("True: "))
    assert replayed(decides, events).closed_by


def test_a_signal_is_sent_with_its_payload_encoded() -> None:
    @workflow
    async def asks() -> None:
        await send_signal("order-2", approval, Answer(False, "sold out"))

    replay = replay_of(asks, history(started()))
    (command,) = replay.run().unmatched
    replay.execution.close()
    assert isinstance(command, cmd.SendSignal)
    assert (command.key, command.target_workflow_id, command.name) == (key.Send(0), "order-2", "approval")
    assert command.payload == raw({"ok": False, "reason": "sold out"})


@workflow
async def agrees() -> None:
    await send_signal("order-2", approval, Answer(True))


def test_a_field_with_a_default_may_be_added_to_a_signal_that_was_sent() -> None:
    replayed(agrees, history(started(), send(0, "order-2", "approval", {"ok": True}), sent(0), ended()))
    found = divergence(agrees, history(started(), send(0, "order-2", "approval", {"ok": False}), sent(0), ended()))
    assert (found.recorded.input, found.seq) == ('{"ok":false}', 2)


@pytest.mark.parametrize("use", [lambda: approval.receive(), lambda: send_signal("order-2", approval, Answer(True))])
def test_outside_of_a_workflow_there_is_nothing_to_receive_or_send(use: object) -> None:
    with pytest.raises(AionError, match="inside a running workflow"):
        asyncio.run(use())  # pyright: ignore[reportCallIssue, reportUnknownArgumentType] - a function of no arguments
    with pytest.raises(AionError, match="inside a running workflow"):
        approval.pending()


# --- which signals a workflow knows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules, forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def known(folder: Path, code: str, neighbour: str = "") -> list[str]:
    (folder / "shop_signals.py").write_text(f"from aion_cli import Signal\n{neighbour}\n")
    (folder / "shop_flow.py").write_text(
        f"from aion_cli import Signal, workflow\n{code}\n\n@workflow\nasync def flow() -> None: ...\n"
    )
    module = __import__("shop_flow")
    return sorted(signals_of(module.flow))


def test_those_of_its_own_module_are_known(folder: Path) -> None:
    assert known(folder, 'go = Signal("go", int)\nstop = Signal("stop")') == ["go", "stop"]


def test_those_it_imports_are_known_by_name_or_with_their_module(folder: Path) -> None:
    neighbour = 'go = Signal("go", int)\nstop = Signal("stop")'
    assert known(folder, "from shop_signals import go", neighbour) == ["go"]
    del sys.modules["shop_flow"]
    assert known(folder, "import shop_signals", neighbour) == ["go", "stop"]


def test_one_name_with_two_types_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="'go' is declared twice, with different types"):
        known(folder, 'a = Signal("go", int)\nb = Signal("go", str)')


def test_one_name_twice_with_one_type_is_one_signal(folder: Path) -> None:
    assert known(folder, 'a = Signal("go", int)\nb = Signal("go", int)') == ["go"]
