"""Kept rooms: invites, each under a short name of the person's own.

One line for each in the file `rooms`: `NAME INVITE`. Blank lines and those that begin with `#` are
kept and mean nothing. A line that is damaged is kept as well: what is left of an invite may be all
that is left of a room. The file is private, since an invite is a secret.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from chat.errors import IdentityError, InviteError, UsageError
from chat.files.lines import LineFile
from chat.frozen import frozen
from chat.guesses import nearest
from chat.invite import Invite
from chat.limits import MAX_NAME_CHARS, ROOMS_BYTES
from chat.program import PROGRAM
from chat.text import caseless

_NAME = re.compile(rf"(?!-)[\w.-]{{1,{MAX_NAME_CHARS}}}")

_SIMILAR = 0.75
"""Two letters that were swapped, in a word of eight."""


def check_name(name: str) -> str:
    """The name, if a room can be kept under it. It cannot be taken for an address or an option.

    Raises:
        UsageError: it can, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name of a kept room has 1 to {MAX_NAME_CHARS} letters, digits, dots, underscores "
            "and hyphens, and does not begin with a hyphen"
        )
    return name


@frozen
class KeptRoom:
    """A line of the file: the invite, or what is wrong with it."""

    number: int
    name: str
    invite: Invite | None
    damage: str = ""


class KeptRooms:
    """The rooms that are kept in a file. Upper and lower case of a name are the same."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = LineFile(path, ROOMS_BYTES, "list of kept rooms", private=True)

    def all(self) -> list[KeptRoom]:
        """The lines about rooms, damaged ones among them.

        Raises:
            IdentityError: the file cannot be read, or others can read it.
        """
        with self._file.errors():
            return list(_rooms(self._file.read()))

    def find(self, name: str) -> Invite | None:
        """The invite that is kept under this name; None if there is none.

        Raises:
            IdentityError: the file cannot be read, or the line is damaged.
        """
        found = _named(self.all(), name)
        return self._require_whole(found[0]) if found else None

    def nearest(self, name: str) -> str:
        """The kept name of which this may be a misspelling; empty if there is none, or if a dot
        shows that it is meant as a host. Raises as `all` does."""
        names = {caseless(room.name): room.name for room in self.all()}
        found = "" if "." in name else nearest(caseless(name), names, _SIMILAR)
        return names.get(found, "")

    def require_free(self, name: str) -> None:
        """Raises UsageError if a room is kept under this name, and what `find` raises."""
        if self.find(name) is not None:
            raise self._taken(name)

    def add(self, name: str, invite: Invite) -> bool:
        """Keep an invite. Returns False if it was kept under this name already.

        Raises:
            UsageError: the name cannot be used, or is that of another room.
            InviteError: the invite cannot be written.
            IdentityError: the file cannot be read or written, or the line of this name is damaged.
        """
        line = f"{check_name(name)} {invite.encode()}"
        with self._file.errors(), self._file.changing():
            lines = self._file.read()
            for found in _named(_rooms(lines), name):
                if self._require_whole(found).encode() == invite.encode():
                    return False
                raise self._taken(name)
            self._file.write([*lines, line])
        return True

    def remove(self, name: str) -> list[KeptRoom]:
        """Forget what is kept under this name, damaged or not. Returns it.

        Raises:
            IdentityError: nothing is, or the file cannot be read or written.
        """
        with self._file.errors():
            self._require_kept(self._file.read(), name)
            with self._file.changing():
                lines = self._file.read()
                found = self._require_kept(lines, name)
                numbers = {room.number for room in found}
                self._file.write([line for at, line in enumerate(lines, 1) if at not in numbers])
        return found

    def _require_kept(self, lines: list[str], name: str) -> list[KeptRoom]:
        found = _named(_rooms(lines), name)
        if not found:
            raise IdentityError(f"no room is kept as {name}", f"{PROGRAM} rooms lists them")
        return found

    def _require_whole(self, room: KeptRoom) -> Invite:
        if room.invite is None:
            raise IdentityError(
                f"line {room.number} of {self._path} is damaged: {room.damage}",
                f"correct it, or forget it: {PROGRAM} rooms remove {room.name}",
            )
        return room.invite

    def _taken(self, name: str) -> UsageError:
        return UsageError(
            f"a room is kept as {name} already", "take another name, or remove that one first"
        )


def _named(rooms: Iterable[KeptRoom], name: str) -> list[KeptRoom]:
    return [room for room in rooms if caseless(room.name) == caseless(name)]


def _rooms(lines: list[str]) -> Iterator[KeptRoom]:
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, text = line.strip().partition(" ")
        first = seen.setdefault(caseless(name), number)
        try:
            if first != number:
                raise InviteError(f"line {first} has the same name")
            yield KeptRoom(number, check_name(name), Invite.decode(text))
        except UsageError as error:
            yield KeptRoom(number, name, None, str(error))
