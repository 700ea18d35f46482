"""One workflow execution: apply an arrival, run the workflow loop until nothing is ready, hand out the commands.

The same code runs live and in replay; it never knows which. What it holds is what the code waits for: futures of
commands by their keys, buffers of signals by name. What it does not hold is the history, or any rule of matching.

The authoring API reaches the execution through the running loop (`current`). Everything passes as recorded JSON;
decoding to the author's types happens here, as an arrival is applied, with the decoder that came with the command. So
a recorded result that does not fit today's types is told to the driver, and not to workflow code that might swallow it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Protocol

import msgspec

from aion_cli.core import clock
from aion_cli.core import commands as cmd
from aion_cli.core import correlation as key
from aion_cli.core import events as ev
from aion_cli.core.conditions import Conditions
from aion_cli.core.determinism import DeterminismContext
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.failures import activity_error, child_error, failure_of
from aion_cli.core.handlers import Handlers, UpdateHandler
from aion_cli.core.loop import WorkflowFuture, WorkflowLoop
from aion_cli.core.patches import HistoryAhead, Patches
from aion_cli.core.pending import Decoder, OpenCommands
from aion_cli.core.signals import SignalBuffers
from aion_cli.core.source import Site, SourcePaths
from aion_cli.errors import AionError, ContinueAsNew

Unconsumed = ev.SignalReceived | ev.UpdateRequested | ev.WorkflowPaused | ev.WorkflowCancelRequested


class Program(Protocol):
    """The author's workflow, as an execution needs it. file, line: where it is defined."""

    file: str
    line: int

    def start(self, input: msgspec.Raw) -> Coroutine[Any, Any, Any]:
        """Decode the input and make the coroutine. Raises PayloadError if the input does not fit."""
        ...

    def completed(self, result: Any) -> cmd.Completed:
        """Encode what the coroutine returned. Raises PayloadError if it cannot be recorded."""
        ...

    def continued(self, request: ContinueAsNew) -> cmd.Continued:
        """Encode the input of the next run. Raises PayloadError or TypeError if it does not fit."""
        ...


class Phase(enum.Enum):
    """Where an execution is in its life."""

    RUNNING = "running"
    FINISHED = "finished"
    CLOSED = "closed"


class Execution:
    """Runs one workflow over arrivals, the first of which is its WorkflowStarted."""

    def __init__(
        self,
        started: ev.WorkflowStarted,
        program: Program,
        *,
        paths: SourcePaths | None = None,
        ahead: HistoryAhead | None = None,
    ) -> None:
        self.started = started
        self.context = DeterminismContext(started.workflow_id, started.run_id, started.recorded_at)
        self.paths = paths or SourcePaths()
        self.phase = Phase.RUNNING
        self.replaying = True
        self.last_seq = 0
        self.steps = 0
        self.is_stepping = False
        self.resisting: list[str] = []
        self._program = program
        self._main: asyncio.Task[Any] | None = None
        self._frame: FrameType | None = None
        self._last_line = self.paths.place((program.file, program.line))
        self._loop = WorkflowLoop(self)
        self._loop.execution = self
        self._loop.on_unhandled = self._tell_of_lost_error
        self.on_lost_error: Callable[[str], None] = _nobody_listens
        self._commands = OpenCommands(self._loop)
        self.signals = SignalBuffers(self)
        self.handlers = Handlers(self)
        self.tags: dict[str, str] = dict(started.tags)
        self.progress: tuple[int, int, str] | None = None
        self.patches = Patches(self, ahead)
        self.conditions = Conditions(self)
        self._answering = False
        self._cancel: ev.WorkflowCancelRequested | None = None
        self._may_cancel = True
        self._late_cancel: ev.WorkflowCancelRequested | None = None
        self._pause: ev.WorkflowPaused | None = None

    def apply(self, event: ev.Event) -> None:
        """Apply one event, and run the workflow until it waits or ends.

        Raises HistoryShapeError if the event answers what was never asked, UndecodableResultError if its payload does
        not fit today's types, PayloadError if the input does not. An answer to what was withdrawn is a no-op.
        """
        self.last_seq = event.seq
        self.context.advance(event.recorded_at)
        self._deliver(event)
        if self.phase is Phase.RUNNING:
            self._run()

    def stepping_often(self) -> AbstractContextManager[None]:
        """Make each step cheaper meanwhile, while nothing but this execution runs."""
        return self._loop.being_current()

    def _run(self) -> None:
        if self._main is None:
            coroutine = self._program.start(self.started.input)
            # A frame that is held tells the last line it ran even after the coroutine has ended.
            self._frame = getattr(coroutine, "cr_frame", None)
            self._main = self._loop.create_task(coroutine, name="main")
        self.steps += 1
        self.is_stepping = True
        try:
            self._step(self._main)
        finally:
            self.is_stepping = False
        if self._main.done():
            self._finish(self._main)

    def _step(self, main: asyncio.Task[Any]) -> None:
        self._loop.run_ready(main)
        while self.conditions and not main.done() and self._loop.call_inside(self.conditions.settle):
            self._loop.run_ready(main)

    def _finish(self, main: asyncio.Task[Any]) -> None:
        self._last_line = self.paths.last_line(self._frame)
        outcome = self._outcome(main)
        self._frame = None
        self.phase = Phase.FINISHED
        self._commands.frozen = True
        self.resisting += self._loop.close_tasks()
        self._commands.emit(cmd.CompleteWorkflow(outcome=outcome, source=self._last_line, target=self._program))

    def _outcome(self, main: asyncio.Task[Any]) -> cmd.Outcome:
        try:
            return self._program.completed(main.result())
        except asyncio.CancelledError as error:
            if self._cancel is None:
                return self._failed(error)
            return cmd.Cancelled(self._cancel.reason, tuple(failure_of(error, self.paths).notes))
        except ContinueAsNew as request:
            try:
                return self._program.continued(request)
            except Exception as error:  # noqa: BLE001 - a value's own code may raise anything while it is encoded
                error.__suppress_context__ = True  # the request is no cause of it, but where it is
                return self._failed(error.with_traceback(request.__traceback__))
        except BaseException as error:  # noqa: BLE001 - whatever the author's code raised is the run's outcome
            return self._failed(error)

    def _failed(self, error: BaseException) -> cmd.Failed:
        self._last_line = self.paths.raised_at(error) or self._last_line
        return cmd.Failed(failure_of(error, self.paths))

    def where(self) -> str:
        """Return "file:line" where the code waits or, if it has ended, of the last line known to have run."""
        if self.phase is Phase.RUNNING and self._main is not None:
            return self.paths.waiting_at(self._main.get_coro()) or self._last_line
        return self._last_line

    def _deliver(self, event: ev.Event) -> None:
        if event_class(event) is EventClass.EXECUTOR:
            self._deliver_answer(event)
        else:
            self._deliver_message(event)

    def _deliver_answer(self, event: ev.Event) -> None:
        match event:
            case ev.ActivityCompleted(result=raw):
                self._commands.answer(key.Activity(event.activity_id), raw)
            case ev.ActivityFailed():
                self._commands.reject(key.Activity(event.activity_id), activity_error(event.error, event.attempt))
            case ev.TimerFired(timer_id=timer_id):
                if self._commands.close(key.Timer(timer_id)) is not None and self.phase is Phase.RUNNING:
                    self._loop.fire(timer_id)
            case ev.ChildWorkflowCompleted(ordinal=n, result=raw):
                self._commands.answer(key.Child(n), raw)
            case ev.ChildWorkflowFailed(ordinal=n, error=error):
                self._commands.reject(key.Child(n), child_error(error))
            case ev.ChildWorkflowCancelled(ordinal=n):
                self._commands.reject(key.Child(n), child_error(_CHILD_CANCELLED))
            case ev.SignalSent(ordinal=n):
                self._commands.answer(key.Send(n), msgspec.Raw(b"null"))
            case ev.SignalSendFailed(ordinal=n, error=error):
                self._commands.reject(key.Send(n), activity_error(error, 1))
            case _:
                pass

    def _deliver_message(self, event: ev.Event) -> None:
        match event:
            case ev.SignalReceived():
                self.signals.deliver(event)
            case ev.UpdateRequested():
                self.handlers.request(event)
            case ev.WorkflowCancelRequested():
                self._request_cancel(event)
            case ev.WorkflowTerminated() | ev.WorkflowTimedOut():
                self.close()
            case ev.WorkflowReopened():
                self._may_cancel = True
            case ev.WorkflowPaused():
                self._pause = event
            case ev.WorkflowResumed():
                self._pause = None
            case _:
                pass

    def _request_cancel(self, event: ev.WorkflowCancelRequested) -> None:
        """Cancel the code, once since the start or the last reopen; what comes too late is for the next run."""
        if not self._may_cancel:
            return
        self._may_cancel = False
        self._cancel = event
        if self.phase is not Phase.RUNNING:
            self._late_cancel = event
        elif self._main is not None:
            self._main.cancel()

    def expects(self, event: ev.Event) -> bool:
        """Say whether an executor event answers a command that is still open. What is not expected is not recorded."""
        return self.phase is Phase.RUNNING and self._commands.is_open(key.key_of(event))

    def take_commands(self) -> list[cmd.AnyCommand]:
        """Hand out the commands of this activation, in the order in which they were emitted."""
        return self._commands.take()

    def waits(self) -> list[cmd.Wait]:
        """Return the answers that the code waits for: to open commands in the order of asking, then signals."""
        return self._commands.waits() + self.signals.waits()

    def awaits(self) -> list[tuple[str, str]]:
        """Return (name, "file:line") of each task that has not ended and where it waits, main first.

        One that waits in no line of the author's, as `create_task(queue.get())` does, has the function in its name.
        """
        return [self._await_of(task) for task in self._loop.unfinished()]

    def _await_of(self, task: asyncio.Task[Any]) -> tuple[str, str]:
        coroutine = task.get_coro()
        where = self.paths.waiting_at(coroutine)
        function = "" if where else getattr(coroutine, "__qualname__", "")
        return f"{task.get_name()} {function}".rstrip(), where

    def unconsumed(self) -> list[Unconsumed]:
        """Return what a next run takes over: signals that no code took, updates without an answer, a pause that holds,
        and a cancellation that came when this one's code had ended. In file order.
        """
        kept = [event for event in (self._pause, self._late_cancel) if event is not None]
        return sorted([*self.signals.unconsumed(), *self.handlers.unanswered(), *kept], key=lambda event: event.seq)

    def is_awaited(self, command: cmd.AnyCommand) -> bool:
        """Say whether a command's answer is still awaited."""
        if isinstance(command, cmd.AwaitSignal):
            return any(wait.command is command for wait in self.signals.waits())
        return self._commands.is_open(command.key)

    def close(self) -> None:
        """Abandon the code where it stands: nothing of it runs afterwards. See `resisting` for what would not end."""
        if self.phase is Phase.CLOSED:
            return
        self._last_line = self.where()
        self.phase = Phase.CLOSED
        self._commands.frozen = True
        # What `finally` blocks print while the code is abandoned is not what the run does.
        self.replaying = True
        self.resisting += self._loop.close_tasks()

    def require_running(self) -> None:
        """Raise RunClosed once the code has ended (see `WorkflowLoop.refuse`), and AionError while a query looks."""
        if self._answering:
            raise AionError("a query tried to change its run", hint="a query may only look; use an update to act")
        if self.phase is not Phase.RUNNING:
            self._loop.refuse()

    def _tell_of_lost_error(self, context: dict[str, Any]) -> None:
        """An error of a task that nobody awaits changes nothing, as in asyncio; and as there, somebody is told."""
        error = context.get("exception")
        if self.replaying or not isinstance(error, BaseException):
            return
        task = context.get("future") or context.get("task")
        what = f"task {task.get_name()}" if isinstance(task, asyncio.Task) else "something that nobody awaits"
        failure, place = failure_of(error, self.paths), self.paths.raised_at(error) or self.where()
        said = f"{failure.type}: {failure.message}" if failure.message else failure.type
        self.on_lost_error(f"{what} failed, and nobody asked for its outcome: {said} at {place}")

    @property
    def is_over(self) -> bool:
        """Whether the code has ended, or was closed."""
        return self.phase is not Phase.RUNNING

    def _source(self, called_at: Site | None = None) -> str:
        """Say which line of the author's code asks for something.

        A coroutine of aion's that a task runs has none of theirs on its stack: then it is the line that made it, or,
        if that is not theirs either, the one where main waits.
        """
        return self.paths.caller() or (called_at is not None and self.paths.place(called_at)) or self.where()

    def run_activity(
        self,
        activity_type: str,
        input: msgspec.Raw,
        options: dict[str, Any],
        target: Any,
        decode: Decoder,
        called_at: Site | None = None,
    ) -> asyncio.Future[Any]:
        """Emit RunActivity; the future gets the decoded result, or an ActivityError."""
        self.require_running()
        at = key.Activity(self._commands.next_ordinal(key.Activity))
        source = self._source(called_at)
        command = cmd.RunActivity(
            key=at, activity_type=activity_type, input=input, options=options, target=target, source=source
        )
        return self._commands.ask(command, self.context.instant, decode, cmd.CancelActivity)

    def spawn_child(
        self,
        workflow_type: str,
        input: msgspec.Raw,
        target: Any,
        decode: Decoder,
        *,
        workflow_id: str = "",
        parent_close: ev.ParentClose = ev.ParentClose.CANCEL,
        known_as: cmd.ChildName | None = None,
        called_at: Site | None = None,
    ) -> asyncio.Future[Any]:
        """Emit SpawnChild and AwaitChild; the future gets the child's decoded result, or a ChildError."""
        self.require_running()
        at = key.Child(self._commands.next_ordinal(key.Child))
        source = self._source(called_at)
        command = cmd.SpawnChild(
            key=at,
            workflow_type=workflow_type,
            input=input,
            target=target,
            workflow_id=workflow_id,
            parent_close=parent_close,
            known_as=known_as,
            source=source,
        )
        future = self._commands.ask(command, self.context.instant, decode, cmd.CancelChild)
        self._commands.emit(cmd.AwaitChild(key=at, source=source))
        return future

    def send_signal(
        self, to: str | cmd.ChildName, name: str, payload: msgspec.Raw, target: object
    ) -> asyncio.Future[Any]:
        """Emit SendSignal; the future is done when the target has accepted it. Once recorded, it is sent.

        target: the kind of signal, which can reencode a recorded payload.
        """
        self.require_running()
        at = key.Send(self._commands.next_ordinal(key.Send))
        command = cmd.SendSignal(
            key=at,
            to=to,
            name=name,
            payload=payload,
            target=target,
            source=self._source(),
        )
        return self._commands.ask(command, self.context.instant, bytes, None)

    def new_waiter(self) -> WorkflowFuture[None]:
        """Make a future for code that waits for a signal."""
        self.require_running()
        return WorkflowFuture[None](loop=self._loop)

    def here_and_now(self) -> tuple[str, str]:
        """Return the line of the author's code that is being run, and the instant of what is being applied."""
        return self._source(), self.context.instant

    def begin_wait(self, at: key.Signal) -> cmd.Wait:
        """Emit AwaitSignal."""
        command = cmd.AwaitSignal(key=at, source=self._source())
        self._commands.emit(command)
        return cmd.Wait(command, self.context.instant)

    def count_emitted(self) -> int:
        """Count the commands of this activation that leave an event."""
        self.require_running()
        return self._commands.count_emitted()

    def emit_marker(self, marker: key.Marker) -> None:
        """Emit RecordMarker."""
        self._commands.emit(cmd.RecordMarker(key=marker, value=msgspec.Raw(b"true"), source=self._source()))

    def start_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run an update's handler as a task of the workflow."""
        if self.phase is Phase.RUNNING:
            self._loop.create_task(coroutine, name=name)
        else:
            coroutine.close()

    def answer_update(self, update_id: str, result: msgspec.Raw, handler: UpdateHandler) -> None:
        """Emit the answer to an update."""
        source = self.paths.place(handler.site)
        self._commands.emit(cmd.AnswerUpdate(key=key.Update(update_id), result=result, target=handler, source=source))

    def fail_update(self, update_id: str, error: BaseException, site: Site, kind: ev.ErrorKind | None = None) -> None:
        """Emit that an update failed, or was refused by its validator or its types."""
        failure = failure_of(error, self.paths, kind=kind)
        source = self.paths.raised_at(error) or self.paths.place(site)
        self._commands.emit(cmd.AnswerUpdate(key=key.Update(update_id), error=failure, source=source))

    def ask(self, name: str, args: msgspec.Raw | None) -> msgspec.Raw:
        """Answer a query, also of a run that is closed. Raises KeyError for one that the code does not declare.

        Raises what the query raises, and AionError if it tries to do more than look.
        """
        handler = self.handlers.queries[name]
        self.steps += 1
        self._answering = self.is_stepping = True
        try:
            return self._loop.call_inside(lambda: handler.answer(args))
        finally:
            self._answering = self.is_stepping = False

    def present_micros(self) -> int:
        """The present of the workflow loop, in microseconds since the epoch."""
        return self.context.micros

    def start_timer(self, fire_at_micros: int) -> int:
        """Emit StartTimer, and return the timer's id."""
        self.require_running()
        at = key.Timer(self._commands.next_ordinal(key.Timer))
        try:
            fire_at = clock.format_instant(fire_at_micros)
        except OverflowError:
            raise ValueError("a timer cannot be set later than the year 9999") from None
        command = cmd.StartTimer(key=at, fire_at=fire_at, source=self._source())
        self._commands.ask_timer(command, self.context.instant)
        return at.timer_id

    def cancel_timer(self, timer_id: int) -> None:
        """Withdraw a timer."""
        self._commands.withdraw(key.Timer(timer_id), cmd.CancelTimer)


def _nobody_listens(text: str) -> None:
    """Nobody wants to know of errors that code has lost."""


_CHILD_CANCELLED = ev.Failure(
    kind=ev.ErrorKind.CANCELLED, type="CancelledError", message="the child workflow was cancelled"
)


def is_replaying() -> bool:
    """Say whether workflow code runs here, and only to get back to where it was."""
    execution = getattr(_running_loop(), "execution", None)
    return isinstance(execution, Execution) and execution.replaying


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def current(asker: str = "this") -> Execution:
    """Return the execution whose code is running. asker: what needs one. Raises AionError outside of workflow code."""
    execution = getattr(_running_loop(), "execution", None)
    if not isinstance(execution, Execution):
        raise AionError(
            f"{asker} can only be used inside a running workflow",
            hint="call it from a function decorated with @workflow, while it runs",
        )
    return execution
