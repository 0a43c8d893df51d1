"""Lists that a server keeps, a line an entry: who may come in, bans, names.

People may edit them while the server runs. What the lines mean is not known here.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chat.errors import IdentityError
from chat.files import keyfolder
from chat.files import storage as files
from chat.files.lines import LineFile
from chat.limits import LIST_BYTES, LIST_LOCK_SECONDS

_EMPTY_WILL_DO = "make it; an empty file lets nobody in until a line is added"


class ListFile:
    """A file of lines of text, which nobody else can change (`keyfolder`). It may be missing."""

    def __init__(self, path: Path, what: str, *, durably: bool = True) -> None:
        """`what` it is, in errors. `durably`: what was changed survives a power failure."""
        self.name = str(path)
        self._what = what
        self._file = LineFile(path, LIST_BYTES, what, durably=durably)
        self._known: tuple[int, ...] | None = None
        files.clear(path.parent, {path.name})

    def require(self, *, may_be_missing: bool = False) -> None:
        """Raises IdentityError if the file is missing or cannot be read."""
        try:
            keyfolder.read(self._file.path, LIST_BYTES, self._what)
        except OSError as exc:
            missing = isinstance(exc, FileNotFoundError)
            if missing and may_be_missing:
                return
            error = keyfolder.file_error(exc, self._file.path)
            hint = _EMPTY_WILL_DO if missing else ""
            raise IdentityError(f"the {self._what}: {error}", hint) from exc

    def read(self) -> list[str] | None:
        """The lines; None if the file is as it was when this was called last.

        Raises:
            IdentityError: it cannot be read, or others can change it.
        """
        with self._file.errors():
            state = self._state()
            if state == self._known:
                return None
            lines = self._file.read()
            self._known = state
            return lines

    def _state(self) -> tuple[int, ...]:
        try:
            return files.state_of(os.stat(self._file.path))
        except FileNotFoundError:
            return ()

    def edit(self, change: Callable[[list[str]], list[str]]) -> None:
        """Replace the lines by what `change` makes of them, in one step and under the lock. If
        nobody else had changed them since `read`, this is not news to `read`.

        Raises:
            IdentityError: the file cannot be read or written. Then it is what it was.
        """
        with self._changing():
            self._file.write(change(self._file.read()))

    def append(self, lines: list[str]) -> None:
        """Add lines at the end; otherwise as `edit`, and never durably."""
        with self._changing():
            self._file.append(lines)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock. What is changed meanwhile is no news to `read`, if nothing else was."""
        with self._file.errors(), self._file.changing(LIST_LOCK_SECONDS):
            is_known = self._state() == self._known
            yield
            if is_known:
                self._known = self._state()
