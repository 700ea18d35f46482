"""What the documentation says is checked: every exported name and command is in it, and its code runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import aion_cli

ROOT = Path(__file__).parent.parent
AUTHORING = (ROOT / "docs" / "authoring.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", AUTHORING, re.S)


@pytest.mark.parametrize("name", aion_cli.__all__)
def test_every_exported_name_is_documented(name: str) -> None:
    assert re.search(rf"\b{re.escape(name)}\b", AUTHORING), f"docs/authoring.md does not mention {name}"


@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_every_code_block_of_the_authoring_page_can_be_imported(number: int, tmp_path: Path) -> None:
    file = tmp_path / f"block_{number}.py"
    file.write_text(PYTHON_BLOCKS[number])
    names = runpy.run_path(str(file))
    assert any(type(value).__name__ == "WorkflowDefinition" for value in names.values())


def test_the_command_line_reference_is_what_the_program_says() -> None:
    module: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "cli_reference.py"))
    assert module["reference"]() == (ROOT / "docs" / "cli.md").read_text(), (
        "run: python scripts/cli_reference.py > docs/cli.md"
    )
