"""What an activity returned is recorded without revealed secrets, and can be read as what it is declared to be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aion_cli import ActivityError, activity, workflow
from aion_cli.api.masking import MASK, masks
from aion_cli.core.status import RunStatus
from aion_cli.errors import PayloadError
from aion_cli.runtime.results import recorded_result
from tests.builders import raw
from tests.runtime.shop import Shop


@pytest.fixture(autouse=True)
def revealed() -> Iterator[None]:
    masks.add("2026")
    yield
    masks.clear()


@activity
async def says(text: str) -> str:
    return text


@activity
async def stamps() -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC)


def test_a_revealed_value_is_masked_in_a_text() -> None:
    assert recorded_result(says, "in 2026") == raw(f"in {MASK}")


def test_what_does_not_fit_its_type_once_it_is_masked_is_refused() -> None:
    with pytest.raises(PayloadError, match="the result of stamps holds a revealed secret") as caught:
        recorded_result(stamps, datetime(2026, 3, 1, tzinfo=UTC))
    assert "2026" not in str(caught.value)
    assert recorded_result(stamps, datetime(2027, 3, 1, tzinfo=UTC)) == raw("2027-03-01T00:00:00Z")


def test_the_workflow_gets_that_as_a_failure_of_the_activity_and_goes_on(tmp_path: Path) -> None:
    @workflow
    async def order() -> str:
        try:
            return str(await stamps())
        except ActivityError as error:
            return error.type

    shop = Shop(tmp_path / "histories")
    assert shop.run(order).status is RunStatus.COMPLETED
    assert shop.events()[-1].result == raw("PayloadError")
