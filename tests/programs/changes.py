"""One change of a program, as somebody makes one in code that has open runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import msgspec

from tests.programs import nodes

Edit = Callable[[nodes.Node, nodes.Node], nodes.Node]
_ARRANGEMENTS = (nodes.Seq, nodes.Gather, nodes.Group, nodes.Race, nodes.EachDone, nodes.Seq)


def changed(program: nodes.Node, change: nodes.Change) -> nodes.Node:
    """Return the changed program. It may be the same: not every change applies to every node."""
    number = change.number % nodes.count_own(program)
    return nodes.replaced(program, number, lambda node: _EDITS[change.how](node, change.fresh))


def _with_items(node: nodes.Node, items: Sequence[nodes.Node]) -> nodes.Node:
    if "items" not in node.__struct_fields__ or not items:
        return node
    return msgspec.structs.replace(node, items=tuple(items))


def _reverse(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return node.with_parts(list(reversed(node.parts()))) if node.parts() else node


def _drop(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return _with_items(node, node.parts()[1:])


def _double(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return _with_items(node, [*node.parts()[:1], *node.parts()])


def _add(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return _with_items(node, [*node.parts(), fresh])


def _replace(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return fresh


def _unwrap(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return nodes.own_parts(node)[0] if nodes.own_parts(node) else node


def _follow(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return nodes.Seq((node, fresh))


def _precede(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return nodes.Seq((fresh, node))


def _haunt(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    """The same commands, but under other numbers."""
    return nodes.Seq((nodes.Ghost(), node))


def _guard(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return nodes.Try(node, fresh)


def _limit(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return nodes.Deadline(node, 3000.0)


def _shield(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    return nodes.Shield(node)


def _arrange(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    """Sequential code becomes parallel, and the other way round."""
    for kind, other in itertools.pairwise(_ARRANGEMENTS):
        if type(node) is kind:
            return other(tuple(node.parts()))
    return node


def _adjust(node: nodes.Node, fresh: nodes.Node) -> nodes.Node:
    """Another number, name or kind."""
    match node:
        case nodes.Act(kind="plain"):
            return nodes.Act("flaky", node.arg)
        case nodes.Sleep():
            return nodes.Sleep(node.ms + 1)
        case nodes.Receive():
            return nodes.Receive("b" if node.name == "a" else "a")
        case nodes.Gather():
            return nodes.Gather(node.items, not node.keep)
        case nodes.Raise():
            return nodes.Raise("another")
        case nodes.Start(parent_close="cancel"):
            return msgspec.structs.replace(node, parent_close="terminate")
        case nodes.Start() | nodes.Child():
            return msgspec.structs.replace(node, name="renamed")
        case _ if "ms" in node.__struct_fields__:
            return msgspec.structs.replace(node, ms=2000.0)
        case _:
            return _count_further(node)


def _count_further(node: nodes.Node) -> nodes.Node:
    for field, most in (("arg", 4), ("times", 4), ("by", 9), ("least", 9), ("back", 9)):
        if field in node.__struct_fields__:
            return msgspec.structs.replace(node, **{field: (getattr(node, field) + 1) % most})
    return node


_EDITS: dict[str, Edit] = {
    "reverse": _reverse,
    "drop": _drop,
    "double": _double,
    "add": _add,
    "replace": _replace,
    "unwrap": _unwrap,
    "follow": _follow,
    "precede": _precede,
    "haunt": _haunt,
    "guard": _guard,
    "limit": _limit,
    "shield": _shield,
    "arrange": _arrange,
    "adjust": _adjust,
}

CHANGES = list(_EDITS)
