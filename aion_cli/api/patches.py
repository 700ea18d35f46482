"""Changing the code of a workflow while runs of it are open."""

from __future__ import annotations

from aion_cli.core.execution import current


def patched(name: str) -> bool:
    """Say whether this run takes the changed way: `if patched("fraud-check"): …`.

    True for runs that get here first after the change, False for those whose history goes on past this place without
    it. The same answer every time in one run, loops included.
    """
    return current().patches.patched(name)


def deprecate_patch(name: str) -> None:
    """Keep accepting old histories with the patch, once no run of the old way is open and its code is gone."""
    current().patches.deprecate(name)
