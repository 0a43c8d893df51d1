"""What is sealed in a MESSAGE: the kinds of messages, and the bodies that they have (PROTOCOL 6.2).

Who seals and opens them is not known here.
"""

import struct
from enum import IntEnum
from typing import Self

from chat.errors import ProtocolError
from chat.frozen import field, frozen
from chat.limits import (
    DIRECT_WRAP_BYTES,
    DIRECT_WRAPS,
    FINGERPRINT_BYTES,
    MAX_PARTING_BYTES,
    MAX_TEXT_BYTES,
    ORIGIN_BYTES,
    ROOM_ID_BYTES,
    SEEN_HASH_BYTES,
)
from chat.wire import Fields, block, decode_text, short_text


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


@frozen
class Seen:
    """How far the sender had read the log, and the beginning of the running hash there."""

    offset: int
    digest: bytes


_SEEN_NOTHING = Seen(0, bytes(SEEN_HASH_BYTES))


@frozen
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
    body: bytes = field(shown=False)
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
            short_text(content.body, MAX_PARTING_BYTES)
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


@frozen
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


@frozen
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


@frozen
class DirectText:
    """Sealed in `Direct`: the text, and for whom it is, by name and SHA-256 of the key. So nobody
    who reads it can pass it on as if it had been for somebody else."""

    name: str
    fingerprint: bytes
    text: str = field(shown=False)

    def encode(self) -> bytes:
        return block(self.name.encode()) + self.fingerprint + self.text.encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ProtocolError."""
        fields = Fields(data)
        name, fingerprint = fields.text(), fields.take(FINGERPRINT_BYTES)
        return cls(name, fingerprint, text_of(fields.rest()))
