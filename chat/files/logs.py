"""Logs: files to which lines are appended, and which other programs rotate and read.

What the lines say is not known here.
"""

import errno
import os
from pathlib import Path

from chat.errors import IdentityError, cause_of
from chat.files import storage as files


def open_log(path: Path) -> int:
    """The descriptor of a regular file to append to. A new one is private. If it ends in half a
    line, a new line is begun.

    Raises:
        IdentityError: it cannot be written, or belongs to another user.
    """
    try:
        return _open(path, os.O_CREAT)
    except OSError as exc:
        raise _error(path, exc) from exc


def try_log(path: Path) -> None:
    """Find out whether `open_log` could open this. No file is made.

    Raises:
        IdentityError: it could not.
    """
    try:
        os.close(_open(path, 0))
    except FileNotFoundError as exc:
        if not path.parent.is_dir():
            raise _error(path, exc) from exc
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise _error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES))) from exc
    except OSError as exc:
        raise _error(path, exc) from exc


def _open(path: Path, flags: int) -> int:
    descriptor = files.open_regular(files.real_path(path), flags | os.O_RDWR | os.O_APPEND)
    try:
        # Its owner could write lines that read as ours, for which fail2ban bans somebody.
        if not files.is_own(os.fstat(descriptor)):
            raise OSError(errno.EPERM, "it belongs to another user")
        files.append(descriptor, b"")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _error(path: Path, exc: OSError) -> IdentityError:
    return IdentityError(f"the log {path} cannot be written: {cause_of(exc)}")
