"""What a participant tells its user: one class for each thing that can happen.

Nothing else lives here; the words for them are in `transcript`.
"""

from dataclasses import dataclass

from chat.errors import Reason


@dataclass(frozen=True, slots=True)
class MakingKey:
    """A key is being made, which takes a moment."""


@dataclass(frozen=True, slots=True)
class LookingUp:
    """The host's addresses are looked up for the first time."""

    host: str


@dataclass(frozen=True, slots=True)
class Connecting:
    """A connection is tried for the first time."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection stands; now keys are exchanged."""


@dataclass(frozen=True, slots=True)
class ServerMet:
    """The server has shown its key, which was `known` before or is new."""

    fingerprint: str
    known: bool


@dataclass(frozen=True, slots=True)
class KeysExchanged:
    """Each side has what it needs of the other's keys."""


@dataclass(frozen=True, slots=True)
class Entered:
    """We are in, `again` if we have been before; these are the members, ourselves among them."""

    members: tuple[str, ...]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost; it is tried to get it back."""

    text: str


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The connection is back. `missed` messages were said meanwhile that nobody can give us any
    more; `new_room`: the server has been started anew; `awaiting`: what we have to say waits a
    moment, until the others are back, too."""

    missed: int
    new_room: bool
    awaiting: bool


@dataclass(frozen=True, slots=True)
class MessageQueued:
    """We have said something. Once it is acknowledged, `MessageReceived` follows with the same
    number."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class OutboxFull:
    """So much is under way that nothing more is taken for the moment."""

    messages: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """We leave when so many messages are acknowledged."""

    messages: int


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Somebody said something, as the message of its run with this number. `own`: we did, so it is
    acknowledged."""

    name: str
    time_ms: int
    text: str
    own: bool
    number: int = 0


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """Somebody joined."""

    name: str


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """Somebody left."""

    name: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class MemberLost:
    """Somebody lost the connection, and may come back."""

    name: str


@dataclass(frozen=True, slots=True)
class MemberBack:
    """Somebody is back."""

    name: str


@dataclass(frozen=True, slots=True)
class NoticeReceived:
    """The server's operator says something."""

    text: str


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """The room has come to its end."""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something is not as it should be; said once for each sender and kind."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It is over, and not as it should be."""

    text: str
    hint: str
    exit_status: int


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the room: since when it is in, in seconds since 1970, and its key's digest."""

    name: str
    since: int
    fingerprint: bytes


ClientEvent = (
    MakingKey
    | LookingUp
    | Connecting
    | Connected
    | ServerMet
    | KeysExchanged
    | Entered
    | Disconnected
    | Reconnected
    | MessageQueued
    | OutboxFull
    | Leaving
    | MessageReceived
    | MemberJoined
    | MemberLeft
    | MemberLost
    | MemberBack
    | NoticeReceived
    | RoomClosed
    | Warned
    | Failed
)
