"""Replays in fresh processes under other hash seeds: what iterates over a set of text goes another way in each.

One process a seed replays all histories, as `aion replay -o jsonl` does, and what it prints is read as it comes. Only
what is wrong is kept. As many processes run at once as there are processors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from aion_cli import errors
from aion_cli.cli.again import command_line
from aion_cli.cli.render import InternalError
from aion_cli.cli.settings import Settings
from aion_cli.cli.verdicts import Verdict

_START = "import sys; sys.path.append(sys.argv.pop(1)); from aion_cli.__main__ import main; sys.exit(main())"
_ROOT = str(Path(__file__).parents[2])


class Disagreement(NamedTuple):
    """What a replay under one seed found wrong with one history."""

    seed: int
    verdict: Verdict
    error: errors.AionError


class SeededReplay:
    """Replays histories under other hash seeds. words: RUN… as typed. workflow, to_seq: as of `aion replay`."""

    def __init__(
        self, settings: Settings, words: Sequence[str], *, workflow: str | None = None, to_seq: int | None = None
    ) -> None:
        self._settings = settings
        self._options = [
            *(() if workflow is None else ("--workflow", workflow)),
            *(() if to_seq is None else ("--to", str(to_seq))),
        ]
        folders = ["--histories", str(settings.histories), "--workflows", str(settings.workflows)]
        self._arguments = ["-o", "jsonl", "-q", *folders, "replay", *self._options, "--", *words]
        self._running: set[subprocess.Popen[bytes]] = set()

    def disagreements(self, seeds: Sequence[int]) -> dict[str, list[Disagreement]]:
        """Replay under each seed. Returns what is wrong with each history that has something, by its path.

        Raises InternalError if one of the processes cannot be started, or ends without its verdicts.
        """
        found: dict[str, list[Disagreement]] = {}
        with ThreadPoolExecutor(min(len(seeds), os.cpu_count() or 1)) as pool:
            try:
                for wrong in pool.map(self._replay, seeds):
                    for each in wrong:
                        found.setdefault(each.verdict.history, []).append(each)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running):
                    process.kill()
                raise
        return found

    def _replay(self, seed: int) -> list[Disagreement]:
        wrong: list[Disagreement] = []
        with self._started(seed) as process:
            self._running.add(process)
            assert process.stdout is not None
            try:
                for text in process.stdout:
                    verdict = msgspec.json.decode(text, type=Verdict)
                    if verdict.error is not None:
                        wrong.append(Disagreement(seed, verdict, self._rebuilt(seed, verdict, verdict.error)))
            except msgspec.MsgspecError:
                wrong.clear()  # an error of the whole command, and no verdict
            process.wait()
            self._running.discard(process)
        if process.returncode and not (wrong and process.returncode > 0):
            raise self._died(seed, process.returncode)
        return wrong

    def _started(self, seed: int) -> subprocess.Popen[bytes]:
        # Without -P the current directory would come first on sys.path, which it does not for the `aion` command.
        line = [sys.executable, "-P", "-c", _START, _ROOT, *self._arguments]
        environ = os.environ | {"PYTHONHASHSEED": str(seed)}
        stderr = None if self._settings.verbose else subprocess.DEVNULL
        try:
            return subprocess.Popen(line, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        except OSError as error:
            raise InternalError(f"no process can be started for PYTHONHASHSEED={seed}: {error.strerror}") from error

    def _died(self, seed: int, code: int) -> InternalError:
        return InternalError(
            f"the replay under PYTHONHASHSEED={seed} ended with exit code {code} before it was done",
            hint=f"try it alone: PYTHONHASHSEED={seed} {command_line(self._settings, 'replay', 'RUN', *self._options)}",
        )

    def _rebuilt(self, seed: int, verdict: Verdict, document: dict[str, Any]) -> errors.AionError:
        """Make an error again of its JSON, and say under which seed it was found."""
        message, where, hint = str(document["message"]), list[str](document["where"]), str(document["hint"])
        match document["code"]:
            case errors.NonDeterminismError.code:
                error = _divergence(document, verdict.history)
                error.message = f"{error.workflow_id} does not match its history under PYTHONHASHSEED={seed}"
                again = command_line(self._settings, "replay", verdict.history, *self._options)
                error.hint = (
                    "what depends on the hash seed iterates over a set, or over what was made from one: sort it; "
                    f"to see it again: PYTHONHASHSEED={seed} {again}"
                )
                return error
            case errors.DamagedHistoryError.code:
                return errors.DamagedHistoryError(
                    path=str(document["path"]), line=int(document["line"]), reason=str(document["reason"]), hint=hint
                )
            case errors.NoSuchRunError.code:
                return errors.NoSuchRunError(str(document["run"]), hint=hint)
            case InternalError.code:
                return InternalError(message, where=where, hint=hint)
            case _:
                return errors.UsageError(message, where=where, hint=hint)


def _divergence(document: dict[str, Any], history: str) -> errors.NonDeterminismError:
    error = errors.NonDeterminismError(
        workflow_id=str(document["workflow_id"]),
        seq=int(document["seq"]),
        recorded=errors.Step(**document["recorded"]),
        requested=None if document["requested"] is None else errors.Step(**document["requested"]),
        source=str(document["source"]),
        last_match=int(document["last_match"]),
    )
    error.where = (history,)
    return error
