"""The pytest plugin, in sessions of pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.audited import change, damage, orders_in
from tests.cli.conftest import forgotten_workflow_files
from tests.cli.support import Done, Project, environment

__all__ = ["forgotten_workflow_files"]

PASSED = re.compile(r"^(\S+) PASSED", re.M)
ALL = [f"histories/{name}.jsonl::replay" for name in ("order-1", "order-2", "waits-1")]


@pytest.fixture
def orders(tmp_path: Path) -> Project:
    """Three histories and a test of another kind, in a project that does not ask for anything."""
    project = orders_in(Project(tmp_path))
    (tmp_path / "test_other.py").write_text("def test_other() -> None: ...\n")
    configure(project)
    return project


def configure(project: Project, settings: str = "") -> None:
    (project.root / "pytest.ini").write_text(f"[pytest]\naddopts = -p no:cacheprovider\n{settings}\n")


def session(project: Project, *args: str, cwd: str = ".") -> Done:
    """Run pytest as in an environment that has aion installed, and no other plugin: some take most of a second."""
    own = {name: value for name, value in environment().items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "aion_cli.testing.plugin", *args],
        cwd=project.root / cwd,
        env=own | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def passed(done: Done) -> list[str]:
    """The ids of the tests that passed, in order; nothing may have gone wrong."""
    assert done.code == 0, done.stdout + done.stderr
    return PASSED.findall(done.stdout)


def test_a_project_that_does_not_ask_is_left_alone(orders: Project) -> None:
    (orders.root / "test_other.py").write_text(
        "import asyncio, sys\n"
        "def test_other() -> None:\n"
        "    loaded = {name for name in sys.modules if name.startswith(('aion_cli', 'msgspec'))}\n"
        "    assert loaded == {'aion_cli', 'aion_cli.testing', 'aion_cli.testing.plugin'}\n"
        "    assert not hasattr(asyncio.wait, '__wrapped__')\n"
    )
    (orders.root / "data.jsonl").write_text('{"type":"Other"}\n')
    assert passed(session(orders, "-v")) == ["test_other.py::test_other"]
    assert session(orders, "histories").code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert session(orders, "data.jsonl").code == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    "settings", ["aion_histories = histories", "testpaths = test_other.py\naion_histories = hist*/*"]
)
def test_the_histories_of_the_configuration_are_tests_each_one_once(orders: Project, settings: str) -> None:
    configure(orders, settings)
    assert sorted(passed(session(orders, "-v"))) == [*ALL, "test_other.py::test_other"]


def test_they_are_not_forced_upon_somebody_who_names_something_else(orders: Project) -> None:
    configure(orders, "aion_histories = histories nowhere")
    assert passed(session(orders, "-v", "test_other.py")) == ["test_other.py::test_other"]
    (orders.root / "sub").mkdir()
    assert session(orders, cwd="sub").code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert passed(session(orders, "-v", "histories")) == ALL


def test_the_option_adds_histories_to_whatever_is_named(orders: Project) -> None:
    done = session(orders, "-v", "test_other.py", "--aion-histories", "histories/order-*.jsonl")
    assert passed(done) == ["test_other.py::test_other", *ALL[:2]]
    done = session(orders, "-v", "--aion-histories=../histories/order-1.jsonl", "../test_other.py", cwd="workflows")
    assert sorted(passed(done)) == [f"../{ALL[0]}", "../test_other.py::test_other"]


@pytest.mark.parametrize("where", ["histories/order-2.jsonl", "histories/order-2.jsonl::replay"])
def test_a_history_can_be_named_like_any_test(orders: Project, where: str) -> None:
    assert passed(session(orders, "-v", where)) == ALL[1:2]


def test_histories_are_spread_over_processes(orders: Project) -> None:
    pytest.importorskip("xdist")
    configure(orders, "aion_histories = histories")
    done = session(orders, "-v", "-p", "xdist.plugin", "-n", "2")
    assert done.code == 0, done.stdout
    assert sorted(re.findall(r"PASSED (\S+)", done.stdout)) == [*ALL, "test_other.py::test_other"]


def test_a_history_that_diverges_fails_with_the_words_of_aion_replay_and_nothing_else(orders: Project) -> None:
    change(orders, "await charge(sku)", "await bill(sku)")
    told = orders.here("replay", "histories/order-1.jsonl").stderr
    done = session(orders, "--aion-histories", "histories", "-k", "order-1", "--no-header")
    assert done.code == pytest.ExitCode.TESTS_FAILED
    assert f"__\n{told}=====" in done.stdout
    assert "Traceback" not in done.stdout
    assert "FAILED histories/order-1.jsonl::replay" in done.stdout


def test_damage_and_a_file_without_a_run_and_missing_code_fail(orders: Project) -> None:
    damage(orders.history("order-1"), line=2)
    orders.history("order-2").write_bytes(b"")
    (orders.root / "workflows/order.py").rename(orders.root / "workflows/orders.txt")
    done = session(orders, "--aion-histories", "histories")
    assert "3 failed, 1 passed" in done.stdout
    for said in (
        "error[damaged]: the history is damaged",
        "error[no-such-run]: there is no run order-2",
        "error[workflow-code]: there is no code for workflow waits: workflows does not define it",
    ):
        assert said in done.stdout


def test_the_workflows_are_where_the_configuration_says(orders: Project) -> None:
    (orders.root / "workflows").rename(orders.root / "flows")
    configure(orders, "aion_histories = histories\naion_workflows = flows")
    assert len(passed(session(orders, "-v"))) == 4


@pytest.mark.parametrize("where", ["nowhere", "histories/none-*.jsonl", "flat"])
def test_histories_that_are_not_there_are_an_error_and_no_tests_that_pass(orders: Project, where: str) -> None:
    (orders.root / "flat").mkdir()
    for origin, args in (("--aion-histories", [f"--aion-histories={where}"]), ("aion_histories", [])):
        done = session(orders, *args)
        assert done.code == pytest.ExitCode.USAGE_ERROR
        assert f"ERROR: {origin}: there is no run " in done.stderr
        assert where in done.stderr
        configure(orders, f"aion_histories = {where}")


def test_a_module_that_takes_wait_from_asyncio_before_it_imports_aion_gets_the_ordered_one(orders: Project) -> None:
    (orders.root / "conftest.py").write_text("from asyncio import wait\n")
    (orders.root / "test_other.py").write_text(
        "from conftest import wait\ndef test_other() -> None:\n    assert hasattr(wait, '__wrapped__')\n"
    )
    configure(orders, "aion_histories = histories")
    assert "test_other.py::test_other" in passed(session(orders, "-v", "test_other.py"))
    configure(orders, "")
    assert len(passed(session(orders, "-v", "test_other.py", "histories/order-1.jsonl"))) == 2


def test_the_summary_names_a_history_that_lies_outside_of_the_root(orders: Project, tmp_path: Path) -> None:
    change(orders, "await charge(sku)", "await bill(sku)")
    elsewhere = tmp_path / "project"
    elsewhere.mkdir()
    (elsewhere / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\naion_workflows = ../workflows\n")
    for given in ("../histories/order-1.jsonl", "--aion-histories=../histories", str(orders.history("order-1"))):
        done = session(orders, "-c", "pytest.ini", given, cwd="project")
        assert "FAILED ../histories/order-1.jsonl::replay" in done.stdout, done.stdout + done.stderr
        assert "FAILED ::" not in done.stdout
