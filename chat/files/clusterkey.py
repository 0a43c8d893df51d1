"""The file of the cluster key: 32 random bytes in base64, the same on every machine of a cluster;
and a file that holds a password.

It is made where it is missing, as key files are: in one step, mode 0600, and never changed
afterwards. What it is for is not known here.
"""

import binascii
import contextlib
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

from chat.errors import IdentityError
from chat.files import keyfolder
from chat.files import storage as files
from chat.limits import CLUSTER_KEY_BYTES, LOCK_SECONDS, SECRET_FILE_BYTES

_HINT = "copy the file from another machine of the cluster; without it, a new one is made"


def load_or_make_cluster_key(
    path: Path, random_bytes: Callable[[int], bytes]
) -> tuple[bytes, bool]:
    """The cluster key in this file, and whether it was made just now.

    Raises:
        IdentityError: the file cannot be read or written, holds no key, or others can read it.
    """
    try:
        made = False
        if not os.path.lexists(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not files.keeps_modes(path):
                raise keyfolder.permissions_error(path)
            keyfolder.check(path)
            with contextlib.suppress(FileExistsError):
                # If another program was faster, its file is used.
                content = b64encode(random_bytes(CLUSTER_KEY_BYTES)) + b"\n"
                files.create(path, content, 0o600, LOCK_SECONDS)
                made = True
        content = keyfolder.read(path, SECRET_FILE_BYTES, "cluster key", private=True)
    except OSError as exc:
        raise _unreadable(exc, path) from exc
    try:
        secret = b64decode(b"".join(content.split()), validate=True)
    except binascii.Error as exc:
        raise IdentityError(f"{path} holds no cluster key", _HINT) from exc
    if len(secret) != CLUSTER_KEY_BYTES:
        raise IdentityError(f"{path} holds no cluster key", _HINT)
    return secret, made


def unmake_cluster_key(path: Path) -> None:
    """Take away the file that was made just now, and is not used."""
    with contextlib.suppress(OSError):
        path.unlink()


def read_password(path: Path) -> bytes:
    """The content of a file that only its owner can read.

    Raises:
        IdentityError: it cannot be read, or others can read it.
    """
    try:
        return keyfolder.read(path, SECRET_FILE_BYTES, "password file", private=True)
    except OSError as exc:
        raise _unreadable(exc, path) from exc


def _unreadable(exc: OSError, path: Path) -> IdentityError:
    error = keyfolder.file_error(exc, path)
    error.hint = ""
    return error
