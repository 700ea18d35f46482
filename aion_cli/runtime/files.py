"""Durable file primitives: the only module that opens, writes, syncs, renames, links or unlinks anything.

`Calls` is the seam: one method a system call, raising OSError. A test passes a double that records, fails or kills.
`Files` stands on it: it translates every OSError into a StoreError that says what was being done to which file, gives
files 0600 and directories 0700 whatever the umask, never follows a symbolic link at the end of a path, and never lets a
descriptor into a child process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from aion_cli.errors import StoreError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO in place of a file must not make open() wait for its other end; on a regular file the flag means nothing.
_NO_WAIT = os.O_NONBLOCK
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)

_HINTS = {
    errno.ENOSPC: "free some space on that disk, then run it again; nothing acknowledged was lost",
    errno.EDQUOT: "the disk quota is used up; free some space, then run it again; nothing acknowledged was lost",
    errno.EROFS: "that place is read-only; choose another with --histories",
    errno.EACCES: "check who owns that file and its directory",
    errno.EPERM: "check who owns that file and its directory",
    errno.EMFILE: "raise the limit (ulimit -n), then run it again: each open run takes three files, its children too",
    errno.EIO: "the disk reports an error; check it before going on",
}


class MissingFileError(StoreError):
    """A file that was to be there is not."""

    code = "storage"


class FileTakenError(StoreError):
    """A file that was to be made exists already."""

    code = "storage"


class Calls:
    """The system calls that touch files; each raises OSError. Tests replace this."""

    def open(self, path: Path, flags: int, mode: int = FILE_MODE) -> int:
        return os.open(path, flags, mode)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def read(self, fd: int, size: int) -> bytes:
        return os.read(fd, size)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return os.write(fd, data)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def stat(self, path: Path, *, follow: bool) -> os.stat_result:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - the system call itself

    def fchmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def fdatasync(self, fd: int) -> None:
        """Bring a file's bytes and size to the disk itself, not only to the drive's cache."""
        if _FULL_SYNC is not None:
            fcntl.fcntl(fd, _FULL_SYNC)
        else:
            os.fdatasync(fd)

    def fsync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)  # noqa: PTH104 - the system call itself

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)  # noqa: PTH108 - the system call itself

    def mkdir(self, path: Path) -> None:
        os.mkdir(path, DIRECTORY_MODE)  # noqa: PTH102 - the system call itself
        os.chmod(path, DIRECTORY_MODE)  # noqa: PTH101 - the umask may have taken bits away

    def mkfifo(self, path: Path) -> None:
        os.mkfifo(path, FILE_MODE)
        os.chmod(path, FILE_MODE)  # noqa: PTH101 - the umask may have taken bits away

    def flock(self, fd: int, operation: int) -> None:
        fcntl.flock(fd, operation)

    def listdir(self, path: Path) -> list[str]:
        return os.listdir(path)  # noqa: PTH208 - names alone are wanted


class Found(msgspec.Struct, frozen=True, gc=False):
    """What has a name. size: in bytes. identity: as Files.identity. changed_s: seconds since the epoch."""

    size: int
    identity: tuple[int, int]
    changed_s: float


class Files:
    """Durable file primitives. Every OSError becomes a StoreError; where a caller can act on it, a subclass of that.

    Methods that open return a descriptor, which the caller closes with `close`. Relative paths are those of the working
    directory that was when this was made: activities may change it.
    """

    def __init__(self, calls: Calls | None = None) -> None:
        self.calls = calls or Calls()
        self._ensured: set[Path] = set()
        self._base = Path()
        with suppress(FileNotFoundError):
            self._base = Path.cwd()

    def at(self, path: Path) -> Path:
        """Return where a path is, whatever the working directory is now."""
        return path if path.is_absolute() else self._base / path

    def open_read(self, path: Path) -> int:
        """Open a regular file to read. Raises MissingFileError; StoreError for links, FIFOs and other devices."""
        return self._open(path, os.O_RDONLY, "open")

    def open_append(self, path: Path) -> int:
        """Open a regular file to append to and to read. Raises like open_read; never creates."""
        return self._open(path, os.O_RDWR | os.O_APPEND, "open to write")

    def create(self, path: Path) -> int:
        """Make a new file with mode 0600 and open it to write. Raises FileTakenError if anything has that name."""
        with translated("create", path):
            fd = self.calls.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, FILE_MODE)
            try:
                self.calls.fchmod(fd, FILE_MODE)
            except BaseException:
                self.calls.close(fd)
                raise
            return fd

    def open_or_create(self, path: Path) -> int:
        """Open a regular file to read and write, making it with mode 0600 if there is none."""
        with suppress(MissingFileError):
            return self._open(path, os.O_RDWR, "open")
        with suppress(FileTakenError):
            return self.create(path)
        return self._open(path, os.O_RDWR, "open")

    def _open(self, path: Path, flags: int, doing: str) -> int:
        with translated(doing, path):
            fd = self.calls.open(self.at(path), flags | _SAFE | _NO_WAIT)
        try:
            with translated(doing, path):
                mode = self.calls.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise StoreError(f"cannot {doing} {path}: it is not a regular file", hint="move it out of the way")
        except BaseException:
            self.calls.close(fd)
            raise
        return fd

    def close(self, fd: int) -> None:
        """Close a descriptor. An error of close says nothing about what was synced before, so it is not raised."""
        with suppress(OSError):
            self.calls.close(fd)

    def size(self, fd: int, path: Path) -> int:
        """Return a file's size in bytes."""
        with translated("look at", path):
            return self.calls.fstat(fd).st_size

    def identity(self, fd: int, path: Path) -> tuple[int, int]:
        """Return what tells an open file from all others, whatever their names."""
        with translated("look at", path):
            found = self.calls.fstat(fd)
        return found.st_dev, found.st_ino

    def look(self, path: Path) -> Found | None:
        """Say what has a name; None if nothing has it. A symbolic link is not followed."""
        found = self._stat(path, follow=False)
        return None if found is None else Found(found.st_size, (found.st_dev, found.st_ino), found.st_mtime)

    def _stat(self, path: Path, *, follow: bool) -> os.stat_result | None:
        with translated("look at", path):
            try:
                return self.calls.stat(self.at(path), follow=follow)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                    return None
                raise

    def read_at(self, fd: int, size: int, offset: int, path: Path) -> bytes:
        """Read up to size bytes from offset; fewer, or none, only at the end of the file."""
        with translated("read", path):
            data = self.calls.pread(fd, size, offset)
            while data and len(data) < size:
                more = self.calls.pread(fd, size - len(data), offset + len(data))
                if not more:
                    break
                data += more
            return data

    def read_whole(self, path: Path, limit: int) -> bytes:
        """Read a regular file of at most limit bytes. Raises MissingFileError; StoreError if it is longer."""
        fd = self.open_read(path)
        try:
            data = self.read_at(fd, limit + 1, 0, path)
        finally:
            self.close(fd)
        if len(data) > limit:
            raise StoreError(f"cannot read {path}: it is longer than {limit} bytes")
        return data

    def write_once(self, fd: int, data: bytes, path: Path) -> None:
        """Write all of data in one call, or raise: then part of it may be in the file."""
        with translated("write to", path):
            written = self.calls.write(fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken")

    def sync(self, fd: int, path: Path) -> None:
        """Bring a file's bytes to the disk. Never call it again after it raised: the pages may be marked clean."""
        with translated("sync", path):
            self.calls.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Bring a directory's names to the disk."""
        with translated("sync the directory", path):
            self.calls.fsync_directory(self.at(path))

    def truncate(self, fd: int, size: int, path: Path) -> None:
        """Cut a file back to size bytes."""
        with translated("cut back", path):
            self.calls.ftruncate(fd, size)

    def write_new(self, path: Path, data: bytes) -> None:
        """Make a new file that holds data, synced; its name is not synced. Leaves nothing behind if it raises."""
        fd = self.create(path)
        try:
            self._write_all(fd, data, path)
            self.sync(fd, path)
        except BaseException:
            with suppress(OSError):
                self.calls.unlink(self.at(path))
            raise
        finally:
            self.close(fd)

    def _write_all(self, fd: int, data: bytes, path: Path) -> None:
        rest = memoryview(data)
        with translated("write to", path):
            while rest:
                written = self.calls.write(fd, rest)
                if written == 0:  # or it would be tried for ever
                    raise OSError(errno.ENOSPC, "nothing was taken")
                rest = rest[written:]
            there = self.calls.fstat(fd).st_size
            if there != len(data):
                raise OSError(errno.EIO, f"{there} of {len(data)} bytes are there")

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of whatever had it."""
        with translated("rename to", target):
            self.calls.rename(self.at(source), self.at(target))

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name. Raises FileTakenError if anything has it."""
        with translated("create", target):
            self.calls.link(self.at(source), self.at(target))

    def unlink(self, path: Path) -> None:
        """Remove a name; it is fine if there is none."""
        with suppress(MissingFileError), translated("remove", path):
            self.calls.unlink(self.at(path))

    def names(self, path: Path) -> list[str]:
        """List the names in a directory, in no order; none if there is no directory."""
        try:
            with translated("list", path):
                return self.calls.listdir(self.at(path))
        except MissingFileError:
            return []

    def ensure_directory(self, path: Path, root: Path) -> None:
        """Make a directory, with its parents, each synced into its own parent.

        root: the part of path that the user chose, where symbolic links are theirs; below it none is accepted.
        Raises StoreError if one of them is no directory.
        """
        if path in self._ensured:
            return
        if path != root:
            self.ensure_directory(path.parent, root)
        elif self._stat(path.parent, follow=True) is None:
            self.ensure_directory(path.parent, path.parent)
        existed = self._is_directory(path, follow=path == root)
        if not existed:
            with suppress(FileTakenError), translated("create the directory", path):
                self.calls.mkdir(self.at(path))
            if not self._is_directory(path, follow=path == root):
                raise StoreError(f"cannot create the directory {path}: something else has that name")
        # Also if it was there: whoever made it may have been killed before its name was on the disk.
        try:
            self.sync_directory(path.parent)
        except StoreError as error:
            # Some directories above an existing root can be passed through, but not opened or synced.
            if not (existed and path == root) or _is_refusal_of_disk(error):
                raise
        self._ensured.add(path)

    def has_directory(self, path: Path, root: Path) -> bool:
        """Say whether there is a directory, to list it or to change something in it; root as for ensure_directory.

        Raises StoreError if a symbolic link below root leads elsewhere, or if something on the way is no directory.
        """
        if path != root and not self.has_directory(path.parent, root):
            return False
        return self._is_directory(path, follow=path == root)

    def _is_directory(self, path: Path, *, follow: bool) -> bool:
        found = self._stat(path, follow=follow)
        if found is None:
            return False
        mode = found.st_mode
        if not stat.S_ISDIR(mode):
            raise StoreError(
                f"{path} is not a directory" + (", it is a symbolic link" if stat.S_ISLNK(mode) else ""),
                hint="aion keeps its files in plain directories; move it out of the way",
            )
        return True

    @contextmanager
    def locked(self, path: Path) -> Generator[None]:
        """Hold the short exclusive lock of a file, waiting for it. Other descriptors of this process wait as well."""
        fd = self.open_or_create(path)
        try:
            with self.holding(fd, path):
                yield
        finally:
            self.close(fd)

    @contextmanager
    def holding(self, fd: int, path: Path) -> Generator[None]:
        """Hold the short exclusive lock of an open file, as `locked` does."""
        with translated("lock", path):
            self.calls.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Said out loud, because a process that was forked meanwhile holds a copy of the descriptor.
            with suppress(OSError):
                self.calls.flock(fd, fcntl.LOCK_UN)


class Doorbell:
    """The reading end of a FIFO that others ring. Wait until `fileno()` is readable, `silence()` it, then look."""

    def __init__(self, fd: int, files: Files) -> None:
        self._fd = fd
        self._files = files

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def silence(self) -> None:
        """Take all rings that are in it."""
        with suppress(BlockingIOError):
            while len(self._files.calls.read(self._fd, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Stop listening; ringing is then in vain."""
        if self._fd >= 0:
            self._files.close(self._fd)
        self._fd = -1


def open_doorbell(path: Path, files: Files) -> Doorbell | None:
    """Make a doorbell, and listen to it. None where the place cannot hold a FIFO: then only looking helps."""
    try:
        files.calls.mkfifo(files.at(path))
    except FileExistsError:
        pass
    except OSError:
        return None
    # Open for both: without a writing end of its own, the last ringer to close would leave it readable for ever.
    with translated("open", path):
        fd = files.calls.open(files.at(path), os.O_RDWR | os.O_NONBLOCK | _SAFE)
    try:
        with translated("open", path):
            mode = files.calls.fstat(fd).st_mode
    except StoreError:
        files.close(fd)
        raise
    if not stat.S_ISFIFO(mode):
        files.close(fd)
        raise StoreError(f"cannot open {path}: it is not a FIFO", hint="move it out of the way")
    return Doorbell(fd, files)


def ring_doorbell(path: Path, files: Files) -> None:
    """Ring a doorbell, if somebody listens; a bell that rings already is left alone."""
    try:
        fd = files.calls.open(files.at(path), os.O_WRONLY | os.O_NONBLOCK | _SAFE)
    except OSError:
        return
    try:
        if stat.S_ISFIFO(files.calls.fstat(fd).st_mode):
            files.calls.write(fd, b"!")
    except OSError:
        return
    finally:
        files.close(fd)


class translated:  # noqa: N801 - used like contextlib's, and a class because each append passes through three of them
    """Turn an OSError into a StoreError. doing: a verb, as in "cannot {doing} {path}"."""

    __slots__ = ("_doing", "_path")

    def __init__(self, doing: str, path: Path) -> None:
        self._doing = doing
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise _store_error(self._doing, self._path, error) from error


def _store_error(doing: str, path: Path, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    if error.errno == errno.ELOOP:
        return StoreError(f"cannot {doing} {path}: it is a symbolic link", hint="put the file itself there")
    kind: type[StoreError] = StoreError
    if isinstance(error, FileNotFoundError):
        kind = MissingFileError
    elif isinstance(error, FileExistsError):
        kind = FileTakenError
    return kind(f"cannot {doing} {path}: {reason}", hint=_HINTS.get(error.errno or 0, ""))


def _is_refusal_of_disk(error: StoreError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT)


@contextmanager
def only_refusals_of_disk() -> Generator[None]:
    """Forgive a sync that cannot be made at all, as on read-only file systems, where there is nothing to bring down."""
    try:
        yield
    except StoreError as error:
        if _is_refusal_of_disk(error):
            raise


def temporary_directory(root: Path) -> Path:
    """Where files are written before they get their name, in the folder of histories that is root."""
    return root / ".aion" / "tmp"


def fresh_name(prefix: str) -> str:
    """Return a name that nothing else has: for temporary files."""
    return f"{prefix}{os.getpid()}-{os.urandom(6).hex()}"
