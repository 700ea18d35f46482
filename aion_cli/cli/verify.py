"""`aion verify` and `aion repair`: the integrity of histories, without any code."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import msgspec

from aion_cli.cli import output, render
from aion_cli.cli.output import ExitCode
from aion_cli.cli.requests import RepairRequest, VerifyRequest
from aion_cli.cli.settings import OutputMode, Settings
from aion_cli.cli.terminal import visible
from aion_cli.errors import AionError, DamagedHistoryError, NoSuchRunError
from aion_cli.runtime.codec import AS_STORED
from aion_cli.runtime.folder import HistoriesFolder
from aion_cli.runtime.journal import JsonlStore
from aion_cli.runtime.ownership import Role, take
from aion_cli.runtime.reading import read_history


class Integrity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found in one history. verdict: whole, torn (a tail that was never acknowledged), damaged or missing."""

    run: str
    verdict: str
    events: int = 0
    head: str = ""
    torn_bytes: int = 0
    error: dict[str, object] | None = None


def verify_command(settings: Settings, request: VerifyRequest) -> int:
    """Check every line of every history; returns the first that applies of 5, 7, 0."""
    folder = HistoriesFolder(settings.histories)
    codes: set[int] = set()
    found: list[Integrity] = []
    for run in request.runs:
        try:
            integrity = _verify(folder, run, request.expect_head)
        except AionError as error:
            codes.add(output.exit_code_of(error))
            output.write_stderr(render.error_text(error, settings, color=output.stderr_takes_color(settings)))
            verdict = "missing" if isinstance(error, NoSuchRunError) else "damaged"
            integrity = Integrity(run, verdict, error=render.error_document(error, settings))
        found.append(integrity)
        if settings.output is OutputMode.JSONL:
            output.write_json_line(msgspec.json.encode(integrity))
        elif settings.output is OutputMode.HUMAN:
            output.write_text(_line(integrity))
    if settings.output is OutputMode.JSON:
        output.write_json(found)
    return next((code for code in (ExitCode.DAMAGED, ExitCode.NO_SUCH_RUN) if code in codes), max(codes, default=0))


def _verify(folder: HistoriesFolder, run: str, expect_head: str | None) -> Integrity:
    path = folder.find(run).path
    reader = read_history(path, folder.files, codec=AS_STORED)  # integrity is a matter of bytes, and needs no key
    deque(reader, maxlen=0)
    head = reader.head.digest.hex()
    if expect_head is not None and head != expect_head:
        raise DamagedHistoryError(
            path=str(path),
            line=reader.head.seq,
            reason=f"its head is {head}, and {expect_head} was expected",
            hint="lines are missing from its end, or were added; compare it with a copy",
        )
    torn = reader.torn
    verdict = "torn" if torn is not None else "whole"
    return Integrity(run, verdict, reader.head.seq, head, torn_bytes=0 if torn is None else torn.size)


def _line(found: Integrity) -> str:
    text = f"{found.verdict:<8} {visible(found.run)}"
    if found.head:
        text += f"  {found.events} events, head {found.head}"
    if found.torn_bytes:
        text += f", {found.torn_bytes} torn bytes at the end; `aion repair` or the next `aion run` sets them aside"
    return text


def repair_command(settings: Settings, request: RepairRequest) -> int:
    """Set a torn tail aside, and nothing else; returns 0, also with nothing to do. Raises on any other damage."""
    given = Path(request.file)
    if not given.name.endswith(".jsonl") or not given.is_file():
        folder = HistoriesFolder(settings.histories)
        given = folder.find(request.file).path
    folder = HistoriesFolder(given.parent)
    location = folder.find(str(given))
    folder.require_own(location)
    with take(folder, location.workflow_id, Role.REPAIR):
        store = JsonlStore.open_to_write(location.path, folder.files)
        store.close()
    torn = store.set_aside
    if torn is None:
        output.say(settings, f"{given}: nothing to repair")
    elif torn.path is None:
        output.warn(f"{given}:{torn.line}: the last line lacked only its newline, which was added")
    else:
        output.warn(f"{given}:{torn.line}: a torn tail of {torn.size} bytes was set aside in {torn.path}")
    if settings.output is not OutputMode.HUMAN:
        output.write_json(_repaired(str(given), torn is not None, None if torn is None else torn.path))
    return ExitCode.OK


def _repaired(file: str, repaired: bool, aside: Path | None) -> dict[str, object]:
    return {"file": file, "repaired": repaired, "set_aside": None if aside is None else str(aside)}
