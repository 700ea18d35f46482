"""A release: lint, tests and build of this repository side by side, somebody's approval, and only then the last step.

    aion run release --id release-1 --until-blocked
    aion signal release-1 approval '{"by": "Ada", "approved": true}'
    aion run release --id release-1
    aion replay release-1

Every step is a line of shell that can be given on the command line, and is recorded with what it printed:

    aion run release --id trial -p tools=true -p tests='make test ARGS=tests/core' -p publish='echo published'

A CI job that dies on the way is started again by the same `run` line: steps that are done are not done again. One that
was cut off is, so each step must bear being repeated.
"""

import asyncio
from datetime import timedelta

import msgspec

from aion_cli import RetryPolicy, Signal, shell, workflow


class Approval(msgspec.Struct, frozen=True):
    """The word of somebody who has looked at what is to be released."""

    by: str
    approved: bool


class Released(msgspec.Struct, frozen=True, tag="released", tag_field="status"):
    """It is out. printed: what the last step had to say."""

    approved_by: str
    printed: str


class Refused(msgspec.Struct, frozen=True, tag="refused", tag_field="status"):
    """Nothing is wrong with it, and it stays in."""

    refused_by: str


approval = Signal("approval", Approval)


@workflow
async def release(
    tools: str = "make tools",
    lint: str = "make lint",
    tests: str = "make test",
    build: str = "make build",
    publish: str = "mkdir -p dist/published && cp -v dist/*.whl dist/published/",
) -> Released | Refused:
    """Check and build, wait for an approval, publish. A step that fails ends the others, and the release."""
    await shell(tools, retry=RetryPolicy(max_attempts=3))  # it downloads, and networks have bad moments
    async with asyncio.TaskGroup() as steps:
        for step in (lint, tests, build):
            steps.create_task(shell(step, timeout=timedelta(minutes=30)))
    answer = await approval.receive()
    if not answer.approved:
        return Refused(answer.by)
    published = await shell(publish, timeout=timedelta(minutes=5))
    return Released(answer.by, published.stdout.strip())
