"""The folder of the keys and of known servers: what is read from it, nobody else can have changed.

What may be done by whom is decided here, as `ssh` decides it with StrictModes for the folder itself
and the files in it. What the files hold is known in `identity` and `known_servers`.
"""

import os
from contextlib import suppress
from pathlib import Path

from chat.errors import IdentityError
from chat.files import storage as files

KNOWN_SERVERS = "known_servers"


def read(path: Path, most: int, what: str, *, private: bool = False) -> bytes:
    """What is in a file of at most `most` bytes that nobody else can change (nor read, if it is
    private); `what` it is called.

    Raises:
        OSError: it cannot be read.
        IdentityError: others can do what they must not.
    """
    content, status = files.read(path, most)
    check(path)
    _require_own(status, f"the {what} {path}")
    if private and status.st_mode & 0o077:
        raise _loose(path, f"others can read the private key {path}", f"chmod 600 {path}")
    if status.st_mode & 0o022:
        raise _loose(path, f"others can change the {what} {path}", f"chmod go-w {path}")
    return content


def check(path: Path) -> None:
    """Whoever can write a folder can put other files into it, sticky or not: look at the folder of
    `path`, and at that of what a link leads to.

    Raises:
        OSError: the folder cannot be looked at.
        IdentityError: others can write it.
    """
    for place in dict.fromkeys((path, files.real_path(path))):
        folder = place.parent
        status = os.stat(folder)
        _require_own(status, f"the folder {folder}")
        if status.st_mode & 0o022:
            text = f"others can change the files in {folder}"
            raise _loose(place, text, f"chmod go-w {folder}")


def _require_own(status: os.stat_result, what: str) -> None:
    if not files.is_own(status):
        raise IdentityError(
            f"{what} belongs to another user", "name a folder of your own with --keys"
        )


def _loose(path: Path, text: str, hint: str) -> IdentityError:
    """Others can do too much: there is a remedy, unless the file system knows no permissions."""
    with suppress(OSError):
        if not files.keeps_modes(path):
            return permissions_error(path)
    return IdentityError(text, hint)


def permissions_error(path: Path) -> IdentityError:
    """What is to be said where nothing can be kept from others."""
    return IdentityError(
        f"{path.parent} is no place for keys: this file system keeps no permissions",
        "name a folder elsewhere with --keys, or keep nothing with --ephemeral",
    )


def file_error(exc: OSError, path: Path) -> IdentityError:
    """What is to be said when the system refuses `path`, or what the error names."""
    where = exc.filename if isinstance(exc.filename, str) else str(path)
    why = exc.strerror or str(exc)
    return IdentityError(
        f"cannot use {where}: {why[:1].lower()}{why[1:]}",
        "name another folder with --keys, or keep nothing with --ephemeral",
    )
