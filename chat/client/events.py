"""What a client tells its view: one class for each thing that can happen.

Nothing else lives here. Two events are the same if they say the same; the key of a member is not
compared. The words for a person are in `ui/transcript.py`, the fields for a program in
`ui/jsonlines.py`.
"""

from enum import Enum

from chat.errors import Reason
from chat.frozen import field, frozen, mutable


@frozen
class MakingKey:
    """A key is being made, which may take seconds."""


@frozen
class NamedByLogin:
    """Nobody said as whom to come in, so it is under the name of the login."""

    name: str


@frozen
class LookingUp:
    """The addresses of the host, or of the proxy to it, are looked up for the first time."""

    host: str


@frozen
class Connecting:
    """A connection is tried for the first time."""

    host: str
    port: int


@frozen
class Connected:
    """The connection stands. Next, keys are exchanged."""


@frozen
class ServerMet:
    """The server has shown its key. `known`: it was known before, `since` a day as in 2026-11-27,
    if that is written down. `invited`: it is the one that our invite names; `named`: the one that
    our user named."""

    host: str
    fingerprint: str
    known: bool
    since: str = ""
    invited: bool = False
    named: bool = False


@frozen
class KeysExchanged:
    """The handshake is complete."""


@frozen
class Entered:
    """We are in the room. The members are people, ourselves among them unless we are a caller;
    `again`: we were in before. `tag`: by what the server knows the sealed room; empty in the open
    one. `unproved`: those of the members that have not proved to have the key of the sealed
    room."""

    members: tuple[str, ...]
    again: bool = False
    tag: bytes = b""
    unproved: tuple[str, ...] = ()


@frozen
class Disconnected:
    """The connection was lost; reconnecting. `restarting`: the server has said that it is back in a
    moment. `elsewhere`: we know other servers, too, and go on at the first one that answers. A
    server of several says that it restarts also when it ends."""

    text: str
    restarting: bool = False
    elsewhere: bool = False


@frozen
class Reconnected:
    """The connection is back. `missed`: so many messages were said meanwhile that the server no
    longer has. `new_room`: the server was started anew, or has lost the last part of the log.
    `awaiting`: we regroup, so what we have to say waits until the others are back, too. `server`:
    where it is, if it is not the server where we were before: `chat.example:9443`."""

    missed: int
    new_room: bool
    awaiting: bool
    server: str = ""


@frozen
class MessageQueued:
    """What saying something returns. Once the message is acknowledged, `MessageReceived` follows
    with the same number. `to` is for whom it is, if it is private."""

    number: int
    text: str
    to: str = ""


@frozen
class OutboxFull:
    """So many messages are unacknowledged that no more are taken for the moment."""

    messages: int


@frozen
class Leaving:
    """We leave as soon as this many messages are acknowledged, or the server has been told."""

    messages: int


# Not frozen, since one is made for each message: `Clocks` notes in it when it arrived.
@mutable
class MessageReceived:
    """Somebody said something. `time_ms` is by the sender's clock, in milliseconds since 1970;
    `number` counts the messages of the sender's run. `own`: we said it, so it is acknowledged. `to`
    is for whom it is, if it is private. `fingerprint`, the SHA-256 of the sender's key, says to
    whom an answer would go. `arrived_ms`: when it arrived, by our clock; `doubtful`: that is not
    when it was said."""

    name: str
    time_ms: int
    text: str
    own: bool
    number: int = 0
    to: str = ""
    fingerprint: bytes = field(default=b"", compare=False)
    arrived_ms: int = field(default=0, compare=False)
    doubtful: bool = field(default=False, compare=False)


@frozen
class ClockDiffers:
    """The times that somebody's messages bear differ from our clock by so many seconds, and are
    late if that is positive. Said once of each sender."""

    name: str
    seconds: float


@frozen
class MessageNotForUs:
    """Somebody said something just before we came, and did not know of us: we cannot read it."""

    name: str


@frozen
class FrameRefused:
    """Something arrived that the server cannot have sent. It was not shown; reconnecting."""

    text: str


@frozen
class LogGone:
    """The server no longer has what it had acknowledged to us, and vouched for. We connect again,
    and join as in a new room."""


@frozen
class Tampered:
    """What was shown in the last `seconds` is not what the server sent; or, if that is not
    `certain`, nobody vouches that it is. If it is certain, we connect again; `again`: what was
    really said is shown then."""

    seconds: float
    certain: bool
    again: bool


@frozen
class MemberJoined:
    """Somebody joined: a person's first connection came, unless it is a caller's. `unproved`: the
    room is sealed, and it has not proved to have the key. `fingerprint`: the SHA-256 of its
    key."""

    name: str
    fingerprint: bytes = field(default=b"", compare=False)
    unproved: bool = False


@frozen
class KeyChanged:
    """A member is here under a name that we know with another key. `known` and `shown` are the
    SHA-256 of that key and of its own; `since`: when we saw the known one first, in seconds since
    1970."""

    name: str
    known: bytes
    shown: bytes
    since: int


@frozen
class NameChanged:
    """A member is here with a key that we know under another name. `before`: that name; `since`:
    when we saw the key first, in seconds since 1970."""

    name: str
    before: str
    fingerprint: bytes
    since: int


@frozen
class MemberLeft:
    """Somebody left: a person's last connection went. `parting`: the word with which it left, of
    its own will; empty if there was none. `fingerprint`: the SHA-256 of its key."""

    name: str
    reason: Reason
    parting: str = ""
    fingerprint: bytes = field(default=b"", compare=False)


@frozen
class MemberLost:
    """Somebody lost the connection, the only one or the last of several, and may come back."""

    name: str


@frozen
class MemberBack:
    """Somebody who was lost is back."""

    name: str


@frozen
class NoticeReceived:
    """The server's operator says something."""

    text: str


@frozen
class TopicSet:
    """The room has this topic, since this time by the server's clock, in seconds since 1970; or
    none, if the text is empty. `changed`: it was set just now. Otherwise we have come in, and were
    not told of it before."""

    text: str
    since: int
    changed: bool


@frozen
class MotdReceived:
    """What the server's operator tells everybody who comes in."""

    text: str


@frozen
class Answered:
    """The server has answered a command that we gave as an operator. `done`: it was carried out;
    otherwise the lines say why not."""

    command: str
    done: bool
    lines: tuple[str, ...]


@frozen
class RoomClosed:
    """The server is shutting down."""


@frozen
class Warned:
    """Something is wrong. Said once for each sender and kind."""

    text: str


@frozen
class Failed:
    """The stay is over, and something went wrong."""

    text: str
    hint: str
    exit_status: int


class Standing(Enum):
    """What we know of a member's key."""

    YOU = "you"
    NEW = "new"
    """Nobody had this name before, as far as we know."""
    KNOWN = "known"
    """It had this name in an earlier run, too; or we were told that it is the right one."""
    CHANGED = "changed"
    """Another key had this name before."""


@frozen
class Person:
    """Somebody in the room. `since`: when the first of its connections joined, in seconds since
    1970; `fingerprint`: the SHA-256 of its key; `connections`: how many stand, 0 if all are lost.
    `calling`: it is here by callers alone, of whom one is told only if one asks. `unproved`: the
    room is sealed, and a connection has not proved to have the key. `known_since`: when we saw the
    key that is known under this name first, in seconds since 1970; 0 if none is. `ignored`: what it
    says is not shown."""

    name: str
    since: int
    fingerprint: bytes
    connections: int = 1
    calling: bool = False
    unproved: bool = False
    standing: Standing = Standing.NEW
    known_since: int = 0
    ignored: bool = False


@frozen
class Security:
    """What protects the conversation here, and what has happened in this run. Times are in seconds
    since 1970.

    `tag`: see `Entered`. `server` is the fingerprint of the server's key. `checked_at`: when the
    server last vouched for all that was shown until then; `all_checked`: nothing was shown since.
    `tampered`: how often somebody on the way has changed something, and `tampered_at` when last;
    `unconfirmed`: how often the server could not be asked. `split`: who says to have been shown
    another conversation.
    """

    tag: bytes
    server: str
    checked_at: float
    all_checked: bool
    tampered: int
    tampered_at: float
    unconfirmed: int
    split: tuple[str, ...]
    members: tuple[Person, ...]


ClientEvent = (
    MakingKey
    | NamedByLogin
    | LookingUp
    | Connecting
    | Connected
    | ServerMet
    | KeysExchanged
    | Entered
    | Disconnected
    | Reconnected
    | OutboxFull
    | Leaving
    | MessageReceived
    | ClockDiffers
    | MessageNotForUs
    | FrameRefused
    | LogGone
    | Tampered
    | MemberJoined
    | MemberLeft
    | MemberLost
    | MemberBack
    | KeyChanged
    | NameChanged
    | NoticeReceived
    | TopicSet
    | MotdReceived
    | Answered
    | RoomClosed
    | Warned
    | Failed
)
