"""What a command was asked for: its options, parsed and checked, as one value. No behaviour."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class IfExists(enum.StrEnum):
    """What `aion run` does when the id it is given already has a run."""

    RESUME = "resume"
    FAIL = "fail"
    NEW = "new"


class Durability(enum.StrEnum):
    """What an acknowledged event survives: power loss, or only the end of the process."""

    FULL = "full"
    PROCESS = "process"


@dataclass(frozen=True)
class RunRequest:
    """`aion run`.

    input: what `--input` says (JSON, `@file` or `-`), or None.
    parameters: each `-p` as typed, `key=text` or `key:=json`.
    max_wait_s: None for no limit. grace_s: how long a cancelled activity is waited for.
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


@dataclass(frozen=True)
class ReplayRequest:
    """`aion replay`. runs: ids, paths, folders or globs. to_seq: replay up to this event; None for all."""

    runs: tuple[str, ...]
    workflow: str | None
    to_seq: int | None
    expect_head: str | None


@dataclass(frozen=True)
class SignalRequest:
    """`aion signal`. payload: JSON, `@file` or `-` as typed, or None. signal_id: the sender's own key, or None."""

    run: str
    name: str
    payload: str | None
    signal_id: str | None
    force: bool
    wait: bool


@dataclass(frozen=True)
class ListRequest:
    """`aion list`. statuses and tags: show only runs that have one of these, and all of those; empty for all."""

    statuses: frozenset[str]
    tags: dict[str, str]


@dataclass(frozen=True)
class ShowRequest:
    """`aion show`."""

    run: str


@dataclass(frozen=True)
class VerifyRequest:
    """`aion verify`. runs: ids or paths. expect_head: the digest that the last line must have, or None."""

    runs: tuple[str, ...]
    expect_head: str | None


@dataclass(frozen=True)
class RepairRequest:
    """`aion repair`. file: a path or an id."""

    file: str
