"""Global options anywhere: moves them to the front of the command line, before Typer reads it.

`aion run order -ojson --id a` becomes `aion -o json run order --id a`. A pure function over the arguments: what is an
option, and which options take a value, comes in as a `Grammar` that `cli.app` reads off the Typer app itself.

Nothing after `--` is touched, and the value of another option is never taken for a global one (`--id -q` stays). A
negative number is an argument and no option: `aion signal run counter -1` becomes `aion signal -- run counter -1`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_NEGATIVE_NUMBER = re.compile(r"-\.?\d")


class Grammar(NamedTuple):
    """Which options there are.

    flags: global options without a value. valued: global options with one.
    commands: for each command, those of its own options that take a value.
    """

    flags: frozenset[str]
    valued: frozenset[str]
    commands: Mapping[str, frozenset[str]]


class Hoisted(NamedTuple):
    """The command line in an order that Typer understands.

    front: global options, each value in an argument of its own (`-ojson` has become `-o json`), in the order written.
    command: the command's name as written, or None. rest: what belongs to the command.
    incomplete: an option that ended the line without its value; it is in none of the others.
    """

    front: tuple[str, ...]
    command: str | None
    rest: tuple[str, ...]
    incomplete: str | None = None

    @property
    def argv(self) -> list[str]:
        """The whole line."""
        return [*self.front, *([] if self.command is None else [self.command]), *self.rest]

    def last_value(self, *names: str) -> str | None:
        """Return the value that the global option with these spellings was given last, or None."""
        value: str | None = None
        for name, following in zip(self.front, self.front[1:], strict=False):
            if name in names:
                value = following
        return value


class _Kind(enum.Enum):
    GLOBAL = enum.auto()
    OPTION = enum.auto()
    ARGUMENT = enum.auto()


def hoist(argv: Sequence[str], grammar: Grammar) -> Hoisted:
    """Bring the global options to the front, and negative numbers behind a `--`."""
    front: list[str] = []
    options: list[str] = []
    arguments: list[str] = []
    in_order: list[str] = []
    command: str | None = None
    own_valued: frozenset[str] = frozenset()
    incomplete: str | None = None
    position = 0
    while position < len(argv):
        if argv[position] == "--":
            arguments += argv[position + 1 :]
            in_order += argv[position:]
            break
        kind, pieces, takes_next = _split(argv[position], grammar, own_valued)
        pieces += argv[position + 1 : position + 1 + takes_next]
        position += 1 + takes_next
        if kind is _Kind.GLOBAL and position > len(argv):
            incomplete = pieces.pop()
        if kind is _Kind.GLOBAL or (kind is _Kind.OPTION and command is None):
            front += pieces  # what is no global option stays in front, for Typer to refuse
        elif kind is _Kind.ARGUMENT and command is None:
            command = pieces[0]
            own_valued = grammar.commands.get(command, frozenset())
        else:
            in_order += pieces
            (arguments if kind is _Kind.ARGUMENT else options).extend(pieces)
    if any(_NEGATIVE_NUMBER.match(argument) for argument in arguments):
        if position > len(argv) and incomplete is None:
            incomplete = options.pop()  # it would take the `--` for its value
        in_order = [*options, "--", *arguments]
    return Hoisted(tuple(front), command, tuple(in_order), incomplete)


def _split(token: str, grammar: Grammar, own_valued: frozenset[str]) -> tuple[_Kind, list[str], int]:
    """Return what a token is, the token (a global one in its parts), and how many of the next tokens are its value."""
    if len(token) < 2 or not token.startswith("-") or _NEGATIVE_NUMBER.match(token):
        return _Kind.ARGUMENT, [token], 0
    if token in own_valued:
        return _Kind.OPTION, [token], 1
    if not token.startswith("--"):
        return _split_short(token, grammar)
    name, equals, value = token.partition("=")
    if name in grammar.valued:
        return _Kind.GLOBAL, [name, value] if equals else [name], 0 if equals else 1
    return _Kind.GLOBAL if name in grammar.flags else _Kind.OPTION, [token], 0


def _split_short(token: str, grammar: Grammar) -> tuple[_Kind, list[str], int]:
    """Take a cluster such as `-vo`, `-qv` or `-ojson` apart. It is global only if all of its options are."""
    pieces: list[str] = []
    for index, letter in enumerate(token[1:], start=2):
        pieces.append(f"-{letter}")
        if pieces[-1] in grammar.valued:
            attached = token[index:]
            return _Kind.GLOBAL, [*pieces, attached] if attached else pieces, 0 if attached else 1
        if pieces[-1] not in grammar.flags:
            return _Kind.OPTION, [token], 0
    return _Kind.GLOBAL, pieces, 0
