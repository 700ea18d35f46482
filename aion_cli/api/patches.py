"""Changing the code of a workflow while runs of it are open."""

from __future__ import annotations

from aion_cli.api import given
from aion_cli.core.execution import current


def patched(name: str) -> bool:
    """Say whether this run takes the changed way: `if patched("fraud-check"): …`.

    True for runs that get here first after the change, False for those whose history goes on past this place without
    it. The same answer every time in one run, loops included. Raises UsageError for a name that cannot be recorded.
    """
    return current("patched()").patches.patched(_checked(name))


def deprecate_patch(name: str) -> None:
    """Keep accepting old histories with the patch, once no run of the old way is open and its code is gone."""
    current("deprecate_patch()").patches.deprecate(_checked(name))


def _checked(name: str) -> str:
    return given.text("the name of a patch", name, most=given.MOST_OF_A_NAME)
