"""What the examples say can be typed is typed here, and each of them is in the README and has goldens and tests."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_golden import HISTORIES

PROJECT = Path(__file__).parents[2]
EXAMPLES = sorted((PROJECT / "workflows").glob("*.py"))
TYPED = [path for path in EXAMPLES if path.stem not in ("order_saga", "release")]  # those are the README's


def lines_of(example: Path) -> list[str]:
    """The lines of a module's docstring that are to be typed; a crontab's are not."""
    text = ast.get_docstring(ast.parse(example.read_text())) or ""
    lines = re.findall(r"^ {4}(\S.*)$", text.replace("\\\n", " "), re.MULTILINE)
    return [line for line in lines if not line.startswith("*")]


def clone(folder: Path) -> Path:
    """Make a folder that looks like a fresh clone, as far as the examples look at it."""
    for name in ("workflows", "docs"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "README.md", folder)
    aion = folder / "bin" / "aion"
    aion.parent.mkdir()
    aion.write_text(f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m aion_cli "$@"\n')
    aion.chmod(0o755)
    return folder


@pytest.mark.parametrize("example", TYPED, ids=lambda path: path.stem)
def test_every_line_of_the_docstring_can_be_typed(example: Path, tmp_path: Path) -> None:
    lines = lines_of(example)
    assert sum(f"aion run {example.stem} " in line for line in lines) >= 2
    folder = clone(tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AION_")}
    environ = kept | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == (3 if "--until-blocked" in line else 0), f"{line}\n{done.stderr}"
    left = {path.name for path in folder.iterdir()} - {"README.md", "bin", "docs", "workflows"}
    assert left == {"histories", "playground"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_in_the_readme_and_has_goldens_and_tests(example: Path) -> None:
    readme = (PROJECT / "README.md").read_text()
    assert f"| [`{example.stem}`](workflows/{example.name}) |" in readme
    started = f'"workflow_type":"{example.stem}"'
    assert any(started in path.read_text().partition("\n")[0] for path in HISTORIES)
    assert (PROJECT / "tests" / "workflows" / f"test_{example.name}").exists()


def test_git_ignores_what_examples_leave_behind() -> None:
    assert {"/playground/", "/shop/"} <= set((PROJECT / ".gitignore").read_text().splitlines())
