"""Child workflows that run beside their parent."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from aion_cli.api import given
from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.core.commands import ChildName
from aion_cli.core.events import ParentClose
from aion_cli.core.execution import current
from aion_cli.core.ids import check_workflow_id
from aion_cli.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


class ChildHandle(Generic[R]):
    """A child that was started. `await handle` gives its result, or raises ChildError.

    workflow_id: the id that was chosen for it, or None: then it is made when the child is recorded. Either way
    `send_signal(handle, …)` sends the child a signal.
    """

    def __init__(self, future: asyncio.Future[R], workflow_id: str | None, name: ChildName) -> None:
        self._future = future
        self.workflow_id = workflow_id
        self._name = name  # not for code to look at: when it is known depends on where a crash came

    def __await__(self) -> Generator[Any, None, R]:
        return self._future.__await__()

    def cancel(self) -> None:
        """Ask the child to cancel, and stop waiting for it."""
        self._future.cancel()

    def done(self) -> bool:
        """Say whether the child has ended, or is no longer waited for."""
        return self._future.done()


async def start_child(
    workflow: WorkflowDefinition[P, R],
    *args: Any,
    id: str | None = None,
    parent_close: Literal["cancel", "terminate", "abandon"] = "cancel",
    **kwargs: Any,
) -> ChildHandle[R]:
    """Start a child and go on; it is recorded before it starts.

    args, kwargs: those of the workflow. id: its workflow id, by default made from this run's. parent_close: what
    becomes of it if it is open when this run ends. Raises UsageError for what is no workflow, an id that cannot be one
    and an unknown parent_close, TypeError and PayloadError for arguments that do not fit.
    """
    if not isinstance(workflow, WorkflowDefinition):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
        raise UsageError(
            f"start_child takes a workflow, and got {given.shown(workflow)}",
            hint="pass the function that @workflow has made a workflow, without `.fn`; an activity is awaited",
        )
    workflow.signature.check()
    name = ChildName("" if id is None else check_workflow_id(given.text("the id of a child", id)))
    future = current("start_child()").spawn_child(
        workflow.name,
        workflow.signature.encode_call(*args, **kwargs),
        workflow,
        workflow.signature.decode_result,
        workflow_id=name.workflow_id,
        parent_close=_parent_close(parent_close),
        known_as=name,
    )
    return ChildHandle(future, id, name)


def recipient(target: object) -> str | ChildName:
    """Return whom a signal is sent to: a child of this run, or the run of a workflow id. Raises UsageError."""
    if isinstance(target, ChildHandle):
        return target._name  # pyright: ignore[reportUnknownMemberType, reportPrivateUsage, reportUnknownVariableType]  # of the class above
    return given.text("the run that a signal is sent to", target, most=given.MOST_OF_A_NAME)


def _parent_close(value: str) -> ParentClose:
    try:
        return ParentClose(value)
    except ValueError:
        choices = ", ".join(f'"{choice}"' for choice in ParentClose)
        raise UsageError(f"parent_close is {given.shown(value)}, it must be one of {choices}") from None
