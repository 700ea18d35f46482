"""Everything that authors write, in all that can become of it: one row of the table, one column a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import aion_cli
from aion_cli.cli.render import error_text
from aion_cli.cli.settings import Settings
from aion_cli.errors import NonDeterminismError
from aion_cli.testing.loop import SkippingLoop
from tests.primitives import activities, shop
from tests.primitives.stage import (
    ROOT,
    RUN,
    AnyWorkflow,
    Cancelled,
    Changed,
    Performance,
    Primitive,
    Unchangeable,
    replay_of,
)
from tests.primitives.table import NO_PRIMITIVES, PRIMITIVES, STANDARD
from tests.primitives.witness import touching

AUTHORING = (ROOT / "docs" / "authoring.md").read_text()
SETTINGS = Settings(Path("histories"), Path("workflows"))

each = pytest.mark.parametrize("primitive", PRIMITIVES, ids=str)


def those_with(column: str, kind: type) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "primitive", [row for row in PRIMITIVES if isinstance(getattr(row, column), kind)], ids=str
    )


@pytest.fixture
def loop() -> Iterator[SkippingLoop]:
    shop.did.clear()
    with closing(SkippingLoop()) as loop:
        yield loop


@each
def test_it_does_live_what_it_is_for(loop: SkippingLoop, primitive: Primitive) -> None:
    performance = Performance.of(loop, primitive)
    names = [type(event).__name__ for event in performance.events]
    assert performance.end == ("WorkflowCompleted", primitive.result)
    assert names == ["WorkflowStarted", *primitive.records.split(), "WorkflowCompleted"]


@each
def test_a_replay_agrees_with_what_was_recorded_and_touches_nothing(loop: SkippingLoop, primitive: Primitive) -> None:
    performance = Performance.of(loop, primitive)
    did = list(shop.did)
    with touching() as touched:
        replays = performance.replay()
    for replay in replays:
        replay.execution.close()
    assert len(replays) == len(performance.histories)
    assert (touched, shop.did) == ([], did)


@pytest.mark.parametrize("workflow", [activities.activity_in_a_process, activities.shell_step], ids=lambda w: w.name)
def test_the_witness_of_replays_sees_what_the_live_run_does(loop: SkippingLoop, workflow: AnyWorkflow) -> None:
    (primitive,) = [row for row in PRIMITIVES if row.workflow is workflow]
    with touching() as touched:
        Performance.of(loop, primitive)
    assert any(each.startswith("subprocess.Popen") for each in touched), touched


@each
def test_a_crash_at_any_moment_changes_nothing_about_its_end(loop: SkippingLoop, primitive: Primitive) -> None:
    performance = Performance.of(loop, primitive)
    ends = dict(performance.crashes())
    assert len(ends) >= len(performance.events)
    assert ends == dict.fromkeys(ends, performance.ends)


@those_with("cancelled", Cancelled)
def test_cancelled_while_it_waits_it_is_withdrawn_and_the_workflow_cleans_up(
    loop: SkippingLoop, primitive: Primitive
) -> None:
    way = primitive.cancelled
    assert isinstance(way, Cancelled)
    performance = Performance.cancelled(loop, primitive, way)
    names = [type(event).__name__ for event in performance.events]
    assert performance.end == ("WorkflowCancelled", "enough")
    cleanup = ("ActivityScheduled", "ActivityStarted", "ActivityCompleted", "WorkflowCancelled")
    assert tuple(names[names.index("WorkflowCancelRequested") + 1 :]) == (*way.withdraws, *cleanup)
    assert [done for done in shop.did if done in way.told] == [*way.told]
    assert shop.did.count("tidied up") == 1


@those_with("cancelled", Cancelled)
def test_a_replay_of_its_cancellation_agrees_and_so_does_every_crash_on_the_way(
    loop: SkippingLoop, primitive: Primitive
) -> None:
    way = primitive.cancelled
    assert isinstance(way, Cancelled)
    performance = Performance.cancelled(loop, primitive, way)
    for replay in performance.replay():
        replay.execution.close()
    ends = {cut: found[RUN] for cut, found in performance.crashes()}
    assert len(ends) >= len(performance.events)
    assert ends == dict.fromkeys(ends, ("WorkflowCancelled", "enough"))


@those_with("changed", Changed)
def test_code_that_uses_it_otherwise_is_told_where_it_parts_from_its_history(
    loop: SkippingLoop, primitive: Primitive
) -> None:
    changed = primitive.changed
    assert isinstance(changed, Changed)
    history = Performance.of(loop, primitive).histories[0]
    did = list(shop.did)
    with pytest.raises(NonDeterminismError) as diverged:
        replay_of(history, changed.workflow)
    error = diverged.value
    said = (error.seq, str(error.recorded), str(error.requested or "nothing"), error.source)
    assert said == (changed.seq, changed.recorded, changed.requested, changed.place)
    lines = [" ".join(line.split()) for line in error_text(error, SETTINGS).splitlines()]
    assert f"histories/run.jsonl:{changed.seq} recorded: {changed.recorded}" in lines
    assert f"{changed.place} asks for: {changed.requested}" in lines
    assert shop.did == did


@those_with("changed", Unchangeable)
def test_code_that_uses_it_otherwise_replays_clean_where_nothing_is_compared(
    loop: SkippingLoop, primitive: Primitive
) -> None:
    changed = primitive.changed
    assert isinstance(changed, Unchangeable)
    replay_of(Performance.of(loop, primitive).histories[0], changed.but).execution.close()


@pytest.mark.parametrize("primitive", [row for row in PRIMITIVES if row.answers], ids=str)
def test_queries_say_the_same_of_the_recorded_run(loop: SkippingLoop, primitive: Primitive) -> None:
    replay = Performance.of(loop, primitive).replay()[0]
    try:
        answers = {name: replay.execution.ask(name, None) for name in primitive.answers}
    finally:
        replay.execution.close()
    assert answers == {name: shop.as_json(value) for name, value in primitive.answers.items()}


@each
def test_the_docs_have_a_line_on_it(primitive: Primitive) -> None:
    assert primitive.docs in AUTHORING


@pytest.mark.parametrize("name", [*aion_cli.__all__, *STANDARD])
def test_every_name_that_authors_use_has_a_row_or_a_reason_to_have_none(name: str) -> None:
    rows = [row for row in PRIMITIVES if name in row.names]
    assert bool(rows) != (name in NO_PRIMITIVES), f"{name} belongs in the table, or in NO_PRIMITIVES, and not in both"
