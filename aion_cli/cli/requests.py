"""What a command was asked for: its options, parsed and checked, as one value. No behaviour.

NamedTuples and no dataclasses: these are made for `aion --help` too, and a dataclass costs a millisecond.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class IfExists(enum.StrEnum):
    """What `aion run` does when the id it is given already has a run."""

    RESUME = "resume"
    FAIL = "fail"
    NEW = "new"


class Durability(enum.StrEnum):
    """What an acknowledged event survives: power loss, or only the end of the process."""

    FULL = "full"
    PROCESS = "process"


class RunRequest(NamedTuple):
    """`aion run`.

    input: what `--input` says (JSON, `@file` or `-`), or None.
    parameters: each `-p` as typed, `key=text` or `key:=json`.
    max_wait_s: None for no limit. grace_s: how long a cancelled activity is waited for. audit: replay it afterwards.
    dry_run: only say what would be done.
    """

    target: str
    workflow_id: str | None
    input: str | None
    parameters: tuple[str, ...]
    if_exists: IfExists
    until_blocked: bool
    max_wait_s: float | None
    durability: Durability
    max_concurrency: int | None
    tags: dict[str, str]
    grace_s: float
    audit: bool = False
    dry_run: bool = False


class ReplayRequest(NamedTuple):
    """`aion replay`.

    runs: ids, paths, folders or globs. to_seq: replay up to this event; None for all. hash_seeds: under how many hash
    seeds to repeat it; 0 for none. junit: the file to write, or None. github: print annotations. show_output: do not
    hold back what workflow code prints and logs.
    """

    runs: tuple[str, ...]
    workflow: str | None
    to_seq: int | None = None
    expect_head: str | None = None
    step: bool = False
    hash_seeds: int = 0
    junit: str | None = None
    github: bool = False
    show_output: bool = False


class SignalRequest(NamedTuple):
    """`aion signal`.

    payload: JSON, `@file` or `-` as typed, or None. signal_id: the sender's own key, or None. start: TARGET of the run
    that is started if there is none, with input and parameters as of RunRequest.
    """

    run: str
    name: str
    payload: str | None
    signal_id: str | None
    force: bool
    wait: bool
    start: str | None = None
    input: str | None = None
    parameters: tuple[str, ...] = ()


class ListRequest(NamedTuple):
    """`aion list`. statuses and tags: show only runs that have one of these, and all of those; empty for all.

    recorded_only: replay nothing.
    """

    statuses: frozenset[str]
    tags: dict[str, str]
    recorded_only: bool = False


class ShowRequest(NamedTuple):
    """`aion show`."""

    run: str


class VerifyRequest(NamedTuple):
    """`aion verify`. runs: ids or paths. expect_head: the digest that the last line must have, or None."""

    runs: tuple[str, ...]
    expect_head: str | None


class RepairRequest(NamedTuple):
    """`aion repair`. file: a path or an id."""

    file: str
