"""Fakes for activities: attempts, retries and limits are the real executor's, only the function is another."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec

from aion_cli.api.definitions import ActivityDefinition
from aion_cli.api.shell import shell
from aion_cli.core import commands as cmd
from aion_cli.core.events import Failure
from aion_cli.errors import UsageError
from aion_cli.runtime.activities import ActivityRunner, Limit
from aion_cli.runtime.executor import ActivityOutcome, ActivityRequest, AttemptLog, InProcessExecutor, OtherRuns
from aion_cli.runtime.mailbox import Mailbox
from aion_cli.testing.loop import SkippingClock, SkippingLoop

Fakes = Mapping[str, Callable[..., Any]]
"""What runs in place of an activity, by the activity's registered name."""


def fakes_by_name(activities: Mapping[Any, Callable[..., Any]]) -> Fakes:
    """Key fakes by name. Keys may be activities, names, and functions that stand for an activity, as `shell` does.

    Raises UsageError for a key or a fake that is none, and for a name that no activity of this process has.
    """
    known = {*ActivityDefinition.names, shell.__name__}
    named: dict[str, Callable[..., Any]] = {}
    for key, fake in activities.items():
        name = key if isinstance(key, str) else getattr(key, "name", None) or getattr(key, "__name__", None)
        if not isinstance(name, str):
            raise UsageError(f"{key!r} is no activity", hint="activities={charge: fake}")
        if not callable(fake):
            raise UsageError(
                f"the fake of {name} is {fake!r}, which cannot be called", hint=f"activities={{{name}: lambda …: …}}"
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "a key is an activity, or the name it has"
            raise UsageError(f"no activity has the name {name!r}", hint=hint)
        named[name] = fake
    return named


class FakingExecutor(InProcessExecutor):
    """The in-process executor with fakes. What has no fake really runs, and takes real time.

    check: told (ordinal, attempt) before an attempt is made.
    """

    def __init__(
        self,
        loop: SkippingLoop,
        activities: ActivityRunner,
        others: OtherRuns,
        mailbox: Mailbox,
        fakes: Fakes,
        check: Callable[[int, int], None],
    ) -> None:
        super().__init__(activities, others, SkippingClock(loop), mailbox.look)
        self._loop = loop
        self._fakes = fakes
        self._check = check

    def try_reserve(self, command: cmd.RunActivity, scheduled_at: str) -> bool:
        """Take room for an attempt; see LiveExecutor."""
        return super().try_reserve(self._faked(command), scheduled_at)

    def give_back(self, command: cmd.RunActivity) -> None:
        """Give back room; see LiveExecutor."""
        super().give_back(self._faked(command))

    async def run_activity(self, request: ActivityRequest, log: AttemptLog) -> ActivityOutcome:
        """Run an activity, or its fake, with its retries; see LiveExecutor."""
        return await super().run_activity(msgspec.structs.replace(request, command=self._faked(request.command)), log)

    async def _attempt(
        self, definition: ActivityDefinition[..., Any], request: ActivityRequest, attempt: int, limit: Limit | None
    ) -> msgspec.Raw | Failure:
        self._check(request.command.key.ordinal, attempt)
        if definition.name in self._fakes:
            return await super()._attempt(definition, request, attempt, limit)
        with self._loop.real_work():
            return await super()._attempt(definition, request, attempt, limit)

    def _faked(self, command: cmd.RunActivity) -> cmd.RunActivity:
        fake = self._fakes.get(command.activity_type)
        target: Any = command.target
        if fake is None or not isinstance(target, ActivityDefinition):
            return command
        definition = copy.copy(cast("ActivityDefinition[..., Any]", target))
        definition.fn = _in_place(fake)
        definition.is_async = True
        definition.settings = replace(definition.settings, process=False)
        return msgspec.structs.replace(command, target=definition)


def _in_place(fake: Callable[..., Any]) -> Callable[..., Any]:
    """Run a fake on the loop, whether it is async or not, so that what it sleeps is skipped."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        found = fake(*args, **kwargs)
        return await found if inspect.isawaitable(found) else found

    return call
