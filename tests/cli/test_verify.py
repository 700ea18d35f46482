"""`aion verify` and `aion repair`: integrity without any code."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aion_cli.cli.entry import main
from tests.storage import completed, create, done, scheduled, started


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "histories" / "order-1.jsonl"
    create(path, [started()], [scheduled(0)], [completed(0)], [done()]).close()
    return path


def head_of(path: Path) -> str:
    return path.read_bytes().splitlines()[-1][-34:-2].decode()


def test_a_whole_history_is_whole_and_its_head_is_printed(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "order-1"]) == 0
    out = capfd.readouterr().out
    assert out.startswith("whole")
    assert head_of(history) in out


def test_a_flipped_bit_is_exit_5_with_the_line(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(history.read_bytes())
    data[data.index(b"charge")] ^= 1
    history.write_bytes(data)
    assert main(["verify", str(history)]) == 5
    assert f"{history.name}:2" in capfd.readouterr().err


def test_lines_that_vanished_from_the_end_are_noticed_by_the_head(history: Path) -> None:
    head = head_of(history)
    assert main(["verify", "order-1", "--expect-head", head]) == 0
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:-1]))
    assert main(["verify", "order-1", "--expect-head", head]) == 5


def test_verify_prefers_damage_to_a_missing_run(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    history.write_bytes(history.read_bytes().replace(b"charge", b"chargf"))
    assert main(["-o", "json", "verify", "nobody", "order-1"]) == 5
    verdicts = msgspec.json.decode(capfd.readouterr().out)
    assert [verdict["verdict"] for verdict in verdicts] == ["missing", "damaged"]


def test_verify_reports_a_torn_tail_and_touches_nothing(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    history.write_bytes(history.read_bytes() + b'{"type":"Act')
    before = history.read_bytes()
    assert main(["verify", "order-1"]) == 0
    assert capfd.readouterr().out.startswith("torn")
    assert history.read_bytes() == before


def test_repair_sets_a_torn_tail_aside_and_says_where(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = history.read_bytes()
    history.write_bytes(whole + b'{"type":"Act')
    assert main(["repair", str(history)]) == 0
    assert history.read_bytes() == whole
    aside = list((history.parent / ".aion" / "torn").iterdir())
    assert [path.read_bytes() for path in aside] == [b'{"type":"Act']
    assert str(aside[0]) in capfd.readouterr().err


def test_repair_with_nothing_to_do_is_0(history: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = history.read_bytes()
    assert main(["repair", "order-1"]) == 0
    assert history.read_bytes() == before
    assert "nothing to repair" in capfd.readouterr().err


def test_repair_leaves_other_damage_alone(history: Path) -> None:
    history.write_bytes(history.read_bytes().replace(b"charge", b"chargf"))
    before = history.read_bytes()
    assert main(["repair", "order-1"]) == 5
    assert history.read_bytes() == before


def test_repair_of_no_history_is_7(history: Path) -> None:
    assert main(["repair", "nobody"]) == 7
