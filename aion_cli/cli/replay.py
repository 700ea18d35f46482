"""`aion replay`: audit histories against today's code, touching nothing but the file that --junit names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from aion_cli.cli import output, render
from aion_cli.cli.audit import Auditor
from aion_cli.cli.code import CodeFinder
from aion_cli.cli.late import late
from aion_cli.cli.named import Named, named_histories
from aion_cli.cli.requests import ReplayRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.steps import StepObjects, StepRows
from aion_cli.cli.terminal import visible
from aion_cli.cli.verdicts import Case, VerdictTable, exit_code, verdict_of
from aion_cli.errors import AionError, NonDeterminismError, NoSuchRunError, UsageError
from aion_cli.runtime.folder import HistoriesFolder

_SET = "something iterates over a set, or over what was made from one; sort it"
_SEED_HINT = f"under the hash seed of this process alone: {_SET}"
_SEEDS_HINT = f"in another way under another hash seed: {_SET}"


def replay_command(settings: Settings, request: ReplayRequest) -> int:
    """Audit every history that was named; returns the first exit code that applies of 5, 4, 7, others, 0."""
    folder = HistoriesFolder(settings.histories)
    named = named_histories(folder, request.runs)
    if request.expect_head is not None and len(named) > 1:
        raise UsageError(f"--expect-head is the head of one history, and {len(named)} are named")
    junit = None if request.junit is None else late("reports").JUnitFile(Path(request.junit))
    auditor = Auditor(
        CodeFinder(settings, request.workflow, show_output=request.show_output),
        folder.files,
        to_seq=request.to_seq,
        expect_head=request.expect_head,
    )
    cases = _audited(settings, request, auditor, named)
    if request.hash_seeds:
        cases = _under_seeds(settings, request, list(cases))
    report = _Report(settings, request, [each.run for each in named])
    for case in cases:
        report.add(case)
    if not report.cases:
        raise NoSuchRunError(" ".join(request.runs))
    report.finish()
    if junit is not None:
        junit.write(report.cases, settings)
    return exit_code(case.error for case in report.cases if case.error is not None)


def _audited(settings: Settings, request: ReplayRequest, auditor: Auditor, named: list[Named]) -> Iterator[Case]:
    """Audit one history after the other, each when its verdict is asked for."""
    for each in named:
        begun = time.monotonic()
        steps: list[msgspec.Raw] = []
        if request.step:
            if settings.output is OutputMode.HUMAN and len(named) > 1:
                output.write_text(visible(each.run))
            watch = _watch(settings, each.run, steps)
            audit = auditor.audit(each, watch.observe)
            watch.end(audit.standing)
        else:
            audit = auditor.audit(each)
        if each.listed and isinstance(audit.error, NoSuchRunError):
            output.say(settings, f"{each.run} holds no run yet")
            continue
        verdict = verdict_of(audit, settings)
        if request.step and settings.output is OutputMode.JSON:
            verdict = msgspec.structs.replace(verdict, steps=steps)
        yield Case(verdict, audit.error, time.monotonic() - begun)


def _watch(settings: Settings, run: str, steps: list[msgspec.Raw]) -> StepRows | StepObjects:
    match settings.output:
        case OutputMode.HUMAN:
            return StepRows(output.write_text, width=output.stdout_width(), color=output.stdout_takes_color(settings))
        case OutputMode.JSONL:
            return StepObjects(output.write_json_line, run)
        case OutputMode.JSON:
            return StepObjects(lambda step: steps.append(msgspec.Raw(step)), run)


def _under_seeds(settings: Settings, request: ReplayRequest, cases: list[Case]) -> Iterator[Case]:
    """Replay all of them once more under each of --hash-seeds, and yield the worse verdicts."""
    seeds = range(1, request.hash_seeds + 1)
    replay: Any = late("seeds").SeededReplay(settings, request.runs, workflow=request.workflow, to_seq=request.to_seq)
    wrong = replay.disagreements(seeds)
    for case in cases:
        found = wrong.get(case.verdict.history, [])
        match case.error:
            case None if found:
                yield case.worsened(found[0].seed, found[0].error, settings)
            case NonDeterminismError() as error if len(found) < len(seeds):
                if found:
                    yield case.worsened(found[0].seed, found[0].error, settings)
                    continue
                error.hint = _SEED_HINT
                yield case.worsened(None, error, settings)
            case NonDeterminismError() as error if any(_parts(each.error) != _parts(error) for each in found):
                error.hint = _SEEDS_HINT
                yield case.worsened(None, error, settings)
            case _:
                yield case  # whatever the seed is


def _parts(error: AionError) -> object:
    """Return where code and history part, and how."""
    return (error.seq, error.requested, error.source) if isinstance(error, NonDeterminismError) else error.code


class _Report:
    """Prints verdicts as they come, and what is wrong: the first divergence in full, everything else once."""

    def __init__(self, settings: Settings, request: ReplayRequest, runs: list[str]) -> None:
        self.cases: list[Case] = []
        self._settings = settings
        self._annotates = request.github
        self._table = VerdictTable(settings, runs)
        self._explained: set[str] = set()
        self._untold = 0

    def add(self, case: Case) -> None:
        """Print one verdict."""
        self.cases.append(case)
        if self._settings.output is OutputMode.JSONL:
            output.write_json_line(msgspec.json.encode(case.verdict))
        elif self._settings.output is OutputMode.HUMAN:
            output.write_text(self._table.line(case.verdict))
        if case.error is not None:
            self._explain(case.error)

    def _explain(self, error: AionError) -> None:
        if self._annotates:
            output.write_stderr(late("reports").annotation(error, self._settings))
        # Of many divergences the first is explained; the others are often the same change of the code.
        kind = NonDeterminismError.code if isinstance(error, NonDeterminismError) else str(error)
        if kind in self._explained and not self._settings.verbose:
            self._untold += isinstance(error, NonDeterminismError)
            return
        self._explained.add(kind)
        color = output.stderr_takes_color(self._settings)
        output.write_stderr(render.error_text(error, self._settings, color=color))

    def finish(self) -> None:
        """Print what comes last."""
        if self._settings.output is OutputMode.JSON:
            output.write_json([case.verdict for case in self.cases])
        if self._untold:
            output.say(self._settings, f"{self._untold} more diverged; -v explains each")
