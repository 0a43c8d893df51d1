"""The log of a conversation (`--log`): what was said, at the end of a file that only we can read.

The file is opened for each entry. So a log that was moved away is begun anew, without a signal; and
two clients can have the same one.
"""

import os
import stat
from pathlib import Path

from chat.errors import IdentityError, cause_of
from chat.files import storage as files


class SaidFile:
    """A file to whose end entries are added."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def require(self) -> None:
        """Make the file if it is missing.

        Raises:
            IdentityError: it cannot be written, or others can read it.
        """
        try:
            os.close(self._open())
        except OSError as exc:
            raise IdentityError(f"cannot use the log {self.path}: {cause_of(exc)}") from exc

    def add(self, entry: str) -> None:
        """Add an entry, whole or not at all; raises OSError."""
        descriptor = self._open()
        try:
            files.append(descriptor, entry.encode(errors="backslashreplace"))
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = files.open_regular(files.real_path(self.path), flags)
        try:
            self._keep_others_out(os.fstat(descriptor))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _keep_others_out(self, status: os.stat_result) -> None:
        # Its mode is not changed for them: somebody may have wanted others to read it until now.
        if status.st_uid != os.geteuid():
            raise PermissionError(0, "it belongs to another user")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(0, f"others can read or change it; chmod 600 {self.path}")
