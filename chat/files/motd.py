"""The message of the day: a file of text that the operator writes, and may change at any time.

Whether anybody is told of it is not known here.
"""

import os
from pathlib import Path

from chat.errors import IdentityError, cause_of
from chat.files import storage as files
from chat.limits import MAX_MOTD_BYTES
from chat.text import is_blank


class MotdFile:
    """A regular file of at most MAX_MOTD_BYTES of UTF-8. It is no secret, and others may be allowed
    to write it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[int, ...] | None = None

    def read(self) -> str | None:
        """The text without line ends behind it, empty if nothing of it can be seen; None if the
        file is as it was when this was called last.

        Raises:
            IdentityError: it cannot be read, is too long, or is no text.
        """
        try:
            state = files.state_of(os.stat(self._path))
            if state == self._known:
                return None
            content, _ = files.read(self._path, MAX_MOTD_BYTES)
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            raise self._error("it is not UTF-8") from exc
        except OSError as exc:
            raise self._error(cause_of(exc)) from exc
        self._known = state
        return "" if is_blank(text) else text.replace("\r\n", "\n").rstrip("\n")

    def _error(self, why: str) -> IdentityError:
        return IdentityError(f"the message of the day {self._path} cannot be used: {why}")
