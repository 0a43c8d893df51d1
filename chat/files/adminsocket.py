"""The admin socket: where a server is asked by programs of its own user, in the folder of the keys.

Whoever can open it operates the server. Its mode lets nobody else do that but root, and nobody else
can put another one in its place (`keyfolder`). So the server need not ask the kernel who connects.
What travels over it is not known here.
"""

import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chat.errors import IdentityError, cause_of
from chat.files import keyfolder
from chat.files import storage as files
from chat.limits import (
    ADMIN_ANSWER_SECONDS,
    ADMIN_LOCK_SECONDS,
    MAX_ADMIN_CONNECTIONS,
    SOCKET_PATH_BYTES,
)

NO_ANSWER_HINT = "is the server stopped, as by Ctrl-Z?"

_REFUSING = (errno.ECONNREFUSED, errno.ENOENT)
"""Nobody listens."""


class AdminSocket:
    """A socket that listens at a path. `close` takes it away again."""

    def __init__(self, path: Path) -> None:
        """A socket that a server has left which was killed is replaced.

        Raises:
            IdentityError: another server listens there, something else has the path, or there can
                be no socket.
        """
        self._path = path
        self.listener = socket.socket(socket.AF_UNIX)
        with _closed_if_it_fails(self.listener):
            try:
                keyfolder.check(path)
                with files.locked(path.parent, ADMIN_LOCK_SECONDS):
                    self._listen()
                self._identity = _identity(path)
            except OSError as exc:
                raise _error(exc, path) from exc

    def _listen(self) -> None:
        # It is never open to others, not even for the moment until a chmod.
        mask = os.umask(0o177)
        try:
            with _address(self._path) as address:
                try:
                    self.listener.bind(address)
                except OSError as exc:
                    if exc.errno != errno.EADDRINUSE:
                        raise
                    _remove_stale(self._path, address)
                    self.listener.bind(address)
        finally:
            os.umask(mask)
        self.listener.listen(MAX_ADMIN_CONNECTIONS)
        self.listener.setblocking(False)

    def close(self) -> None:
        """Listen no more. What another program has put there meanwhile stays."""
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()
        self.listener.close()


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """What to call a path as the address of a socket, which has little room: if it is long, its
    last part, and for the moment its folder is the current one."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        yield str(path)
        return
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(path.parent)
        try:
            yield path.name
        finally:
            os.fchdir(here)
    finally:
        os.close(here)


def _identity(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _remove_stale(path: Path, address: str) -> None:
    """Remove a socket at which nobody listens any more."""
    status = os.lstat(address)
    if not stat.S_ISSOCK(status.st_mode):
        raise IdentityError(f"{path} is no socket", "move it away")
    if not files.is_own(status):
        raise IdentityError(f"{path} belongs to another user")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except OSError as exc:
            if exc.errno in _REFUSING:
                Path(address).unlink(missing_ok=True)
                return
            # Too many wait to be let in there, for example: somebody listens.
    raise IdentityError(f"another server with the same keys has {path}")


def dial(path: Path) -> socket.socket:
    """A connection to the server that listens there.

    Raises:
        IdentityError: none does, or the path belongs to another user.
    """
    connected = socket.socket(socket.AF_UNIX)
    with _closed_if_it_fails(connected):
        try:
            _connect(connected, path)
        except OSError as exc:
            if exc.errno in _REFUSING:
                text = f"no server runs with the keys in {path.parent}"
                hint = "start one, or name the folder of its keys with --keys"
                raise IdentityError(text, hint) from exc
            if isinstance(exc, BlockingIOError):
                raise IdentityError(f"nobody is let in at {path}", NO_ANSWER_HINT) from exc
            raise _error(exc, path) from exc
    return connected


def _connect(connected: socket.socket, path: Path) -> None:
    status = os.lstat(path)
    # Root may ask the server of a user, and is asked for nothing by it.
    if os.geteuid() != 0:
        keyfolder.check(path)
        if not files.is_own(status):
            raise IdentityError(f"{path} belongs to another user")
    # While too many wait to be let in, the kernel lets us wait, too, as long as this says.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(ADMIN_ANSWER_SECONDS))
    with _address(path) as address:
        connected.connect(address)


@contextmanager
def _closed_if_it_fails(one: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        one.close()
        raise


def _timeval(seconds: float) -> bytes:
    whole, part = divmod(int(seconds * 1_000_000), 1_000_000)
    return struct.pack("@ll", whole, part)


def _error(exc: OSError, path: Path) -> IdentityError:
    return IdentityError(f"cannot use {path}: {cause_of(exc)}")
