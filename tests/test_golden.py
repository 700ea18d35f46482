"""The committed histories hold what they should, and fit today's code on every newer Python that there is here.

That they fit on this Python is a test of each: pyproject.toml has the pytest plugin of aion collect them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import filelock
import pytest

from aion_cli.core import events as ev
from aion_cli.runtime.reading import read_history

PROJECT = Path(__file__).parent.parent
GOLDEN = PROJECT / "histories" / "golden"
HISTORIES = sorted(GOLDEN.glob("*.jsonl"))
SCENARIOS = {
    "agent-approved",
    "agent-continued",
    "agent-refused",
    "agent-unanswered",
    "backup-bad-night",
    "backup-two-nights",
    "compress-all",
    "compress-interrupted",
    "compress-left-out",
    "compress-retried",
    "expense-approved",
    "expense-handed-over",
    "expense-reminded",
    "expense-unanswered",
    "ingest-bad-file",
    "ingest-continued",
    "ingest-interrupted",
    "ingest-loaded",
    "order-approved",
    "order-approved-early",
    "order-cancelled",
    "order-interrupted",
    "order-late",
    "order-refused",
    "order-retried",
    "order-sold-out",
    "release-approved",
    "release-failed",
    "release-interrupted",
    "release-refused",
}
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15", "3.16"]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def replayed(python: str | Path) -> list[dict[str, Any]]:
    """The verdicts of `aion replay` on all goldens, under a Python that has the four dependencies."""
    done = subprocess.run(
        [python, "-m", "aion_cli", "replay", "histories/golden", "-o", "json"],
        cwd=PROJECT,
        env=without_settings() | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts: list[dict[str, Any]] = json.loads(done.stdout)
    return verdicts


def without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AION_", "PYTHON"))}


def test_every_way_for_a_workflow_to_go_has_its_golden() -> None:
    assert {re.split("[.@]", path.stem)[0] for path in HISTORIES} == SCENARIOS


@pytest.mark.parametrize(
    ("stem", "kinds"),
    [
        ("order-approved", {ev.TimerCancelled, ev.ChildWorkflowCompleted, ev.WorkflowCompleted}),
        ("order-late", {ev.TimerFired, ev.WorkflowCompleted}),
        ("order-cancelled", {ev.WorkflowCancelRequested, ev.ActivityCompleted, ev.WorkflowCancelled}),
        ("order-sold-out", {ev.ChildWorkflowFailed, ev.WorkflowCompleted}),
        ("order-sold-out.1-8", {ev.ActivityFailed, ev.WorkflowFailed}),
        ("order-retried.1-8", {ev.ActivityFailed, ev.WorkflowCompleted}),
        ("agent-continued", {ev.SignalReceived, ev.WorkflowContinuedAsNew}),
        ("agent-continued@2", {ev.SignalReceived, ev.WorkflowContinuedAsNew}),
        ("agent-continued@3", {ev.WorkflowCompleted}),
        ("agent-unanswered", {ev.TimerFired, ev.WorkflowCompleted}),
        ("backup-bad-night", {ev.ActivityFailed, ev.TimerFired, ev.WorkflowContinuedAsNew}),
        ("backup-two-nights", {ev.TimerFired, ev.TagsSet, ev.WorkflowContinuedAsNew}),
        ("compress-left-out", {ev.ActivityFailed, ev.ProgressSet, ev.WorkflowCompleted}),
        ("compress-retried", {ev.ActivityFailed, ev.ProgressSet, ev.WorkflowCompleted}),
        ("expense-handed-over", {ev.UpdateCompleted, ev.TimerCancelled, ev.WorkflowCompleted}),
        ("expense-reminded", {ev.TimerFired, ev.SignalReceived, ev.WorkflowCompleted}),
        ("ingest-bad-file", {ev.ActivityFailed, ev.WorkflowCompleted}),
        ("ingest-continued", {ev.TimerFired, ev.WorkflowContinuedAsNew}),
        ("release-failed", {ev.ActivityFailed, ev.ActivityCancelled, ev.WorkflowFailed}),
    ],
)
def test_a_golden_history_holds_what_its_name_says(stem: str, kinds: set[type[ev.Event]]) -> None:
    assert kinds <= {type(event) for event in read_history(GOLDEN / f"{stem}.jsonl")}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_no_golden_history_tells_where_it_was_recorded(path: Path) -> None:
    hosts = {event.host for event in read_history(path) if isinstance(event, ev.ActivityStarted)}
    assert hosts == {"ci.example"}
    assert not re.search(r"""["' =(]/\w""", path.read_text(encoding="utf-8")), "an absolute path"


@pytest.mark.parametrize("version", [version for version in PYTHONS if version != RUNNING])
def test_every_golden_history_replays_clean_under_another_python(version: str, pytestconfig: pytest.Config) -> None:
    python = environment(version, pytestconfig)
    verdicts = replayed(python)
    assert Counter(verdict["verdict"] for verdict in verdicts) == {"clean": len(HISTORIES)}


def environment(version: str, config: pytest.Config) -> Path:
    """Return a Python of this version that has aion's dependencies; the environment is made once, and kept."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = hashlib.sha256(json.dumps([python, project["dependencies"]]).encode()).hexdigest()[:12]
    folder = config.cache.mkdir(f"python{version}-{wanted}")
    ready = folder / "ready"
    with filelock.FileLock(folder / "lock"):
        if not ready.exists():
            make_environment(python, folder / "venv", project["dependencies"])
            ready.touch()
    return folder / "venv" / "bin" / "python"


def make_environment(python: str, folder: Path, dependencies: list[str]) -> None:
    made = subprocess.run([python, "-m", "venv", "--clear", folder], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"{python} cannot make an environment: {last_line(made)}")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
    installed = subprocess.run([*pip, *dependencies], capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"pip cannot install aion's dependencies for {python}: {last_line(installed)}")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip().rpartition("\n")[2]


def interpreter(version: str) -> str | None:
    """Find a Python on PATH or among pyenv's, and make sure that it starts: a shim may stand for nothing."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")))
    for candidate in [shutil.which(f"python{version}"), *installed]:
        if candidate is not None and starts(candidate, version):
            return candidate
    return None


def starts(python: str, version: str) -> bool:
    ask = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version
