"""What a step prints, as it is handed on while the step runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from aion_cli.api import shell as module
from aion_cli.api.attempts import ActivityInfo, set_activity_info
from aion_cli.api.masking import masks
from aion_cli.api.step_output import LineCutter, step_output

run_command = module._run_command  # pyright: ignore[reportPrivateUsage] - the activity behind `shell`
SECRET = "hunter2-étroit"


class Seen:
    """A watcher that keeps what it is told; on_line: told of each line as it comes."""

    def __init__(self, go: Path | None = None) -> None:
        self.lines: list[tuple[str, int, str]] = []
        self._go = go

    def on_printed(self, workflow_id: str, ordinal: int, lines: list[str]) -> None:
        self.lines += [(workflow_id, ordinal, line) for line in lines]
        if self._go is not None:
            self._go.touch()


@pytest.fixture(autouse=True)
def nobody_watches() -> Iterator[None]:
    yield
    step_output.watcher = None
    masks.clear()


def cut(*chunks: bytes) -> list[str]:
    """The lines that these chunks are handed on as."""
    told: list[str] = []
    lines = LineCutter(told.extend)
    for chunk in chunks:
        lines.feed(chunk)
    lines.end()
    return told


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne", b"\n", b"two\nthree"], ["one", "two", "three"]),
        ([b"\n\n", b"\n"], ["", "", ""]),
        (["é".encode()[:1], "é\n".encode()[1:]], ["é"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([b""], []),
    ],
)
def test_chunks_become_lines_and_what_has_no_end_comes_last(chunks: list[bytes], lines: list[str]) -> None:
    assert cut(*chunks) == lines


def test_a_line_is_told_as_soon_as_it_has_ended() -> None:
    told: list[str] = []
    LineCutter(told.extend).feed(b"one\ntw")
    assert told == ["one"]


@pytest.mark.parametrize("at", range(len(SECRET.encode()) + 1))
def test_a_secret_is_masked_wherever_it_was_cut_in_two(at: int) -> None:
    masks.add(SECRET)
    data = SECRET.encode()
    assert cut(b"is " + data[:at], data[at:] + b".\nnext") == ["is ***.", "next"]


def test_a_secret_is_masked_in_a_last_line_without_an_end_too() -> None:
    masks.add(SECRET)
    assert cut(SECRET[:4].encode(), SECRET[4:].encode()) == ["***"]


def test_a_secret_that_only_the_command_reads_is_masked_as_well() -> None:
    masks.expect("env:X", lambda: SECRET)
    assert cut(f"is {SECRET}\n".encode()) == ["is ***"]


def test_of_a_line_without_measure_only_the_length_is_told() -> None:
    masks.add(SECRET)
    whole = b"x" * 65_536
    assert cut(*[whole] * 160, b"\nshort\n") == ["(a line of 10,485,760 bytes)", "short"]
    assert cut(b"a\n" + whole + b"\nb", whole + b"\n") == ["a", "(a line of 65,536 bytes)", "(a line of 65,537 bytes)"]
    assert cut(b"x" * 16_384) == ["x" * 16_384]


def watched(command: str, seen: Seen | None) -> str:
    """Run a command as activity 3 of order-1, and return what was captured of it."""

    async def attempt() -> str:
        set_activity_info(ActivityInfo("order-1", "r1", 3, 1, "r1/2"))
        done = await run_command(command, False, None, None)
        return done.stdout + done.stderr

    step_output.watcher = seen
    return asyncio.run(attempt())


def test_whoever_watches_sees_a_line_while_the_command_runs_and_the_rest_at_its_end(tmp_path: Path) -> None:
    go = tmp_path / "go"
    seen = Seen(go)
    command = f"echo one; until test -e {go}; do sleep 0.01; done; printf two; printf three >&2"
    assert watched(command, seen) == "one\ntwothree"
    assert seen.lines[0] == ("order-1", 3, "one")
    assert {line for _, _, line in seen.lines[1:]} == {"two", "three"}


def test_what_is_recorded_is_not_what_is_shown(tmp_path: Path) -> None:
    masks.add(SECRET)
    seen = Seen()
    assert watched(f"echo {SECRET}; head -c 100000 /dev/zero", seen) == f"{SECRET}\n" + "\0" * 100_000
    assert [line for _, _, line in seen.lines] == ["***", "(a line of 100,000 bytes)"]


def test_without_a_watcher_a_command_is_only_captured() -> None:
    assert watched("echo one", None) == "one\n"


def test_a_command_that_is_cut_short_has_said_what_it_said(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "go")

    async def cut_short() -> None:
        set_activity_info(ActivityInfo("order-1", "r1", 3, 1, "r1/2"))
        step = asyncio.ensure_future(run_command("echo one; printf two; exec sleep 60", True, None, None))
        while not (tmp_path / "go").exists():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step

    step_output.watcher = seen
    asyncio.run(cut_short())
    assert seen.lines[0] == ("order-1", 3, "one")
    assert seen.lines[1:] in ([], [("order-1", 3, "two")])
