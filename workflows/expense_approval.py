"""An expense claim: ask somebody, remind them as long as they say nothing, and pay or decline as they say.

    aion run expense_approval --id trip-7 -p claimant=ada@example.org -p what='train to the fair' -p cents:=12900 \\
      --until-blocked
    aion query trip-7 status
    aion update trip-7 hand_over '"deputy@example.org"'
    aion signal trip-7 decision '{"by": "deputy@example.org", "approved": true}'
    aion run expense_approval --id trip-7

A reminder goes out once a day, three times at most; a day after the last one the claim is declined. To see that in
seconds, start another one with `-p remind_every_s:=2` and without `--until-blocked`, and say nothing.

The post office and the bank are make-believe: what they are handed are files in playground/expenses.
"""

import asyncio
import os
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from aion_cli import RetryPolicy, Signal, activity, activity_info, log, query, set_tags, update, workflow

FOLDER = Path("playground/expenses")
SENDER = "expenses@example.org"
OWN_CLAIM = "nobody decides on a claim of their own"

Address = Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]


class Claim(msgspec.Struct, frozen=True):
    """Who wants what money back, who has to agree, and how often they are asked."""

    claimant: Address
    what: str
    cents: Annotated[int, msgspec.Meta(ge=1)]
    approver: Address = "approver@example.org"
    remind_every_s: float = 86_400.0
    reminders: Annotated[int, msgspec.Meta(ge=0)] = 3

    def __post_init__(self) -> None:
        if self.approver == self.claimant:
            raise ValueError(OWN_CLAIM)


class Decision(msgspec.Struct, frozen=True):
    """The word of the approver."""

    by: Address
    approved: bool
    remark: str = ""


class Paid(msgspec.Struct, frozen=True, tag="paid", tag_field="status"):
    """The money is on its way. payment: the name of the order to the bank."""

    approved_by: str
    payment: str


class Declined(msgspec.Struct, frozen=True, tag="declined", tag_field="status"):
    """There is no money. reason: the approver's remark, or that there was none."""

    reason: str


class Desk(msgspec.Struct):
    """Where the claim lies: at whom, and how many mails they were sent."""

    approver: Address
    mails: int = 0
    state: Literal["undecided", "decided"] = "undecided"


decision = Signal("decision", Decision)


@activity(retry=RetryPolicy(max_attempts=10), timeout=timedelta(seconds=30))
def send(to: str, subject: str, text: str) -> None:
    """Hand a mail to the post office."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = SENDER, to, subject
    mail.set_content(text)
    hand_in("outbox", ".eml", bytes(mail))


@activity(retry=RetryPolicy(max_attempts=10), timeout=timedelta(seconds=30))
def pay(claim: Claim) -> str:
    """Hand a payment order to the bank; returns its name."""
    return hand_in("payments", ".json", msgspec.json.encode({"to": claim.claimant, "cents": claim.cents}))


def hand_in(tray: str, suffix: str, data: bytes) -> str:
    """Put a file into a tray, whole or not at all; returns its name, which all attempts of an activity share."""
    file = FOLDER / tray / (activity_info().idempotency_key.replace("/", "-") + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".part")
    with draft.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
    return file.name


@workflow
async def expense_approval(claim: Claim) -> Paid | Declined:
    """Ask until somebody answers or there are no more reminders; pay or decline; tell the claimant."""
    desk = Desk(claim.approver)
    set_tags(claimant=claim.claimant)
    query("status", lambda: desk)
    offer_hand_over(claim, desk)

    answer = await answered(claim, desk)
    desk.state = "decided"
    if answer is None:
        outcome = Declined("nobody answered")
    elif answer.approved:
        outcome = Paid(answer.by, payment=await pay(claim))
    else:
        outcome = Declined(answer.remark or f"refused by {answer.by}")
    await send(
        claim.claimant, claim.what, outcome.reason if isinstance(outcome, Declined) else "The money is on its way."
    )
    return outcome


def offer_hand_over(claim: Claim, desk: Desk) -> None:
    """Let the claim be given to another approver, who is asked at once."""

    @update
    async def hand_over(to: Address) -> Desk:
        desk.approver = to
        await ask(claim, desk)
        return desk

    @hand_over.validator
    def check(to: Address) -> None:
        if to == claim.claimant:
            raise ValueError(OWN_CLAIM)
        if desk.state == "decided":
            raise ValueError("it is decided already")


async def answered(claim: Claim, desk: Desk) -> Decision | None:
    """Return what the approver says; None if they say nothing to the question and all the reminders."""
    for _ in range(1 + claim.reminders):
        await ask(claim, desk)
        with suppress(TimeoutError):
            async with asyncio.timeout(claim.remind_every_s):  # a durable deadline: no process has to wait for it
                return await decided(desk)
    return None


async def decided(desk: Desk) -> Decision:
    """Return the first decision that comes from the approver; what others say does not count."""
    while (said := await decision.receive()).by != desk.approver:
        log.warning("%s has no say in this, %s has", said.by, desk.approver)
    return said


async def ask(claim: Claim, desk: Desk) -> None:
    """Send the approver a mail: the question, or a reminder of it."""
    desk.mails += 1
    subject = f"{claim.what}: {claim.cents / 100:.2f} for {claim.claimant}"
    text = f"May this be paid? This is mail {desk.mails} about it."
    await send(desk.approver, subject, text)
