"""A project folder to type `aion` in: in a process of its own, or in this one, which is some ten times faster.

Processes of their own are for signals, locks and kills. What both give back is the same: exit code, stdout and stderr,
taken from file descriptors 1 and 2, so that nothing that is printed past Python's streams is missed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from aion_cli import log
from aion_cli.cli import entry, output
from aion_cli.core.lines import decode_event
from aion_cli.runtime.codec import codec_from_environment
from aion_cli.runtime.files import Files
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.ownership import read_owner

PATIENCE_S = 60
REPOSITORY = Path(__file__).parents[2]

PREAMBLE = """\
import asyncio
from aion_cli import Signal, activity, workflow

def note(text):
    with open("world", "a") as world:
        world.write(text + "\\n")
"""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document that stdout is, with nothing else on it."""
        assert self.stdout.count("\n") == 1, self.stdout
        return json.loads(self.stdout)


class Running:
    """A command in a process of its own that goes on. Killed at the end of the `with` block if it has not ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self._said = b""
        self._is_silent = False
        self._news = threading.Condition()
        self._out = io.BytesIO()
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_out, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_err, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_out(self, stream: BinaryIO) -> None:
        self._out.write(stream.read())

    def _read_err(self, stream: BinaryIO) -> None:
        for line in stream:
            with self._news:
                self._said += line
                self._news.notify_all()
        with self._news:
            self._is_silent = True
            self._news.notify_all()

    def until_stderr_says(self, text: str, timeout_s: float = PATIENCE_S) -> None:
        """Return when stderr has said something; fails if the process is silent for long, or ends."""
        with self._news:
            self._news.wait_for(lambda: text.encode() in self._said or self._is_silent, timeout_s)
        assert text.encode() in self._said, f"stderr never said {text!r}, but: {self._said.decode()}"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, timeout_s: float = PATIENCE_S) -> Done:
        """Wait for the end, and return what it was."""
        code = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(timeout_s)
        return Done(code, self._out.getvalue().decode(), self._said.decode())

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Project:
    """A folder with workflows, histories, and `world`, the file in which activities note what they did."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.histories = root / "histories"

    def write(self, source: str, file: str = "workflows/order.py") -> Path:
        """Write a workflow file: the PREAMBLE, and source, which may be indented."""
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PREAMBLE + textwrap.dedent(source))
        return path

    def line_of(self, text: str, file: str = "workflows/order.py") -> str:
        """Return "file:line" of the one line of a workflow file that holds a text."""
        lines = (self.root / file).read_text().splitlines()
        (number,) = [number for number, line in enumerate(lines, start=1) if text in line]
        return f"{file}:{number}"

    def here(self, *args: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Done:
        """Run aion in this process."""
        with _as_if_fresh(self.root, stdin, environ or {}), _captured() as streams:
            code = entry.main(args)
        return Done(code, *streams.read())

    def aion(
        self,
        *args: str,
        stdin: bytes = b"",
        environ: Mapping[str, str] | None = None,
        before_exec: Callable[[], None] | None = None,
    ) -> Done:
        """Run aion in a process of its own, to its end. before_exec: called in it before it becomes aion."""
        done = subprocess.run(
            [sys.executable, "-m", "aion_cli", *args],
            cwd=self.root,
            env=environment(environ),
            input=stdin,
            preexec_fn=before_exec,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *args: str, environ: Mapping[str, str] | None = None) -> Running:
        """Start aion in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "aion_cli", *args],
            cwd=self.root,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return Running(process)

    def until_owned(self, run: str, owner: Running) -> None:
        """Return when a running command owns a run."""
        path = HistoriesFolder(self.histories).lock(run)
        begun = time.monotonic()
        while read_owner(path, Files()).pid != owner.pid:
            assert owner.process.poll() is None, owner.end()
            assert time.monotonic() - begun < PATIENCE_S, f"{run} is not owned"
            time.sleep(0.005)

    def until_recorded(self, run: str, event: str) -> None:
        """Return when the history of a run holds an event of a type."""
        begun = time.monotonic()
        while event not in self.names(run):
            assert time.monotonic() - begun < PATIENCE_S, f"{run} has no {event}"
            time.sleep(0.005)

    def history(self, run: str) -> Path:
        return self.histories / f"{run}.jsonl"

    def events(self, run: str) -> list[Any]:
        return [decode_event(line) for line in self.history(run).read_bytes().split(b"\n")[:-1]]

    def names(self, run: str) -> list[str]:
        """The names of the events of a run, in order."""
        return [type(event).__name__ for event in self.events(run)]

    @property
    def world(self) -> list[str]:
        """What activities noted, in order."""
        path = self.root / "world"
        return path.read_text().splitlines() if path.exists() else []

    def snapshot(self) -> dict[str, bytes]:
        """Everything there is, with its bytes, but the bookkeeping in `.aion`; accepted messages count."""
        found: dict[str, bytes] = {}
        for path in sorted(self.root.rglob("*")):
            parts = path.relative_to(self.root).parts
            if "__pycache__" in parts or (".aion" in parts and path.suffix != ".json"):
                continue
            found["/".join(parts)] = path.read_bytes() if path.is_file() else b""
        return found


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process of ours: no settings of the caller, and this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AION_")}
    return kept | {"PYTHONPATH": str(REPOSITORY)} | dict(more or {})


@contextlib.contextmanager
def _as_if_fresh(root: Path, stdin: bytes, environ: Mapping[str, str]) -> Generator[None]:
    """Make this process look like one that was just started in a folder, and forget what it imported."""
    before = set(sys.modules)
    path, cwd, kept, stream = list(sys.path), Path.cwd(), dict(os.environ), sys.stdin
    filters = list(log.filters)  # which --show-replay-output takes away
    vars(output)["_stdout"].documents = 0  # a real process has only one command line to answer
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment(environ))
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    codec_from_environment.cache_clear()
    try:
        yield
    finally:
        codec_from_environment.cache_clear()
        log.filters[:] = filters
        sys.stdin = stream
        os.environ.clear()
        os.environ.update(kept)
        os.chdir(cwd)
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(root)):
                del sys.modules[name]


class _Streams:
    """Temporary files in the place of file descriptors 1 and 2."""

    def __init__(self) -> None:
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - closed by read

    def read(self) -> tuple[str, str]:
        texts: list[str] = []
        for file in self.files:
            file.seek(0)
            texts.append(file.read().decode())
            file.close()
        return texts[0], texts[1]


@contextlib.contextmanager
def _captured() -> Generator[_Streams]:
    streams = _Streams()
    outer = sys.stdout, sys.stderr
    kept = [os.dup(1), os.dup(2)]
    for number, file in enumerate(streams.files, start=1):
        os.dup2(file.fileno(), number)
    with open(1, "w", closefd=False) as stdout, open(2, "w", buffering=1, closefd=False) as stderr:
        sys.stdout, sys.stderr = stdout, stderr
        try:
            yield streams
        finally:
            stdout.flush()
            stderr.flush()
            sys.stdout, sys.stderr = outer
            for number, fd in enumerate(kept, start=1):
                os.dup2(fd, number)
                os.close(fd)
