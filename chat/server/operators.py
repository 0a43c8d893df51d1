"""Who operates the server: whoever sits at the console, who has the admin socket, and members.

Members do by their keys, which a list of lines names. A line is a fingerprint, or a key as in
OpenSSH's authorized_keys; what stands behind either is for people.
"""

import re

from chat.frozen import frozen
from chat.server.lists import (
    BrokenLineError,
    Complain,
    InMemory,
    LineFile,
    List,
    authorized_key,
)
from chat.text import digest_of


@frozen
class Operator:
    """Who gives a command. `fingerprint`: of a member's key; empty for all others."""

    name: str
    fingerprint: str = ""


# No member can have these names (`text.NOBODY`).
CONSOLE = Operator("operator")
ADMIN = Operator("admin")


def digest_in(line: str) -> bytes | None:
    """The SHA-256 of the key that a line names; None if it names none.

    Raises:
        BrokenLineError: it cannot be understood.
        LimitedLineError: the key counts under conditions that are not known here.
    """
    first = re.split(r"\s", line.strip(), maxsplit=1)[0]
    if (digest := digest_of(first)) is not None:
        return digest
    if first.startswith("SHA256:"):
        raise BrokenLineError
    return authorized_key(line)


class Operators:
    """The list of members that are operators. It is read again when it has changed; if it cannot be
    read, what was read last holds."""

    def __init__(self, complain: Complain = lambda _: None, file: LineFile | None = None) -> None:
        self._list = List(file or InMemory(), digest_in, complain)
        self._digests: set[bytes] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the list again if it has changed."""
        if (found := self._list.read()) is not None:
            self._digests = set(found)

    def has(self, digest: bytes) -> bool:
        """Whether the key with this SHA-256 is an operator's."""
        self.refresh()
        return digest in self._digests
