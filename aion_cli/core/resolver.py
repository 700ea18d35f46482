"""Resolver: asked for every command, it answers from history, or says that the world has to.

`match` pairs a command with its event as soon as the code yields, in order: the k-th command emitted is the k-th
command event in kind, key, name and input. `resolve` adds what became of it: the recorded answer, or ResumeLive with
whatever half-done work history holds. A command that differs from its event is a NonDeterminismError, raised before
anything live was touched.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from aion_cli.core import commands as cmd
from aion_cli.core import correlation, payload
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.events import EventClass, event_class
from aion_cli.errors import NonDeterminismError, Step


@runtime_checkable
class Reencoder(Protocol):
    """A definition that can read a recorded input, or payload, with today's types and write it again."""

    def reencode_input(self, recorded: msgspec.Raw) -> msgspec.Raw: ...


@runtime_checkable
class ResultReencoder(Protocol):
    """A definition that can do so with a recorded result."""

    def reencode_result(self, recorded: msgspec.Raw) -> msgspec.Raw: ...


class Resolver:
    """Answers the commands of one run from its cursor."""

    def __init__(self, workflow_id: str, cursor: HistoryCursor, *, code_changed: bool | None = None) -> None:
        self.workflow_id = workflow_id
        self._code_changed = code_changed
        self._cursor = cursor
        self._begun: dict[correlation.CorrelationKey, cmd.ResumeLive] = {}
        self._answered: cmd.ResumeLive | None = None
        self._lasting: dict[correlation.CorrelationKey, cmd.SpawnChild | cmd.SendSignal] = {}
        self._answers: dict[correlation.CorrelationKey, ev.Event] = {}
        self._signals: dict[str, list[ev.Event]] = {}

    def match(self, command: cmd.AnyCommand) -> ev.Event | None:
        """Pair a command with its recorded event; None if history ends before it (the resume-live point).

        Commands that leave no event of their own (AwaitSignal, AwaitChild) are not asked for here.
        Raises NonDeterminismError if history holds another event in its place.
        """
        recorded = self._cursor.next_command()
        if recorded is None:
            return None
        if not matches(command, recorded):
            raise self.divergence(recorded, command, command.source)
        self._cursor.take_command()
        if isinstance(command, cmd.BEGINNING):
            self._begun[command.key] = cmd.ResumeLive(begun=recorded)
            if isinstance(command, cmd.SpawnChild | cmd.SendSignal):
                self._lasting[command.key] = command
            if isinstance(command, cmd.SpawnChild) and isinstance(recorded, ev.ChildWorkflowStarted):
                command.recorded_as(recorded)
        elif isinstance(recorded, ev.ChildCancelRequested):
            self._progress(command.key, withdrawn_by=recorded)
        elif isinstance(recorded, ev.ActivityCancelled | ev.TimerCancelled):
            self._begun.pop(command.key, None)
        return recorded

    def observe(self, event: ev.Event) -> None:
        """Note what an event says about half-done work, as the driver passes it."""
        if event_class(event) is EventClass.EXECUTOR:
            self.observe_outcome(event)
        else:
            self.observe_progress(event)

    def observe_outcome(self, event: ev.Event) -> None:
        """Note that what an executor event answers is no longer half done."""
        key = correlation.key_of(event)
        if key is not None:
            self._answered = self._begun.pop(key, None)
            self._lasting.pop(key, None)

    def observe_progress(self, event: ev.Event) -> None:
        """Note how far an attempt has got."""
        match event:
            case ev.ActivityStarted(activity_id=n, attempt=attempt):
                self._progress(correlation.Activity(n), attempts=attempt, next_attempt_at=None)
            case ev.ActivityFailed(activity_id=n, next_attempt_at=str(due)):
                key = correlation.Activity(n)
                begun = self._begun.get(key)
                self._progress(key, failures=(begun.failures if begun else 0) + 1, next_attempt_at=due)
            case ev.ActivityHeartbeat(activity_id=n, details=details):
                self._progress(correlation.Activity(n), heartbeat=details)
            case _:
                pass

    def _progress(self, key: correlation.CorrelationKey, **changes: object) -> None:
        begun = self._begun.get(key)
        if begun is not None:
            self._begun[key] = msgspec.structs.replace(begun, **changes)

    def half_done(self, key: correlation.CorrelationKey) -> cmd.ResumeLive:
        """Return what history holds of a command without outcome; nothing if it does not hold its beginning."""
        return self._begun.get(key, cmd.ResumeLive())

    def lasting(self) -> list[cmd.SpawnChild | cmd.SendSignal]:
        """Return the recorded children and sends without outcome: they go on even if code waits for them no more."""
        return list(self._lasting.values())

    def resolve(self, command: cmd.AnyCommand) -> cmd.ResolveOutcome:
        """Say what became of a command: its recorded answer, or ResumeLive with the half-done work that history holds.

        Reads on to the end of history in search of the answer, so it is for commands at the boundary and for short
        histories; the replay driver uses `match`.
        """
        if isinstance(command, cmd.LEAVING_NO_EVENT):
            return self._answer(command.key)
        if isinstance(command, cmd.BEGINNING) and command.key in self._begun:
            return self._answer(command.key)
        recorded = self.match(command)
        if recorded is None:
            return cmd.ResumeLive()
        if isinstance(command, cmd.BEGINNING):
            return self._answer(command.key)
        return cmd.Recorded(cmd.Resolution(recorded))

    def _answer(self, key: correlation.CorrelationKey) -> cmd.ResolveOutcome:
        while not self._is_answered(key):
            event = self._cursor.advance()
            if event is None:
                return self.half_done(key)
            if event_class(event) is EventClass.EXECUTOR:
                answered = correlation.key_of(event)
                if answered is not None:
                    self._answers[answered] = event
            elif isinstance(event, ev.SignalReceived):
                self._signals.setdefault(event.name, []).append(event)
            self.observe(event)
        if isinstance(key, correlation.Signal):
            return cmd.Recorded(cmd.Resolution(self._signals[key.name][key.index]))
        return cmd.Recorded(cmd.Resolution(self._answers[key]))

    def _is_answered(self, key: correlation.CorrelationKey) -> bool:
        if isinstance(key, correlation.Signal):
            return len(self._signals.get(key.name, ())) > key.index
        return key in self._answers

    def divergence(self, recorded: ev.Event, command: cmd.AnyCommand | None, source: str) -> NonDeterminismError:
        """Build the error for an event and what the code asked for in its place (None: nothing)."""
        there, here = _told_apart(recorded, command)
        return NonDeterminismError(
            workflow_id=self.workflow_id,
            seq=recorded.seq,
            recorded=self.named(there, correlation.key_of(recorded)),
            requested=here if here is None or command is None else self.named(here, command.key),
            source=source,
            last_match=self._cursor.last_match,
            code_changed=self._code_changed,
        )

    def named(self, step: Step, key: correlation.CorrelationKey | None) -> Step:
        """Say of which activity or child a step is the outcome, the cancellation or the wait, if it is recorded."""
        half_done = None if key is None else self._begun.get(key, self._answered)
        begun = half_done.begun if half_done is not None else None
        if step.name or begun is None or correlation.key_of(begun) != key:
            return step
        return step._replace(name=recorded_step(begun).name)


def matches(command: cmd.AnyCommand, recorded: ev.Event) -> bool:
    """Say whether an event records this command: kind, key, name and input; design.md, "Matching"."""
    match command, recorded:
        case cmd.RunActivity(), ev.ActivityScheduled():
            return (
                command.key.ordinal == recorded.activity_id
                and command.activity_type == recorded.activity_type
                and _same_input(recorded.input, command.input, command.target)
            )
        case cmd.StartTimer(), ev.TimerStarted():
            return command.key.timer_id == recorded.timer_id and command.fire_at == recorded.fire_at
        case cmd.SendSignal(), ev.SignalSendRequested():
            return (
                command.key.ordinal == recorded.ordinal
                and command.target_workflow_id == recorded.target_workflow_id
                and command.name == recorded.name
                and _same_input(recorded.payload, command.payload, command.target)
            )
        case cmd.SpawnChild(), ev.ChildWorkflowStarted():
            return (
                command.key.ordinal == recorded.ordinal
                and command.workflow_type == recorded.workflow_type
                and command.workflow_id in ("", recorded.child_workflow_id)
                and _same_input(recorded.input, command.input, command.target)
            )
        case cmd.RecordMarker(), ev.MarkerRecorded():
            return command.key == correlation.key_of(recorded) and payload.equal(recorded.value, command.value)
        case cmd.AnswerUpdate(result=msgspec.Raw() as result), ev.UpdateCompleted():
            same_update = command.key.update_id == recorded.update_id
            return same_update and _same_result(recorded.result, result, command.target)
        case cmd.AnswerUpdate(error=ev.Failure() as error), ev.UpdateFailed():
            return command.key.update_id == recorded.update_id and _same_failure(recorded.error, error)
        case cmd.CompleteWorkflow(outcome=outcome, target=target), _:
            return _same_outcome(outcome, recorded, target)
        case (
            (cmd.CancelActivity(), ev.ActivityCancelled())
            | (cmd.CancelTimer(), ev.TimerCancelled())
            | (cmd.CancelChild(), ev.ChildCancelRequested())
        ):
            return command.key == correlation.key_of(recorded)
        case _:
            return False


def _same_input(recorded: msgspec.Raw, new: msgspec.Raw, target: object) -> bool:
    return payload.equal(recorded, new) or (
        isinstance(target, Reencoder) and payload.equal(recorded, new, reencode=target.reencode_input)
    )


def _same_result(recorded: msgspec.Raw, new: msgspec.Raw, target: object) -> bool:
    return payload.equal(recorded, new) or (
        isinstance(target, ResultReencoder) and payload.equal(recorded, new, reencode=target.reencode_result)
    )


def _same_failure(recorded: ev.Failure, new: ev.Failure) -> bool:
    """Messages and tracebacks may hold addresses and line numbers; kind and class are what the code decides."""
    return recorded.kind is new.kind and recorded.type == new.type


def _same_outcome(outcome: cmd.Outcome, recorded: ev.Event, target: object) -> bool:
    match outcome, recorded:
        case cmd.Completed(result=result), ev.WorkflowCompleted(result=recorded_result):
            return _same_result(recorded_result, result, target)
        case cmd.Failed(error=error), ev.WorkflowFailed(error=recorded_error):
            return _same_failure(recorded_error, error)
        case cmd.Cancelled(), ev.WorkflowCancelled():
            return True
        case cmd.Continued(), ev.WorkflowContinuedAsNew():
            same_type = outcome.workflow_type == recorded.workflow_type
            return same_type and _same_input(recorded.input, outcome.input, target)
        case _:
            return False


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _told_apart(recorded: ev.Event, command: cmd.AnyCommand | None) -> tuple[Step, Step | None]:
    """Describe both sides of a divergence. A child's id, and the kind of a failure, only if nothing else differs."""
    there = recorded_step(recorded)
    here = None if command is None else requested_step(command)
    if here is None or here != there:
        return there, here
    match recorded, command:
        case ev.ChildWorkflowStarted(), cmd.SpawnChild():
            name = f"{there.name} as "
            return there._replace(name=name + recorded.child_workflow_id), here._replace(
                name=name + command.workflow_id
            )
        case ev.WorkflowFailed(), cmd.CompleteWorkflow(outcome=cmd.Failed(error=error)):
            return there._replace(key=recorded.error.kind.value), here._replace(key=error.kind.value)
        case _:
            return there, here


def requested_step(command: cmd.AnyCommand) -> Step:
    """Describe a command in the fields that are compared."""
    match command:
        case cmd.AwaitSignal(key=key):
            return Step("wait for signal", key.name, str(key.index))
        case cmd.AwaitChild(key=key):
            return Step("wait for child workflow", "", str(key.ordinal))
        case _:
            event = cmd.command_event(command)
            assert event is not None
            return recorded_step(event)


def awaited_step(command: cmd.AnyCommand) -> Step:
    """Describe a command of which the code awaits the answer."""
    if isinstance(command, cmd.AwaitSignal | cmd.AwaitChild):
        return requested_step(command)
    asked = requested_step(command)
    return Step(f"wait for {asked.kind}", asked.name, asked.key)


def recorded_step(event: ev.Event) -> Step:  # noqa: C901 - one flat case an event
    """Describe an event in the fields that are compared."""
    match event:
        case ev.ActivityScheduled():
            return Step("activity", event.activity_type, str(event.activity_id), _text(event.input))
        case ev.TimerStarted():
            return Step("timer", "", str(event.timer_id), event.fire_at)
        case ev.SignalSendRequested():
            name = f"{event.name} to {event.target_workflow_id}"
            return Step("signal", name, str(event.ordinal), _text(event.payload))
        case ev.ChildWorkflowStarted():
            return Step("child workflow", event.workflow_type, str(event.ordinal), _text(event.input))
        case ev.MarkerRecorded():
            return Step(f"{event.kind} marker", event.name, "", _text(event.value))
        case ev.WorkflowCompleted():
            return Step("completion", "", "", _text(event.result))
        case ev.WorkflowFailed():
            return Step("failure", event.error.type, "", event.error.message)
        case ev.WorkflowCancelled():
            return Step("cancelled end")
        case ev.WorkflowContinuedAsNew():
            return Step("continue-as-new", event.workflow_type or "", "", _text(event.input))
        case ev.ActivityCancelled():
            return Step("cancellation of activity", "", str(event.activity_id))
        case ev.TimerCancelled():
            return Step("cancellation of timer", "", str(event.timer_id))
        case ev.ChildCancelRequested():
            return Step("cancellation of child workflow", "", str(event.ordinal))
        case ev.UpdateCompleted():
            return Step("answer to update", "", event.update_id, _text(event.result))
        case ev.UpdateFailed():
            refused = event.error.kind is ev.ErrorKind.REJECTED
            kind = "refusal of update" if refused else "failure of update"
            return Step(kind, event.error.type, event.update_id, event.error.message)
        case ev.ActivityCompleted() | ev.ActivityFailed():
            return Step("outcome of activity", "", str(event.activity_id))
        case ev.TimerFired():
            return Step("firing of timer", "", str(event.timer_id))
        case ev.ChildWorkflowCompleted() | ev.ChildWorkflowFailed() | ev.ChildWorkflowCancelled():
            return Step("outcome of child workflow", "", str(event.ordinal))
        case ev.SignalSent() | ev.SignalSendFailed():
            return Step("outcome of signal", "", str(event.ordinal))
        case ev.WorkflowStarted():
            return Step("start of workflow", event.workflow_type, "", _text(event.input))
        case _:
            return Step(type(event).__name__)
