"""Typer commands that take options as they were typed: text, lists of text, flags.

Some versions of Typer load pydantic to convert even text to text, which doubles the time of a short command. These
classes put something in the place where a parameter keeps its conversion. A Typer without such a place needs none.
"""

from __future__ import annotations

from typing import Any

import typer.core


class AsTypedCommand(typer.core.TyperCommand):
    """A command that converts nothing."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, that of `--help` included."""
        return [_as_typed(param) for param in super().get_params(ctx)]


class AsTypedGroup(typer.core.TyperGroup):
    """A group of commands that converts none of its own options."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, that of `--help` included."""
        return [_as_typed(param) for param in super().get_params(ctx)]


class _AsTyped:
    @staticmethod
    def coerce(value: Any, param: Any, ctx: Any) -> Any:
        """Return the value as it came."""
        if value is None and (param.multiple or param.nargs == -1):
            return ()
        return value


def _as_typed(param: Any) -> Any:
    if "_runtime_param" in vars(param):
        param._runtime_param = _AsTyped
    return param
