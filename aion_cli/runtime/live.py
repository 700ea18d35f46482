"""LiveRun: one run from its resume-live boundary to its end, or until it is suspended.

Everything passes through one pump, a plain callback of the process's event loop: it takes arrivals one by one, stages
and applies each, and lets the commands that come out cross the boundary up to the point where they need the disk. Then
it commits: one write and one sync for all of it. Only then live effects start, messages are removed, and callers told.

    arrival → stage → apply → commands → first leg of each handoff stages → … → commit → second legs act

So a batch is always [C1, commands of C1, C2, commands of C2], and nothing is done before it is on disk.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import correlation
from aion_cli.core import events as ev
from aion_cli.core.correlation import CorrelationKey
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.execution import Phase
from aion_cli.core.replay import Boundary, Replay
from aion_cli.core.resolver import Resolver
from aion_cli.core.status import Waiting
from aion_cli.runtime.attached import RunningChildren
from aion_cli.runtime.closing import Closing
from aion_cli.runtime.dispatch import Dispatch
from aion_cli.runtime.endings import Closed, RunSettings, Suspended, SuspendReason
from aion_cli.runtime.executor import AttemptHeldError, ChildSuspendedError, LiveExecutor, SpawnedChild
from aion_cli.runtime.handoff import HandoffOutcome, Identity, Worker, resolve_or_execute_live
from aion_cli.runtime.inbox import MessageId
from aion_cli.runtime.intake import Intake
from aion_cli.runtime.mailbox import Mailbox
from aion_cli.runtime.notes import Notes
from aion_cli.runtime.recorder import Recorder
from aion_cli.runtime.stopping import Patience
from aion_cli.runtime.time_limit import TimeLimit
from aion_cli.runtime.underway import Underway
from aion_cli.runtime.unwinding import Unwinding
from aion_cli.runtime.waits import awaited_messages, waits_of
from aion_cli.runtime.wall import Clock, instant

E = TypeVar("E", bound=ev.Event)
T = TypeVar("T")
_LONGEST_UNWRITTEN_S = 1.0
"""How long the details of a heartbeat may wait for something else to be written with."""

EventListener = Callable[[Sequence[ev.Event]], None]


class _Arrival(msgspec.Struct):
    """Something to record and apply. reply: told when it is on disk. name: of the message that it came as."""

    event: ev.Event
    reply: asyncio.Future[Any] | None = None
    name: str | None = None


@types.coroutine
def _until_commit() -> Generator[None, None, None]:
    """Give control back to the pump, which goes on with the handoff when its events are on disk."""
    yield


class LiveRun:
    """Goes on with a replayed run. Implements the Seam of `runtime.handoff`.

    known_ids: of the messages that the history holds. attached: open children of runs before this one. running: those
    that the last of these has left running; None if it was not run here. listener: told of events once they are on
    disk. on_quiet: told whenever only timers and signals can move the run. handed_over: the children that run on, once
    the run has continued as a new one.
    """

    def __init__(
        self,
        replay: Replay,
        boundary: Boundary,
        recorder: Recorder,
        executor: LiveExecutor,
        mailbox: Mailbox,
        *,
        identity: Identity,
        worker: Worker,
        clock: Clock,
        known_ids: set[MessageId],
        attached: Sequence[SpawnedChild] = (),
        running: RunningChildren | None = None,
        settings: RunSettings | None = None,
        listener: EventListener,
        on_quiet: Callable[[], None],
    ) -> None:
        self.executor = executor
        self.identity = identity
        self.worker = worker
        self._replay = replay
        self._execution = replay.execution
        self._resolver = replay.resolver
        self._boundary = boundary
        self._recorder = recorder
        self._mailbox = mailbox
        self._clock = clock
        self._intake = Intake(mailbox, known_ids)
        self._attached: list[SpawnedChild] = list(attached)
        self._running = running or {}
        self._continues = running is not None
        self.handed_over: RunningChildren | None = None
        self._settings = settings or RunSettings()
        self._listener = listener
        self._on_quiet = on_quiet
        self._arrivals: deque[_Arrival] = deque()
        self._pump_due = False
        self._replies: list[tuple[asyncio.Future[Any], ev.Event]] = []
        self._fresh: list[ev.Event] = []
        self._underway = Underway(executor, identity, boundary.reopened)
        self._closing = Closing(self, self._execution, self._underway, mailbox)
        self._waits: list[Waiting] = []
        self._notes = Notes(boundary)
        self._present = ""
        self._terminal: ev.Event | None = None
        self._flush: asyncio.TimerHandle | None = None

    async def run(self, suspend_at_once: SuspendReason | None = None) -> Closed | Suspended:
        """Run to the end or to a suspension. Raises what the store, the executor or a divergence raised.

        suspend_at_once: why to record only what is due, and begin nothing.
        """
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._end: asyncio.Future[Closed | Suspended] = self._loop.create_future()
        self._patience = Patience(self._settings.grace_s)
        self._unwinding = Unwinding(
            self._underway, self._patience, self._end, is_busy=self._is_busy, settle=self._guarded(self._commit)
        )
        self._dispatch = Dispatch(
            self._execution, self._underway, self._unwinding, landed=self._landed, paused=self._boundary.paused
        )
        self._limit = TimeLimit(self._boundary, self._settings.timeout_s, self._clock, self._time_out)
        self._run_pump = self._guarded(self._pump)
        self._mailbox.listen(self._guarded(self._take_messages))
        if suspend_at_once is not None:
            self.suspend(suspend_at_once)
        try:
            self._guarded(self._begin)()
            return await self._end
        finally:
            self._mailbox.close()
            await self._wind_down()

    def _begin(self) -> None:
        """Drain what was accepted, then let everything cross that history left undone, in the order of asking."""
        unmatched = {command.key for command in self._boundary.unmatched}
        half_done = [wait.command for wait in self._execution.waits() if wait.command.key not in unmatched]
        commands = [command for command in self._boundary.unmatched if not isinstance(command, cmd.AwaitChild)]
        lasting = self._resolver.lasting()
        self._note_what_history_began([*half_done, *lasting])
        for message in self._intake.fresh():
            commands += self._record(_Arrival(message.event, name=message.name))
        if self._limit.is_over and self._execution.phase is Phase.RUNNING:
            self._limit.close()
            return
        self._run_attached()
        if self._dispatch.is_paused and not self._continues:
            self._commit()
            self.suspend(SuspendReason.PAUSED)
            return
        for command in half_done:
            if self._execution.is_awaited(command):
                self._cross(command)
        for command in lasting:
            if not self._execution.is_awaited(command):
                self._cross(command)
        for command in commands:
            self._cross(command)
        self._stage_notes()
        self._commit()
        self._underway.repeat_cancellations(self._resolver)
        self._loop.call_soon(self.check_quiet)
        self._limit.watch()

    def _note_what_history_began(self, commands: Sequence[cmd.AnyCommand]) -> None:
        """Take note of it before any message is looked at, which may be the end of the run and of its children."""
        for command in commands:
            begun = self._resolver.half_done(command.key).begun
            if isinstance(command, cmd.SpawnChild) and begun is not None:
                self.child(command, begun)
            elif isinstance(begun, ev.ActivityScheduled):
                self._underway.note_activity(command.key, begun.seq)
        for child in self._attached:
            self._underway.attach(child, self._running.get(child.workflow_id))

    def _run_attached(self) -> None:
        """Go on with the children of earlier runs that do not run yet; of what they come to nothing is recorded."""
        children, self._attached = self._attached, []
        for child in children:
            task = self._running.get(child.workflow_id)
            if task is None and self.may_start and child.command.target is not None:
                task = self._loop.create_task(self.executor.spawn_child(child))
            self._underway.attach(child, task)
            if task is None:
                self._attached.append(child)
            else:
                self._underway.follow(task, lambda done, command=child.command: self._end_leg(command, done))

    def _guarded(self, step: Callable[[], None]) -> Callable[[], None]:
        """Make what a callback raises the end of the run: there is nobody else to see it."""

        def run() -> None:
            if self._end.done():
                return
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - raised again by run()
                self._fail(error)

        return run

    def _fail(self, error: BaseException) -> None:
        if not self._end.done():
            self._end.set_exception(error)

    def _schedule(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            # In a context of its own: this is called from that of an activity, which may have changed variables there.
            self._loop.call_soon(self._run_pump, context=self._context)

    def _pump(self) -> None:
        self._pump_due = False
        while self._arrivals:
            for command in self._record(self._arrivals.popleft()):
                self._cross(command)
            self._stage_notes()
        self._commit()

    def _stage_notes(self) -> None:
        if self._terminal is not None:
            return
        for event in self._notes.changes(self._execution):
            self.stage(event)

    def _record(self, arrival: _Arrival) -> list[cmd.AnyCommand]:
        """Stage an arrival and apply it to the code; returns the commands that come out. Drops what nobody awaits."""
        event = arrival.event
        if not self._is_wanted(event):
            if arrival.reply is not None:
                arrival.reply.cancel()
            return []
        if isinstance(event, ev.ActivityStarted) and not self.may_start:
            if arrival.reply is not None and not arrival.reply.done():
                arrival.reply.set_exception(AttemptHeldError("paused or told to stop"))
            return []
        if isinstance(event, ev.WorkflowTerminated):
            self._recorder.commit()  # a child that was asked for in this breath is recorded before it exists
            self._underway.close_children(self._execution.is_awaited)
        self._present = instant(self._clock)
        stamped = self.stage(event)
        if arrival.reply is not None:
            self._replies.append((arrival.reply, stamped))
        if arrival.name is not None:
            self._intake.staged(arrival.name)
        self._note(stamped)
        if event_class(stamped) in (EventClass.EXECUTOR, EventClass.OUTSIDE):
            return self._replay.apply(stamped)
        return []

    def _is_wanted(self, event: ev.Event) -> bool:
        if self._terminal is not None:
            return False
        return self._execution.expects(event) or correlation.key_of(event) is None

    def _note(self, event: ev.Event) -> None:
        match event:
            case ev.WorkflowPaused():
                self._dispatch.pause()
            case ev.WorkflowResumed():
                self._dispatch.resume()
                self._run_attached()
            case _:
                pass

    def _cross(self, command: cmd.AnyCommand) -> None:
        """Step a handoff to where it needs the disk, or its end. After the terminal event nothing more is recorded."""
        if self._terminal is not None:
            return
        handoff = resolve_or_execute_live(command, command.key, self)
        try:
            handoff.send(None)
        except StopIteration:
            return
        self._dispatch.add(command, handoff)

    def _commit(self) -> None:
        """Put everything staged on disk, then let it have its effects."""
        self._present = ""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._recorder.commit()
        fresh, self._fresh = self._fresh, []
        replies, self._replies = self._replies, []
        self._intake.remove_staged()
        if fresh:
            self._listener(fresh)
        for reply, stamped in replies:
            if not reply.done():
                self._answer(reply, stamped)
        began_activity = self._dispatch.launch()
        self._patience.stir()
        if self._terminal is not None:
            self._finish(self._terminal)
        elif not began_activity:  # which looks itself when it lands
            self._loop.call_soon(self.check_quiet)

    def _answer(self, reply: asyncio.Future[Any], stamped: ev.Event) -> None:
        """Let whoever brought an arrival go on; not with an attempt at what the code has withdrawn since."""
        if event_class(stamped) is EventClass.PROGRESS and not self._execution.expects(stamped):
            reply.cancel()
        else:
            reply.set_result(stamped)

    def _landed(
        self, command: cmd.AnyCommand, task: asyncio.Task[HandoffOutcome.Resolved | HandoffOutcome.WorkflowCompleted]
    ) -> None:
        outcome = self._end_leg(command, task)
        if isinstance(outcome, HandoffOutcome.WorkflowCompleted):
            self._finish(outcome.event)

    def _end_leg(self, command: cmd.AnyCommand, task: asyncio.Task[T]) -> T | None:
        """Forget a task that is done; returns what it came to, if it came to something."""
        self._underway.end(command, task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            self.check_quiet()
        elif not isinstance(error, ChildSuspendedError):
            self._fail(error)
        return None if task.cancelled() or error is not None else task.result()

    def _finish(self, event: ev.Event) -> None:
        if not self._end.done():
            self._end.set_result(Closed(event))

    @property
    def resolver(self) -> Resolver:
        """Answers commands from history."""
        return self._resolver

    @property
    def may_start(self) -> bool:
        """Whether a live effect may begin now; see Seam."""
        return self._dispatch.may_start

    @property
    def next_seq(self) -> int:
        """Seq that the next staged event gets."""
        return self._recorder.next_seq

    def stage(self, event: E) -> E:
        """Stamp an event and hold it for the next commit. What one activation brings has one time."""
        assert self._terminal is None, f"{type(event).__name__} would stand behind the end of the run"
        stamped = self._recorder.stage(event, self._present or instant(self._clock))
        if isinstance(stamped, ev.TERMINAL_EVENTS):
            self._terminal = stamped
        elif isinstance(stamped, ev.ActivityScheduled):
            self._underway.note_activity(correlation.Activity(stamped.activity_id), stamped.seq)
        elif isinstance(stamped, ev.ActivityStarted | ev.ActivityFailed):
            self._underway.note_attempt(stamped)
        self._fresh.append(stamped)
        if self._settings.stop_at is not None and self._settings.stop_at(stamped):
            self.suspend(SuspendReason.BLOCKED)  # at once, so that nothing begins that the same step asks for after it
        return stamped

    async def durable(self) -> None:
        """Return when everything staged so far is on disk; for the first leg of a handoff."""
        await _until_commit()

    async def admission(self) -> None:
        """Return when a further attempt may begin; see Seam."""
        while not self.may_start:
            self._loop.call_soon(self.check_quiet)
            await self._patience.until_stirred()

    async def arrive(self, event: E) -> E:
        """Record what the world answered, and apply it; see Seam."""
        if self._end.done():
            raise asyncio.CancelledError
        reply: asyncio.Future[E] = self._loop.create_future()
        self._arrivals.append(_Arrival(event, reply))
        self._schedule()
        return await reply

    def note(self, event: ev.Event) -> None:
        """Have an event about a command that is still awaited written with the next commit, soon; see Seam."""
        if self._execution.expects(event) and not self._end.done():
            self.stage(event)
            if self._flush is None:
                self._flush = self._loop.call_later(_LONGEST_UNWRITTEN_S, self._guarded(self._commit))

    def withdraw(self, key: CorrelationKey) -> None:
        """Stop what runs for a key; see Seam."""
        self._underway.cancel(key)

    def child(self, command: cmd.SpawnChild, event: ev.Event) -> SpawnedChild:
        """Take note of a recorded child."""
        return self._underway.note_child(command, event)

    def child_of(self, key: CorrelationKey) -> SpawnedChild:
        """Return a child that was taken note of."""
        return self._underway.child_of(key)

    async def close(self, event: ev.Event) -> ev.Event:
        """Append the terminal event under the inbox lock, once the inbox is empty."""
        await self.durable()
        return self._closing.close(event)

    @property
    def terminal(self) -> ev.Event | None:
        """The terminal event, once there is one; see Ending."""
        return self._terminal

    def append(self, event: ev.Event) -> ev.Event:
        """Record an event at once, with all that waits to be; see Ending."""
        stamped = self.stage(event)
        self._recorder.commit()
        return stamped

    def follow_up(self) -> None:
        """Let what was recorded have its effects; see Ending."""
        self._commit()

    def take_in(self) -> None:
        """Record and apply the messages in the inbox; see Ending."""
        self._take_messages()
        self._pump()

    def _time_out(self, event: ev.WorkflowTimedOut) -> None:
        """Close the run, which has taken too long, unless it ends by itself with what is in the inbox."""
        self._dispatch.pause()  # nothing begins any more, whatever the last messages have the code ask for
        self._guarded(lambda: self._closing.time_out(event))()

    def _take_messages(self) -> None:
        self._arrivals += [_Arrival(message.event, name=message.name) for message in self._intake.fresh()]
        if self._arrivals:
            self._schedule()

    @property
    def is_blocked(self) -> bool:
        """Whether only signals and timers that are not due yet can move the run."""
        if self._is_busy() or self._dispatch.has_unconfirmed or self._unwinding.has_begun:
            return False
        if self._limit.is_over:
            return False
        return self._execution.phase is Phase.RUNNING and self._underway.only_waits(instant(self._clock))

    def check_quiet(self) -> None:
        """Look again whether the run is blocked; a child of it may have become so."""
        if self._end.done() or not self.is_blocked:
            return
        self._on_quiet()
        if self._settings.stop_when_blocked:
            self.suspend(SuspendReason.PAUSED if self._dispatch.is_paused else SuspendReason.BLOCKED)

    def waiting(self) -> list[Waiting]:
        """Say what the code waited for when the run was suspended, with the lines where it did."""
        return self._waits

    def awaited_messages(self) -> list[Waiting]:
        """Say what the code waits for now that leaves no event, with the lines where it does."""
        return awaited_messages(self._execution)

    def suspend(self, reason: SuspendReason) -> None:
        """Stop, leaving the run open: nothing new begins, and activities in flight get grace to finish.

        What they come to is recorded. A second call does not wait for them; nor does one that comes as the run ends.
        """
        self._unwinding.suspend(reason)

    def _is_busy(self) -> bool:
        return bool(self._arrivals) or self._pump_due

    async def _wind_down(self) -> None:
        child_ids = self._underway.child_ids()
        self._waits = waits_of(self._execution, child_ids, self._boundary, self._settings.timeout_s)
        self._dispatch.close()
        if self._flush is not None:
            self._flush.cancel()
        if isinstance(self._terminal, ev.WorkflowContinuedAsNew):
            self.handed_over = self._underway.hand_over_children()
        await self._unwinding.finish(ended=self._terminal is not None, others=self._limit.tasks())
        self._execution.close()
