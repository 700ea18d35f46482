"""Random programs, and random worlds for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.programs import nodes
from tests.programs.changes import CHANGES

Draw = Callable[[st.SearchStrategy[Any]], Any]

_MOST_NODES = 24
_DEEPEST = 5
_ARGS = 4
_MILLIS = st.sampled_from([0.0, 500.0, 1000.0, 2000.0, 3000.0, 5000.0, 20_000.0])
_SIGNAL = st.sampled_from("aaab")
_KINDS = st.sampled_from(["plain", "plain", "flaky"])
_LEAVES = [
    "act", "act", "act", "act", "act", "sleep", "sleep", "receive", "receive", "receive",
    "poll", "derive", "yield", "raise", "ghost",
]  # fmt: skip
_RISKY = ["once", "limited", "send", "orphan"]
_BRANCHES = [
    "seq", "seq", "seq", "gather", "gather", "group", "group", "race", "race", "each", "wait", "locked", "piped",
    "deadline", "deadline", "waitfor", "cancel", "shield", "loop", "child", "child", "try", "try", "finally", "finally",
]  # fmt: skip


class _Grower:
    """Grows one program of at most so many branches. risky: with what a crash may rightly change the outcome of.

    family: what the names of child workflows begin with.
    """

    def __init__(self, draw: Draw, most: int, risky: bool, family: str) -> None:
        self._draw = draw
        self._left = draw(st.integers(most // 4, most))
        self._leaves = _LEAVES + (_RISKY if risky else [])
        self._family = family
        self._children = 0

    def program(self) -> nodes.Node:
        """A few nodes, one after the other."""
        return nodes.Seq(self._several(1))

    def node(self, depth: int = 0) -> nodes.Node:
        self._left -= 1
        if self._left <= 0 or depth >= _DEEPEST:
            return self._leaf()
        if depth and self._draw(st.integers(0, 2)) == 0:
            return self._leaf()
        return self._branch(self._draw(st.sampled_from(_BRANCHES)), depth + 1)

    def _several(self, depth: int, least: int = 1) -> tuple[nodes.Node, ...]:
        return tuple(self.node(depth) for _ in range(self._draw(st.integers(least, 4))))

    def _leaf(self) -> nodes.Node:
        draw = self._draw
        match draw(st.sampled_from(self._leaves)):
            case "act":
                return nodes.Act(draw(_KINDS), draw(st.integers(0, _ARGS - 1)))
            case "once" | "limited" as kind:
                return nodes.Act(kind, draw(st.integers(0, _ARGS - 1)))
            case "sleep":
                return nodes.Sleep(draw(_MILLIS))
            case "receive":
                return nodes.Receive(draw(_SIGNAL))
            case "poll":
                return nodes.Poll(draw(_SIGNAL))
            case "derive":
                return nodes.Derive()
            case "yield":
                return nodes.Yield()
            case "ghost":
                return nodes.Ghost()
            case "send":
                return nodes.Send(draw(_SIGNAL), draw(st.integers(0, 9)))
            case "orphan":
                return nodes.Orphan(self._leaf())
            case _:
                return nodes.Raise("boom")

    def _branch(self, kind: str, depth: int) -> nodes.Node:  # noqa: C901 - one flat case a node
        draw = self._draw
        match kind:
            case "seq":
                return nodes.Seq(self._several(depth, 2))
            case "gather":
                return nodes.Gather(self._several(depth, 2), draw(st.booleans()))
            case "group":
                return nodes.Group(self._several(depth, 2))
            case "race":
                return nodes.Race(self._several(depth, 2))
            case "each":
                return nodes.EachDone(self._several(depth, 2))
            case "wait":
                return nodes.Wait(self._several(depth), draw(_MILLIS))
            case "locked":
                return nodes.Locked(self._several(depth, 2))
            case "piped":
                return nodes.Piped(self._several(depth))
            case "deadline":
                return nodes.Deadline(self.node(depth), draw(_MILLIS))
            case "waitfor":
                return nodes.WaitFor(self.node(depth), draw(_MILLIS))
            case "cancel":
                return nodes.CancelAfter(self.node(depth), draw(_MILLIS))
            case "shield":
                return nodes.Shield(self.node(depth))
            case "loop":
                return nodes.Loop(self.node(depth), draw(st.integers(2, 3)))
            case "child":
                self._children += 1
                name = f"{self._family}-{self._children}"
                return nodes.Child(self.node(depth), name)
            case "try":
                return nodes.Try(self.node(depth), self.node(depth))
            case _:
                return nodes.Finally(self.node(depth), self.node(depth))


_ANSWERS = st.builds(nodes.Answer, _MILLIS, st.sampled_from([0, 0, 0, 1, 2, 3]), st.sampled_from([False] * 5 + [True]))
_SIGNALS = st.builds(nodes.Stimulus, _MILLIS, st.just("signal"), _SIGNAL, st.integers(0, 9))
_CANCEL = st.builds(nodes.Stimulus, _MILLIS, st.just("cancel"))
_PAUSES = st.builds(nodes.Stimulus, _MILLIS, st.sampled_from(["pause", "unpause", "terminate"]))


@st.composite
def cases(draw: Draw) -> nodes.Case:
    """A program of a handful of nodes, in its world."""
    tied = draw(st.integers(0, 3)) == 0
    risky = tied or draw(st.booleans())
    outside: list[nodes.Stimulus] = draw(st.lists(_SIGNALS, max_size=5))
    if draw(st.integers(0, 3)) == 0:
        outside += draw(st.lists(_CANCEL, min_size=1, max_size=2))
    if tied:
        outside += draw(st.lists(_PAUSES, max_size=2))
    return nodes.Case(
        program=_Grower(draw, _MOST_NODES, risky, "child").program(),
        answers=tuple(draw(_ANSWERS) for _ in range(_ARGS)),
        outside=tuple(outside),
        tied=tied,
        slots=draw(st.sampled_from([None, None, 1, 2])) if tied else None,
        change=nodes.Change(
            number=draw(st.integers(0, 2 * _MOST_NODES)),
            how=draw(st.sampled_from(CHANGES)),
            fresh=_Grower(draw, 2, risky, "new").node(),
        ),
        every_cut=draw(st.integers(0, 2)) == 0,
        luck=draw(st.integers(0, 999)),
    )
