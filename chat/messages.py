"""What is sealed inside the frames: identities, control messages, message contents, room events.

Implements PROTOCOL 5 and 6. This module does not know how these are sealed, nor by whom.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from chat.errors import ProtocolError, Reason
from chat.limits import (
    DIRECT_WRAP_BYTES,
    DIRECT_WRAPS,
    FINGERPRINT_BYTES,
    HASH_BYTES,
    MAX_ANSWER_BYTES,
    MAX_COMMAND_BYTES,
    MAX_MOTD_BYTES,
    MAX_PARTING_BYTES,
    MAX_SUBMIT_BYTES,
    MAX_TEXT_BYTES,
    MAX_TOPIC_BYTES,
    ORIGIN_BYTES,
    PROOF_BYTES,
    RESUME_TOKEN_BYTES,
    ROOM_ID_BYTES,
    ROOM_SECRET_BYTES,
    ROOM_TAG_BYTES,
    SEEN_HASH_BYTES,
    X25519_BYTES,
)
from chat.wire import Farewell, Fields, Record, block, decode_record, decode_text

# -- what is sealed in the handshake -----------------------------------------------------------


_CALLER = 0x01
_LOST = 0x02


@dataclass(frozen=True, slots=True)
class Card:
    """What a client shows the other members beside its name and key: its X25519 share, which is
    fresh for each run of the program; in a sealed room the proof that it has the room key
    (`kex.SealedRoom.proof`), otherwise nothing; and whether it is a *caller*, who comes to say one
    thing, so that nobody is told of its coming and going."""

    share: bytes = bytes(X25519_BYTES)
    proof: bytes = b""
    caller: bool = False

    def encode(self) -> bytes:
        return bytes((_CALLER * self.caller,)) + self.share + block(self.proof)


def _decode_card(fields: Fields, known_flags: int) -> tuple[Card, int]:
    """The card, and its flags."""
    flags, share, proof = fields.unsigned(1), fields.take(X25519_BYTES), fields.block()
    if flags & ~known_flags:
        raise ProtocolError("a flag that is not known")
    if len(proof) not in (0, PROOF_BYTES):
        raise ProtocolError("a proof that is none")
    return Card(share, proof, bool(flags & _CALLER)), flags


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Sealed in PUBKEY: the name and the key that the client claims, the tag of the room that it
    wants (empty for the open room), and its card. READY proves the key."""

    name: str
    public_key: bytes
    tag: bytes = b""
    card: Card = Card()

    def encode(self) -> bytes:
        return b"".join(
            (
                block(self.name.encode()),
                block(self.public_key),
                block(self.tag),
                self.card.encode(),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(data)
        name, public_key, tag = fields.text(), fields.block(), fields.block()
        card, _ = _decode_card(fields, _CALLER)
        if len(tag) not in (0, ROOM_TAG_BYTES) or bool(tag) != bool(card.proof):
            raise ProtocolError("a tag without a proof, or one that is none")
        if fields.left:
            raise ProtocolError("left-over bytes after the introduction")
        return cls(name, public_key, tag, card)


# -- control messages, sealed on the link ------------------------------------------------------


class Control(Record):
    """One control message (PROTOCOL 5)."""


class _Empty(Record):
    """A record that says everything by its type."""

    __slots__ = ()

    def encode_body(self) -> bytes:
        return b""

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls()


@dataclass(frozen=True, slots=True)
class Ready(_Empty, Control):
    """Client to server, first on the link: the session key was unwrapped."""

    TYPE = 0x01


@dataclass(frozen=True, slots=True)
class Resume(Control):
    """Client to server, instead of READY: continue where the connection was lost. `offset` is how
    far the client has read the log, `epoch` the last one whose key it has."""

    TYPE = 0x07
    member: int
    token: bytes = field(repr=False)
    offset: int
    epoch: int

    def encode_body(self) -> bytes:
        return (
            struct.pack(">I", self.member)
            + self.token
            + struct.pack(">QI", self.offset, self.epoch)
        )

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(
            fields.unsigned(4),
            fields.take(RESUME_TOKEN_BYTES),
            fields.unsigned(8),
            fields.unsigned(4),
        )


@dataclass(frozen=True, slots=True)
class Resumed(_Empty, Control):
    """Server to client: the log follows, from the offset in RESUME."""

    TYPE = 0x08


@dataclass(frozen=True, slots=True)
class Ping(_Empty, Control):
    """Client to server: are you there?"""

    TYPE = 0x09


@dataclass(frozen=True, slots=True)
class Pong(_Empty, Control):
    """Server to client: I am."""

    TYPE = 0x0A


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A member as others know it. `seq` is the number of its last message so far; `since` is when
    it joined, in seconds since 1970 by the server's clock. `lost`: it has no connection."""

    id: int
    seq: int
    name: str
    fingerprint: bytes
    since: int = 0
    card: Card = Card()
    lost: bool = False

    def encode(self) -> bytes:
        identity = encode_identity(self.id, self.name, self.fingerprint, self.since)
        card = self.card.encode()
        return encode_entry(self.seq, identity, as_lost(card) if self.lost else card)

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        seq, member_id = fields.unsigned(8), fields.unsigned(4)
        name, fingerprint, since = fields.text(), fields.block(), fields.unsigned(8)
        card, flags = _decode_card(fields, _CALLER | _LOST)
        return cls(member_id, seq, name, fingerprint, since, card, bool(flags & _LOST))


def encode_identity(member_id: int, name: str, fingerprint: bytes, since: int) -> bytes:
    """The part of a roster entry that never changes, but for the card."""
    name_block, print_block = block(name.encode()), block(fingerprint)
    return member_id.to_bytes(4, "big") + name_block + print_block + since.to_bytes(8, "big")


def as_lost(card: bytes) -> bytes:
    """An encoded card, as others are told of it while its member has no connection."""
    return bytes((card[0] | _LOST,)) + card[1:]


def encode_entry(seq: int, identity: bytes, card: bytes) -> bytes:
    """A roster entry. `identity` and `card` are encoded already, since a roster may have thousands
    of them."""
    return seq.to_bytes(8, "big") + identity + card


@dataclass(frozen=True, slots=True)
class _Entries(Record):
    """A record that lists members."""

    entries: tuple[RosterEntry, ...]

    def encode_body(self) -> bytes:
        return b"".join(entry.encode() for entry in self.entries)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        entries = []
        while fields.left:
            entries.append(RosterEntry.decode(fields))
        return cls(tuple(entries))

    @classmethod
    def encode_all(cls, entries: Iterable[bytes]) -> bytes:
        """The record of these entries (`encode_entry`), its type byte included."""
        return bytes((cls.TYPE,)) + b"".join(entries)


@dataclass(frozen=True, slots=True)
class Welcome(Control):
    """Server to client: its place in the room, and the secret that opens the log from `offset` on.
    An epoch begins there, with this `base` of the running hash. What was sealed under an epoch
    before `oldest_epoch` does not count any more. `messages` MESSAGE frames came before; `members`
    members follow in ROSTER messages."""

    TYPE = 0x02
    room: bytes
    member: int
    token: bytes = field(repr=False)
    epoch: int
    oldest_epoch: int
    secret: bytes = field(repr=False)
    offset: int
    base: bytes
    messages: int
    event_seq: int
    members: int

    def encode_body(self) -> bytes:
        return b"".join(
            (
                self.room,
                self.member.to_bytes(4, "big"),
                self.token,
                struct.pack(">II", self.epoch, self.oldest_epoch),
                self.secret,
                self.offset.to_bytes(8, "big"),
                self.base,
                struct.pack(">QQI", self.messages, self.event_seq, self.members),
            )
        )

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(
            fields.take(ROOM_ID_BYTES),
            fields.unsigned(4),
            fields.take(RESUME_TOKEN_BYTES),
            fields.unsigned(4),
            fields.unsigned(4),
            fields.take(ROOM_SECRET_BYTES),
            fields.unsigned(8),
            fields.take(HASH_BYTES),
            fields.unsigned(8),
            fields.unsigned(8),
            fields.unsigned(4),
        )


class Roster(_Entries, Control):
    """Server to client, right behind WELCOME: some of the members."""

    TYPE = 0x03
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Rekey(Control):
    """Server to client, right behind LEFT: the fresh secret of the next epoch."""

    TYPE = 0x04
    epoch: int
    secret: bytes = field(repr=False)

    def encode_body(self) -> bytes:
        return self.epoch.to_bytes(4, "big") + self.secret

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(4), fields.take(ROOM_SECRET_BYTES))


@dataclass(frozen=True, slots=True)
class Resend(Control):
    """Server to client: send again from this sequence number on, under the current epoch."""

    TYPE = 0x05
    seq: int

    def encode_body(self) -> bytes:
        return self.seq.to_bytes(8, "big")

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(8))


@dataclass(frozen=True, slots=True)
class Submit(Control):
    """Client to server: what it says, a run of whole MESSAGE frames of at most MAX_SUBMIT_BYTES."""

    TYPE = 0x0B
    run: bytes

    def encode_body(self) -> bytes:
        return self.run

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        run = fields.rest()
        if len(run) > MAX_SUBMIT_BYTES:
            raise ProtocolError("more messages at once than may be")
        return cls(run)


@dataclass(frozen=True, slots=True)
class Check(Control):
    """Server to client: the running hash of the log at this place, which is `offset`."""

    TYPE = 0x0C
    offset: int
    digest: bytes

    def encode_body(self) -> bytes:
        return self.offset.to_bytes(8, "big") + self.digest

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(8), fields.take(HASH_BYTES))


@dataclass(frozen=True, slots=True)
class Greeting(Control):
    """Server to client, between WELCOME and ROSTER: the topic, and since when it holds; and the
    message of the day. Either may be empty."""

    TYPE = 0x0D
    since: int
    topic: str
    motd: str

    def encode_body(self) -> bytes:
        return self.since.to_bytes(8, "big") + block(self.topic.encode()) + self.motd.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        since, topic = fields.unsigned(8), _short_text(fields.block(), MAX_TOPIC_BYTES)
        return cls(since, topic, _short_text(fields.rest(), MAX_MOTD_BYTES))


@dataclass(frozen=True, slots=True)
class Operate(Control):
    """Client to server: a command of an operator, as at the server's console."""

    TYPE = 0x0E
    command: str

    def encode_body(self) -> bytes:
        return self.command.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(_short_text(fields.rest(), MAX_COMMAND_BYTES))


@dataclass(frozen=True, slots=True)
class Answer(Control):
    """Server to client: what has come of the first OPERATE that is not answered yet. `done`: it was
    carried out; `text`: the lines of the answer."""

    TYPE = 0x0F
    done: bool
    text: str

    def encode_body(self) -> bytes:
        return bytes((self.done,)) + self.text.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        done = fields.unsigned(1)
        if done > 1:
            raise ProtocolError("a flag that is not known")
        return cls(bool(done), _short_text(fields.rest(), MAX_ANSWER_BYTES))


def _short_text(data: bytes, most: int) -> str:
    if len(data) > most:
        raise ProtocolError("a text is too long")
    return decode_text(data)


class Bye(Farewell, Control):
    """Either way, last: why the connection ends."""

    TYPE = 0x06
    __slots__ = ()


CONTROLS: dict[int, type[Control]] = {
    control.TYPE: control
    for control in (
        Ready,
        Welcome,
        Roster,
        Rekey,
        Resend,
        Bye,
        Resume,
        Resumed,
        Ping,
        Pong,
        Submit,
        Check,
        Greeting,
        Operate,
        Answer,
    )
}


def decode_control(data: bytes) -> Control:
    """Raises ProtocolError."""
    return decode_record(CONTROLS, "control message", data)


# -- what is sealed in MESSAGE and EVENT -------------------------------------------------------


class Kind(IntEnum):
    """What a message is (PROTOCOL 6.2)."""

    SAY = 1
    """A text for everybody."""
    REPEAT = 2
    """A text that was said in a room before this one, for those who were there (`Repeat`)."""
    DIRECT = 3
    """A text for one person (`Direct`)."""
    PARTING = 4
    """The last word of somebody who is about to leave."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far the sender had read the log, and the beginning of the running hash there."""

    offset: int
    digest: bytes


_SEEN_NOTHING = Seen(0, bytes(SEEN_HASH_BYTES))


@dataclass(frozen=True, slots=True)
class MessageContent:
    """Sealed in MESSAGE. The time is by the sender's clock, in milliseconds since 1970. `origin` is
    random for each run of a client, and `number` counts the messages of the run. By these two a
    receiver knows a message again that is sent a second time into another room.

    `seen` is of the moment at which the message is sealed, so it differs when a message is sealed
    again. It is not what makes two messages equal.
    """

    kind: Kind
    time_ms: int
    origin: bytes
    number: int
    body: bytes = field(repr=False)
    seen: Seen = field(default=_SEEN_NOTHING, compare=False)

    def encode(self) -> bytes:
        header = _CONTENT_HEADER.pack(
            self.kind, self.time_ms, self.origin, self.number, self.seen.offset, self.seen.digest
        )
        return header + self.body

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ProtocolError."""
        if len(data) < CONTENT_HEADER_BYTES:
            raise ProtocolError("a frame is too short for its fields")
        kind, time_ms, origin, number, offset, digest = _CONTENT_HEADER.unpack_from(data)
        if kind not in _KINDS:
            raise ProtocolError("a message is of an unknown kind")
        body = data[CONTENT_HEADER_BYTES:]
        content = cls(Kind(kind), time_ms, origin, number, body, Seen(offset, digest))
        if content.kind is Kind.SAY:
            text_of(content.body)
        elif content.kind is Kind.DIRECT:
            Direct.decode(content.body)
        elif content.kind is Kind.PARTING:
            _short_text(content.body, MAX_PARTING_BYTES)
        return content

    def bound(self) -> bytes:
        """What a repeated or private text is bound to, so that it can be said under no other
        number."""
        return b"".join(
            (self.time_ms.to_bytes(8, "big"), self.origin, self.number.to_bytes(8, "big"))
        )


_KINDS = frozenset(Kind)

_CONTENT_HEADER = struct.Struct(f">BQ{ORIGIN_BYTES}sQQ{SEEN_HASH_BYTES}s")
CONTENT_HEADER_BYTES = _CONTENT_HEADER.size


def text_of(body: bytes) -> str:
    """The text of a message. Raises ProtocolError if it is none, or too long."""
    if len(body) > MAX_TEXT_BYTES:
        raise ProtocolError("a message is too long")
    return decode_text(body)


@dataclass(frozen=True, slots=True)
class Repeat:
    """The body of a message of the kind REPEAT: the text as it was said in an earlier room, sealed
    under the repeat key of the epoch in which it was said. So it can be opened by those who could
    open it then, and by nobody who came later."""

    room: bytes
    epoch: int
    sealed: bytes

    def encode(self) -> bytes:
        return self.room + self.epoch.to_bytes(4, "big") + self.sealed

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(body)
        return cls(fields.take(ROOM_ID_BYTES), fields.unsigned(4), fields.rest())


@dataclass(frozen=True, slots=True)
class Direct:
    """The body of a message of the kind DIRECT: the text, sealed under a fresh key, and this key
    for each connection that may read it. There are always as many `wraps`: the others are random
    bytes."""

    wraps: tuple[bytes, ...]
    sealed: bytes

    def encode(self) -> bytes:
        return b"".join(self.wraps) + self.sealed

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(body)
        wraps = tuple(fields.take(DIRECT_WRAP_BYTES) for _ in range(DIRECT_WRAPS))
        return cls(wraps, fields.rest())


@dataclass(frozen=True, slots=True)
class DirectText:
    """Sealed in `Direct`: the text, and for whom it is, by name and SHA-256 of the key. So nobody
    who reads it can pass it on as if it had been for somebody else."""

    name: str
    fingerprint: bytes
    text: str = field(repr=False)

    def encode(self) -> bytes:
        return block(self.name.encode()) + self.fingerprint + self.text.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(data)
        name, fingerprint = fields.text(), fields.take(FINGERPRINT_BYTES)
        return cls(name, fingerprint, text_of(fields.rest()))


class RoomEvent(Record):
    """Sealed in EVENT: something that happened in the room (PROTOCOL 6.3)."""


class Joined(_Entries, RoomEvent):
    """These members, if any, are in; the next epoch's secret is the step of this one's."""

    TYPE = 0x01
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Left(RoomEvent):
    """These members, if any, are out, each for its reason; the next epoch's secret is in REKEY."""

    TYPE = 0x02
    departures: tuple[tuple[int, Reason], ...]

    def encode_body(self) -> bytes:
        return b"".join(struct.pack(">IB", member, reason) for member, reason in self.departures)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        departures = []
        while fields.left:
            departures.append((fields.unsigned(4), fields.reason()))
        return cls(tuple(departures))


@dataclass(frozen=True, slots=True)
class Notice(RoomEvent):
    """The server's operator says something."""

    TYPE = 0x03
    text: str

    def encode_body(self) -> bytes:
        return self.text.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.rest_text())


@dataclass(frozen=True, slots=True)
class Closing(_Empty, RoomEvent):
    """The room ends here."""

    TYPE = 0x04


@dataclass(frozen=True, slots=True)
class _OfMember(RoomEvent):
    """Something that happened to one member."""

    member: int

    def encode_body(self) -> bytes:
        return self.member.to_bytes(4, "big")

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(4))


class Lost(_OfMember):
    """A member lost the connection, and keeps its place for a while."""

    TYPE = 0x05
    __slots__ = ()


class Back(_OfMember):
    """The member is back in its place."""

    TYPE = 0x06
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Topic(RoomEvent):
    """The server's operator has set the topic at `since`, in seconds since 1970; an empty text
    takes it away."""

    TYPE = 0x07
    since: int
    text: str

    def encode_body(self) -> bytes:
        return self.since.to_bytes(8, "big") + self.text.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(8), _short_text(fields.rest(), MAX_TOPIC_BYTES))


ROOM_EVENTS: dict[int, type[RoomEvent]] = {
    event.TYPE: event for event in (Joined, Left, Notice, Closing, Lost, Back, Topic)
}


def decode_room_event(data: bytes) -> RoomEvent:
    """Raises ProtocolError."""
    return decode_record(ROOM_EVENTS, "event", data)
