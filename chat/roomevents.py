"""What is sealed in an EVENT: what happens in the room, for all to see (PROTOCOL 6.3).

The room makes them, and each client reads them. What a client tells its user is in `client.events`.
"""

import struct
from typing import Self

from chat.errors import Reason
from chat.frozen import frozen
from chat.identities import Entries
from chat.limits import MAX_TOPIC_BYTES
from chat.wire import Empty, Fields, Record, Text, decode_record, short_text


class RoomEvent(Record):
    """Sealed in EVENT: something that happened in the room (PROTOCOL 6.3)."""


class Joined(Entries, RoomEvent):
    """These members, if any, are in; the next epoch's secret is the step of this one's."""

    TYPE = 0x01
    __slots__ = ()


@frozen
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


class Notice(Text, RoomEvent):
    """The server's operator says something."""

    TYPE = 0x03
    __slots__ = ()


@frozen
class Closing(Empty, RoomEvent):
    """The room ends here."""

    TYPE = 0x04


@frozen
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


@frozen
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
        return cls(fields.unsigned(8), short_text(fields.rest(), MAX_TOPIC_BYTES))


ROOM_EVENTS: dict[int, type[RoomEvent]] = {
    event.TYPE: event for event in (Joined, Left, Notice, Closing, Lost, Back, Topic)
}


def decode_room_event(data: bytes) -> RoomEvent:
    """Raises ProtocolError."""
    return decode_record(ROOM_EVENTS, "event", data)
