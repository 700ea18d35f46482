"""The life of a run: owned, read, replayed, live, let go of, and followed as it continues as new."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aion_cli import ContinueAsNew, Signal, activity, activity_info, set_tags, shell, workflow
from aion_cli.core import events as ev
from aion_cli.core.status import RunStatus, WaitKind
from aion_cli.errors import (
    AionError,
    NonDeterminismError,
    OwnedElsewhereError,
    PayloadError,
    StoreError,
    WrongStateError,
)
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.runner import Runner, require_same_run
from tests.builders import cancel_requested, completed, ended, failed, raw, scheduled, signal, started
from tests.runtime.shop import Shop, interrupt

CALLS: list[tuple[str, object]] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "histories")


@activity
def charge(sku: str) -> str:
    CALLS.append(("charge", activity_info().idempotency_key))
    return f"receipt of {sku}"


@activity
async def bill(receipt: str) -> None:
    CALLS.append(("bill", receipt))


go = Signal("go", int)


@workflow
async def order(sku: str) -> str:
    receipt = await charge(sku)
    await bill(receipt)
    return receipt


@workflow
async def waits(sku: str) -> int:
    await charge(sku)
    return await go.receive()


# --- from start to end


def test_a_run_is_made_owned_and_run_to_its_end(shop: Shop) -> None:
    end = shop.run(order, "A1")
    assert (end.status, end.closed_by and end.closed_by.seq) == (RunStatus.COMPLETED, 8)
    assert shop.names() == [
        "WorkflowStarted",
        "ActivityScheduled",
        "ActivityStarted",
        "ActivityCompleted",
        "ActivityScheduled",
        "ActivityStarted",
        "ActivityCompleted",
        "WorkflowCompleted",
    ]
    assert shop.events()[-1].result == raw("receipt of A1")
    assert shop.told == [("order-1", name) for name in shop.names()]
    take(shop.folder, "order-1", Role.RUN).release()


def test_an_activity_is_called_under_a_key_of_its_own(shop: Shop) -> None:
    shop.run(order, "A1")
    run_id = shop.events()[0].run_id
    assert CALLS[0] == ("charge", f"{run_id}/2")


def test_a_closed_run_is_left_as_it_is_and_its_end_returned(shop: Shop) -> None:
    first = shop.run(order, "A1")
    before = shop.path().read_bytes()
    again = shop.run(order, "A1")
    assert again == first
    assert shop.path().read_bytes() == before
    assert len(CALLS) == 2


def test_a_run_that_was_cut_off_goes_on_without_doing_anything_twice(shop: Shop) -> None:
    shop.write(started("A1"), scheduled(0, "charge", "A1"), completed(0, "from before"))
    end = shop.run(order)
    assert end.status is RunStatus.COMPLETED
    assert CALLS == [("bill", "from before")]
    assert shop.events()[-1].result == raw("from before")


def test_a_run_that_fails_is_failed_with_the_authors_lines(shop: Shop) -> None:
    @activity
    def declines() -> None:
        raise PermissionError("no money")

    @workflow
    async def fails() -> None:
        await declines()

    end = shop.run(fails)
    assert end.status is RunStatus.FAILED
    error = shop.events()[-1].error
    assert (error.type, error.message) == ("PermissionError", "no money")
    assert f"in {fails.fn.__qualname__}" in error.traceback
    assert (
        "in test_a_run_that_fails_is_failed_with_the_authors_lines.<locals>.declines"
        in shop.events()[3].error.traceback
    )


def test_code_that_no_longer_matches_stops_before_anything_but_accepted_messages_is_touched(shop: Shop) -> None:
    shop.write(started("A1"), scheduled(0, "bill", "A1"))
    Inbox(shop.folder, "order-1").accept(signal("go", 1), chosen_id=False)
    with pytest.raises(NonDeterminismError) as caught:
        shop.run(order, "A1")
    assert shop.names() == ["WorkflowStarted", "ActivityScheduled", "SignalReceived"]
    assert (CALLS, caught.value.where) == ([], (str(shop.path()),))
    take(shop.folder, "order-1", Role.RUN).release()


def test_a_run_that_somebody_owns_is_refused_with_who_it_is(shop: Shop) -> None:
    shop.write(started("A1"))
    with take(shop.folder, "order-1", Role.RUN), pytest.raises(OwnedElsewhereError):
        shop.run(order, "A1")
    assert shop.names() == ["WorkflowStarted"]


def test_a_torn_tail_is_set_aside_and_reported(shop: Shop) -> None:
    shop.write(started("A1"), scheduled(0, "charge", "A1"), completed(0, "r1"))
    whole = shop.path().read_bytes()
    shop.path().write_bytes(whole + b'{"type":"Activity')
    assert shop.run(order).status is RunStatus.COMPLETED
    assert shop.path().read_bytes().startswith(whole)
    assert "torn tail of 17 bytes" in shop.notices[0]


# --- stopping and going on


def test_an_interrupted_run_is_left_open_and_says_what_it_waits_for(shop: Shop) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until("order-1", ev.ActivityCompleted)
        interrupt(runner)

    end = shop.run(waits, "A1", meanwhile=meanwhile)
    assert (end.status, end.closed_by) == (RunStatus.WAITING, None)
    assert [(wait.kind, wait.name) for wait in end.waiting] == [(WaitKind.SIGNAL, "go")]
    shop.send(signal("go", 5))
    assert shop.run(waits).status is RunStatus.COMPLETED
    assert shop.events()[-1].result == raw(5)
    assert len(CALLS) == 1


def test_a_stop_before_the_run_has_begun_is_not_lost(shop: Shop) -> None:
    async def at_once(runner: Runner) -> None:
        interrupt(runner)

    assert shop.run(waits, "A1", meanwhile=at_once).closed_by is None
    assert CALLS == []
    assert shop.names() == ["WorkflowStarted", "ActivityScheduled"]


def test_code_that_swallows_its_end_is_left_where_it_waits_and_that_is_reported_once(shop: Shop) -> None:
    @workflow
    async def swallows() -> None:
        for over in [asyncio.get_running_loop().create_future() for _ in range(1_000)]:
            try:
                await over
            except BaseException:  # noqa: BLE001 - that is what is tested
                continue

    end = shop.until_blocked(swallows)
    assert end.closed_by is None
    assert shop.notices == ["order-1: main swallowed its end and was left where it waited"]


def test_until_blocked_a_run_stops_where_only_signals_and_timers_can_move_it(shop: Shop) -> None:
    @workflow
    async def patient() -> int:
        async with asyncio.timeout(86_400):
            return await go.receive()

    end = shop.until_blocked(patient)
    assert end.status is RunStatus.WAITING
    assert {wait.kind for wait in end.waiting} == {WaitKind.SIGNAL, WaitKind.TIMER}
    assert end.next_wake_at == shop.events()[1].fire_at


def test_messages_that_were_accepted_before_are_recorded_first(shop: Shop) -> None:
    shop.write(started("A1"))
    inbox = Inbox(shop.folder, "order-1")
    inbox.accept(signal("go", 7, "s1"), chosen_id=False)
    shop.run(waits)
    assert shop.names()[:3] == ["WorkflowStarted", "SignalReceived", "ActivityScheduled"]
    assert shop.events()[-1].result == raw(7)
    assert inbox.list() == []


def test_a_message_while_it_runs_is_recorded_and_removed(shop: Shop) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until("order-1", ev.ActivityCompleted)
        shop.send(signal("go", 9))

    assert shop.run(waits, "A1", meanwhile=meanwhile).status is RunStatus.COMPLETED
    assert shop.events()[-1].result == raw(9)
    assert Inbox(shop.folder, "order-1").list() == []


def test_a_message_that_comes_as_the_run_is_left_is_recorded_all_the_same(shop: Shop) -> None:
    async def meanwhile(runner: Runner) -> None:
        await shop.until("order-1", ev.ActivityCompleted)
        interrupt(runner)
        # Accepted, but the owner has stopped looking by the time it would be noticed.
        Inbox(shop.folder, "order-1").accept(signal("go", 1), chosen_id=False)

    assert shop.run(waits, "A1", meanwhile=meanwhile).closed_by is None
    assert shop.names()[-1] == "SignalReceived"
    assert Inbox(shop.folder, "order-1").list() == []


@pytest.mark.parametrize(
    ("error", "recorded"),
    [(PayloadError("it cannot be recorded"), True), (StoreError("it cannot be synced"), False)],
    ids=["a payload", "storage"],
)
def test_a_message_to_a_run_that_fails_to_write_is_recorded_unless_storage_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: AionError, recorded: bool
) -> None:
    def refuse(store: JsonlStore, events: object, expected_seq: int) -> int:
        Inbox(shop.folder, "order-1").accept(signal("go", 1), chosen_id=False)
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(JsonlStore, "append", refuse)
    with pytest.raises(type(error)):
        shop.run(waits, "A1")
    assert (shop.names()[1:], len(Inbox(shop.folder, "order-1").list())) == (
        (["SignalReceived"], 0) if recorded else ([], 1)
    )


def test_a_cancelled_run_cleans_up_and_is_cancelled(shop: Shop) -> None:
    @workflow
    async def cleans_up() -> None:
        try:
            await go.receive()
        finally:
            await bill("undo")

    async def meanwhile(runner: Runner) -> None:
        await shop.until("order-1", ev.WorkflowStarted)
        shop.send(cancel_requested(reason="changed my mind"))

    end = shop.run(cleans_up, meanwhile=meanwhile)
    assert end.status is RunStatus.CANCELLED
    assert shop.events()[-1].reason == "changed my mind"
    assert CALLS == [("bill", "undo")]


# --- continuing as new


@workflow
async def counts_down(n: int) -> int:
    await charge(str(n))
    if n:
        raise ContinueAsNew(n - 1)
    return await go.receive()


def test_a_run_that_continues_as_new_is_followed_and_its_keys_start_at_zero_again(shop: Shop) -> None:
    end = shop.until_blocked(counts_down, 2)
    assert end.closed_by is None
    first, second, third = (shop.events(number=number) for number in (1, 2, 3))
    assert [events[0].input for events in (first, second, third)] == [raw(2), raw(1), raw(0)]
    assert second[0].continued_from == first[0].run_id
    assert (second[0].run_id, third[0].run_id) == (f"{first[0].run_id}@2", f"{first[0].run_id}@3")
    assert first[-1].new_run_id == second[0].run_id
    for events in (first, second, third):
        assert (events[1].activity_id, events[1].seq) == (0, 2)
    assert [key for _, key in CALLS] == [f"{events[0].run_id}/2" for events in (first, second, third)]


def test_what_was_not_consumed_is_carried_over_in_the_first_batch_under_its_ids(shop: Shop) -> None:
    shop.write(started(1), signal("go", 7, "s1"), signal("go", 8, "s2"))
    shop.run(counts_down)
    events = shop.events(number=2)
    assert [type(event).__name__ for event in events[:3]] == ["WorkflowStarted", "SignalReceived", "SignalReceived"]
    assert [event.b for event in events[:3]] == [2, 1, 0]
    assert [event.signal_id for event in events[1:3]] == ["s1", "s2"]
    assert events[-1].result == raw(7)


def test_a_cancellation_that_is_accepted_as_the_code_continues_cancels_the_next_run(shop: Shop) -> None:
    @activity
    async def somebody_cancels() -> None:
        Inbox(shop.folder, "order-1").accept(cancel_requested("c1"), chosen_id=True)

    @workflow
    async def loops(n: int) -> None:
        if n:
            await somebody_cancels()
            raise ContinueAsNew(n - 1)
        await go.receive()

    assert shop.until_blocked(loops, 1).status is RunStatus.CANCELLED
    assert shop.names()[-2:] == ["WorkflowCancelRequested", "WorkflowContinuedAsNew"]
    assert shop.names(number=2) == ["WorkflowStarted", "WorkflowCancelRequested", "WorkflowCancelled"]


def test_the_next_run_names_the_code_of_today_and_keeps_tags_and_parent(shop: Shop) -> None:
    parent = ev.ParentRef("other", "r0", 5)
    begun = started(1, tags={"customer": "acme", "step": "first"}, parent=parent, rehashed=True)
    shop.write(begun, ev.TagsSet(tags={"customer": "acme", "step": "second"}))

    @workflow
    async def tagged(n: int) -> None:
        set_tags(step="second")
        if n:
            raise ContinueAsNew(n - 1)

    shop.run(tagged)
    second = shop.events(number=2)[0]
    assert (second.tags, second.parent) == ({"customer": "acme", "step": "second"}, parent)
    assert second.definition.file == __file__
    assert second.definition.digest.startswith("sha256:")
    assert second.rehashed is False


def test_a_crash_between_two_files_is_mended_by_the_next_run(shop: Shop) -> None:
    shop.until_blocked(counts_down, 1)
    shop.path(number=2).unlink()
    CALLS.clear()
    shop.until_blocked(counts_down)
    assert len(CALLS) == 1
    assert shop.events(number=2)[0].run_id == f"{shop.events()[0].run_id}@2"


def test_a_message_between_two_files_reaches_the_next_one(shop: Shop) -> None:
    shop.until_blocked(counts_down, 1)
    shop.path(number=2).unlink()
    shop.send(signal("go", 5))
    assert shop.run(counts_down).status is RunStatus.COMPLETED
    assert shop.events(number=2)[-1].result == raw(5)


def test_the_latest_run_is_gone_on_with(shop: Shop) -> None:
    shop.until_blocked(counts_down, 1)
    shop.send(signal("go", 5))
    assert shop.run(counts_down).status is RunStatus.COMPLETED
    assert shop.names(number=2)[-1] == "WorkflowCompleted"


# --- the same run


@workflow
async def typed(sku: str, express: bool = False) -> None:
    await go.receive()


def test_an_existing_run_has_to_be_of_this_workflow_and_this_input(shop: Shop) -> None:
    shop.write(started({"sku": "A1"}, workflow_type="typed"))
    location = shop.folder.latest("order-1")
    for input in (None, raw({"sku": "A1"}), raw({"express": False, "sku": "A1"})):
        require_same_run(shop.shop, location, typed, input)
    with pytest.raises(WrongStateError, match="started with another input"):
        require_same_run(shop.shop, location, typed, raw({"sku": "A1", "express": True}))
    with pytest.raises(WrongStateError, match="is a run of typed, not of order"):
        require_same_run(shop.shop, location, order, None)


def test_the_input_is_compared_with_that_of_the_first_run(shop: Shop) -> None:
    shop.until_blocked(counts_down, 1)
    location = shop.folder.latest("order-1")
    require_same_run(shop.shop, location, counts_down, raw(1))
    with pytest.raises(WrongStateError, match="another input") as caught:
        require_same_run(shop.shop, location, counts_down, raw(0))
    assert caught.value.where == (f"{shop.path()}:1",)


# --- ends, and what is due


def test_a_shell_step_is_recorded_with_its_output(shop: Shop) -> None:
    @workflow
    async def builds() -> str:
        return (await shell("echo built")).stdout

    assert shop.run(builds).status is RunStatus.COMPLETED
    assert shop.events()[-1].result == raw("built\n")


@pytest.mark.parametrize(
    ("last", "status"),
    [
        (ended(1), RunStatus.COMPLETED),
        (ev.WorkflowTerminated(), RunStatus.TERMINATED),
        (ev.WorkflowTimedOut(timeout_s=5), RunStatus.TIMED_OUT),
    ],
    ids=["completed", "terminated", "timed out"],
)
def test_an_end_of_any_kind_is_found_again(shop: Shop, last: ev.Event, status: RunStatus) -> None:
    shop.write(started("A1"), scheduled(0, "charge", "A1"), completed(0, "r"), signal("go", 1), last)
    assert shop.run(waits).status is status
    assert CALLS == []


def test_a_failed_activity_that_is_to_be_repeated_is_repeated_when_it_is_due(shop: Shop) -> None:
    past = "2026-03-01T09:30:05.000000Z"
    shop.write(started("A1"), scheduled(0, "charge", "A1"), failed(0, again_at=past))
    shop.run(order)
    assert [type(event).__name__ for event in shop.events()[3:5]] == ["ActivityStarted", "ActivityCompleted"]
    assert len(CALLS) == 2
