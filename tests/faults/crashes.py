"""Every disk that a power cut may leave.

At any moment a disk holds changes that are not synced: of bytes (`Change`) and of names (`Naming`). A power cut keeps
any subset of the namings, and of each file's changes a prefix, the last one of them whole, half, all but its last byte,
or with sectors that were never written; or, where they are few, any subset. Everything that was synced is kept. The
disks of one moment are all choices, or, where those are too many, a seeded sample that has the two ends (everything
lost, everything kept) in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from tests.faults.disk import TOP, Change, Disk, Edit, Node, changed

SECTOR = 512
MOST_APART = 3
"""Up to so many changes of one file are also lost one by one, whatever came of those after them."""


class Moment(NamedTuple):
    """What is not synced at one moment, and what may become of it.

    contents: of each dirty file, lost first, whole last.
    """

    disk: Disk
    edits: tuple[tuple[Edit, ...], ...]
    nodes: tuple[Node, ...]
    contents: tuple[tuple[bytes, ...], ...]

    @property
    def choices(self) -> int:
        """How many ways there are for it to end."""
        return int(2 ** len(self.edits) * prod(len(each) for each in self.contents))

    def after(self, choice: int) -> Disk:
        """The disk that is found after the power cut, everything on it durable. choice: from 0 to choices - 1."""
        kept = [edit for n, edits in enumerate(self.edits) if choice >> n & 1 for edit in edits]
        choice >>= len(self.edits)
        bytes_of: dict[Node, bytes] = {}
        for node, options in zip(self.nodes, self.contents, strict=True):
            choice, option = divmod(choice, len(options))
            bytes_of[node] = options[option]
        return _rebuilt(self.disk, kept, bytes_of)


def moment(disk: Disk) -> Moment:
    """Look at what is not synced now. Changes to owner locks, whose bytes are for people only, are left out: lost."""
    locks = {node for path, node in disk.directories.items() if path.endswith("/locks")}
    lock_files = {node for directory in locks for node in (directory.names or {}).values()}
    edits = tuple(n.edits for n in disk.namings if all(edit.directory not in locks for edit in n.edits))
    nodes = tuple(node for node in disk.dirty if node not in lock_files)
    return Moment(disk, edits, nodes, tuple(tuple(_contents(node)) for node in nodes))


def disks_after(disk: Disk, rng: random.Random, most: int) -> Iterator[Disk]:
    """The disks that a power cut now may leave: all of them, or most, a sample with both ends in it."""
    now = moment(disk)
    count = now.choices
    if count <= most:
        chosen: Sequence[int] = range(count)
    else:
        chosen = sorted({0, count - 1, *rng.sample(range(count), most - 2)})
    for choice in chosen:
        yield now.after(choice)


def _contents(node: Node) -> list[bytes]:
    """What may be left of a file, each once; as it was synced first, as the kernel shows it last."""
    every = list(_all_contents(node))
    found = dict.fromkeys(every)
    found[every[-1]] = found.pop(every[-1])
    return list(found)


def _all_contents(node: Node) -> Iterator[bytes]:
    yield node.durable
    if len(node.changes) <= MOST_APART:
        yield from _apart(node)
    before = node.durable
    for change in node.changes:
        if change.data is not None:
            yield from _torn(before, change, change.data)
        before = changed(before, change)
        yield before


def _apart(node: Node) -> Iterator[bytes]:
    """Some of the changes without those before them: size and bytes go different ways to the platter."""
    for chosen in range(1, 2 ** len(node.changes) - 1):
        data = node.durable
        for n, change in enumerate(node.changes):
            if chosen >> n & 1:
                data = changed(data, change)
        yield data


def _torn(before: bytes, change: Change, data: bytes) -> Iterator[bytes]:
    for length in (1, len(data) // 2, len(data) - 1):
        yield changed(before, Change(change.offset, data[:length]))
    whole = changed(before, change)
    end = change.offset + len(data)
    first, last = change.offset // SECTOR, (end - 1) // SECTOR
    for sector in sorted({first, (first + last) // 2, last}):
        yield _zeroed(whole, max(sector * SECTOR, change.offset), min((sector + 1) * SECTOR, end))
    if last > first:
        yield _zeroed(whole, change.offset, end)


def _zeroed(data: bytes, begin: int, end: int) -> bytes:
    return data[:begin] + bytes(end - begin) + data[end:]


def _rebuilt(old: Disk, kept: Sequence[Edit], bytes_of: dict[Node, bytes]) -> Disk:
    new = Disk()
    new.now_s = old.now_s
    edits: dict[Node, list[Edit]] = {}
    for edit in kept:
        edits.setdefault(edit.directory, []).append(edit)
    copies: dict[Node, Node] = {}

    def copy(node: Node, path: str) -> Node:
        found = copies.get(node)
        if found is not None:
            found.links += 1
            return found
        copies[node] = made = new.top if path == TOP else new.new_node(directory=node.names is not None)
        if node.durable_names is None:
            made.data = made.durable = bytes_of.get(node, node.durable)
            made.mtime = node.mtime
            return made
        names = dict(node.durable_names)
        for _, name, target in edits.get(node, ()):
            if target is None:
                names.pop(name, None)
            else:
                names[name] = target
        new.directories[path] = made
        made.names = {name: copy(each, f"{path}/{name}") for name, each in names.items()}
        made.durable_names = dict(made.names)
        return made

    copy(old.top, TOP)
    return new


def fingerprint(disk: Disk) -> int:
    """Tell disks apart by what is on them, owner locks left out."""
    return hash(tuple((path, node.data, node.links) for path, node in disk.files() if "/locks/" not in path))
