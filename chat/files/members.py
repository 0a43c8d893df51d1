"""Known members: whose key we saw under which name, in each room.

One member a line, which can be read and edited; `#` begins a comment. Names may have blanks, so
they come last:

    1f0e5c27a9d3b846 2026-11-01T18:02:11Z 2026-11-27T09:30:00Z SHA256:nThb… trusted Ira

First the room: 16 digits of its tag, or of the server's key after `open:`. Then when the key was
seen first and last (UTC), its fingerprint, and `trusted` (the name's own key) or `untrusted`
(another key had the name before), with `,ignored` if the person does not want to hear it.

A line that makes no sense is reported and kept. The rules for who owns a name are in
`client/known.py`.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from chat.client.known import Change, Known
from chat.files import storage as files
from chat.files.lines import LineFile
from chat.limits import (
    KNOWN_MEMBERS_BYTES,
    LOCK_SECONDS,
    MAX_KNOWN_MEMBERS,
    MAX_NAME_CHARS,
)
from chat.text import digest_of, fingerprint_of

_ROOM = re.compile("(open:)?[0-9a-f]{16}")
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FIELDS = 6
_LAST = 2
"""Where in a line it stands when the member was seen last."""
_MARKS = {
    "trusted": (True, False),
    "untrusted": (False, False),
    "trusted,ignored": (True, True),
    "untrusted,ignored": (False, True),
}
_WORDS = {marks: word for word, marks in _MARKS.items()}
_LATEST = 253_402_300_799
"""The last second that fits into a date of four digits."""
_REPORTED = 5
"""So many damaged lines are reported with their numbers; the others are counted."""


class MembersFile:
    """The list of known members."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._file = LineFile(path, KNOWN_MEMBERS_BYTES, "list of known members")
        self._read_only = read_only

    def load(self, room: str) -> tuple[list[Known], str]:
        """Who is known in a room; and what is wrong with the list, if something is.

        Raises:
            IdentityError: it cannot be read, or others can change it.
        """
        known, damaged = [], []
        with self._file.errors():
            for number, line in enumerate(self._file.read(), 1):
                if not line:
                    continue
                fields = _fields(line)
                if not fields or fields[0] == room:
                    one = _known(fields) if fields else None
                    if one is not None:
                        known.append(one)
                    elif not _is_comment(line):
                        damaged.append(number)
        return known, self._complaint(damaged)

    def keep(self, room: str, changes: Iterable[Change], *, patient: bool) -> bool:
        """Write down what has changed in a room. Returns whether that was possible now; `patient`
        waits for others who change the list.

        Raises:
            IdentityError: the list cannot be written, or other users can change it.
        """
        if self._read_only:
            return True
        with self._file.errors():
            try:
                with self._file.changing(LOCK_SECONDS if patient else 0):
                    self._file.write(_fairly(_merged(self._file.read(), room, changes)))
            except files.LockedError:
                if patient:
                    raise
                return False
        return True

    def _complaint(self, damaged: list[int]) -> str:
        if not damaged:
            return ""
        if len(damaged) == 1:
            return f"line {damaged[0]} of {self._file.path} is damaged, and is left as it is"
        numbers = ", ".join(map(str, damaged[:_REPORTED]))
        more = f" and {len(damaged) - _REPORTED} more" if len(damaged) > _REPORTED else ""
        return f"lines {numbers}{more} of {self._file.path} are damaged, and are left as they are"


# -- lines -------------------------------------------------------------------------------------


def _fields(line: str) -> list[str]:
    """The fields of a line; none if it is a comment, or has no room or too few fields."""
    fields = line.split(" ", _FIELDS - 1)
    return fields if len(fields) == _FIELDS and _ROOM.fullmatch(fields[0]) else []


def _is_comment(line: str) -> bool:
    return not line.strip() or line.startswith("#")


def _known(fields: list[str]) -> Known | None:
    """What the fields say; None if they are damaged."""
    _, first, last, fingerprint, marks, name = fields
    try:
        digest = digest_of(fingerprint)
        trusted, ignored = _MARKS[marks]
        seconds = _seconds(first), _seconds(last)
        name.encode()
    except (ValueError, KeyError):
        return None
    if digest is None or not 0 < len(name.strip()) == len(name) <= MAX_NAME_CHARS:
        return None
    return Known(name, digest, *seconds, trusted, ignored)


def _seconds(date: str) -> int:
    """Raises ValueError."""
    # `strptime` takes ten times as long, and `fromisoformat` alone takes other forms, too.
    if not _DATE.fullmatch(date):
        raise ValueError
    return int(datetime.fromisoformat(date).timestamp())


def _date(seconds: int) -> str:
    at = datetime.fromtimestamp(min(max(seconds, 0), _LATEST), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(room: str, known: Known) -> str:
    marks = _WORDS[known.trusted, known.ignored]
    dates = f"{_date(known.first)} {_date(known.last)}"
    return f"{room} {dates} {fingerprint_of(known.fingerprint)} {marks} {known.name}"


def _merged(lines: list[str], room: str, changes: Iterable[Change]) -> list[str]:
    """The lines with the changes. Another client may have changed the same lines: then the earlier
    first time counts, the later last one, and the latest decision."""
    wanted = {change.known.place: change for change in changes}
    prints = {fingerprint_of(place[1]) for place in wanted}
    merged = []
    for line in lines:
        fields = line and _fields(line)
        if fields and fields[0] == room and fields[3] in prints:
            kept = _known(fields)
            change = None if kept is None else wanted.pop(kept.place, None)
            if kept is not None and change is not None:
                line = _line(room, _together(kept, change))
        merged.append(line)
    return merged + [_line(room, change.known) for change in wanted.values()]


def _together(kept: Known, change: Change) -> Known:
    ours = change.known
    decided = ours if change.decided else kept
    return Known(
        ours.name,
        ours.fingerprint,
        min(kept.first, ours.first),
        max(kept.last, ours.last),
        decided.trusted,
        decided.ignored,
    )


def _fairly(lines: list[str]) -> list[str]:
    """The lines without those for which there is no place. The rooms with the most members give up
    the ones that were not seen for longest: so no room can push out another one's members."""
    rooms: dict[str, list[tuple[bool, str, int]]] = {}
    for number, line in enumerate(lines):
        if fields := line and _fields(line):
            seen = "ignored" in fields[4], fields[_LAST], number
            rooms.setdefault(fields[0], []).append(seen)
    if sum(map(len, rooms.values())) <= MAX_KNOWN_MEMBERS:
        return lines
    ranks = [
        (rank, number)
        for members in rooms.values()
        for rank, (_, _, number) in enumerate(sorted(members, reverse=True))
    ]
    gone = {number for _, number in sorted(ranks)[MAX_KNOWN_MEMBERS:]}
    return [line for number, line in enumerate(lines) if number not in gone]
