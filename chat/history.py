"""What the person has typed, kept for the next run: a line each, the last of them last.

A message of several lines is one line of the file, with `\\n` where it goes on.
"""

import errno
import os
import re
from pathlib import Path

from chat.limits import HISTORY_BYTES, HISTORY_LINES


class History:
    """A file that only its owner can read. Several clients may add to it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[str]:
        """What was typed in former runs; raises OSError if the file cannot be used."""
        try:
            # A link stays one when the file is trimmed.
            self._path = self._path.resolve()
        except RuntimeError as exc:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from exc
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(self._path, "", os.O_APPEND)
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - HISTORY_BYTES))
            *lines, _ = file.read(HISTORY_BYTES).decode(errors="replace").split("\n")
        if len(lines) > HISTORY_LINES or size > HISTORY_BYTES:
            del lines[:-HISTORY_LINES]
            trimmed = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            self._write(trimmed, "".join(f"{line}\n" for line in lines), os.O_TRUNC)
            trimmed.replace(self._path)
        return [re.sub(r"\\(.)", _unescape, line) for line in lines]

    def append(self, line: str) -> None:
        """Keep a line, unless it begins with a space; raises OSError."""
        if not line.startswith(" "):
            escaped = line.replace("\\", "\\\\").replace("\n", "\\n")
            self._write(self._path, escaped + "\n", os.O_APPEND)

    def _write(self, path: Path, text: str, flags: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(text.encode(errors="replace"))


def _unescape(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
