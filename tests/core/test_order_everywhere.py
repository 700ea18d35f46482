"""The order of tasks hangs neither on addresses nor on hash seeds: the same commands in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.core.commands_in_a_fresh_process import aborted_group, commands_of, completed_coroutines, iterated_sets

REPOSITORY = Path(__file__).parents[2]
PROCESSES = 20


def commands_in_a_fresh_process(number: int) -> str:
    seed = str(int.from_bytes(os.urandom(4), "big"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.commands_in_a_fresh_process"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"process {number}, hash seed {seed}: {done.stderr}"
    return done.stdout


def test_twenty_fresh_processes_ask_for_the_same_in_the_same_order() -> None:
    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        outputs = set(pool.map(commands_in_a_fresh_process, range(PROCESSES)))
    (output,) = outputs
    here = (aborted_group, completed_coroutines, iterated_sets)
    assert output.splitlines() == [line for each in here for line in (each.name, *commands_of(each))]


def test_the_children_of_an_aborted_group_clean_up_in_the_order_in_which_they_were_made() -> None:
    cleaned = [line for line in commands_of(aborted_group) if "clean_up" in line]
    assert [f'"branch {n}"' in line for n, line in enumerate(cleaned)] == [True] * 8


def test_as_completed_starts_coroutines_in_the_order_given() -> None:
    first = [line for line in commands_of(completed_coroutines) if "first" in line]
    assert [f'"first {n}"' in line for n, line in enumerate(first)] == [True] * 8
