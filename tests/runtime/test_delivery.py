"""Delivering a message: into the inbox, then into the history by whoever may write it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aion_cli.core import events as ev
from aion_cli.errors import DamagedHistoryError, NoSuchRunError, UsageError, WrongStateError
from aion_cli.runtime.delivery import drain_unowned
from aion_cli.runtime.inbox import Accepted, AlreadyKnown, Inbox
from aion_cli.runtime.ownership import Role, take
from tests.builders import cancel_requested, ended, raw, signal, started
from tests.runtime.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    found = Shop(tmp_path / "histories")
    found.write(started("A1"))
    return found


def inbox(shop: Shop) -> Inbox:
    return Inbox(shop.folder, "order-1")


def drained(shop: Shop) -> bool:
    return drain_unowned(shop.folder, "order-1", role=Role.SIGNAL, clock=shop.shop.clock, notice=shop.notices.append)


def test_a_message_to_a_run_that_nobody_owns_is_in_its_history_at_once(shop: Shop) -> None:
    assert isinstance(shop.send(signal("go", 5)), Accepted)
    assert shop.events()[1].payload == raw(5)
    assert inbox(shop).list() == []
    take(shop.folder, "order-1", Role.RUN).release()


def test_messages_are_recorded_in_the_order_in_which_they_were_sent(shop: Shop) -> None:
    with take(shop.folder, "order-1", Role.RUN):
        for n in range(5):
            shop.send(signal("go", n, f"s{n}"))
    shop.send(cancel_requested())
    assert [getattr(event, "signal_id", "") for event in shop.events()[1:]] == ["s0", "s1", "s2", "s3", "s4", ""]


def test_a_message_to_a_run_that_somebody_owns_waits_for_its_owner_who_is_told(shop: Shop) -> None:
    with take(shop.folder, "order-1", Role.RUN):
        bell = inbox(shop).open_doorbell()
        assert bell is not None
        shop.send(signal("go", 5))
        assert shop.names() == ["WorkflowStarted"]
        assert len(inbox(shop).list()) == 1
        bell.silence()
        bell.close()
    assert drained(shop)
    assert shop.names() == ["WorkflowStarted", "SignalReceived"]


def test_what_somebody_owns_is_left_to_its_owner(shop: Shop) -> None:
    with take(shop.folder, "order-1", Role.RUN):
        shop.send(signal("go", 5))
        assert not drained(shop)
    assert shop.names() == ["WorkflowStarted"]


def test_the_same_message_again_is_recorded_once(shop: Shop) -> None:
    assert isinstance(shop.send(signal("go", 5)), Accepted)
    assert shop.send(signal("go", 5)) == AlreadyKnown(recorded=True)
    with pytest.raises(UsageError):
        shop.send(signal("go", 6))
    assert shop.names() == ["WorkflowStarted", "SignalReceived"]


def test_a_message_that_came_back_after_a_power_cut_is_removed_and_not_recorded_again(shop: Shop) -> None:
    with take(shop.folder, "order-1", Role.RUN):
        shop.send(signal("go", 5))
        (path,) = [path for path in shop.folder.inbox("order-1").iterdir() if path.suffix == ".json"]
        kept = path.read_bytes()
    drained(shop)
    path.write_bytes(kept)
    path.chmod(0o600)
    assert drained(shop)
    assert (shop.names(), inbox(shop).list()) == (["WorkflowStarted", "SignalReceived"], [])


def test_nothing_is_delivered_to_a_run_that_is_closed_or_not_there(shop: Shop) -> None:
    shop.write(started("A1"), ended("r"), workflow_id="closed")
    with pytest.raises(WrongStateError):
        shop.send(signal("go", 5), "closed")
    with pytest.raises(NoSuchRunError):
        shop.send(signal("go", 5), "nobody")
    assert shop.ids() == ["closed", "order-1"]


def test_a_history_under_the_name_of_another_workflow_id_is_not_written_to(shop: Shop) -> None:
    shutil.copy(shop.path(), shop.path("copy"))
    before = shop.path("copy").read_bytes()
    with pytest.raises(UsageError, match="is the history of order-1, not of copy"):
        shop.send(signal("go", 5), "copy")
    assert (shop.path("copy").read_bytes(), Inbox(shop.folder, "copy").names()) == (before, [])


def test_a_message_that_a_closed_run_cannot_take_does_not_make_its_drainer_spin(shop: Shop) -> None:
    with take(shop.folder, "order-1", Role.RUN):
        shop.send(ev.WorkflowPaused())
        kept = {path: path.read_bytes() for path in shop.folder.inbox("order-1").iterdir() if path.suffix == ".json"}
    shop.send(ev.WorkflowTerminated())
    assert shop.names() == ["WorkflowStarted", "WorkflowPaused", "WorkflowTerminated"]
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)
    assert drained(shop)
    assert shop.names() == ["WorkflowStarted", "WorkflowPaused", "WorkflowTerminated"]


def test_a_run_between_two_files_keeps_its_messages_for_the_next(shop: Shop) -> None:
    continued = ev.WorkflowContinuedAsNew(input=raw(1), new_run_id="r1@2")
    shop.write(started("A1"), continued, workflow_id="between")
    assert isinstance(shop.send(signal("go", 5), "between"), Accepted)
    assert shop.names("between") == ["WorkflowStarted", "WorkflowContinuedAsNew"]
    assert len(Inbox(shop.folder, "between").list()) == 1


def test_a_damaged_history_refuses_and_the_message_is_withdrawn(shop: Shop) -> None:
    data = shop.path().read_bytes()
    shop.path().write_bytes(data.replace(b"order", b"prder", 1))
    with pytest.raises(DamagedHistoryError):
        shop.send(signal("go", 5))
    assert inbox(shop).list() == []


def test_a_torn_tail_is_set_aside_on_the_way_and_reported(shop: Shop) -> None:
    shop.path().write_bytes(shop.path().read_bytes() + b'{"type":"Act')
    shop.send(signal("go", 5))
    assert shop.names() == ["WorkflowStarted", "SignalReceived"]
    assert "torn tail of 12 bytes" in shop.notices[0]


def test_a_record_that_lacks_only_its_newline_gets_it_and_that_is_reported(shop: Shop) -> None:
    shop.send(signal("go", 4, "s0"))
    shop.path().write_bytes(shop.path().read_bytes().removesuffix(b"\n"))
    shop.send(signal("go", 5))
    assert shop.names() == ["WorkflowStarted", "SignalReceived", "SignalReceived"]
    assert "lacked only its newline" in shop.notices[0]
