"""What the commands that ask and operate were asked for; like `cli.requests`, values without behaviour."""

from __future__ import annotations

from typing import NamedTuple


class OperateRequest(NamedTuple):
    """`aion cancel`, `terminate`, `pause`, `unpause`. request_id: the sender's own key of a cancel request, or None."""

    run: str
    reason: str
    request_id: str | None = None


class ReopenRequest(NamedTuple):
    """`aion reopen`. from_seq: the first event to supersede; None for the default."""

    run: str
    from_seq: int | None
    reason: str


class ResultRequest(NamedTuple):
    """`aion result`. wait: until the run is closed."""

    run: str
    wait: bool


class QueryRequest(NamedTuple):
    """`aion query`. args: JSON, `@file` or `-` as typed, or None. workflow: TARGET of the code, or None."""

    run: str
    name: str
    args: str | None
    workflow: str | None


class UpdateRequest(NamedTuple):
    """`aion update`. args: JSON, `@file` or `-` as typed, or None. update_id: the sender's own key, or None."""

    run: str
    name: str
    args: str | None
    update_id: str | None
    workflow: str | None
    grace_s: float


class ResumeRequest(NamedTuple):
    """`aion resume`. runs: ids; none: all open ones. due: only those that can move now."""

    runs: tuple[str, ...]
    all: bool
    due: bool
    workflow: str | None
    max_wait_s: float | None
    max_concurrency: int | None
    grace_s: float
