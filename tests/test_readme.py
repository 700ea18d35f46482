"""What the README says can be typed is typed here, line by line, in a folder that looks like a fresh clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from aion_cli.cli.output import ExitCode

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"# exit code (\d+)")


def clone(folder: Path) -> Path:
    """Make a folder with the workflows and with `.venv/bin/aion`, as after `make demo`."""
    shutil.copytree(PROJECT / "workflows", folder / "workflows", ignore=shutil.ignore_patterns("__pycache__"))
    aion = folder / ".venv" / "bin" / "aion"
    aion.parent.mkdir(parents=True)
    aion.write_text(f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m aion_cli "$@"\n')
    aion.chmod(aion.stat().st_mode | stat.S_IXUSR)
    return folder


def script(blocks: list[str]) -> str:
    """Return what bash is to run: every line as it stands, and after it whether it ended as the README says."""
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    checked: list[str] = []
    for line in lines:
        said = EXPECTED.search(line)
        wanted = said[1] if said else "0"
        text = line.replace("'", "'\\''")
        checked += [line, f"code=$?; [ $code -eq {wanted} ] || {{ echo 'exit code' $code 'of: {text}' >&2; exit 99; }}"]
    return "\n".join(checked)


def test_every_line_ends_as_the_readme_says(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    saved = re.search(r"^Save this as `([^`]+)`:\n\n```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert saved is not None
    (folder / saved[1]).write_text(saved[2])
    done = subprocess.run(
        ["bash", "-c", script(SHELL[1:])],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("AION_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '{"status":"shipped","receipt":"receipt-1","tracking":"parcel-3"}' in done.stdout
    assert '{"status":"released","approved_by":"Ada","printed":"published"}' in done.stdout
    assert '"Hello, Ada!"' in done.stdout
    require_that_the_killed_order_was_charged_once(folder / "shop" / "ledger.jsonl")


def require_that_the_killed_order_was_charged_once(ledger: Path) -> None:
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    charges = [entry for entry in entries if entry["request"] == "charge"]
    assert [(entry["attempt"], entry["repeated"]) for entry in charges] == [(1, False), (1, False), (2, True)]
    assert charges[1]["key"] == charges[2]["key"]


def test_demo_and_test_are_the_first_commands_and_there_are_such_targets() -> None:
    commands = [line.partition("#")[0].split() for line in SHELL[0].splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    for command in commands:
        done = subprocess.run([*command, "-n"], cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README))
    assert {"lint", "format"} <= named <= targets


def test_exit_codes_are_those_of_the_program() -> None:
    table = README.partition("## What exit codes say")[2].partition("\n## ")[0]
    codes = {int(code) for row in re.findall(r"^\| ([0-9, ]+) \|", table, re.MULTILINE) for code in row.split(",")}
    assert codes <= {int(code) for code in ExitCode}
    assert codes >= set(range(11)) | {130, 143}


def test_every_file_that_is_linked_exists() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (PROJECT / link).exists(), link
