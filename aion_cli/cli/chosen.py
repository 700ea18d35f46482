"""Which run `aion run` is about: a new one, an open one, or a closed one. Decided by looking; nothing is written."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from aion_cli.api.definitions import WorkflowDefinition
from aion_cli.cli.inputs import complete_input
from aion_cli.cli.requests import IfExists, RunRequest
from aion_cli.core.ids import check_workflow_id
from aion_cli.errors import NoSuchRunError, WrongStateError
from aion_cli.runtime.folder import RunLocation
from aion_cli.runtime.outcome import RunEnd, settled_end
from aion_cli.runtime.reading import read_first_event
from aion_cli.runtime.runner import require_same_run
from aion_cli.runtime.starting import fresh_workflow_id
from aion_cli.runtime.workshop import Workshop


class ChosenRun(NamedTuple):
    """A run that is to be started or gone on with.

    location: of the history that is there; None for a new run. input: complete and validated; None if none was given to
    a run that is there. end: how a closed run ended.
    """

    workflow_id: str
    location: RunLocation | None = None
    input: msgspec.Raw | None = None
    end: RunEnd | None = None


def choose_run(request: RunRequest, shop: Workshop, definition: WorkflowDefinition[..., Any]) -> ChosenRun:
    """Find out which run a request is about, and whether it can be had.

    Raises UsageError for a bad id or input, WrongStateError if the id is another run's.
    """
    if request.workflow_id is not None:
        check_workflow_id(request.workflow_id)
    workflow_id, exists = _choose_id(request, shop, definition)
    input: msgspec.Raw | None = None
    if request.input is not None or request.parameters or not exists:
        input = complete_input(definition.signature, request.input, request.parameters)
    if not exists:
        shop.folder.require_new(workflow_id)
        return ChosenRun(workflow_id, input=input)
    location = shop.folder.latest(workflow_id)
    require_same_run(shop, location, definition, input)
    return ChosenRun(workflow_id, location, input, settled_end(location.path, shop.folder.files))


def _choose_id(request: RunRequest, shop: Workshop, definition: WorkflowDefinition[..., Any]) -> tuple[str, bool]:
    """Return the id to run under, and whether there is a run of it."""
    if request.workflow_id is None:
        return fresh_workflow_id(definition.name, shop.clock), False
    if not _exists(shop, request.workflow_id):
        return request.workflow_id, False
    match request.if_exists:
        case IfExists.RESUME:
            return request.workflow_id, True
        case IfExists.FAIL:
            raise WrongStateError(
                f"there is a run {request.workflow_id} already", hint="leave --if-exists out to go on with it"
            )
        case IfExists.NEW:
            number = 2
            while _exists(shop, f"{request.workflow_id}-{number}"):
                number += 1
            return check_workflow_id(f"{request.workflow_id}-{number}"), False


def _exists(shop: Workshop, workflow_id: str) -> bool:
    """Say whether there is a run; a file that ends within its first line is none."""
    try:
        read_first_event(shop.folder.latest(workflow_id).path, shop.folder.files)
    except NoSuchRunError:
        return False
    return True
