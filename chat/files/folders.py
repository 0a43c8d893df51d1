"""Where a user's files are, by the XDG Base Directory Specification."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from chat.errors import IdentityError


def config_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/chat`, or `~/.config/chat`; raises IdentityError if there is no home."""
    return _folder(environ.get("XDG_CONFIG_HOME", ""), ".config")


def state_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/chat`, or `~/.local/state/chat`; raises IdentityError if there is no
    home."""
    return _folder(environ.get("XDG_STATE_HOME", ""), ".local/state")


def _folder(configured: str, usual: str) -> Path:
    # The specification: a relative path is invalid and to be ignored.
    if configured.startswith("/"):
        return Path(configured) / "chat"
    return _home() / usual / "chat"


def expand(text: str) -> Path:
    """A path as a shell expands it: `~` is the own home folder, `~user` that of another user.

    Raises:
        IdentityError: there is no such user, or no home folder.
    """
    first, _, rest = text.partition("/")
    if first == "~":
        return _home() / rest.lstrip("/")
    if not first.startswith("~"):
        # `expanduser` would take ./~ for ~.
        return Path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:
        raise IdentityError(f"the home folder of the user {first[1:]} is not known") from exc


def _home() -> Path:
    """$HOME unless it is empty, or the home in the system's list of users."""
    import pwd

    with suppress(KeyError):
        if home := os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir:
            return Path(home)
    raise IdentityError("there is no home folder", "name a folder with --keys")
