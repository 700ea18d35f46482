"""Names of runs: workflow ids, and the file stems that name one run of a workflow id.

What belongs here: which texts are names. What does not: making fresh ids (that takes randomness) and paths.

`order-42` is the first run of workflow id `order-42`; `order-42@2` is the run that it continued as, and so on.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from aion_cli.errors import UsageError

_WORKFLOW_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_STEM = re.compile(r"([^@]+)@([1-9][0-9]{0,8})")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)


class RunName(NamedTuple):
    """One run of a workflow id. number: 1 for the first, 2 for the one it continued as, …"""

    workflow_id: str
    number: int = 1

    @property
    def stem(self) -> str:
        """The file name without `.jsonl`."""
        return self.workflow_id if self.number == 1 else f"{self.workflow_id}@{self.number}"


def check_workflow_id(text: str) -> str:
    """Return text if it can name a workflow. Raises UsageError, with what to do instead, if it cannot."""
    hint = "use 1 to 120 letters, digits, dots, underscores and dashes, and begin with a letter or digit"
    if not _WORKFLOW_ID.fullmatch(text):
        raise UsageError(f"{text!r} cannot be a workflow id", hint=hint)
    if ".." in text:
        raise UsageError(f"{text!r} cannot be a workflow id: it holds two dots in a row", hint=hint)
    if text.lower().endswith(".jsonl"):
        raise UsageError(f"{text!r} cannot be a workflow id: it ends in .jsonl", hint="leave the ending out")
    if text.split(".", 1)[0].lower() in _DEVICES:
        raise UsageError(
            f"{text!r} cannot be a workflow id: it is a device name on Windows", hint="choose another name"
        )
    return text


def parse_stem(text: str) -> RunName:
    """Read `order-42` or `order-42@2`.

    Raises UsageError if the part before `@` is no workflow id, or what follows is no number from 2 on: the first run
    has one name only.
    """
    if "@" not in text:
        return RunName(check_workflow_id(text))
    found = _STEM.fullmatch(text)
    if found is None or found[2] == "1":
        raise UsageError(f"{text!r} names no run", hint="a run is WORKFLOW_ID, or WORKFLOW_ID@N with N from 2")
    return RunName(check_workflow_id(found[1]), int(found[2]))
