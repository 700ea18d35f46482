"""The claim: who is asked, how often, and what their word comes to."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from pathlib import Path

import pytest

from aion_cli import send_signal, start_child, workflow
from aion_cli.testing import crash_everywhere, run_workflow
from tests.cli.support import Done, Project
from tests.workflows.attempts import WORKFLOWS, attempt
from workflows.expense_approval import Claim, Decision, Declined, Paid, decision, expense_approval, pay, send

CLAIM = Claim("ada@example.org", "train", 12_900)
YES = Decision(CLAIM.approver, approved=True)
NO = Decision(CLAIM.approver, approved=False, remark="take the bus")
DAY_S = 86_400


class Post:
    """The post office and the bank of a test. sent: to whom, and how the text begins."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.takes = {send: self._send, pay: self._pay}

    def _send(self, to: str, subject: str, text: str) -> None:
        del subject
        self.sent.append((to.partition("@")[0], text.partition(".")[0]))

    def _pay(self, claim: Claim) -> str:
        return f"order over {claim.cents}"


@workflow
async def claim_that_is_refused_after(days: float) -> Paid | Declined:
    """Submit the claim, and refuse it so many days later."""
    submitted = await start_child(expense_approval, CLAIM, id="trip-7")
    await asyncio.sleep(days * DAY_S)
    await send_signal("trip-7", decision, NO)
    return await submitted


def test_a_claim_is_paid_once_the_approver_agrees() -> None:
    post = Post()
    outcome = run_workflow(expense_approval, CLAIM, activities=post.takes, signals=[(decision, YES)])
    assert outcome == Paid("approver@example.org", payment="order over 12900")
    assert post.sent == [("approver", "May this be paid? This is mail 1 about it"), ("ada", "The money is on its way")]


def test_a_claim_is_declined_with_the_remark_of_the_approver() -> None:
    post = Post()
    outcome = run_workflow(expense_approval, CLAIM, activities=post.takes, signals=[(decision, NO)])
    assert outcome == Declined("take the bus")
    assert post.sent[-1] == ("ada", "take the bus")


def test_what_others_say_does_not_count() -> None:
    own = Decision(CLAIM.claimant, approved=True)
    outcome = run_workflow(expense_approval, CLAIM, activities=Post().takes, signals=[(decision, own), (decision, NO)])
    assert outcome == Declined("take the bus")


def test_silence_is_asked_again_every_day_and_declined_in_the_end() -> None:
    post = Post()
    assert run_workflow(expense_approval, CLAIM, activities=post.takes) == Declined("nobody answered")
    assert [to for to, _ in post.sent] == ["approver"] * 4 + ["ada"]


@pytest.mark.parametrize(("days", "mails"), [(0.5, 1), (1.5, 2), (3.9, 4)])
def test_nobody_is_reminded_who_has_answered(days: float, mails: int) -> None:
    post = Post()
    outcome = run_workflow(claim_that_is_refused_after, days, activities=post.takes)
    assert outcome == Declined("take the bus")
    assert [to for to, _ in post.sent] == ["approver"] * mails + ["ada"]


def test_a_crash_changes_nothing() -> None:
    for signals in ([(decision, YES)], [(decision, NO)], []):
        expected = run_workflow(expense_approval, CLAIM, activities=Post().takes, signals=signals)
        assert crash_everywhere(expense_approval, CLAIM, activities=Post().takes, signals=signals) == expected
    outcome = crash_everywhere(claim_that_is_refused_after, 1.5, activities=Post().takes)
    assert outcome == Declined("take the bus")


def test_a_second_attempt_hands_in_the_same_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, key in [(1, "r1/2"), (2, "r1/2"), (1, "r1/5")]:
        attempt(number, key, lambda: send.fn("ada@example.org", "train", "paid"))
    mails = sorted(tmp_path.glob("playground/expenses/outbox/*"))
    assert [path.name for path in mails] == ["r1-2.eml", "r1-5.eml"]
    mail = message_from_bytes(mails[0].read_bytes())
    assert (mail["To"], mail["Subject"], mail.get_payload()) == ("ada@example.org", "train", "paid\n")


def typed(folder: Path, *words: str) -> Done:
    return Project(folder).aion("--workflows", WORKFLOWS, *words)


def test_a_claim_can_be_handed_over_while_it_waits(tmp_path: Path) -> None:
    submit = ["run", "expense_approval", "--id", "trip-7", "-p", "what=train", "-p", "cents:=12900"]
    assert typed(tmp_path, *submit, "-p", "claimant=ada@example.org", "--until-blocked").code == 3

    own = typed(tmp_path, "update", "trip-7", "hand_over", '"ada@example.org"')
    assert (own.code, own.stdout) == (2, "")
    assert "nobody decides on a claim of their own" in own.stderr
    handed = {"approver": "deputy@example.org", "mails": 2, "state": "undecided"}
    assert typed(tmp_path, "update", "trip-7", "hand_over", '"deputy@example.org"').document == handed
    assert typed(tmp_path, "query", "trip-7", "status").document == handed

    said = typed(tmp_path, "signal", "trip-7", "decision", '{"by": "deputy@example.org", "approved": true}')
    assert said.code == 0, said.stderr
    done = typed(tmp_path, "run", "expense_approval", "--id", "trip-7")
    assert (done.code, done.document["approved_by"]) == (0, "deputy@example.org")
    (order,) = tmp_path.glob("playground/expenses/payments/*")
    assert (order.name, order.read_text()) == (done.document["payment"], '{"to":"ada@example.org","cents":12900}')
    assert len(list(tmp_path.glob("playground/expenses/outbox/*.eml"))) == 3


def test_a_claim_that_is_decided_cannot_be_handed_over(tmp_path: Path) -> None:
    submit = ["run", "expense_approval", "--id", "trip-7", "-p", "what=train", "-p", "cents:=12900"]
    assert typed(tmp_path, *submit, "-p", "claimant=ada@example.org", "--until-blocked").code == 3
    bank = tmp_path / "playground" / "expenses" / "payments"
    bank.touch()  # where a folder should be, so that nothing can be paid
    word = '{"by": "approver@example.org", "approved": true}'
    assert typed(tmp_path, "signal", "trip-7", "decision", word).code == 0
    assert typed(tmp_path, "run", "expense_approval", "--id", "trip-7", "--max-wait=0.2s").code == 3
    late = typed(tmp_path, "update", "trip-7", "hand_over", '"deputy@example.org"')
    assert late.code == 2
    assert "it is decided already" in late.stderr


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        (["cents:=0"], "$.cents"),
        (["claimant=ada"], "$.claimant"),
        (["approver=ada@example.org"], "nobody decides on a claim of their own"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused_before_anything_is_recorded(
    tmp_path: Path, parameters: list[str], path: str
) -> None:
    given = {"claimant": "=ada@example.org", "what": "=train", "cents": ":=1"}
    words = [f"{name}{value}" for name, value in given.items() if not parameters[0].startswith(name)] + parameters
    done = typed(tmp_path, "run", "expense_approval", *(part for word in words for part in ("-p", word)))
    assert (done.code, done.stdout) == (2, "")
    assert path in done.stderr
    assert not list(tmp_path.glob("histories/*.jsonl"))
