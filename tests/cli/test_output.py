"""Streams and exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from aion_cli import errors
from aion_cli.cli import output
from aion_cli.cli.output import ExitCode, exit_code_of
from aion_cli.cli.settings import Settings
from aion_cli.errors import Step

PRINTS_A_LOT = """
from aion_cli.cli import entry, inspect, output
def flood(settings, request):
    for n in range(100_000):
        output.write_text(f"line {n}")
    return 0
inspect.list_command = flood
raise SystemExit(entry.main(["list"]))
"""

PRINTS_FROM_EVERYWHERE = """
import os, subprocess, sys
from aion_cli.cli import output
print("before")
with output.stdout_for_results():
    print("a print of workflow code")
    os.write(1, b"a write of a library\\n")
    subprocess.run(["echo", "a child process"])
    output.write_json({"result": 1})
print("after")
"""


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], text=True, check=False, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("no"), 2),
        (errors.PayloadError("no", path="$.a"), 2),
        (errors.WorkflowCodeError("no"), 2),
        (
            errors.NonDeterminismError(
                workflow_id="a", seq=3, recorded=Step("timer"), requested=None, source="w.py:1", last_match=2
            ),
            4,
        ),
        (errors.DamagedHistoryError(path="h.jsonl", line=3, reason="the digest does not match"), 5),
        (errors.UnsupportedFormatError("written by a newer aion"), 5),
        (errors.HistoryShapeError("no"), 5),
        (errors.OwnedElsewhereError("a", pid=1, host="h", role="run", since=""), 6),
        (errors.NoSuchRunError("a"), 7),
        (errors.WrongStateError("it is closed"), 8),
        (errors.StoreError("no space"), 10),
        (errors.SequenceConflictError(expected_seq=1, found_seq=2), 10),
        (errors.ActivityError("no"), 1),
        (errors.AionError("no"), 70),
    ],
)
def test_each_class_of_errors_has_its_exit_code(error: errors.AionError, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_document_is_utf_8_on_one_line_with_recorded_json_as_it_stands(capfd: pytest.CaptureFixture[str]) -> None:
    output.write_json({"name": "žluťoučký 🐎", "raw": msgspec.Raw(b'{"a":1.50}')})
    assert capfd.readouterr() == ('{"name":"žluťoučký 🐎","raw":{"a":1.50}}\n', "")


def test_what_others_print_while_a_command_runs_goes_to_stderr() -> None:
    done = python(PRINTS_FROM_EVERYWHERE, capture_output=True)
    assert done.returncode == 0
    assert done.stdout == 'before\n{"result":1}\nafter\n'
    assert sorted(done.stderr.splitlines()) == ["a child process", "a print of workflow code", "a write of a library"]


def test_lines_that_threads_print_at_once_do_not_run_into_each_other() -> None:
    seen = io.StringIO()
    stream = output.MaskedStream(seen)

    def in_a_thread(*texts: str, then: Callable[[], object] = lambda: None) -> None:
        """Write some, let others write, and write the last."""
        stream.write(texts[0])
        then()
        stream.writelines(texts[1:])

    def other() -> None:
        thread = threading.Thread(target=in_a_thread, args=("b", "\n"))
        thread.start()
        thread.join()

    in_a_thread("a", "1\na2", then=other)
    assert seen.getvalue() == "b\na1\n"
    stream.flush()
    assert seen.getvalue() == "b\na1\na2"


def test_what_a_thread_that_is_gone_has_begun_to_print_is_not_lost() -> None:
    seen = io.StringIO()
    stream = output.MaskedStream(seen)
    thread = threading.Thread(target=stream.write, args=("begun",))
    thread.start()
    thread.join()
    assert seen.getvalue() == ""
    stream.finish()
    assert seen.getvalue() == "begun"


def test_a_long_text_without_a_newline_is_not_held_back() -> None:
    seen = io.StringIO()
    output.MaskedStream(seen).write("x" * 10_000)
    assert seen.getvalue() == "x" * 10_000


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS_A_LOT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == ExitCode.STDOUT_CLOSED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_an_error_in_our_form() -> None:
    with Path("/dev/full").open("w") as full:
        done = python(PRINTS_A_LOT, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == ExitCode.STORAGE
    assert done.stderr.startswith("error[storage]: the result cannot be written to stdout: No space left on device")
    assert "Traceback" not in done.stderr


def test_a_process_without_stdout_says_that_it_cannot_write() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, PRINTS_A_LOT],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == ExitCode.STORAGE
    assert done.stderr.startswith("error[storage]: stdout is closed")


def test_a_slow_reader_of_a_non_blocking_pipe_gets_every_byte() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([sys.executable, "-c", PRINTS_A_LOT], stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader) as lines:
            assert sum(1 for _ in lines) == 100_000
        assert process.wait(30) == 0


def test_quiet_silences_progress_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings(Path("h"), Path("w"), quiet=True)
    output.say(settings, "working")
    output.warn("careful")
    assert capfd.readouterr() == ("", "careful\n")


def test_a_message_is_one_line_and_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    output.warn("two\nlines \x1b]0;title\x07")
    assert capfd.readouterr().err == "two\\nlines \\x1b]0;title\\x07\n"
