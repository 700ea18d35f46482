"""`aion run --audit`: replays what has just run, in fresh processes under other hash seeds."""

from __future__ import annotations

from collections.abc import Iterable

from aion_cli.cli import output
from aion_cli.cli.seeds import Disagreement, SeededReplay
from aion_cli.cli.settings import Settings
from aion_cli.cli.verdicts import Finding
from aion_cli.runtime.folder import HistoriesFolder

_SEEDS = (1, 2, 3)


def audit_runs(
    settings: Settings, folder: HistoriesFolder, target: str, workflow_id: str, others: Iterable[str]
) -> None:
    """Replay a run, and the others that ran in this process with it. target: the code of the first.

    Raises the first error that was found: NonDeterminismError, DamagedHistoryError …
    """
    found = _replayed(settings, folder, [workflow_id], target)
    found += _replayed(settings, folder, [other for other in others if other != workflow_id], None)
    for each in found:
        if each.verdict.verdict is Finding.NOT_REPLAYED:
            output.warn(f"{each.verdict.run} is not audited: {each.error.message}")
            continue
        each.error.hint += "; what the run came to is recorded: the same line without --audit prints it"
        raise each.error
    output.say(settings, f"{workflow_id} replays clean under {len(_SEEDS)} hash seeds")


def _replayed(
    settings: Settings, folder: HistoriesFolder, workflow_ids: list[str], target: str | None
) -> list[Disagreement]:
    paths = [str(run.path) for workflow_id in workflow_ids for run in folder.runs_of(workflow_id)]
    if not paths:
        return []
    wrong = SeededReplay(settings, paths, workflow=target).disagreements(_SEEDS)
    return [found[0] for found in wrong.values()]
