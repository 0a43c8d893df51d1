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
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        descriptor = files.open_regular(files.real_path(path), flags)
        try:
            # Its owner could write lines that read as ours, for which fail2ban bans somebody.
            if not files.is_own(os.fstat(descriptor)):
                raise OSError(errno.EPERM, "it belongs to another user")
            files.append(descriptor, b"")
        except OSError:
            os.close(descriptor)
            raise
    except OSError as exc:
        raise IdentityError(f"the log {path} cannot be written: {cause_of(exc)}") from exc
    return descriptor


def try_log(path: Path) -> None:
    """Find out whether `open_log` could open this. No file is made.

    Raises:
        IdentityError: it could not.
    """
    folder = path.parent
    if path.exists():
        os.close(open_log(path))
    elif not os.access(folder, os.W_OK | os.X_OK):
        cause = os.strerror(errno.EACCES if folder.is_dir() else errno.ENOENT).lower()
        raise IdentityError(f"the log {path} cannot be written: {cause}")
