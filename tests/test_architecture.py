"""The floors of architecture.md hold, and a violation would be noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter is not installed")

PROJECT = Path(__file__).parent.parent


def lint(project: Path) -> subprocess.CompletedProcess[str]:
    """Run lint-imports on a checkout, which must import its own copy of the package."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    shutil.copytree(PROJECT / "aion_cli", folder / "aion_cli", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_floor_imports_only_floors_below_it(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "planted", "contract"),
    [
        ("core/clock.py", "import os", "core decides"),
        ("core/correlation.py", "import concurrent.futures", "core decides"),
        ("core/events.py", "from aion_cli.core import correlation", "inside core"),
        ("core/clock.py", "from aion_cli import runtime", "a floor imports only floors below it"),
        ("errors.py", "from aion_cli.core import clock", "a floor imports only floors below it"),
        ("core/events.py", "import rich", "the authoring API loads neither typer, rich nor filelock"),
        ("cli/late.py", "from aion_cli import testing", "a floor imports only floors below it"),
        ("testing/replays.py", "import pytest", "pytest is not needed to run anything"),
    ],
)
def test_a_planted_violation_is_found(copy: Path, module: str, planted: str, contract: str) -> None:
    path = copy / "aion_cli" / module
    clean = path.read_text()
    path.write_text(f"{clean}\n{planted}\n")
    try:
        done = lint(copy)
    finally:
        path.write_text(clean)
    assert done.returncode == 1, done.stdout
    assert [line for line in done.stdout.splitlines() if contract in line and "BROKEN" in line], done.stdout
