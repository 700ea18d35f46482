"""An activity that was cancelled gets its grace to clean up, also when its run is over meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ORDER = """
import asyncio
from pathlib import Path
from aion_cli import activity, workflow

begun, cleaned_up = Path("begun"), Path("cleaned-up")

@activity(timeout=600)
async def long() -> None:
    begun.touch()
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.1)
        cleaned_up.touch()

@activity
async def broken() -> None:
    while not begun.exists():
        await asyncio.sleep(0.001)
    raise ValueError("broken")

@workflow
async def order() -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(long())
        both.create_task(broken())
"""


def test_a_run_that_fails_waits_for_what_its_cancelled_activities_clean_up(tmp_path: Path) -> None:
    (tmp_path / "order.py").write_text(ORDER)
    done = subprocess.run(
        [sys.executable, "-m", "aion_cli", "run", "order.py", "--id", "o-1"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("AION_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "cleaned-up").exists()
