"""Files that are read, replaced and added to with care: what all modules of this folder share.

Only regular files are opened, and opening never blocks. Whatever fails while a file is written, the
old version or the new one is there, whole: the new content goes to a temporary file beside it,
which then takes its name in one step. Changes of several steps (read, change, replace) happen under
a lock on the folder, so that programs that run side by side lose nothing; that lock also protects
the temporary files, which `clear` removes if nobody holds it. Raises OSError.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chat.limits import LOCK_POLL_SECONDS

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_NO_HARD_LINKS = {
    errno.EACCES,
    errno.EPERM,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EMLINK,
}
"""Errors of file systems without hard links: Android, exFAT, FUSE, SMB."""

_SUFFIX_BYTES = 4
_PIECE_BYTES = 64 * 1024


class LockedError(OSError):
    """Another program has held the lock for too long."""

    def __init__(self, folder: Path) -> None:
        super().__init__(errno.EBUSY, "another program is changing it", str(folder))


# -- reading -----------------------------------------------------------------------------------


def open_regular(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a regular file, and return its descriptor.

    The path is checked first, since opening a device can start it. The descriptor is checked, too,
    since something else may have taken the path in between.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    with suppress(FileNotFoundError):
        _require_regular(os.stat(path), path)
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(status: os.stat_result, path: Path) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "something else")
        raise OSError(errno.EINVAL, f"{what}, not a file", str(path))


def read(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """The content of a regular file of at most `most` bytes, and its status; raises OSError."""
    descriptor = open_regular(path, os.O_RDONLY)
    try:
        status = os.fstat(descriptor)
        # Files in /proc say that they are empty, so count what comes.
        require_size(status.st_size, most, path)
        content = bytearray()
        while piece := os.read(descriptor, _PIECE_BYTES):
            content += piece
            require_size(len(content), most, path)
        return bytes(content), status
    finally:
        os.close(descriptor)


def require_size(size: int, most: int, path: Path) -> None:
    """Raises OSError if a file of `size` bytes is larger than `most`."""
    if size > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))


def real_path(path: Path) -> Path:
    """The path that a symbolic link leads to, so that its target is replaced and not the link.

    Raises:
        OSError: the link leads in a circle, or belongs to another user.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return path
    if not stat.S_ISLNK(status.st_mode):
        return path
    if not is_own(status):
        raise OSError(errno.EPERM, "a link of another user", str(path))
    try:
        return path.resolve()
    except RuntimeError as exc:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from exc


def is_own(status: os.stat_result) -> bool:
    """Whether a file belongs to us, or to root, who can change all files anyway."""
    return status.st_uid in (0, os.geteuid())


def state_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does. The mode and the owner as well: a file that was refused may be
    mended."""
    numbers = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
    return (*numbers, status.st_mode, status.st_uid)


# -- writing -----------------------------------------------------------------------------------


def create(path: Path, content: bytes, mode: int, wait_seconds: float) -> None:
    """Make a file, in one step. Waits for the lock as `locked` does.

    Raises:
        FileExistsError: there is one already, or another program has just made one.
        OSError: it cannot be made.
    """
    with (
        locked(path.parent, wait_seconds) as alone,
        _temporary(path, content, mode, durably=True) as temporary,
    ):
        _place(temporary, path, alone)
    _sync_folder(path.parent)


def _place(temporary: Path, path: Path, alone: bool) -> None:
    """Give the file its name, unless that is taken; a hard link does both in one step."""
    try:
        os.link(temporary, path)
        return
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
    if alone:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        temporary.replace(path)
        return
    # Neither links nor locks: reserve the name with an empty file, which only one of us can make.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        temporary.replace(path)
    except OSError:
        path.unlink()
        raise


def replace(path: Path, content: bytes, mode: int, *, durably: bool = True) -> None:
    """Replace a file, in one step; the folder should be `locked`.

    `durably`: wait until a power failure cannot undo it. Raises OSError; then nothing has changed.
    """
    with _temporary(path, content, mode, durably=durably) as temporary:
        temporary.replace(path)
    if durably:
        _sync_folder(path.parent)


@contextmanager
def _temporary(path: Path, content: bytes, mode: int, *, durably: bool) -> Iterator[Path]:
    """A new file beside `path` with this content. At the end it is removed, unless renamed."""
    temporary, descriptor = _open_temporary(path, mode)
    try:
        try:
            _write_all(descriptor, content)
            if durably:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield temporary
    finally:
        _remove(temporary)


def _open_temporary(path: Path, mode: int) -> tuple[Path, int]:
    temporary = path.with_name(f".{path.name}.{os.urandom(_SUFFIX_BYTES).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return temporary, os.open(temporary, flags, mode)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def append(descriptor: int, content: bytes) -> None:
    """Add lines, or none, to a file that was opened with O_RDWR and O_APPEND: all of `content` or
    nothing. If the file ends in half a line, a new one is begun. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        content = b"\n" + content
    done = begin = 0
    try:
        while done < len(content):
            written = os.write(descriptor, content[done:])
            if not done:
                # With O_APPEND the system says where it began only behind what it has written.
                begin = os.lseek(descriptor, 0, os.SEEK_CUR) - written
            done += written
    except OSError:
        # Without a lock another program may have appended since: its lines must not be cut off.
        if done and os.fstat(descriptor).st_size == begin + done:
            os.ftruncate(descriptor, begin)
        raise


def _sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, if the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def keeps_modes(path: Path) -> bool:
    """Whether the file system of `path` has permissions: FAT has none, and neither has a Windows
    disk under WSL. Makes a file to find out. Raises OSError."""
    temporary, descriptor = _open_temporary(path, 0o600)
    try:
        return not os.fstat(descriptor).st_mode & 0o077
    finally:
        os.close(descriptor)
        _remove(temporary)


# -- side by side ------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path, wait_seconds: float) -> Iterator[bool]:
    """Hold the lock of a folder; yields False where there are no locks (NFS, SMB).

    Waits while other programs change the folder, and then for `wait_seconds` in which none does.

    Raises:
        LockedError: another program still holds it.
    """
    descriptor = _lock(folder, wait_seconds)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: Path, wait_seconds: float) -> int | None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    changed, deadline = 0, 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            now = time.monotonic()
            if (latest := os.fstat(descriptor).st_mtime_ns) != changed:
                changed, deadline = latest, now + wait_seconds
            if now >= deadline:
                os.close(descriptor)
                raise LockedError(folder) from None
            time.sleep(LOCK_POLL_SECONDS)
        except OSError:
            os.close(descriptor)
            return None


def clear(folder: Path, names: Collection[str]) -> None:
    """Remove temporary files that programs left when they were killed, but none that is being
    written now, which happens under the lock. Raises nothing, since it can be done later."""
    with suppress(OSError):
        left = [name for name in os.listdir(folder) if _is_temporary(name, names)]
        if left:
            with locked(folder, 0) as alone:
                for name in left if alone else ():
                    _remove(folder / name)


def _is_temporary(name: str, names: Collection[str]) -> bool:
    stem, _, suffix = name.rpartition(".")
    is_hex = len(suffix) == 2 * _SUFFIX_BYTES and not suffix.strip("0123456789abcdef")
    return is_hex and stem[:1] == "." and stem[1:] in names
