"""A disk in memory that knows which of its bytes and names a power cut would leave.

What the kernel shows and what the platter holds are kept apart. A file's bytes reach the platter when the file is
synced, a directory's names when that directory is synced, and nothing else ever does: no journal that happens to keep
order, no flush after a while. What is not synced is kept as a list of single changes, so that `crashes` can build every
disk that a power cut may leave: any part of those changes done, the others not.

`ModelCalls` puts the seam of `runtime.files` on such a disk, one process each. A watch sees every call before it is
made, and may refuse it, cut it short, or let another process act in between.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

import filelock

from aion_cli.runtime.files import FILE_MODE, Calls

TOP = "/disk"
"""The one directory of a new disk; it is on the platter."""


class Change(NamedTuple):
    """A change to a file's bytes that is not synced. data: what was written at offset; None: it was cut there."""

    offset: int
    data: bytes | None


class Node:
    """A file or a directory. data, names: as the kernel shows them; durable, durable_names: as the platter holds them.

    changes: what leads from durable to data, in order. holder: the descriptor that holds its flock.
    """

    __slots__ = ("changes", "data", "durable", "durable_names", "holder", "links", "mtime", "names", "number")

    def __init__(self, number: int, *, directory: bool, mtime: float = 0.0) -> None:
        self.number = number
        self.data = b""
        self.durable = b""
        self.changes: list[Change] = []
        self.names: dict[str, Node] | None = {} if directory else None
        self.durable_names: dict[str, Node] | None = {} if directory else None
        self.holder: int | None = None
        self.links = 1
        self.mtime = mtime


class Edit(NamedTuple):
    """One name in one directory: what it stands for from now on, None for nothing."""

    directory: Node
    name: str
    node: Node | None


class Naming(NamedTuple):
    """A change of names that is not synced; its edits happen together or not at all."""

    edits: tuple[Edit, ...]


class _Open:
    __slots__ = ("append", "node", "path", "position")

    def __init__(self, node: Node, path: str, *, append: bool) -> None:
        self.node = node
        self.path = path
        self.append = append
        self.position = 0


class Disk:
    """One disk, for any number of processes. now_s: the time that new and written files get."""

    def __init__(self) -> None:
        self.now_s = time.time()
        self._next_number = 0
        self._next_fd = 3
        self.top = self.new_node(directory=True)
        self.directories: dict[str, Node] = {TOP: self.top}
        self.namings: list[Naming] = []
        self.dirty: dict[Node, None] = {}
        self.open: dict[int, _Open] = {}
        self.lock_holders: dict[str, object] = {}

    def new_node(self, *, directory: bool) -> Node:
        self._next_number += 1
        return Node(self._next_number, directory=directory, mtime=self.now_s)

    def add_descriptor(self, node: Node, path: str, *, append: bool) -> int:
        self._next_fd += 1
        self.open[self._next_fd] = _Open(node, path, append=append)
        return self._next_fd

    def find(self, path: str) -> Node | None:
        """The node of a name, or None. Raises as the kernel would for parents that are missing or no directories."""
        found = self.directories.get(path)
        if found is not None:
            return found
        above, _, name = path.rpartition("/")
        return self.names_of(above, path).get(name)

    def names_of(self, directory: str, wanted: str = "") -> dict[str, Node]:
        """The names in a directory, as the kernel shows them."""
        node = self.directories.get(directory)
        if node is None:
            refuse(errno.ENOENT, wanted or directory)
        assert node.names is not None
        return node.names

    def name(self, path: str, node: Node | None) -> Edit:
        """Change what a name stands for, as the kernel shows it; the caller notes the naming."""
        above, _, name = path.rpartition("/")
        names = self.names_of(above, path)
        before = names.get(name)
        if before is not None:
            before.links -= 1
        if node is None:
            del names[name]
        else:
            names[name] = node
        return Edit(self.directories[above], name, node)

    def note(self, *edits: Edit) -> None:
        self.namings.append(Naming(edits))

    def change(self, node: Node, change: Change) -> None:
        """Change a file's bytes, as the kernel shows them."""
        node.data = changed(node.data, change)
        node.changes.append(change)
        node.mtime = self.now_s
        self.dirty[node] = None

    def sync(self, node: Node) -> None:
        """Bring a file's bytes to the platter."""
        for change in node.changes:
            node.durable = changed(node.durable, change)
        node.changes = []
        self.dirty.pop(node, None)

    def lose(self, node: Node) -> None:
        """What a failed sync does: the kernel shows the bytes, takes them for written, and never writes them."""
        node.changes = []
        self.dirty.pop(node, None)

    def sync_names(self, node: Node) -> None:
        """Bring a directory's names to the platter."""
        rest: list[Naming] = []
        for naming in self.namings:
            if all(edit.directory is not node for edit in naming.edits):
                rest.append(naming)
                continue
            for directory, name, target in naming.edits:
                assert directory.durable_names is not None
                if target is None:
                    directory.durable_names.pop(name, None)
                else:
                    directory.durable_names[name] = target
        self.namings = rest

    def lose_names(self, node: Node) -> None:
        """What a failed sync of a directory does."""
        self.namings = [n for n in self.namings if all(edit.directory is not node for edit in n.edits)]

    def files(self, directory: str = TOP) -> Iterator[tuple[str, Node]]:
        """All files, with their paths, as the kernel shows them."""
        for name, node in sorted(self.names_of(directory).items()):
            path = f"{directory}/{name}"
            if node.names is None:
                yield path, node
            else:
                yield from self.files(path)

    def contents(self) -> dict[str, bytes]:
        """All files' bytes by path, as the kernel shows them."""
        return {path: node.data for path, node in self.files()}


def changed(data: bytes, change: Change) -> bytes:
    """Apply a change to bytes; a write beyond their end leaves zeros in between, as a file system does."""
    offset, new = change
    if new is None:
        return data[:offset] if offset <= len(data) else data.ljust(offset, b"\0")
    if offset > len(data):
        data = data.ljust(offset, b"\0")
    return data[:offset] + new + data[offset + len(new) :]


def refuse(code: int, path: str) -> NoReturn:
    raise OSError(code, os.strerror(code), path)


class BlockedError(BaseException):
    """A process would have to wait for a lock that another one holds. Unwinds it, as if it had not begun."""


class Step(NamedTuple):
    """A call that is about to be made. size: of a write. process: which of a machine's processes makes it."""

    name: str
    path: str
    size: int = 0
    process: int = 0


Watch = Callable[[Step], int | None]
"""Sees each call before it is made. Raises OSError to refuse it; for a write, returns how many bytes it takes."""


def nobody(step: Step) -> None:
    del step


CHANGING = frozenset(
    {"create", "write", "fdatasync", "fsync_directory", "ftruncate", "rename", "link", "unlink", "mkdir"}
)
"""The calls that change what is on the disk."""


class ModelCalls(Calls):
    """The calls of one process on a model disk."""

    def __init__(self, disk: Disk, watch: Watch = nobody, process: int = 0) -> None:
        self.disk = disk
        self._watch = watch
        self._process = process

    def watch(self, name: str, path: str, size: int = 0) -> int | None:
        """Let the watch see a call."""
        return self._watch(Step(name, path, size, self._process))

    def open(self, path: Path, flags: int, mode: int = FILE_MODE) -> int:
        del mode
        disk, name = self.disk, str(path)
        node = disk.find(name)
        if node is None and flags & os.O_CREAT:
            self.watch("create", name)
            node = disk.new_node(directory=False)
            disk.note(disk.name(name, node))
            return disk.add_descriptor(node, name, append=bool(flags & os.O_APPEND))
        self.watch("open", name)
        if node is None:
            refuse(errno.ENOENT, name)
        if flags & os.O_CREAT and flags & os.O_EXCL:
            refuse(errno.EEXIST, name)
        return disk.add_descriptor(node, name, append=bool(flags & os.O_APPEND))

    def close(self, fd: int) -> None:
        node = self.disk.open.pop(fd).node
        if node.holder == fd:
            self._unlock(node)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        file = self.disk.open[fd]
        self.watch("pread", file.path)
        return file.node.data[offset : offset + size]

    def read(self, fd: int, size: int) -> bytes:
        raise NotImplementedError

    def write(self, fd: int, data: bytes | memoryview) -> int:
        file = self.disk.open[fd]
        taken = self.watch("write", file.path, len(data))
        whole = bytes(data if taken is None else data[:taken])
        if file.append:
            file.position = len(file.node.data)
        if whole:
            self.disk.change(file.node, Change(file.position, whole))
        file.position += len(whole)
        return len(whole)

    def fstat(self, fd: int) -> os.stat_result:
        file = self.disk.open[fd]
        self.watch("fstat", file.path)
        return _stat_result(file.node)

    def stat(self, path: Path, *, follow: bool) -> os.stat_result:
        del follow
        name = str(path)
        self.watch("stat", name)
        node = self.disk.find(name)
        if node is None:
            refuse(errno.ENOENT, name)
        return _stat_result(node)

    def fchmod(self, fd: int, mode: int) -> None:
        pass

    def fdatasync(self, fd: int) -> None:
        file = self.disk.open[fd]
        try:
            self.watch("fdatasync", file.path)
        except OSError:
            self.disk.lose(file.node)
            raise
        self.disk.sync(file.node)

    def fsync_directory(self, path: Path) -> None:
        name = str(path)
        node = self.disk.directories.get(name)
        try:
            self.watch("fsync_directory", name)
        except OSError:
            if node is not None:
                self.disk.lose_names(node)
            raise
        if node is None:
            if Path(TOP).is_relative_to(path):
                return  # above the disk there is nothing to lose
            refuse(errno.ENOENT, name)
        self.disk.sync_names(node)

    def ftruncate(self, fd: int, size: int) -> None:
        file = self.disk.open[fd]
        self.watch("ftruncate", file.path)
        if size != len(file.node.data):
            self.disk.change(file.node, Change(size, None))

    def rename(self, source: Path, target: Path) -> None:
        disk, old, new = self.disk, str(source), str(target)
        self.watch("rename", new)
        node = disk.find(old)
        if node is None:
            refuse(errno.ENOENT, old)
        node.links += 1
        disk.note(disk.name(new, node), disk.name(old, None))

    def link(self, source: Path, target: Path) -> None:
        disk, old, new = self.disk, str(source), str(target)
        self.watch("link", new)
        node = disk.find(old)
        if node is None:
            refuse(errno.ENOENT, old)
        if disk.find(new) is not None:
            refuse(errno.EEXIST, new)
        node.links += 1
        disk.note(disk.name(new, node))

    def unlink(self, path: Path) -> None:
        disk, name = self.disk, str(path)
        self.watch("unlink", name)
        if disk.find(name) is None:
            refuse(errno.ENOENT, name)
        disk.note(disk.name(name, None))

    def mkdir(self, path: Path) -> None:
        disk, name = self.disk, str(path)
        self.watch("mkdir", name)
        if disk.find(name) is not None:
            refuse(errno.EEXIST, name)
        node = disk.new_node(directory=True)
        disk.note(disk.name(name, node))
        disk.directories[name] = node

    def mkfifo(self, path: Path) -> None:
        refuse(errno.EPERM, str(path))  # as some file systems do: then the owner looks every 250 ms

    def flock(self, fd: int, operation: int) -> None:
        file = self.disk.open[fd]
        node = file.node
        if operation == fcntl.LOCK_UN:
            if node.holder == fd:
                self._unlock(node)
            return
        self.watch("flock", file.path)
        if node.holder is not None:
            raise BlockedError(file.path)
        node.holder = fd

    def _unlock(self, node: Node) -> None:
        node.holder = None

    def listdir(self, path: Path) -> list[str]:
        name = str(path)
        self.watch("listdir", name)
        return list(self.disk.names_of(name))


def _stat_result(node: Node) -> os.stat_result:
    mode = stat.S_IFREG | 0o600 if node.names is None else stat.S_IFDIR | 0o700
    return os.stat_result((mode, node.number, 0, node.links, 0, 0, len(node.data), node.mtime, node.mtime, node.mtime))


class ModelLock:
    """Stands in for filelock.FileLock on the disk that is named here: a kernel's lock on a path."""

    disk: ClassVar[Disk]

    def __init__(self, path: Path, *, on_acquired: Callable[[int], None], **options: Any) -> None:
        assert options["fallback_to_soft"] is False
        assert options["preserve_lock_file"] is True
        self._path = path
        self._on_acquired = on_acquired
        self._calls = ModelCalls(self.disk)
        self._fd = -1

    def acquire(self, *, blocking: bool) -> Self:
        assert not blocking
        holders = self._calls.disk.lock_holders
        if holders.setdefault(str(self._path), self) is not self:
            raise filelock.Timeout(str(self._path))
        self._fd = self._calls.open(self._path, os.O_RDWR | os.O_CREAT)
        try:
            self._on_acquired(self._fd)
        except BaseException:
            self.release()
            raise
        return self

    def release(self) -> None:
        if self._fd >= 0:
            self._calls.close(self._fd)
            self._fd = -1
            del self._calls.disk.lock_holders[str(self._path)]
