"""What a primitive is to this table, and the stage on which each is performed: a World, with those outside of it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core import events as ev
from aion_cli.core.cursor import HistoryCursor
from aion_cli.core.replay import Replay
from aion_cli.core.source import SourcePaths
from aion_cli.errors import WrongStateError
from aion_cli.testing.fakes import fakes_by_name
from aion_cli.testing.ledger import Cut
from aion_cli.testing.loop import START, SkippingLoop
from aion_cli.testing.world import World
from tests.builders import raw
from tests.primitives.shop import bell

AnyWorkflow = WorkflowDefinition[..., Any]
Fakes = Mapping[Any, Callable[..., Any]]
Ends = dict[str, tuple[str, Any]]
"""How runs ended, by workflow id: the type of the last event, and what it holds."""

RUN = "run"
ROOT = Path(__file__).parents[2]
PATHS = SourcePaths(str(ROOT))


class Message(NamedTuple):
    """What somebody outside sends the run, so many seconds after it has begun."""

    after_s: float
    event: ev.Event


def sends(name: str, payload: object = None, *, after_s: float = 1) -> Message:
    return Message(after_s, ev.SignalReceived(name=name, payload=raw(payload), signal_id=f"{name}-{payload}-{after_s}"))


def cancels(after_s: float) -> Message:
    return Message(after_s, ev.WorkflowCancelRequested(request_id="c1", reason="enough"))


class Changed(NamedTuple):
    """Code that was changed under the recorded history, and what is to be said about it.

    seq: of the event where the two part. recorded, requested: what the two want there; "nothing" if code only waits.
    line: a text of the line that is named. within: the function that has it, unless it is the workflow.
    """

    workflow: AnyWorkflow
    seq: int
    recorded: str
    requested: str
    line: str
    within: Callable[..., object] | None = None

    @property
    def place(self) -> str:
        """The one line that is named, as "file:line"."""
        lines, first = inspect.getsourcelines(self.within or self.workflow.fn)
        (number,) = [number for number, line in enumerate(lines, first) if self.line in line]
        return f"{PATHS.shorten(self.workflow.file)}:{number}"


class Unchangeable(NamedTuple):
    """No change of its use can part code from history. but: code that was changed, and replays clean."""

    why: str
    but: AnyWorkflow


@dataclass(frozen=True)
class Cancelled:
    """How it waits, and what becomes of that when the run is cancelled.

    after_s: when; None: as soon as `shop.bell` rings. args, fakes, messages: of a run in which it does not go on by
    itself.
    withdraws: names of the events that are recorded because of the cancellation, before the workflow's own cleanup.
    told: what the running functions noted when they were cancelled.
    """

    withdraws: tuple[str, ...] = ()
    after_s: float | None = 60
    args: tuple[Any, ...] = ()
    fakes: Fakes = field(default_factory=dict[Any, Callable[..., Any]])
    messages: tuple[Message, ...] = ()
    told: tuple[str, ...] = ()


class NeverWaits(NamedTuple):
    """It cannot be cancelled while it waits, since it does not wait."""

    why: str


@dataclass(frozen=True)
class Primitive:
    """One thing that authors write.

    names: what of aion_cli or asyncio it stands for. workflow, args: a workflow that is little else. messages: what the
    run is sent. fakes: what runs in place of activities; others really run. records: the names of the events between
    its start and its end. result: what it comes to.
    docs: its line in docs/authoring.md. answers: what queries of the run say at its end.
    """

    names: tuple[str, ...]
    workflow: AnyWorkflow
    records: str
    result: Any
    docs: str
    changed: Changed | Unchangeable
    cancelled: Cancelled | NeverWaits
    args: tuple[Any, ...] = ()
    messages: tuple[Message, ...] = ()
    fakes: Fakes = field(default_factory=dict[Any, Callable[..., Any]])
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return self.workflow.name


class Performance:
    """A run of a workflow on stage, to where nothing moves it any more."""

    def __init__(
        self, loop: SkippingLoop, workflow: AnyWorkflow, args: Sequence[Any], fakes: Fakes, messages: Sequence[Message]
    ) -> None:
        self._world = self._acting = World(loop, fakes_by_name(fakes), paths=PATHS)
        bell.on_ring = lambda: loop.call_soon_threadsafe(self._cancel_now)
        self._world.start(workflow, RUN, workflow.signature.encode_call(*args))
        for message in messages:
            self._world.send_at(START + round(message.after_s * 1_000_000), RUN, message.event)
        self._world.go()

    @classmethod
    def of(cls, loop: SkippingLoop, primitive: Primitive) -> Performance:
        return cls(loop, primitive.workflow, primitive.args, primitive.fakes, primitive.messages)

    @classmethod
    def cancelled(cls, loop: SkippingLoop, primitive: Primitive, way: Cancelled) -> Performance:
        """The same, but it is cancelled while it waits."""
        fakes = {**primitive.fakes, **way.fakes}
        messages = way.messages if way.after_s is None else (*way.messages, cancels(way.after_s))
        return cls(loop, primitive.workflow, way.args or primitive.args, fakes, messages)

    def _cancel_now(self) -> None:
        with contextlib.suppress(WrongStateError):
            self._acting.ledger.deliver(RUN, cancels(0).event)

    @property
    def end(self) -> tuple[str, Any]:
        """How the run ended: the type of the event, and what it holds."""
        return self.ends[RUN]

    @property
    def histories(self) -> list[Sequence[Any]]:
        """The events of every history: of the run first, then of its children."""
        return [store.events for stores in self._world.ledger.histories.values() for store in stores]

    @property
    def events(self) -> list[Any]:
        """The events of the run, over all histories that it continued in."""
        return self._world.ledger.events(RUN)

    @property
    def ends(self) -> Ends:
        """How the run and its children ended."""
        return _ends(self._world)

    def crashes(self) -> Iterator[tuple[Cut, Ends]]:
        """Crash everything at every moment at which that can happen, go on, and yield how all ended then."""
        for cut in self._world.ledger.cuts():
            found = self._acting = self._world.crashed(cut)
            found.go()
            self._check_replays(found)
            yield cut, _ends(found)

    def replay(self) -> list[Replay]:
        """Replay every history with the code that made it; to be closed by whoever asks."""
        return [replay_of(events, self._world.place.code[events[0].workflow_type]) for events in self.histories]

    def _check_replays(self, world: World) -> None:
        for stores in world.ledger.histories.values():
            for store in stores:
                replay_of(store.events, world.place.code[store.events[0].workflow_type]).execution.close()


def replay_of(events: Sequence[Any], workflow: AnyWorkflow) -> Replay:
    """Replay a history to its end, and return the replay, which holds the code where it stands."""
    replay = Replay(HistoryCursor(events), workflow, paths=PATHS)
    try:
        replay.run()
    except BaseException:
        replay.execution.close()
        raise
    return replay


def _ends(world: World) -> Ends:
    return {workflow_id: _end(world, workflow_id) for workflow_id in world.ledger.histories}


def _end(world: World, workflow_id: str) -> tuple[str, Any]:
    match world.ledger.end_of(workflow_id):
        case ev.WorkflowCompleted(result=result):
            return "WorkflowCompleted", msgspec.json.decode(result)
        case ev.WorkflowFailed(error=error):
            return "WorkflowFailed", f"{error.type}: {error.message}"
        case None:
            return "open", [f"{wait.kind} {wait.name}" for wait in world.waiting.get(workflow_id, [])]
        case end:
            return type(end).__name__, getattr(end, "reason", None)
