"""One workflow id of the oracle: the runs that it continues as, and the children of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aion_cli import ChildError
from aion_cli.core import events as ev
from aion_cli.core.failures import failure_of
from aion_cli.testing.loop import START
from tests.programs import nodes
from tests.programs.plain_run import NO_PATHS, Around, Awaited, PlainRun

_CANCEL = ev.WorkflowCancelRequested(request_id="")


class PlainChain:
    """One workflow id. body: of its first run. on_end: told of its last one."""

    def __init__(self, world: Around, path: str, body: nodes.Node, on_end: Callable[[PlainRun], None]) -> None:
        self._world = world
        self._body = body
        self._on_end = on_end
        self._children: list[_Child] = []
        self.has_ended = False
        self._continued_at = -1
        self._begin(path)

    def _begin(self, path: str) -> None:
        self._run = PlainRun(self._world, path, self)
        self._run.begin(nodes.body_at(self._body, path))

    def take(self, event: ev.Event) -> None:
        """Take a message.

        A request to cancel that comes just when the code has ended to continue as new is carried over, unless it is a
        further one: then it may be for the run that ends, and change nothing.
        """
        is_late = self._continued_at == self._world.loop.micros and isinstance(event, ev.WorkflowCancelRequested)
        if not is_late or self._world.comes_first():
            self._run.take(event)

    def _hand_over(self, event: ev.Event) -> None:
        """Take what an earlier run has left over; meanwhile the chain may have gone on once more."""
        self._run.take(event)

    def go_on(self, before: PlainRun, path: str) -> None:
        """Continue as a new run, which takes over what the one before has not consumed."""
        self._continued_at = self._world.loop.micros if before.cancel_requested else -1
        self._begin(path)
        for event in before.left_over():
            self._world.next(self._hand_over, event)

    def ended(self, last: PlainRun) -> None:
        """There is no further run: do to the open children what their parent_close says."""
        self.has_ended = True
        for child in list(self._children):
            child.parent_ended(last)
        self._on_end(last)

    def child(
        self,
        asker: PlainRun,
        path: str,
        body: nodes.Node,
        *,
        name: str | None = None,
        parent_close: nodes.ParentClose = "cancel",
    ) -> asyncio.Future[Any]:
        """Have a child started soon. Cancelling the future asks it to cancel."""
        child = _Child(self._world, asker, path, body, name, parent_close, self._children.remove)
        self._children.append(child)
        return child.future


class _Child:
    """A child, from the command that asks for it to its end. on_end: told when it is open no more."""

    def __init__(
        self,
        world: Around,
        asker: PlainRun,
        path: str,
        body: nodes.Node,
        name: str | None,
        parent_close: nodes.ParentClose,
        on_end: Callable[[_Child], None],
    ) -> None:
        self.future = Awaited(loop=world.loop)
        self.future.on_cancel = self._withdraw
        self._world = world
        self._asker = asker
        self._path = path
        self._body = body
        self._name = name
        self._parent_close: nodes.ParentClose = parent_close
        self._on_end = on_end
        self._chain: PlainChain | None = None
        self._letters: list[ev.Event] = []
        self._asked_in = world.arrivals
        self._never_was = False
        self._orphaned_at = -1
        world.soon(self._start)

    def _withdraw(self) -> None:
        """The code stops waiting. What was asked for and taken back in one step never was."""
        if self._asker.is_closed:
            return
        if self._world.arrivals == self._asked_in:
            self._never_was = True
            self._close()
        else:
            self._tell(_CANCEL)

    def parent_ended(self, parent: PlainRun) -> None:
        """Do what parent_close says."""
        if self._parent_close == "abandon" or not parent.is_main:
            self._orphaned_at = self._world.loop.micros
            self._world.outlasting.add(self)
        match self._parent_close:
            case "cancel":
                self._tell(_CANCEL)
            case "terminate":
                self._tell(ev.WorkflowTerminated())
            case "abandon":
                pass

    def _tell(self, event: ev.Event) -> None:
        if self._chain is None:
            self._letters.append(event)
        else:
            self._world.soon(self._chain.take, event)

    def _start(self) -> None:
        if self._never_was:
            return
        if self._name is not None and self._name in self._world.ids:
            self._close()
            message = f"{self._name} is the id of a run that this workflow did not start"
            self._world.soon(self._fail, ChildError(message, type="ChildIdTaken"))
            return
        self._world.ids |= {self._name} if self._name is not None else set()
        if any(isinstance(event, ev.WorkflowTerminated) for event in self._letters):
            # It is told before anything that its code asked for is done.
            self._world.record(self._path, ("WorkflowTerminated", None, self._world.loop.micros - START))
            self._close()
            return
        self._chain = PlainChain(self._world, self._path, self._body, self._ended)
        for event in self._letters:
            self._world.next(self._chain.take, event)

    def _ended(self, last: PlainRun) -> None:
        self._close()
        self._world.soon(self._arrive, last)

    def _close(self) -> None:
        self._on_end(self)
        if self._orphaned_at == self._world.loop.micros:
            self._world.outlasting.discard(self)

    def _arrive(self, last: PlainRun) -> None:
        if self.future.done() or self._asker.is_closed:
            return
        match last.outcome[0]:
            case "completed":
                self.future.set_result(last.main.result())
            case "WorkflowCancelled":
                self._fail(ChildError("the child workflow was cancelled", type="CancelledError"))
            case _:
                assert last.error is not None
                failure = failure_of(last.error, NO_PATHS)
                self._fail(ChildError(failure.message, type=failure.type))

    def _fail(self, error: ChildError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
