"""`run_workflow` and `crash_everywhere`: a workflow as a plain function call, for tests.

Both run it in a World: nothing is written, a year of sleeps takes milliseconds, and activities can be faked. Both end
with a replay, so that a test finds code that is not deterministic before a history does.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.replay import Replay
from aion_cli.core.retry import Duration
from aion_cli.core.source import SourcePaths
from aion_cli.core.status import Waiting
from aion_cli.errors import AionError, PayloadError, UsageError, WorkflowFailure
from aion_cli.testing.fakes import fakes_by_name
from aion_cli.testing.ledger import Accepted, Appended, Cut
from aion_cli.testing.loop import START, SkippingLoop
from aion_cli.testing.script import Script, Signals, Updates
from aion_cli.testing.world import World

R = TypeVar("R")
Activities = Mapping[Any, Callable[..., Any]]

_RUN = "run"


class StuckError(AionError):
    """The workflow waits for something that will not come.

    waiting: what for.
    """

    code = "stuck"

    def __init__(self, waiting: list[Waiting]) -> None:
        what = _words(waiting) or "nothing that aion knows of"
        super().__init__(
            f"the workflow waits for {what}, and nothing else will happen",
            where=tuple(wait.where for wait in waiting if wait.where),
            hint="give it signals=[(signal, payload), …] or updates=[(name, args), …], or a fake that ends",
        )
        self.waiting = waiting


class BrokenPromiseError(AssertionError):
    """After a crash, a run did not come to the end to which it came without one."""


def run_workflow(
    workflow: WorkflowDefinition[..., R],
    *args: Any,
    activities: Activities | None = None,
    signals: Signals = (),
    updates: Updates = (),
    cancel_after: Duration | None = None,
) -> R:
    """Run a workflow to its end, and return its result or raise its error. A plain function: no loop is needed.

    args: the workflow's. activities: what runs in place of activities, by activity or by registered name: a plain or
    async function that takes what the activity takes; attempts, retries and limits of time stay as declared. What has
    no fake really runs. signals: pairs of a Signal, or its name, and a payload; all are there before the code begins.
    As a third, each may have how long after the start it is sent: a timedelta, or seconds. updates: likewise, of names
    and arguments. cancel_after: when to request a cancellation. Time skips: what code and fakes sleep takes no time.
    Children run as well, with the same fakes.

    Raises asyncio.CancelledError if the run ended as cancelled, StuckError if nothing can move it any more,
    NonDeterminismError if its code does not replay, UsageError, PayloadError and TypeError for arguments, fakes and
    messages that cannot be, and where an event loop runs.
    """
    __tracebackhide__ = True
    script = Script(signals, updates, cancel_after)
    return _rehearsed("run_workflow", workflow, args, activities, script, _Rehearsal.result)


def crash_everywhere(
    workflow: WorkflowDefinition[..., R],
    *args: Any,
    activities: Activities | None = None,
    signals: Signals = (),
    updates: Updates = (),
    cancel_after: Duration | None = None,
) -> R:
    """Run a workflow, then again from every moment at which a crash can have struck. Arguments as for run_workflow.

    Each time it has to come to the same end, without running an activity again that has a recorded outcome, and to
    replay. Activities that a crash cut off do run again, so fakes should answer by what they are given (or by
    `activity_info()`), not by how often they were called; and a race between what a fake sleeps and a deadline may
    rightly end otherwise. Returns or raises what the run without a crash came to.

    Raises BrokenPromiseError, an AssertionError, that names the moment and both ends, and everything that run_workflow
    raises, with a note of the moment.
    """
    __tracebackhide__ = True
    script = Script(signals, updates, cancel_after)
    return _rehearsed("crash_everywhere", workflow, args, activities, script, _Rehearsal.result_after_crashes)


def _rehearsed(
    name: str,
    workflow: WorkflowDefinition[..., Any],
    args: Sequence[Any],
    activities: Activities | None,
    script: Script,
    result: Callable[[_Rehearsal], Any],
) -> Any:
    """Run a workflow in a world of its own. What is raised shows the author's frames alone, as pytest should."""
    __tracebackhide__ = True
    _require_no_loop(name)
    with closing(SkippingLoop()) as loop:
        try:
            rehearsal = _Rehearsal(loop, workflow, args, activities or {}, script)
            rehearsal.perform()
            return result(rehearsal)
        except BaseException as error:
            authors = SourcePaths().authors_part(error.__traceback__)
            if authors is None and not isinstance(error, AionError | BrokenPromiseError):
                raise  # it is ours, and tells nothing without our frames
            raise error.with_traceback(authors)  # noqa: B904 - it is the error itself, and has its own cause


def _require_no_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"{name} is a plain function with a loop of its own, and was called while another loop runs",
        hint="call it from a plain `def test_…`, not from an `async def`",
    )


class _End(NamedTuple):
    """How a run ended, as far as a crash must not change it."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}".strip()


class _Rehearsal:
    """One workflow in a World of its own."""

    def __init__(
        self,
        loop: SkippingLoop,
        workflow: WorkflowDefinition[..., Any],
        args: Sequence[Any],
        activities: Activities,
        script: Script,
    ) -> None:
        self._workflow = workflow
        self._raised: BaseException | None = None
        self._updates: set[str] = set()
        self._world = World(loop, fakes_by_name(activities), paths=SourcePaths(str(Path.cwd())))
        workflow.signature.check()
        self._world.start(self._keeping_what_it_raises(), _RUN, workflow.signature.encode_call(*args))
        for micros, event in script.messages(workflow):
            self._world.send_at(START + micros, _RUN, event)

    def _keeping_what_it_raises(self) -> WorkflowDefinition[..., Any]:
        """The workflow itself; but a history holds only data of an exception, and a test wants to see the exception."""
        fn = self._workflow.fn

        async def keep(*args: Any, **kwargs: Any) -> Any:
            try:
                return await fn(*args, **kwargs)
            except Exception as error:
                self._raised = error
                raise

        kept = copy.copy(self._workflow)
        kept.fn = keep
        return kept

    def perform(self) -> None:
        """Run everything until nothing moves any more, and replay it. Raises UsageError for updates that cannot be."""
        self._go(self._world)
        for event in self._world.ledger.events(_RUN):
            if isinstance(event, ev.UpdateRequested) and event.name not in self._updates:
                known = ", ".join(sorted(self._updates)) or "none"
                raise UsageError(
                    f"{self._workflow.name} declares no update {event.name!r}", hint=f"it declares: {known}"
                )
            if isinstance(event, ev.UpdateFailed) and event.error.type == PayloadError.__name__:
                raise UsageError(f"{event.update_id} was rejected: {event.error.message}")

    def _go(self, world: World) -> None:
        world.go()
        for workflow_id, histories in world.ledger.histories.items():
            for store in histories:
                replay = Replay(HistoryCursor(store.events), world.place.code[store.events[0].workflow_type])
                try:
                    replay.run()
                finally:
                    replay.execution.close()
                if workflow_id == _RUN:
                    self._updates.update(replay.execution.handlers.update_names)

    def result(self) -> Any:
        """Return the result, or raise what the run came to instead."""
        match self._world.ledger.end_of(_RUN):
            case ev.WorkflowCompleted(result=result):
                return self._workflow.signature.decode_result(result)
            case None:
                raise StuckError(self._world.waiting.get(_RUN, []))
            case ev.WorkflowFailed(error=error):
                if self._raised is not None:
                    raise self._raised
                raise WorkflowFailure(error.message, type=error.type, details=error.details)
            case ev.WorkflowCancelled(reason=reason):
                raise asyncio.CancelledError(reason)
            case ev.WorkflowTimedOut(timeout_s=timeout_s):
                raise TimeoutError(f"the run took longer than {timeout_s:g} s")
            case end:
                raise WorkflowFailure(getattr(end, "reason", ""), type=type(end).__name__)

    def result_after_crashes(self) -> Any:
        """Go on from every moment at which a crash can have struck; then as result."""
        raised, end = self._raised, _end(self._world)
        for cut in self._world.ledger.cuts():
            world = self._world.crashed(cut)
            try:
                self._go(world)
            except Exception as error:
                error.add_note(f"this happened after a crash {_moment(self._world, cut)}")
                raise
            if _end(world) != end:
                raise BrokenPromiseError(
                    f"after a crash {_moment(self._world, cut)} the run ended as {_end(world)}; without one, as {end}"
                )
        self._raised = raised
        return self.result()


def _end(world: World) -> _End:
    match world.ledger.end_of(_RUN):
        case None:
            return _End("waiting for", _words(world.waiting.get(_RUN, [])))
        case ev.WorkflowCompleted(result=result):
            return _End("completed:", bytes(result).decode())
        case ev.WorkflowFailed(error=error):
            return _End("failed:", f"{error.type}: {error.message}")
        case end:
            return _End(type(end).__name__, "")


def _words(waiting: list[Waiting]) -> str:
    """Say what is waited for; conditions have no names."""
    return ", ".join(f"{wait.kind} {wait.name}".rstrip() for wait in waiting)


def _moment(world: World, cut: Cut) -> str:
    fact = world.ledger.log[cut.facts if cut.events else cut.facts - 1]
    match fact:
        case Appended(run=run, first=first, last=last):
            seq = first + cut.events - 1 if cut.events else last
            event = world.ledger.histories[run.workflow_id][run.number - 1].events[seq - 1]
            return f"behind event {seq} ({type(event).__name__}) of {run.stem}"
        case Accepted():
            return f"after {type(fact.message.event).__name__} was accepted for {fact.workflow_id}"
        case _:
            return f"after a message to {fact.workflow_id} was removed from its inbox"
