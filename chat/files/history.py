"""What the person has typed, kept for the next run: one entry a line, the newest last.

A message of several lines is one line of the file, with `\\n` for each line feed.
"""

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from chat.files import storage as files
from chat.limits import HISTORY_BYTES, HISTORY_LINES, HISTORY_LOCK_SECONDS
from chat.place import SCHEME


class History:
    """A file that only its owner can read. Several clients may add to it at the same time.

    Entries are appended with O_APPEND, and the file is trimmed by replacing it. Both happen under
    the folder's lock, or an entry could be appended to the file that is being replaced. An entry
    is appended even if the lock cannot be had; trimming waits for the next run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_link = False

    def load(self) -> list[str]:
        """The entries of earlier runs; raises OSError if the file cannot be used."""
        real = files.real_path(self._path)
        self._is_link, self._path = real != self._path, real
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.clear(self._path.parent, {self._path.name})
        lines, size = self._read()
        if len(lines) > HISTORY_LINES or size > HISTORY_BYTES:
            lines = self._trim(lines)
        return [re.sub(r"\\(.)", _unescape, line) for line in lines]

    def keeps(self, line: str) -> bool:
        """Whether `append` keeps such an entry: not if it has an invite, which is a secret."""
        return not line.startswith(" ") and SCHEME not in line.lower()

    def append(self, line: str) -> None:
        """Keep an entry, unless it begins with a space, as shells do, or has an invite; raises
        OSError."""
        if not self.keeps(line):
            return
        escaped = line.replace("\\", "\\\\").replace("\n", "\\n") + "\n"
        try:
            with files.locked(self._path.parent, HISTORY_LOCK_SECONDS):
                self._add(escaped.encode(errors="replace"))
        except files.LockedError:
            self._add(escaped.encode(errors="replace"))

    def _add(self, line: bytes) -> None:
        descriptor = self._open()
        try:
            files.append(descriptor, line)
        finally:
            os.close(descriptor)

    def _read(self) -> tuple[list[str], int]:
        """The last lines, and the size of the whole file."""
        descriptor = self._open()
        with os.fdopen(descriptor, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - HISTORY_BYTES))
            *lines, _ = file.read(HISTORY_BYTES).decode(errors="replace").split("\n")
        if size > HISTORY_BYTES:
            # The first is only the end of a line.
            del lines[:1]
        return lines, size

    def _trim(self, lines: list[str]) -> list[str]:
        """Keep only the last lines; leave it to the next run if another client holds the lock."""
        with suppress(files.LockedError), files.locked(self._path.parent, HISTORY_LOCK_SECONDS):
            lines = self._read()[0][-HISTORY_LINES:]
            content = "".join(f"{line}\n" for line in lines).encode(errors="replace")
            files.replace(self._path, content, 0o600, durably=False)
        return lines[-HISTORY_LINES:]

    def _open(self) -> int:
        """A descriptor of the file, which is made if it is missing, and which only we can read."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        descriptor = files.open_regular(self._path, flags)
        try:
            self._keep_others_out(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _keep_others_out(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise self._refusal("it belongs to another user")
        if not stat.S_IMODE(status.st_mode) & 0o077:
            return
        # Change the mode only of a file that we made, not of one that a link leads to.
        if not self._is_link and status.st_nlink == 1:
            os.fchmod(descriptor, 0o600)
            if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
                raise self._refusal("this file system keeps no permissions")
        else:
            raise self._refusal(f"others can read it; chmod 600 {self._path}")

    def _refusal(self, why: str) -> OSError:
        return OSError(errno.EPERM, why, str(self._path))


def _unescape(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
