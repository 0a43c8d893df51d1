"""What is sealed inside the frames: the introduction, control messages, speech, and room events.

Implements PROTOCOL 5 and 6. How these are sealed, and by whom, is not known here.
"""

import struct
from dataclasses import dataclass, field
from typing import Self

from chat.errors import ProtocolError, Reason
from chat.limits import MAX_TEXT_BYTES, ROOM_SECRET_BYTES
from chat.wire import Fields, Record, block, decode_record, decode_text, encode_reason

# -- what is sealed in the handshake -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Introduction:
    """Sealed in PUBKEY: who the client says it is."""

    name: str
    public_key: bytes

    def encode(self) -> bytes:
        return block(self.name.encode()) + block(self.public_key)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(data)
        introduction = cls(fields.text(), fields.block())
        if fields.left:
            raise ProtocolError("left-over bytes after the introduction")
        return introduction


# -- control messages, sealed on the link ------------------------------------------------------


class Control(Record):
    """One control message (PROTOCOL 5)."""


@dataclass(frozen=True, slots=True)
class Ready(Control):
    """Client to server, first on the link: the session key was unwrapped."""

    TYPE = 0x01

    def encode_body(self) -> bytes:
        return b""

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls()


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A member as others know it: `seq` is the number of its last message so far."""

    id: int
    seq: int
    name: str
    fingerprint: bytes

    def encode(self) -> bytes:
        return b"".join(
            (
                struct.pack(">IQ", self.id, self.seq),
                block(self.name.encode()),
                block(self.fingerprint),
            )
        )

    @classmethod
    def decode(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(4), fields.unsigned(8), fields.text(), fields.block())


@dataclass(frozen=True, slots=True)
class Welcome(Control):
    """Server to client: the place in the room. Everything in the log from here on can be opened.
    `members` members follow in ROSTER messages."""

    TYPE = 0x02
    member: int
    epoch: int
    secret: bytes = field(repr=False)
    offset: int
    event_seq: int
    members: int

    def encode_body(self) -> bytes:
        head = struct.pack(">II", self.member, self.epoch)
        return head + self.secret + struct.pack(">QQI", self.offset, self.event_seq, self.members)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(
            fields.unsigned(4),
            fields.unsigned(4),
            fields.take(ROOM_SECRET_BYTES),
            fields.unsigned(8),
            fields.unsigned(8),
            fields.unsigned(4),
        )


@dataclass(frozen=True, slots=True)
class Roster(Control):
    """Server to client, right behind WELCOME: some of the members."""

    TYPE = 0x03
    entries: tuple[RosterEntry, ...]

    def encode_body(self) -> bytes:
        return b"".join(entry.encode() for entry in self.entries)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(_decode_entries(fields))


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
class Bye(Control):
    """Either way, last: why the connection ends."""

    TYPE = 0x06
    reason: Reason
    text: str

    def encode_body(self) -> bytes:
        return encode_reason(self.reason, self.text)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.reason(), fields.text())


CONTROLS: dict[int, type[Control]] = {
    control.TYPE: control for control in (Ready, Welcome, Roster, Rekey, Resend, Bye)
}


def decode_control(data: bytes) -> Control:
    """Raises ProtocolError."""
    return decode_record(CONTROLS, "control message", data)


def _decode_entries(fields: Fields) -> tuple[RosterEntry, ...]:
    entries = []
    while fields.left:
        entries.append(RosterEntry.decode(fields))
    return tuple(entries)


# -- what is sealed in MESSAGE and EVENT -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speech:
    """Sealed in MESSAGE: what a member says, and when by its own clock (ms since 1970)."""

    time_ms: int
    text: str

    def encode(self) -> bytes:
        return self.time_ms.to_bytes(8, "big") + self.text.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(data)
        time_ms, text = fields.unsigned(8), fields.rest()
        if len(text) > MAX_TEXT_BYTES:
            raise ProtocolError("a message is too long")
        return cls(time_ms, decode_text(text))


class RoomEvent(Record):
    """Sealed in EVENT: something that happened in the room (PROTOCOL 6.3)."""


@dataclass(frozen=True, slots=True)
class Joined(RoomEvent):
    """These members are in; the next epoch's secret is the step of this one's."""

    TYPE = 0x01
    entries: tuple[RosterEntry, ...]

    def encode_body(self) -> bytes:
        return b"".join(entry.encode() for entry in self.entries)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(_decode_entries(fields))


@dataclass(frozen=True, slots=True)
class Left(RoomEvent):
    """These members are out, each for its reason; the next epoch's secret is in REKEY."""

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
        return cls(decode_text(fields.rest()))


@dataclass(frozen=True, slots=True)
class Closing(RoomEvent):
    """The room ends here."""

    TYPE = 0x04

    def encode_body(self) -> bytes:
        return b""

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls()


ROOM_EVENTS: dict[int, type[RoomEvent]] = {
    event.TYPE: event for event in (Joined, Left, Notice, Closing)
}


def decode_room_event(data: bytes) -> RoomEvent:
    """Raises ProtocolError."""
    return decode_record(ROOM_EVENTS, "event", data)
