"""Updates on record: what was asked under an id, and the answer, in any run of a workflow id."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aion_cli.core import events as ev
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.outcome import settle
from aion_cli.runtime.reading import read_history

Answer = ev.UpdateCompleted | ev.UpdateFailed


class RecordedUpdate(msgspec.Struct, frozen=True):
    """An update that a history holds.

    path: of the history in which it was asked last: one without an answer moves on as its run continues as new.
    answer: on the disk by now; None if there is none yet.
    """

    request: ev.UpdateRequested
    path: Path
    answer: Answer | None = None


def find_update(folder: HistoriesFolder, workflow_id: str, update_id: str) -> RecordedUpdate | None:
    """Look for an update through all runs of a workflow id. Raises what reading a history raises."""
    found: RecordedUpdate | None = None
    for run in folder.runs_of(workflow_id):
        for event in read_history(run.path, folder.files):
            if isinstance(event, ev.UpdateRequested) and event.update_id == update_id:
                found = RecordedUpdate(event, run.path)
            elif found is not None and isinstance(event, Answer) and event.update_id == update_id:
                settle(run.path, folder.files)
                return msgspec.structs.replace(found, answer=event)
    return found
