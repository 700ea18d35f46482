"""How many files this process may have open: each run that it works on takes three, and it may have many children."""

from __future__ import annotations

import resource
from contextlib import suppress

MOST = 65_536
_MOST_OF_SOME_SYSTEMS = 10_240


def allow_many_open_files() -> None:
    """Raise the soft limit of open files to the hard one, but to no more than MOST; one that is higher stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS refuses more than this, whatever it says of the hard limit.
    for wanted in (MOST, _MOST_OF_SOME_SYSTEMS):
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft == resource.RLIM_INFINITY or soft >= allowed:
            return
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            return
