"""Programs as data: small trees that stand for workflow code, and the world that they run in.

A program is generated, printed and changed as data, and interpreted by one workflow function (`interpreter`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec

ParentClose = Literal["cancel", "terminate", "abandon"]


class Node(msgspec.Struct, frozen=True):
    """One piece of a program. It gives a JSON value, or raises."""

    def parts(self) -> Sequence[Node]:
        """The nodes inside, in order."""
        return ()

    def with_parts(self, parts: Sequence[Node]) -> Node:
        """The same node around other parts, as many as it had."""
        assert not parts
        return self


class Act(Node, frozen=True):
    """Await an activity. kind: which one. arg: its input, which decides how the world answers (see Answer)."""

    kind: str
    arg: int


class Ghost(Node, frozen=True):
    """Ask for an activity and take it back in the same step: it leaves nothing but a used number."""


class Sleep(Node, frozen=True):
    ms: float


class Yield(Node, frozen=True):
    """Let other tasks run."""


class Receive(Node, frozen=True):
    name: str


class Poll(Node, frozen=True):
    """How many signals wait to be taken."""

    name: str


class Derive(Node, frozen=True):
    """Time, randomness and ids: all of them derived."""


class Raise(Node, frozen=True):
    message: str


class Send(Node, frozen=True):
    """Send a signal to the main run, which may be this one."""

    name: str
    value: int


class Add(Node, frozen=True):
    """Add to the counter of the run."""

    by: int


class Until(Node, frozen=True):
    """Wait until the counter of the run is at least so much."""

    least: int


class Join(Node, frozen=True):
    """Await a child that was started. back: how many were started after it."""

    back: int


class _Several(Node, frozen=True):
    items: tuple[Node, ...]

    def parts(self) -> Sequence[Node]:
        return self.items

    def with_parts(self, parts: Sequence[Node]) -> Node:
        return msgspec.structs.replace(self, items=tuple(parts))


class Seq(_Several, frozen=True):
    """One after the other."""


class Gather(_Several, frozen=True):
    """asyncio.gather. keep: return_exceptions."""

    keep: bool = False


class Group(_Several, frozen=True):
    """asyncio.TaskGroup."""


class Race(_Several, frozen=True):
    """The first to end wins, the others are cancelled and awaited."""


class EachDone(_Several, frozen=True):
    """asyncio.as_completed over plain coroutines."""


class Wait(_Several, frozen=True):
    """asyncio.wait for the first exception, with a limit; what is left over is cancelled."""

    ms: float = 1000.0


class Locked(_Several, frozen=True):
    """All at once, but two at a time through a semaphore."""


class Piped(_Several, frozen=True):
    """All at once, each putting its result into a queue from which one consumer takes them."""


class _One(Node, frozen=True):
    body: Node

    def parts(self) -> Sequence[Node]:
        return (self.body,)

    def with_parts(self, parts: Sequence[Node]) -> Node:
        (body,) = parts
        return msgspec.structs.replace(self, body=body)


class Deadline(_One, frozen=True):
    """asyncio.timeout."""

    ms: float


class WaitFor(_One, frozen=True):
    """asyncio.wait_for."""

    ms: float


class CancelAfter(_One, frozen=True):
    """A task that is cancelled after a while, and awaited."""

    ms: float


class Shield(_One, frozen=True):
    """asyncio.shield."""


class Loop(_One, frozen=True):
    times: int


class Child(_One, frozen=True):
    """A child workflow with the body as its code. name: its type, of no other node."""

    name: str


class Start(_One, frozen=True):
    """Start such a child, and go on. parent_close: see start_child. named: give it an id that others may ask for."""

    name: str
    parent_close: ParentClose = "cancel"
    named: bool = False


class Again(_One, frozen=True):
    """Continue as a new run, which does the body. label: of no other node."""

    label: int


class Offer(_One, frozen=True):
    """Offer the update `bump`, which adds a value to the counter of the run, but no negative one, and does the body."""


class Orphan(_One, frozen=True):
    """A task that nobody awaits."""


class _Two(Node, frozen=True):
    body: Node
    other: Node

    def parts(self) -> Sequence[Node]:
        return (self.body, self.other)

    def with_parts(self, parts: Sequence[Node]) -> Node:
        body, other = parts
        return msgspec.structs.replace(self, body=body, other=other)


class Try(_Two, frozen=True):
    """other: what follows an Exception of body."""


class Finally(_Two, frozen=True):
    """other: what is done however body ends."""


class Answer(msgspec.Struct, frozen=True):
    """How the world answers activities with one input. fails: that often first. breaks: then for good."""

    ms: float
    fails: int = 0
    breaks: bool = False


class Stimulus(msgspec.Struct, frozen=True):
    """What an outsider sends to the main run. what: "signal", "update", "cancel", "pause", "unpause", "terminate"."""

    ms: float
    what: str
    name: str = ""
    value: int = 0


class Change(msgspec.Struct, frozen=True):
    """A change of a program: which of its nodes, how, and a fresh node where one is needed. number wraps around."""

    number: int
    how: str
    fresh: Node


class Case(msgspec.Struct, frozen=True):
    """A program in its world.

    answers: by the activity's input. slots: how many activities may run at once.
    tied: durations are as they stand, so that much happens at the same instant; else no two of them ever are.
    change: what is changed of the program afterwards. every_cut: try every moment of a crash. luck: for other choices.
    """

    program: Node
    answers: tuple[Answer, ...]
    outside: tuple[Stimulus, ...] = ()
    tied: bool = False
    slots: int | None = None
    change: Change | None = None
    every_cut: bool = True
    luck: int = 0


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all inside it, outermost first."""
    yield node
    for part in node.parts():
        yield from walk(part)


def own_parts(node: Node) -> Sequence[Node]:
    """The parts that are code of the same workflow: not the body of a child."""
    return () if isinstance(node, Child | Start) else node.parts()


def body_at(root: Node, path: str) -> Node:
    """Return what the run with this path does. Code that was changed may know nothing of it any more, and does nothing.

    root: the body of its workflow.
    """
    _, is_later, label = path.rpartition("/")[2].rpartition("@")
    return _again(root, int(label)) or Seq(()) if is_later else root


def _again(node: Node, label: int) -> Node | None:
    if isinstance(node, Again) and node.label == label:
        return node.body
    return next((found for part in own_parts(node) if (found := _again(part, label))), None)


def count_own(node: Node) -> int:
    """Count a node and all inside it that is code of the same workflow."""
    return 1 + sum(count_own(part) for part in own_parts(node))


def replaced(root: Node, number: int, change: Callable[[Node], Node]) -> Node:
    """Return the tree with one node put through change: the number-th of the workflow's own, outermost first."""
    if number == 0:
        return change(root)
    number -= 1
    parts = list(own_parts(root))
    for index, part in enumerate(parts):
        size = count_own(part)
        if number < size:
            parts[index] = replaced(part, number, change)
            return root.with_parts(parts)
        number -= size
    raise IndexError(number)
