"""The owner's end of the inbox: it notices what is accepted, with its doorbell and without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from aion_cli import Signal, workflow
from aion_cli.runtime import mailbox as module
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.journal import Durability
from aion_cli.runtime.mailbox import InboxMailbox
from tests.builders import signal, started
from tests.runs import Place
from tests.runtime.shop import Shop
from tests.storage import Unsynced


@pytest.fixture
def folder(tmp_path: Path) -> HistoriesFolder:
    shop = Shop(tmp_path / "histories")
    shop.write(started("A1"))
    return shop.folder


class Listening:
    """A mailbox that counts what it notices."""

    def __init__(self, folder: HistoriesFolder) -> None:
        self.mailbox = InboxMailbox(Inbox(folder, "order-1"), nothing_to_settle)
        self.looks = 0

    def look(self) -> None:
        self.looks += 1

    async def until(self, looks: int) -> None:
        while self.looks < looks:
            await asyncio.sleep(0.001)


def nothing_to_settle() -> None:
    """What a history is where each append is synced."""


def no_doorbell(inbox: Inbox) -> None:
    """What a folder gives that cannot hold a FIFO."""


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def test_a_ring_is_noticed_without_waiting_for_the_next_look(
    folder: HistoriesFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 3_600)

    async def scenario() -> None:
        here = Listening(folder)
        here.mailbox.listen(here.look)
        sender = Inbox(folder, "order-1")
        for n in range(3):
            sender.accept(signal("go", n, f"s{n}"), chosen_id=True)
            sender.ring()
            await here.until(n + 1)
        assert [message.event.signal_id for message in here.mailbox.list()] == ["s0", "s1", "s2"]
        here.mailbox.close()

    run(scenario)


def test_without_a_doorbell_looking_alone_is_enough(folder: HistoriesFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(Inbox, "open_doorbell", no_doorbell)

    async def scenario() -> None:
        here = Listening(folder)
        here.mailbox.listen(here.look)
        Inbox(folder, "order-1").accept(signal("go", 1), chosen_id=True)
        await here.until(3)
        assert len(here.mailbox.list()) == 1
        here.mailbox.close()

    run(scenario)


def test_looking_goes_on_although_what_it_calls_fails(folder: HistoriesFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)

    async def scenario() -> None:
        here = Listening(folder)

        def fails() -> None:
            here.look()
            raise ValueError("broken listener")

        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        here.mailbox.listen(fails)
        await here.until(3)
        here.mailbox.close()
        assert len(told) >= 2

    run(scenario)


def test_one_can_be_asked_to_look_soon(folder: HistoriesFolder) -> None:
    async def scenario() -> None:
        here = Listening(folder)
        here.mailbox.listen(here.look)
        here.mailbox.look()
        assert here.looks == 0
        await here.until(1)
        here.mailbox.close()

    run(scenario)


def test_after_closing_nothing_is_noticed_any_more(folder: HistoriesFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.001)

    async def scenario() -> None:
        here = Listening(folder)
        here.mailbox.listen(here.look)
        await here.until(1)
        here.mailbox.close()
        noticed = here.looks
        Inbox(folder, "order-1").ring()
        here.mailbox.look()
        await asyncio.sleep(0.01)
        assert here.looks == noticed
        here.mailbox.close()

    run(scenario)


def test_messages_are_removed_by_name(folder: HistoriesFolder) -> None:
    async def scenario() -> None:
        here = Listening(folder)
        sender = Inbox(folder, "order-1")
        for n in range(3):
            sender.accept(signal("go", n, f"s{n}"), chosen_id=True)
        first, second, third = here.mailbox.list()
        here.mailbox.remove([first.name, third.name])
        assert [message.name for message in here.mailbox.list()] == [second.name]

    run(scenario)


def test_while_it_is_locked_nothing_is_accepted_and_it_can_be_listed(folder: HistoriesFolder) -> None:
    async def scenario() -> None:
        here = Listening(folder)
        sender = asyncio.create_task(
            asyncio.to_thread(Inbox(folder, "order-1").accept, signal("go", 1), chosen_id=True)
        )
        with here.mailbox.locked():
            await asyncio.sleep(0)
            listed = len(here.mailbox.list())
            await asyncio.wait([sender], timeout=0.05)
            assert len(here.mailbox.list()) == listed
        await sender
        assert len(here.mailbox.list()) == 1

    run(scenario)


class Steps(Unsynced):
    """Calls on files that are only noted: what is written, brought to the disk, and removed from the inbox."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.log.append("write")
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self.log.append("sync")

    def unlink(self, path: Path) -> None:
        if path.suffix == ".json":
            self.log.append("remove")
        super().unlink(path)


@pytest.mark.parametrize("durability", Durability)
def test_a_message_is_not_removed_before_the_history_that_holds_it_is_on_the_disk(
    tmp_path: Path, durability: Durability
) -> None:
    @workflow
    async def order() -> int:
        return await Signal("go", int).receive()

    calls = Steps()
    place = Place(tmp_path / "histories", calls=calls, stop_when_blocked=True)
    place.shop = msgspec.structs.replace(place.shop, durability=durability)
    assert place.run(order).closed_by is None
    Inbox(place.folder, "order-1").accept(signal("go", 5), chosen_id=False)
    assert place.run(order).closed_by is not None
    at = calls.log.index("remove")
    assert calls.log[at - 2 : at] == ["write", "sync"]
    last_syncs = calls.log[at:].count("sync")
    assert last_syncs == (1 if durability is Durability.FULL else 0)
