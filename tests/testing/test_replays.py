"""`assert_replays`: recorded histories as an assertion, with the words of `aion replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aion_cli.runtime.loader import load_target
from aion_cli.testing import assert_replays
from tests.builders import AnyWorkflow, scheduled, started
from tests.cli.audited import change, damage, orders_in, write
from tests.cli.conftest import forgotten_workflow_files
from tests.cli.support import Project

__all__ = ["forgotten_workflow_files"]


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two closed runs of `order` and an open one of `waits`, in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading a workflow file puts its folder there
    return orders_in(Project(tmp_path))


def workflow_of(name: str) -> AnyWorkflow:
    return load_target(f"order.py:{name}", Path("workflows"), Path.cwd())


def failure_of(workflow: AnyWorkflow, *histories: str | Path) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_replays(workflow, *histories)
    return str(caught.value)


@pytest.mark.parametrize("where", ["histories/*.jsonl", "histories", "histories/order-1.jsonl", "**/order-?.jsonl"])
def test_histories_that_the_code_still_fits_are_passed(orders: Project, where: str) -> None:
    before = orders.snapshot()
    assert_replays(workflow_of("order"), where)
    assert_replays(workflow_of("order"), orders.root / where, "histories/order-2.jsonl")
    assert_replays(workflow_of("waits"), "histories")
    assert orders.snapshot() == before


def test_a_divergence_is_told_in_the_words_of_aion_replay(orders: Project) -> None:
    change(orders, "await charge(sku)", "await bill(sku)")
    told = orders.here("replay", "histories/order-1.jsonl").stderr
    assert "histories/order-1.jsonl:2" in told
    assert orders.line_of("await bill") in told
    assert failure_of(workflow_of("order"), "histories/order-1.jsonl") + "\n" == told
    assert failure_of(workflow_of("order"), "histories") + "\n" == f"{told}  also diverged: histories/order-2.jsonl\n"


def test_a_divergence_between_many_clean_histories_is_not_missed(orders: Project) -> None:
    write(orders.history("order-3"), started("C3", workflow_id="order-3"), scheduled(0, "bill", {"sku": "C3"}))
    told = failure_of(workflow_of("order"), "histories/*")
    assert told.startswith("error[non-determinism]: order-3 no longer matches its history")
    assert "also" not in told


def test_damage_is_told_as_well_though_nobody_can_say_whose_history_it_was(orders: Project) -> None:
    damage(orders.history("order-2"), line=1)
    told = orders.here("replay", "histories/order-2.jsonl").stderr
    assert failure_of(workflow_of("order"), "histories") + "\n" == told


def test_a_word_that_names_no_history_does_not_pass_for_a_clean_one(orders: Project) -> None:
    order = workflow_of("order")
    (orders.root / "bare").mkdir()
    for nothing in ("histories/x-*.jsonl", "bare", "nowhere", "order-1"):
        assert f"there is no run {nothing}" in failure_of(order, nothing, "histories")
        assert f"there is no run {nothing}" in failure_of(order, "histories", nothing)
    (orders.root / "bare/empty.jsonl").touch()
    assert "holds no run yet" in failure_of(order, "bare")


def test_histories_of_other_workflows_alone_are_no_histories_of_this_one(orders: Project) -> None:
    told = failure_of(workflow_of("basket"), "histories")
    assert "histories holds no run of the workflow basket, but of order, waits" in told
    assert "workflows/order.py:" in told
    assert "but of order" in failure_of(workflow_of("waits"), "histories/order-1.jsonl")
