"""Making a case that breaks a promise smaller, so that somebody can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from tests.programs import nodes

T = TypeVar("T")
_MOST_TRIES = 2_000


def smallest(case: nodes.Case, still_fails: Callable[[nodes.Case], bool]) -> nodes.Case:
    """Return a case that still fails, and of which nothing can be left out; or as far as so many tries bring it."""
    tries = 0
    while True:
        for simpler in _simpler_cases(case):
            tries += 1
            if tries > _MOST_TRIES:
                return case
            if still_fails(simpler):
                case = simpler
                break
        else:
            return case


def _simpler_cases(case: nodes.Case) -> Iterator[nodes.Case]:
    """Yield what is a bit less than a case, the greatest steps first."""
    change = msgspec.structs.replace
    for program in _simpler(case.program):
        yield change(case, program=program)
    for outside in _without_one(case.outside):
        yield change(case, outside=outside)
    if case.change is not None:
        yield change(case, change=None)
        for fresh in _simpler(case.change.fresh):
            yield change(case, change=change(case.change, fresh=fresh))
    if not case.every_cut:
        yield change(case, every_cut=True)
    if case.slots is not None:
        yield change(case, slots=None)
    for number, answer in enumerate(case.answers):
        if answer != nodes.Answer(0.0):
            yield change(case, answers=(*case.answers[:number], nodes.Answer(0.0), *case.answers[number + 1 :]))


def _simpler(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield one of its parts in place of the node, the node with fewer items, then with a part made simpler."""
    parts = list(node.parts())
    yield from parts
    if "items" in node.__struct_fields__ and len(parts) > 1:
        yield from (node.with_parts(fewer) for fewer in _without_one(parts))
    for index, part in enumerate(parts):
        for simpler in _simpler(part):
            yield node.with_parts([*parts[:index], simpler, *parts[index + 1 :]])
    if parts:
        yield nodes.Yield()


def _without_one(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    for index in range(len(items)):
        yield (*items[:index], *items[index + 1 :])
