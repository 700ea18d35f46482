"""Random programs do the same on the deterministic loop as on a plain one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.loops import Note, nap, on_plain_loop, on_workflow_loop


@dataclass(frozen=True)
class Node:
    """A part of a program. seconds: how long it waits, a power of two of its own, so that no two sums are equal."""

    kind: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    seconds: float = 0.0

    def named(self, seconds: Iterator[float], name: str = "leaf") -> Node:
        parts = tuple(part.named(seconds, f"{name} {n}") for n, part in enumerate(self.parts))
        return Node(self.kind, parts, name, next(seconds))


LIMITED = ("timeout", "wait_for", "wait_first", "wait_limit", "as_completed_limit")
MANY = ("gather", "gather_all", "group", "as_completed", "sequence", *LIMITED)
ALONE = ("shield", "cleanup", "cancelled")

trees = st.recursive(
    st.builds(Node, st.sampled_from(["rest", "rest", "fail"])),
    lambda inner: (
        st.builds(Node, st.sampled_from(MANY), st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Node, st.sampled_from(ALONE), inner.map(lambda one: (one,)))
    ),
    max_leaves=9,
)


@dataclass(frozen=True)
class Runner:
    """Runs a tree; each kind of node is a method."""

    note: Note

    async def run(self, node: Node) -> object:
        run: Callable[[Node], Awaitable[object]] = getattr(self, node.kind)
        return await run(node)

    async def rest(self, node: Node) -> object:
        return await nap(self.note, node.seconds, node.name)

    async def fail(self, node: Node) -> object:
        return await nap(self.note, node.seconds, node.name, fail=True)

    async def sequence(self, node: Node) -> object:
        return [await self.run(part) for part in node.parts]

    async def gather(self, node: Node) -> object:
        return await asyncio.gather(*map(self.run, node.parts))

    async def gather_all(self, node: Node) -> object:
        return [repr(one) for one in await asyncio.gather(*map(self.run, node.parts), return_exceptions=True)]

    async def group(self, node: Node) -> object:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(part)) for part in node.parts]
        return [task.result() for task in tasks]

    async def as_completed(self, node: Node) -> object:
        return await self._as_completed(node, None)

    async def as_completed_limit(self, node: Node) -> object:
        return await self._as_completed(node, node.seconds)

    async def _as_completed(self, node: Node, timeout: float | None) -> object:
        tasks = [asyncio.ensure_future(self.run(part)) for part in node.parts]
        return [await one for one in asyncio.as_completed(tasks, timeout=timeout)]

    async def timeout(self, node: Node) -> object:
        async with asyncio.timeout(node.seconds):
            return await self.sequence(node)

    async def wait_for(self, node: Node) -> object:
        return await asyncio.wait_for(self.sequence(node), node.seconds)

    async def wait_first(self, node: Node) -> object:
        return await self._wait(node, None, asyncio.FIRST_COMPLETED)

    async def wait_limit(self, node: Node) -> object:
        return await self._wait(node, node.seconds, asyncio.FIRST_EXCEPTION)

    async def _wait(self, node: Node, timeout: float | None, return_when: str) -> object:
        tasks = [asyncio.ensure_future(self.run(part)) for part in node.parts]
        done, pending = await asyncio.wait(tasks, timeout=timeout, return_when=return_when)
        self.note((len(done), len(pending)))
        for task in tasks:
            task.cancel()
        return await asyncio.gather(*tasks)

    async def shield(self, node: Node) -> object:
        return await asyncio.shield(self.run(node.parts[0]))

    async def cleanup(self, node: Node) -> object:
        try:
            return await self.run(node.parts[0])
        finally:
            await nap(self.note, node.seconds, f"{node.name} cleanup")

    async def cancelled(self, node: Node) -> object:
        task = asyncio.ensure_future(self.run(node.parts[0]))
        await nap(self.note, node.seconds, node.name)
        task.cancel()
        return await task


@settings(max_examples=300, deadline=None)
@given(trees, st.permutations(range(30)))
def test_random_programs_do_the_same_on_both_loops(tree: Node, order: list[int]) -> None:
    named = tree.named(iter([2**n / 1_000_000 for n in order]))

    async def program(note: Note) -> object:
        return await Runner(note).run(named)

    ours, plain = on_workflow_loop(program), on_plain_loop(program)
    assert ours.outcome == plain.outcome
    assert ours.before_its_end() == plain.before_its_end()
    assert on_workflow_loop(program) == ours
