"""What `aion_cli` exports: all of it, lazily, and nothing that would slow an author's import down."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aion_cli

ROOT = Path(__file__).parent.parent


def python(code: str) -> str:
    """Run code in a fresh interpreter, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_exported_names_are_these_and_stay_so() -> None:
    # Removing one, or giving it another meaning, breaks the workflows of others.
    assert aion_cli.__all__ == sorted(aion_cli.__all__, key=lambda name: (name[0].islower(), name))
    assert set(aion_cli.__all__) >= {
        *("ActivityError", "ActivityInfo", "ActivityInterrupted", "ActivityTimeout", "AionError", "ChildError"),
        *("ChildHandle", "ContinueAsNew", "NonRetryable", "PayloadError", "RetryPolicy", "Saga", "Secret"),
        *("ShellError", "ShellResult", "Signal", "activity", "activity_info", "deprecate_patch", "heartbeat"),
        *("history_length", "log", "map_activities", "now", "patched", "query", "randint", "random", "send_signal"),
        *(
            "set_progress",
            "set_tags",
            "shell",
            "sleep_until",
            "start_child",
            "update",
            "uuid4",
            "wait_until",
            "workflow",
        ),
    }


@pytest.mark.parametrize("name", aion_cli.__all__)
def test_every_exported_name_can_be_had_and_is_documented(name: str) -> None:
    value = getattr(aion_cli, name)
    assert name in dir(aion_cli)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"{name} has no docstring"


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(inspect.getfile(aion_cli)).read_text())
    imported = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    homes: Any = vars(aion_cli)["_HOMES"]
    assert imported == homes
    assert sorted(imported) == sorted(aion_cli.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'actvity'"):
        _ = aion_cli.actvity  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - that is what is tested


def test_importing_the_package_loads_none_of_it() -> None:
    loaded = python("import sys, aion_cli; print([name for name in sys.modules if name.startswith('aion_cli.')])")
    assert loaded == "[]"


def test_importing_the_whole_authoring_api_loads_neither_typer_nor_rich_nor_filelock() -> None:
    loaded = python(
        "import sys; from aion_cli import *; "
        "print(sorted({'typer', 'rich', 'filelock', 'click', 'attrs', 'pydantic'} & set(sys.modules)))"
    )
    assert loaded == "[]"


def test_names_do_not_hide_the_standard_library_from_authors_who_import_modules() -> None:
    # aion_cli.random is a function; `import random` still is the module.
    printed = python("import random, aion_cli; from aion_cli import random as ours; print(random.random is not ours)")
    assert printed == "True"
