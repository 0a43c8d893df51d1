"""What becomes of a person when its connections come and go (PROTOCOL 6.11).

A person is a name and its key, and may be here several times. People are told of, not connections,
and of callers nobody is told. Names and keys are not known here.
"""

from collections.abc import Iterable
from enum import Enum, auto


class Presence(Enum):
    """How a person is here."""

    GONE = auto()
    """By no connection that stays."""
    LOST = auto()
    """By some, and all of them are lost."""
    HERE = auto()


def presence_of(lost: Iterable[bool]) -> Presence:
    """Takes, of each connection of a person that is no caller, whether it is lost."""
    presence = Presence.GONE
    for each in lost:
        if not each:
            return Presence.HERE
        presence = Presence.LOST
    return presence
