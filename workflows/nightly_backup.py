"""A backup every night: archive a folder, check the archive, and remove all but the newest few.

    mkdir -p playground/documents && cp README.md playground/documents
    aion run nightly_backup --id backup -p nights:=1
    tar -tzf playground/backups/*.tar.gz

That was a single one. Without `nights` it makes one now and then one every night, for ever:

    aion run nightly_backup --id nightly --until-blocked
    aion query nightly next
    aion list

No process has to wait for the night. A line in the crontab goes on with whatever is due, after a reboot as well:

    */5 * * * * cd PROJECT && .venv/bin/aion resume --due

Each night is a run with a history of its own (nightly, nightly@2, …), which continues as the next one. What the folder
holds while it is read is what is archived; a database should be dumped into it first. Each backup needs an `into` of
its own, since it removes what is old there.
"""

import re
from datetime import UTC, datetime, time, timedelta
from shlex import quote
from typing import Annotated

import msgspec

from aion_cli import ActivityError, ContinueAsNew, RetryPolicy, log, now, query, set_tags, shell, sleep_until, workflow

TWO_O_CLOCK = time(2, tzinfo=UTC)
ARCHIVE = re.compile(r"\d{8}T\d{6}Z\.tar\.gz")
DRAFT = re.compile(ARCHIVE.pattern + r"\.part")
AGAIN = RetryPolicy(max_attempts=3, initial=timedelta(seconds=1), factor=10)


class Night(msgspec.Struct, frozen=True):
    """One backup. entries: how many files and folders are in the archive. removed: archives that were too many."""

    archive: str
    entries: int
    removed: list[str]


@workflow
async def nightly_backup(
    source: str = "playground/documents",
    into: str = "playground/backups",
    keep: Annotated[int, msgspec.Meta(ge=1)] = 7,
    at: time = TWO_O_CLOCK,
    nights: Annotated[int, msgspec.Meta(ge=1)] | None = None,
) -> Night:
    """Make one backup, wait for the next night, and continue as a new run. The last of `nights` gives the result."""
    due: datetime | None = None
    query("next", lambda: due)
    try:
        night = await backup(source, into, keep)
        set_tags(last=night.archive)
    except ActivityError as error:
        if nights == 1:
            raise
        log.error("no backup this night: %s", error)  # the next night must not suffer from it
        set_tags(last="failed")
    else:
        if nights == 1:
            return night
    due = next_time(at, now())
    await sleep_until(due)
    raise ContinueAsNew(source, into, keep, at, None if nights is None else nights - 1)


def next_time(at: time, after: datetime) -> datetime:
    """Return the next moment at which the clock shows `at`, where it is UTC unless it says otherwise."""
    there = after.astimezone(at.tzinfo or UTC)
    today = datetime.combine(there.date(), at, there.tzinfo)
    return today if today > after else today + timedelta(days=1)


async def backup(source: str, into: str, keep: int) -> Night:
    """Archive the folder, then prune: an old archive goes only once there is a new one."""
    archive = f"{now():%Y%m%dT%H%M%SZ}.tar.gz"
    entries = await archived(source, f"{into}/{archive}")
    return Night(archive, entries, removed=await pruned(into, keep))


async def archived(source: str, archive: str) -> int:
    """Make an archive, and return how many entries it has. It gets its name once it is whole and has been read back.

    A step that a crash cut off is made again, so each of them bears being repeated.
    """
    folder, draft = quote(archive.rpartition("/")[0]), quote(f"{archive}.part")
    await shell(f"mkdir -p {folder} && tar -czf {draft} -C {quote(source)} .", timeout=timedelta(hours=4), retry=AGAIN)
    listed = await shell(f"gzip -t {draft} && tar -tzf {draft} | wc -l", timeout=timedelta(hours=4))
    await shell(f"sync {draft} && mv -f {draft} {quote(archive)} && sync {folder}", timeout=timedelta(hours=1))
    return int(listed.stdout)


async def pruned(into: str, keep: int) -> list[str]:
    """Remove all but the newest archives, and what failures left unfinished; returns what was removed."""
    listed = await shell(f"ls -1 {quote(into)}", timeout=timedelta(minutes=5))
    names = listed.stdout.splitlines()
    old = [*sorted(filter(ARCHIVE.fullmatch, names))[:-keep], *filter(DRAFT.fullmatch, names)]
    if old:
        await shell("rm -f -- " + " ".join(quote(f"{into}/{name}") for name in old), timeout=timedelta(hours=1))
    return old
