"""The order: what its shop does, and every way for it to go, live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aion_cli import NonRetryable, RetryPolicy
from tests.cli.support import Done, Project
from tests.workflows.attempts import WORKFLOWS, attempt
from workflows import order_saga
from workflows.order_saga import CarrierClosedError, Order

ORDER = Order(sku="A1", cents=1250)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shop of a folder that is the current one; it answers at once."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "slow").write_text("0")
    return folder


def entries(shop: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shop / "ledger.jsonl").read_text().splitlines()]


def test_a_second_attempt_gets_the_receipt_of_the_first(shop: Path) -> None:
    def charge() -> str:
        return order_saga.charge.fn(ORDER)

    receipts = [attempt(1, "r1/2", charge), attempt(1, "r2/2", charge), attempt(2, "r1/2", charge)]
    assert receipts == ["receipt-1", "receipt-2", "receipt-1"]
    assert [entry["repeated"] for entry in entries(shop)] == [False, False, True]


def test_nobody_is_asked_for_what_is_sold_out(shop: Path) -> None:
    (shop / "sold-out").write_text("B7\nA1\n")
    with pytest.raises(NonRetryable, match="A1 is sold out"):
        attempt(1, "r1/2", lambda: order_saga.pick.fn(ORDER))
    assert not (shop / "ledger.jsonl").exists()


def test_a_closed_carrier_is_asked_again_without_end(shop: Path) -> None:
    (shop / "carrier-closed").touch()
    with pytest.raises(CarrierClosedError):
        attempt(1, "r1/2", lambda: order_saga.book_carrier.fn(ORDER))
    retry: RetryPolicy = order_saga.book_carrier.settings.retry
    assert retry.max_attempts is None
    assert not retry.refuses(CarrierClosedError.__mro__)


def ordered(shop: Path, *options: str) -> Done:
    return Project(shop.parent).aion("--workflows", WORKFLOWS, "run", "order_saga", "--id", "o-1", *options)


def answered(shop: Path, approved: str) -> None:
    done = Project(shop.parent).aion("--workflows", WORKFLOWS, "signal", "o-1", "approval", approved)
    assert done.code == 0, done.stderr


@pytest.mark.parametrize(
    ("approved", "result", "requests"),
    [
        (
            "true",
            {"status": "shipped", "receipt": "receipt-1", "tracking": "parcel-3"},
            ["charge", "pick", "book"],
        ),
        (
            "false",
            {"status": "refunded", "receipt": "receipt-1", "reason": "it was refused"},
            ["charge", "refund receipt-1"],
        ),
    ],
)
def test_an_order_is_shipped_or_refunded_as_somebody_says(
    shop: Path, approved: str, result: object, requests: list[str]
) -> None:
    assert ordered(shop, "-p", "sku=A1", "-p", "cents:=1250", "--until-blocked").code == 3
    answered(shop, approved)
    done = ordered(shop)
    assert (done.code, done.document) == (0, result)
    assert [entry["request"] for entry in entries(shop)] == requests


def test_an_order_that_nobody_answers_is_refunded_when_its_time_is_over(shop: Path) -> None:
    done = ordered(shop, "-p", "sku=A1", "-p", "cents:=1250", "-p", "approve_within_s:=0.2")
    assert done.code == 0
    assert done.document == {"status": "refunded", "receipt": "receipt-1", "reason": "nobody answered within 0.2 s"}


def test_an_order_that_cannot_be_shipped_is_refunded(shop: Path) -> None:
    (shop / "sold-out").write_text("A1")
    assert ordered(shop, "-p", "sku=A1", "-p", "cents:=1250", "--until-blocked").code == 3
    answered(shop, "true")
    done = ordered(shop)
    assert (done.code, done.document["reason"]) == (0, "A1 is sold out")
    assert [entry["request"] for entry in entries(shop)] == ["charge", "refund receipt-1"]


@pytest.mark.parametrize(
    ("parameters", "path"),
    [(["sku=A1", "cents:=0"], "$.cents"), (["sku=A1"], "cents"), (["sku=A1", "cents=12"], "$.cents")],
)
def test_an_order_that_makes_no_sense_is_refused_before_anything_is_recorded(
    shop: Path, parameters: list[str], path: str
) -> None:
    done = ordered(shop, *(word for parameter in parameters for word in ("-p", parameter)))
    assert (done.code, done.stdout) == (2, "")
    assert path in done.stderr
    assert not list(shop.parent.glob("histories/*.jsonl"))
