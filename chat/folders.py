"""Where a user's files are, by the XDG Base Directory Specification."""

from collections.abc import Mapping
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
    try:
        return Path.home() / usual / "chat"
    except RuntimeError as exc:
        raise IdentityError("there is no home folder", "name a folder with --keys") from exc
