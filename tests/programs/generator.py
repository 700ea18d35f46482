"""Random programs, and random worlds for them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.programs import nodes
from tests.programs.changes import CHANGES

_MOST_NODES = 24
_DEEPEST = 5
_ARGS = 4
_MILLIS = [0.0, 500.0, 1000.0, 2000.0, 3000.0, 5000.0, 20_000.0]
_SIGNAL = "aaab"
_KINDS = ["plain", "plain", "flaky"]
_LEAVES = [
    "act", "act", "act", "act", "act", "sleep", "sleep", "receive", "receive", "receive",
    "poll", "derive", "yield", "raise", "ghost", "add", "until", "until", "join", "join",
]  # fmt: skip
_RISKY = ["once", "limited", "send", "orphan"]
_BRANCHES = [
    "seq", "seq", "seq", "gather", "gather", "group", "group", "race", "race", "each", "wait", "locked", "piped",
    "deadline", "deadline", "waitfor", "cancel", "shield", "loop", "child", "child", "try", "try", "finally", "finally",
    "offer", "start", "start", "start", "again", "again",
]  # fmt: skip


_POLICIES: list[nodes.ParentClose] = ["cancel", "cancel", "terminate", "abandon"]


class _Grower:
    """Grows one program of at most so many branches. risky: with what a crash may rightly change the outcome of.

    family: what the names of child workflows begin with.
    """

    def __init__(self, luck: Random, most: int, risky: bool, family: str) -> None:
        self._luck = luck
        self._left = luck.randint(most // 4, most)
        self._leaves = _LEAVES + (_RISKY if risky else [])
        self._family = family
        self._children = 0
        self._runs = 0 if family == "child" else 100

    def program(self) -> nodes.Node:
        """A few nodes, one after the other; often with an update on offer, or children left to a next run."""
        items = self._several(1)
        match self._luck.randint(0, 7):
            case 0 | 1 | 2:
                return nodes.Seq((self._branch("offer", 1), *items))
            case 3:
                return nodes.Seq((self._branch("start", 2), self._leaf(), self._branch("again", 1)))
            case _:
                return nodes.Seq(items)

    def node(self, depth: int = 0) -> nodes.Node:
        self._left -= 1
        if self._left <= 0 or depth >= _DEEPEST:
            return self._leaf()
        if depth and self._luck.randint(0, 2) == 0:
            return self._leaf()
        return self._branch(self._luck.choice(_BRANCHES), depth + 1)

    def _several(self, depth: int, least: int = 1) -> tuple[nodes.Node, ...]:
        return tuple(self.node(depth) for _ in range(self._luck.randint(least, 4)))

    def _leaf(self) -> nodes.Node:
        luck = self._luck
        match luck.choice(self._leaves):
            case "act":
                return nodes.Act(luck.choice(_KINDS), luck.randint(0, _ARGS - 1))
            case "once" | "limited" as kind:
                return nodes.Act(kind, luck.randint(0, _ARGS - 1))
            case "sleep":
                return nodes.Sleep(luck.choice(_MILLIS))
            case "receive":
                return nodes.Receive(luck.choice(_SIGNAL))
            case "poll":
                return nodes.Poll(luck.choice(_SIGNAL))
            case "derive":
                return nodes.Derive()
            case "yield":
                return nodes.Yield()
            case "ghost":
                return nodes.Ghost()
            case "send":
                return nodes.Send(luck.choice(_SIGNAL), luck.randint(0, 9))
            case "add":
                return nodes.Add(luck.randint(1, 2))
            case "until":
                return nodes.Until(luck.randint(1, 4))
            case "join":
                return nodes.Join(luck.choice([0, 0, 1]))
            case "orphan":
                return nodes.Orphan(self._leaf())
            case _:
                return nodes.Raise("boom")

    def _branch(self, kind: str, depth: int) -> nodes.Node:  # noqa: C901 - one flat case a node
        luck = self._luck
        match kind:
            case "seq":
                return nodes.Seq(self._several(depth, 2))
            case "gather":
                return nodes.Gather(self._several(depth, 2), luck.random() < 0.5)
            case "group":
                return nodes.Group(self._several(depth, 2))
            case "race":
                return nodes.Race(self._several(depth, 2))
            case "each":
                return nodes.EachDone(self._several(depth, 2))
            case "wait":
                return nodes.Wait(self._several(depth), luck.choice(_MILLIS))
            case "locked":
                return nodes.Locked(self._several(depth, 2))
            case "piped":
                return nodes.Piped(self._several(depth))
            case "deadline":
                return nodes.Deadline(self.node(depth), luck.choice(_MILLIS))
            case "waitfor":
                return nodes.WaitFor(self.node(depth), luck.choice(_MILLIS))
            case "cancel":
                return nodes.CancelAfter(self.node(depth), luck.choice(_MILLIS))
            case "shield":
                return nodes.Shield(self.node(depth))
            case "loop":
                return nodes.Loop(self.node(depth), luck.randint(2, 3))
            case "child":
                return nodes.Child(self.node(depth), self._name())
            case "again":
                self._runs += 1
                label = self._runs
                return nodes.Again(self.node(depth), label)
            case "start":
                policy = luck.choice(_POLICIES)
                return nodes.Start(self.node(depth), self._name(), policy, named=luck.randint(0, 3) == 0)
            case "offer":
                return nodes.Offer(self.node(depth))
            case "try":
                return nodes.Try(self.node(depth), self.node(depth))
            case _:
                return nodes.Finally(self.node(depth), self.node(depth))

    def _name(self) -> str:
        self._children += 1
        return f"{self._family}-{self._children}"


def distinct_cases(seed: int) -> Iterator[nodes.Case]:
    """Yield cases without end, no program twice; the same ones for the same seed."""
    luck = Random(seed)
    seen: set[nodes.Node] = set()
    while True:
        case = _case(luck)
        if case.program not in seen:
            seen.add(case.program)
            yield case


def _case(luck: Random) -> nodes.Case:
    """A program of a handful of nodes, in its world."""
    tied = luck.randint(0, 3) == 0
    risky = tied or luck.random() < 0.5
    return nodes.Case(
        program=_Grower(luck, _MOST_NODES, risky, "child").program(),
        answers=tuple(_answer(luck) for _ in range(_ARGS)),
        outside=_outside(luck, tied),
        tied=tied,
        slots=luck.choice([None, None, 1, 2]) if tied else None,
        change=nodes.Change(
            number=luck.randint(0, 2 * _MOST_NODES),
            how=luck.choice(CHANGES),
            fresh=_Grower(luck, 2, risky, "new").node(),
        ),
        every_cut=luck.randint(0, 3) == 0,
        luck=luck.randint(0, 999),
    )


def _answer(luck: Random) -> nodes.Answer:
    return nodes.Answer(luck.choice(_MILLIS), luck.choice([0, 0, 0, 1, 2, 3]), luck.randint(0, 5) == 0)


def _outside(luck: Random, tied: bool) -> tuple[nodes.Stimulus, ...]:
    found = [_message(luck) for _ in range(luck.randint(0, 5))]
    if luck.randint(0, 3) == 0:
        found += [nodes.Stimulus(luck.choice(_MILLIS), "cancel") for _ in range(luck.randint(1, 2))]
    if tied:
        found += [
            nodes.Stimulus(luck.choice(_MILLIS), luck.choice(["pause", "unpause", "terminate"]))
            for _ in range(luck.randint(0, 2))
        ]
    return tuple(found)


def _message(luck: Random) -> nodes.Stimulus:
    if luck.randint(0, 2) == 0:
        return nodes.Stimulus(luck.choice(_MILLIS), "update", value=luck.randint(-1, 3))
    return nodes.Stimulus(luck.choice(_MILLIS), "signal", luck.choice(_SIGNAL), luck.randint(0, 9))
