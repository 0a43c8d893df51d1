"""What a participant tells its user: one class for each thing that can happen.

Nothing else lives here; the words for them are in `transcript`.
"""

from dataclasses import dataclass

from chat.errors import Reason


@dataclass(frozen=True, slots=True)
class Entered:
    """We are in; these are the members, ourselves among them."""

    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection is back. `missed` messages were said meanwhile that nobody can give us any
    more; `new_room`: the server has been started anew; `awaiting`: what we have to say waits a
    moment, until the others are back, too."""

    missed: int
    new_room: bool
    awaiting: bool


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said something; `own`: we did, so it is acknowledged."""

    name: str
    time_ms: int
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Came:
    """Somebody joined."""

    name: str


@dataclass(frozen=True, slots=True)
class Went:
    """Somebody left."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Vanished:
    """Somebody lost the connection, and may come back."""

    name: str


@dataclass(frozen=True, slots=True)
class Returned:
    """Somebody is back."""

    name: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """The server's operator says something."""

    text: str


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The room has come to its end."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not as it should be; said once for each sender and kind."""

    text: str


Happening = (
    Entered | Reconnected | Said | Came | Went | Vanished | Returned | Noticed | RoomClosed | Warned
)
