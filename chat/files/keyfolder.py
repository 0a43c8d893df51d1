"""The folder of the keys and lists: no other user can have changed what is read there.

The rules for owners and permissions are those of `ssh` with StrictModes, for the folder itself and
the files in it. What is in the files is not known here.
"""

import os
from contextlib import suppress
from pathlib import Path

from chat.errors import IdentityError, cause_of
from chat.files import storage as files

KNOWN_SERVERS = "known_servers"
ROOMS = "rooms"
KNOWN_MEMBERS = "known_members"
BANS = "bans"
NAMES = "names"
TOPIC = "topic"
OPERATORS = "operators"
ADMIN_SOCKET = "admin.sock"
LISTS = KNOWN_SERVERS, ROOMS, KNOWN_MEMBERS
"""What a client has in the folder beside keys."""


def read(path: Path, most: int, what: str, *, private: bool = False) -> bytes:
    """The content of a file of at most `most` bytes that no other user can change (or read, if
    it is private). `what` names it in errors.

    Raises:
        OSError: it cannot be read.
        IdentityError: another user can change or read it.
    """
    content, status = files.read(path, most)
    check(path)
    _require_own(status, f"the {what} {path}")
    if private and status.st_mode & 0o077:
        raise _loose(path, f"others can read the {what} {path}", f"chmod 600 {path}")
    if status.st_mode & 0o022:
        raise _loose(path, f"others can change the {what} {path}", f"chmod go-w {path}")
    return content


def check(path: Path) -> None:
    """Check the folder of `path`, and the folder that a link leads to: a user who can write to a
    folder can put other files into it, even if it is sticky.

    Raises:
        OSError: the folder cannot be examined.
        IdentityError: others can write to it.
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
    """The error for permissions that are too wide; the hint helps if the file system has any."""
    with suppress(OSError):
        if not files.keeps_modes(path):
            return permissions_error(path)
    return IdentityError(text, hint)


def permissions_error(path: Path) -> IdentityError:
    """The error for a file system without permissions."""
    return IdentityError(
        f"{path.parent} is no place for keys: this file system keeps no permissions",
        "name a folder elsewhere with --keys, or keep nothing with --ephemeral",
    )


def file_error(exc: OSError, path: Path) -> IdentityError:
    """The error for a call of the system that failed, on the path that it names, or else `path`."""
    where = exc.filename if isinstance(exc.filename, str) else str(path)
    return IdentityError(
        f"cannot use {where}: {cause_of(exc)}",
        "name another folder with --keys, or keep nothing with --ephemeral",
    )
