"""A file of lines in the folder of the keys, which several programs may change at the same time.

What the lines mean is not known here. Bytes that are not UTF-8 are kept as lone surrogates.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chat.files import keyfolder
from chat.files import storage as files
from chat.limits import LOCK_SECONDS


class LineFile:
    """Lines that no other user can change, or read either if they are private.

    To change them, hold `changing`, and read them again then: another program may have changed them
    since. `errors` makes an IdentityError of whatever the system refuses meanwhile.
    """

    def __init__(
        self, path: Path, most: int, what: str, *, private: bool = False, durably: bool = True
    ) -> None:
        """At most `most` bytes; `what` names the file in errors, as in "list of known servers".
        `durably`: what was written survives a power failure."""
        self.path = path
        self._most = most
        self._what = what
        self._private = private
        self._durably = durably

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises IdentityError for an OSError."""
        try:
            yield
        except OSError as exc:
            raise keyfolder.file_error(exc, self.path) from exc

    @contextmanager
    def changing(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the lock, in a folder that nobody else can change. Raises LockedError when another
        program has held it for so many seconds."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keyfolder.check(self.path)
        with files.locked(files.real_path(self.path).parent, seconds):
            yield

    def read(self) -> list[str]:
        """The lines without their ends; none if there is no file."""
        lines = self._content().decode(errors="surrogateescape").split("\n")
        return lines if lines[-1] else lines[:-1]

    def write(self, lines: list[str]) -> None:
        """Replace all lines, in one step. The file keeps its permissions; a new one is private."""
        content = _bytes_of(lines)
        path = files.real_path(self.path)
        files.require_size(len(content), self._most, path)
        mode = os.stat(path).st_mode & 0o777 if path.exists() else 0o600
        files.replace(path, content, mode, durably=self._durably)

    def append(self, lines: list[str]) -> None:
        """Add lines at the end, at less cost than to write all. Never durably."""
        content = _bytes_of(lines)
        path = files.real_path(self.path)
        files.require_size(len(self._content()) + len(content), self._most, path)
        descriptor = files.open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            files.append(descriptor, content)
        finally:
            os.close(descriptor)

    def _content(self) -> bytes:
        try:
            return keyfolder.read(self.path, self._most, self._what, private=self._private)
        except FileNotFoundError:
            return b""


def _bytes_of(lines: list[str]) -> bytes:
    return "\n".join([*lines, ""]).encode(errors="surrogateescape")
