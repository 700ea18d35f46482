"""A case in a world: how the world answers, and how a run of it came out."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from aion_cli import NonRetryable, activity_info
from aion_cli.core import clock
from aion_cli.core import events as ev
from aion_cli.testing.ledger import Cut
from aion_cli.testing.loop import START, SkippingLoop
from aion_cli.testing.world import World
from tests.programs import nodes
from tests.programs.interpreter import MAIN, BoomError, jitter_micros
from tests.programs.workflows import ACTIVITIES, UPDATE, as_workflow

Outcome = tuple[Any, ...]
_ANSWERS = (ev.UpdateCompleted, ev.UpdateFailed)
_PATH = msgspec.Raw(msgspec.json.encode(MAIN))


class Simulation:
    """One case in its world, from the start or from a crash on."""

    def __init__(self, case: nodes.Case, loop: SkippingLoop) -> None:
        self.case = case
        self.world = World(loop, {kind: self._fake(kind) for kind in ACTIVITIES}, max_concurrency=case.slots)
        self.world.start(as_workflow(case.program, case.tied), MAIN, _PATH)
        for number, stimulus in enumerate(case.outside):
            micros = round(stimulus.ms * 1000)
            if not case.tied:
                micros += jitter_micros("outside", number)
            self.world.send_at(START + micros, MAIN, message(stimulus, number))

    def _fake(self, kind: str) -> Any:
        async def answer(arg: int) -> str:
            info = activity_info()
            ledger = self.world.ledger
            stores = ledger.histories[info.workflow_id]
            events = next(store.events for store in stores if store.events[0].run_id == info.run_id)
            failures = sum(
                isinstance(event, ev.ActivityFailed) and event.activity_id == info.ordinal for event in events
            )
            path = msgspec.json.decode(events[0].input)
            due = self.world.loop.micros + answer_micros(self.case, path, info.ordinal, failures, arg)
            await self.world.loop.until(ledger.remember((path, info.ordinal, failures), due))
            return answered(self.case, kind, arg, failures)

        return answer

    def crash(self, cut: Cut, downtime_ms: int = 0) -> None:
        """Go back to a moment, and lose everything that was not durable then."""
        self.world = self.world.crashed(cut, downtime_micros=downtime_ms * 1000)

    def outcomes(self) -> dict[str, Outcome]:
        """How each run came out, by its path, and how updates were answered, by their ids."""
        found: dict[str, Outcome] = {}
        for stores in self.world.ledger.histories.values():
            for store in stores:
                found[msgspec.json.decode(store.events[0].input)] = outcome(store.events[-1])
                found |= {event.update_id: answer(event) for event in store.events if isinstance(event, _ANSWERS)}
        return found


def message(stimulus: nodes.Stimulus, number: int) -> ev.Event:
    """What an outsider sends."""
    match stimulus.what:
        case "signal":
            payload = msgspec.Raw(msgspec.json.encode(stimulus.value))
            return ev.SignalReceived(name=stimulus.name, payload=payload, signal_id=f"s{number}")
        case "update":
            args = msgspec.Raw(msgspec.json.encode(stimulus.value))
            return ev.UpdateRequested(update_id=f"u{number}", name=UPDATE, args=args)
        case "cancel":
            return ev.WorkflowCancelRequested(request_id=f"c{number}")
        case "pause":
            return ev.WorkflowPaused()
        case "unpause":
            return ev.WorkflowResumed()
        case _:
            return ev.WorkflowTerminated()


def answer_micros(case: nodes.Case, path: str, ordinal: int, failures: int, arg: int) -> int:
    """How long an attempt takes."""
    micros = round(case.answers[arg].ms * 1000)
    return micros if case.tied else micros + jitter_micros("activity", path, ordinal, failures)


def answered(case: nodes.Case, kind: str, arg: int, failures: int) -> str:
    """What an attempt comes to."""
    answer = case.answers[arg]
    if failures < answer.fails:
        raise BoomError(f"{kind} {arg}")
    if answer.breaks:
        raise NonRetryable(f"{kind} {arg} broke")
    return f"{kind} {arg}"


def outcome(end: Any) -> Outcome:
    """How a run came out and when, as what can be compared. end: its last event."""
    micros = clock.parse_instant(end.recorded_at) - START
    match end:
        case _ if not isinstance(end, ev.TERMINAL_EVENTS):
            return ("open",)
        case ev.WorkflowCompleted():
            return ("completed", without_derived(msgspec.json.decode(end.result)), micros)
        case ev.WorkflowFailed():
            return ("failed", end.error.type, micros)
        case _:
            return (type(end).__name__, None, micros)


def answer(event: ev.UpdateCompleted | ev.UpdateFailed) -> Outcome:
    """How an update was answered and when, as what can be compared."""
    micros = clock.parse_instant(event.recorded_at) - START
    if isinstance(event, ev.UpdateCompleted):
        return ("answered", without_derived(msgspec.json.decode(event.result)), micros)
    return (event.error.kind.value, event.error.type, micros)


def without_derived(value: Any) -> Any:
    """Leave out what only aion can know: time, random numbers and ids."""
    match value:
        case ["derived", *_]:
            return "derived"
        case list():
            return [without_derived(item) for item in cast("list[Any]", value)]
        case _:
            return value
