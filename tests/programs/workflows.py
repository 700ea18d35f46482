"""Programs as workflows: the world as aion offers it to them."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from aion_cli import (
    RetryPolicy,
    Signal,
    activity,
    now,
    random,
    send_signal,
    start_child,
    update,
    uuid4,
    wait_until,
    workflow,
)
from aion_cli.api.definitions import ActivityDefinition, WorkflowDefinition
from aion_cli.core import payload
from aion_cli.core.execution import current
from tests.programs import nodes
from tests.programs.interpreter import MAIN, RunState, bump, refuse_negative, run

RETRY = RetryPolicy(max_attempts=3, initial=1, factor=2, jitter=0)
SIGNALS = {name: Signal(name, int) for name in ("a", "b")}
UPDATE = "bump"


@activity
async def plain(arg: int) -> str:
    """Never run: faked."""
    return str(arg)


@activity(retry=RETRY)
async def flaky(arg: int) -> str:
    """Never run: faked."""
    return str(arg)


@activity(at_most_once=True)
async def once(arg: int) -> str:
    """Never run: faked."""
    return str(arg)


@activity(timeout=2, retry=RETRY)
async def limited(arg: int) -> str:
    """Never run: faked."""
    return str(arg)


ACTIVITIES: dict[str, ActivityDefinition[[int], str]] = {
    definition.name: definition for definition in (plain, flaky, once, limited)
}


class Workflow(WorkflowDefinition[[str], Any]):
    """A program as a workflow. Its input is a path that tells its runs apart: `main`, `main/0`, `main/0/2` …"""

    body: nodes.Node
    tied: bool
    latest: AionOps
    """Of the run that was started last."""

    def start(self, input: msgspec.Raw) -> Coroutine[Any, Any, Any]:
        path = payload.decode(input, str)
        self.latest = AionOps(path, self.tied)
        return _run_to_its_end(nodes.body_at(self.body, path), self.latest)


async def _run_to_its_end(body: nodes.Node, ops: AionOps) -> Any:
    try:
        return await run(body, ops)
    finally:
        ops.ended_at = current().last_seq


@workflow
async def _template(path: str) -> Any:
    return path


def as_workflow(body: nodes.Node, tied: bool, name: str = MAIN) -> Workflow:
    """Make a program a workflow definition."""
    made: Any = copy.copy(_template)
    made.__class__ = Workflow
    made.name = made.__name__ = name
    made.body = body
    made.tied = tied
    assert isinstance(made, Workflow)
    return made


class AionOps(RunState):
    """The world as aion offers it to workflow code.

    taken: how many signals the code was handed, by name. ended_at: seq of the event that made the code end.
    """

    def __init__(self, path: str, tied: bool) -> None:
        super().__init__(path, tied)
        self.taken: Counter[str] = Counter()
        self.ended_at = 0
        self._children = 0

    async def act(self, kind: str, arg: int) -> Any:
        return await ACTIVITIES[kind](arg)

    async def receive(self, name: str) -> int:
        value = await SIGNALS[name].receive()
        self.taken[name] += 1
        return value

    def poll(self, name: str) -> int:
        return SIGNALS[name].pending()

    async def send(self, name: str, value: int) -> None:
        await send_signal(MAIN, SIGNALS[name], value)

    async def child(self, node: nodes.Child) -> Any:
        return await as_workflow(node.body, self._tied, node.name)(self._child_path())

    def _child_path(self) -> str:
        self._children += 1
        return f"{self._path}/{self._children - 1}"

    async def start(self, node: nodes.Start) -> Awaitable[Any]:
        definition = as_workflow(node.body, self._tied, node.name)
        name = node.name if node.named else None
        return await start_child(definition, self._child_path(), id=name, parent_close=node.parent_close)

    async def until(self, predicate: Callable[[], bool]) -> None:
        await wait_until(predicate)

    def offer(self, body: nodes.Node) -> None:
        async def bump_it(value: int) -> Any:
            return await bump(value, body, self)

        bump_it.__name__ = UPDATE
        update(bump_it).validator(refuse_negative)

    def derive(self) -> Any:
        return ["derived", now().isoformat(), random(), str(uuid4())]

    def in_order(self, coroutines: Sequence[Coroutine[Any, Any, Any]]) -> Sequence[Awaitable[Any]]:
        return coroutines

    def check_open(self) -> None:
        if asyncio.get_running_loop().is_closed():
            raise asyncio.CancelledError

    async def wait_for(self, coroutine: Coroutine[Any, Any, Any], timeout: float) -> Any:
        return await asyncio.wait_for(coroutine, timeout)
