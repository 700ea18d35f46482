"""`aion update`: a request that the workflow answers, asked once under its id however often it is repeated."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli import output
from aion_cli.cli.again import command_line
from aion_cli.cli.code import code_of
from aion_cli.cli.driving import drive
from aion_cli.cli.ends import print_end, report_failure
from aion_cli.cli.inputs import read_document
from aion_cli.cli.operating_requests import UpdateRequest
from aion_cli.cli.output import ExitCode
from aion_cli.cli.settings import Settings
from aion_cli.cli.telling import connect_output
from aion_cli.cli.waiting import open_end
from aion_cli.core import events as ev
from aion_cli.core import payload
from aion_cli.core.source import SourcePaths
from aion_cli.errors import AionError, OwnedElsewhereError, PayloadError, UsageError, WrongStateError
from aion_cli.runtime.activities import ActivityRunner
from aion_cli.runtime.answers import Answer, RecordedUpdate, find_update
from aion_cli.runtime.asking import replayed
from aion_cli.runtime.children import LocalRuns
from aion_cli.runtime.endings import RunSettings, SuspendReason
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.inbox import Inbox
from aion_cli.runtime.outcome import RunEnd, recorded_end
from aion_cli.runtime.reading import read_first_event
from aion_cli.runtime.runner import Runner
from aion_cli.runtime.wall import WallClock
from aion_cli.runtime.workshop import Workshop

_LOOK_EVERY_S = 0.1


def update_command(settings: Settings, request: UpdateRequest) -> int:
    """Have the workflow answer a request, and print its answer; own the run meanwhile if nobody does.

    What was answered before under the same id is printed again, whether the run is open or closed.
    """
    folder = HistoriesFolder(settings.histories)
    location = folder.find(request.run)
    folder.require_own(location)
    given = None if request.args is None else read_document(request.args, "ARGS")
    known = None if request.update_id is None else find_update(folder, location.workflow_id, request.update_id)
    if known is not None:
        _require_same(settings, request, folder, known, given)
        if known.answer is not None:
            return _report_answer(settings, request, location.workflow_id, known.answer)
    if recorded_end(folder.latest(location.workflow_id).path, folder.files) is not None:
        what = "takes no updates" if known is None else "has no answer to this update"
        raise WrongStateError(f"{location.workflow_id} is closed, and {what}")
    started = read_first_event(location.path, folder.files)
    definition = code_of(settings, started, request.workflow)
    connect_output()
    args = known.request.args if known else _checked_args(request, folder, location.path, definition, given)
    event = ev.UpdateRequested(update_id=request.update_id or secrets.token_hex(16), name=request.name, args=args)
    return _Asking(settings, request, folder, definition, started, event, given).run()


def _require_same(
    settings: Settings,
    request: UpdateRequest,
    folder: HistoriesFolder,
    known: RecordedUpdate,
    given: msgspec.Raw | None,
) -> None:
    """Raise UsageError unless what is recorded under the id is what is asked now.

    The code is only asked for where the JSON differs, as it does if defaults were left out.
    """
    recorded = known.request
    if recorded.name == request.name:
        if payload.equal(recorded.args, payload.NULL if given is None else given):
            return
        definition = code_of(settings, read_first_event(known.path, folder.files), request.workflow)
        connect_output()
        if payload.equal(recorded.args, _checked_args(request, folder, known.path, definition, given)):
            return
    raise UsageError(
        f"the id {recorded.update_id} was used before, for another update",
        hint="leave the id out to ask anew, or repeat the first one exactly",
    )


def _checked_args(
    request: UpdateRequest,
    folder: HistoriesFolder,
    path: Path,
    definition: WorkflowDefinition[..., Any],
    given: msgspec.Raw | None,
) -> msgspec.Raw:
    """Complete the arguments by what the code declares at the end of a history. Raises UsageError, PayloadError."""
    replay = replayed(path, folder, definition, SourcePaths(str(Path.cwd())), output.warn)
    try:
        handler: Any = replay.execution.handlers.update(request.name)
        if handler is None:
            known = ", ".join(replay.execution.handlers.update_names) or "none"
            raise UsageError(f"{definition.name} declares no update {request.name!r}", hint=f"it declares: {known}")
        return handler.complete_input(given)
    except PayloadError as error:
        error.where = (*error.where, f"update {request.name} of {definition.name}")
        raise
    finally:
        replay.execution.close()


class _Asking:
    """One update from its acceptance to its answer: what a signal to this process stops."""

    def __init__(
        self,
        settings: Settings,
        request: UpdateRequest,
        folder: HistoriesFolder,
        definition: WorkflowDefinition[..., Any],
        started: ev.WorkflowStarted,
        event: ev.UpdateRequested,
        given: msgspec.Raw | None,
    ) -> None:
        self._settings = settings
        self._request = request
        self._folder = folder
        self._definition = definition
        self._started = started
        self._event = event
        self._given = given
        self._runner: Runner | None = None
        self._stop: SuspendReason | None = None
        self._is_accepted = False

    @property
    def is_live(self) -> bool:
        """Whether a run is worked on now."""
        return self._runner is not None and self._runner.is_live

    def suspend(self, reason: SuspendReason) -> None:
        """Stop asking; a run that is worked on stays open."""
        self._stop = reason
        if self._runner is not None:
            self._runner.suspend(reason)

    def run(self) -> int:
        """Ask, wait, and report; returns the exit code."""
        try:
            answer = drive(
                self._ask(),
                self,
                grace_s=self._request.grace_s,
                last_words=lambda: self._say_how_to_go_on("interrupted"),
            )
        except AionError:
            if self._is_accepted:
                self._say_how_to_go_on("not answered")
            raise
        if not isinstance(answer, RunEnd):
            return _report_answer(self._settings, self._request, self._started.workflow_id, answer)
        code = print_end(answer, self._settings)
        paused = answer.reason is SuspendReason.PAUSED
        self._say_how_to_go_on("paused" if paused else "interrupted")
        if paused:
            run = self._started.workflow_id
            output.warn(f"{run} is paused; let it go on with: {command_line(self._settings, 'unpause', run)}")
        return code

    async def _ask(self) -> Answer | RunEnd:
        """Return the answer once it is recorded; how the run is if it is paused, or if this process is to stop.

        Raises WrongStateError if it closed without an answer.
        """
        inbox = Inbox(self._folder, self._started.workflow_id)
        inbox.accept(self._event, chosen_id=self._request.update_id is not None)
        self._is_accepted = True
        inbox.ring()
        while True:
            answer = self._find_answer()
            if answer is not None:
                return answer
            if self._stop is not None:
                latest = self._folder.latest(self._started.workflow_id)
                return open_end(self._settings, latest, self._folder, self._stop)
            try:
                end = await self._own_until_answered()
                if end.reason is SuspendReason.PAUSED:
                    return end
            except OwnedElsewhereError:
                await asyncio.sleep(_LOOK_EVERY_S)

    def _find_answer(self) -> Answer | None:
        folder, workflow_id = self._folder, self._started.workflow_id
        closed = recorded_end(folder.latest(workflow_id).path, folder.files) is not None
        found = find_update(folder, workflow_id, self._event.update_id)
        if found is not None and found.answer is not None:
            return found.answer
        if closed:
            self._is_accepted = False
            raise WrongStateError(f"{workflow_id} was closed before it answered")
        return None

    async def _own_until_answered(self) -> RunEnd:
        paths = SourcePaths(str(Path.cwd()))
        shop = Workshop(
            folder=self._folder,
            clock=WallClock(),
            paths=paths,
            activities=ActivityRunner(paths, grace_s=self._request.grace_s),
            listener=_nobody,
            notice=output.warn,
            settings=RunSettings(grace_s=self._request.grace_s, stop_at=self._is_the_answer),
            find_code=lambda first: code_of(self._settings, first, None),
        )
        self._runner = LocalRuns(shop).runner(self._started.workflow_id)
        try:
            return await self._runner.run(self._definition, self._started)
        finally:
            self._runner = None

    def _is_the_answer(self, event: ev.Event) -> bool:
        return isinstance(event, Answer) and event.update_id == self._event.update_id

    def _say_how_to_go_on(self, why: str) -> None:
        """Say what became of the update, and how to get its answer. why: the word for it, unless it is answered."""
        update = f"update {self._event.name} of {self._started.workflow_id}"
        if self._is_accepted:
            output.warn(f"{why}: {update} was accepted, and its answer is to come; get it with: {self._again()}")
        else:
            output.warn(f"{why} before {update} was known to be accepted; repeat it safely with: {self._again()}")

    def _again(self) -> str:
        typed = self._request.args
        if typed == "-" and self._given is not None:
            typed = bytes(self._given).decode("utf-8", "replace").strip()
        return command_line(
            self._settings,
            *("update", self._request.run, self._event.name),
            *(() if typed is None else (typed,)),
            *("--id", self._event.update_id),
            *(() if self._request.workflow is None else ("--workflow", self._request.workflow)),
        )


def _nobody(workflow_id: str, events: Sequence[ev.Event]) -> None:
    """Nobody watches."""


def _report_answer(settings: Settings, request: UpdateRequest, workflow_id: str, answer: Answer) -> int:
    match answer:
        case ev.UpdateCompleted(result=result):
            output.write_json(result)
            return ExitCode.OK
        case ev.UpdateFailed(error=error):
            report_failure(settings, workflow_id, "update", request.name, error)
            return ExitCode.USAGE if error.kind is ev.ErrorKind.REJECTED else ExitCode.WORKFLOW_FAILED
