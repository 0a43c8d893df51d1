"""Frames as bytes, and the reader that cuts a stream into frames.

Implements PROTOCOL 2. Holds what frames, control messages and room events have in common, too: a
type byte and fields (`Record`). This module knows neither keys nor states: what is sealed is a
field like any other.
"""

import struct
from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Self, TypeVar

from chat.errors import REASONS, ForgeableError, ProtocolError, Reason
from chat.frozen import frozen
from chat.limits import MAX_REASON_BYTES, X25519_BYTES

PROTOCOL = "chat/1"

_LENGTH_BYTES = 2
_ROOM_HEADER = struct.Struct(">HBIIQ")
ROOM_HEADER_BYTES = _ROOM_HEADER.size


# -- fields and records ------------------------------------------------------------------------


class Fields:
    """Takes a body apart, field by field, in the order of the document. Every method raises
    ProtocolError if its field is not there or is not what it should be."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise ProtocolError("a frame is too short for its fields")
        taken = self._body[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self) -> bytes:
        return self.take(self.unsigned(2))

    def text(self) -> str:
        return decode_text(self.block())

    def rest_text(self) -> str:
        return decode_text(self.rest())

    def reason(self) -> Reason:
        number = self.unsigned(1)
        try:
            return Reason(number)
        except ValueError as exc:
            raise ProtocolError(f"unknown reason {number}") from exc

    def sentence(self) -> str:
        sentence = self.block()
        if len(sentence) > MAX_REASON_BYTES:
            raise ProtocolError("a reason is too long")
        return decode_text(sentence)

    @property
    def left(self) -> bool:
        return self._at < len(self._body)


def decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ProtocolError("a text is not UTF-8") from exc


def short_text(data: bytes, most: int) -> str:
    """The text that this is. Raises ProtocolError if it is none, or has more than `most` bytes."""
    if len(data) > most:
        raise ProtocolError("a text is too long")
    return decode_text(data)


def block(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def clip_text(text: str, limit: int) -> str:
    """`text` cut to at most `limit` bytes of UTF-8, between two characters."""
    return text.encode()[:limit].decode(errors="ignore")


class Record:
    """A type byte and a body: a frame, a control message or a room event."""

    TYPE: ClassVar[int]

    def encode_body(self) -> bytes:
        """The fields, in the order of the document."""
        raise AssertionError

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        """Raises ProtocolError if the fields are not there."""
        raise AssertionError

    def encode(self) -> bytes:
        """The type byte and the body."""
        return bytes((self.TYPE,)) + self.encode_body()


RecordT = TypeVar("RecordT", bound=Record)


def decode_record(family: dict[int, type[RecordT]], what: str, data: bytes) -> RecordT:
    """The record of this family that `data` is; `what` is the family's name, for the error.

    Raises:
        ProtocolError: the type is unknown, or the body is not exactly its fields.
    """
    fields = Fields(data)
    number = fields.unsigned(1)
    if number not in family:
        raise ProtocolError(f"unknown {what} 0x{number:02x}")
    record = family[number].decode_body(fields)
    if fields.left:
        raise ProtocolError(f"left-over bytes after {type(record).__name__}")
    return record


class Empty(Record):
    """A record that says everything by its type."""

    __slots__ = ()

    def encode_body(self) -> bytes:
        return b""

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls()


@frozen
class Text(Record):
    """A record that is a text, and nothing else."""

    text: str

    def encode_body(self) -> bytes:
        return self.text.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.rest_text())


@frozen
class Farewell(Record):
    """The last word of one end: why the connection ends (PROTOCOL 5.3). Without a link it travels
    in the clear (`Refused`), on the link it is sealed (`controls.Bye`)."""

    reason: Reason
    text: str

    def encode_body(self) -> bytes:
        sentence = clip_text(self.text or REASONS[self.reason], MAX_REASON_BYTES)
        return bytes((self.reason,)) + block(sentence.encode())

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.reason(), fields.sentence())


# -- frames ------------------------------------------------------------------------------------


class Frame(Record):
    """What travels: a length, a type and a body (PROTOCOL 2)."""

    def to_wire(self) -> bytes:
        """The whole frame."""
        return block(self.encode())


@frozen
class Hello(Frame):
    """Server to client, first: who the server is, and its share (PROTOCOL 4.2)."""

    TYPE = 0x01
    protocol: str
    share: bytes
    not_after: int
    server_key: bytes
    signature: bytes

    def encode_body(self) -> bytes:
        return b"".join(
            (
                block(self.protocol.encode()),
                self.share,
                self.not_after.to_bytes(8, "big"),
                block(self.server_key),
                block(self.signature),
            )
        )

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        protocol = fields.text()
        if protocol != PROTOCOL:
            # What follows may be laid out in another way.
            raise ProtocolError(f"the server speaks {protocol[:16]!r}, not {PROTOCOL!r}")
        return cls(
            protocol, fields.take(X25519_BYTES), fields.unsigned(8), fields.block(), fields.block()
        )


@frozen
class Pubkey(Frame):
    """Client to server: its share, and sealed, its name and public key (PROTOCOL 4.3)."""

    TYPE = 0x02
    share: bytes
    sealed: bytes

    def encode_body(self) -> bytes:
        return self.share + self.sealed

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.take(X25519_BYTES), fields.rest())


@frozen
class _SealedFrame(Frame):
    """A frame that holds nothing but something sealed."""

    sealed: bytes

    def encode_body(self) -> bytes:
        return self.sealed

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.rest())


class SessionKey(_SealedFrame):
    """Server to client: sealed, the session key wrapped for the client's key (PROTOCOL 4.4)."""

    TYPE = 0x03
    __slots__ = ()


class Refused(Farewell, Frame):
    """Server to client while there is no link yet: why there will be none (PROTOCOL 4.6)."""

    TYPE = 0x04
    __slots__ = ()


class Link(_SealedFrame):
    """Either way, once the link stands: one sealed control message (PROTOCOL 5)."""

    TYPE = 0x10
    __slots__ = ()


@frozen
class RoomFrame(Frame):
    """An entry of the log: a header that the server checks, and sealed content."""

    epoch: int
    sender: int
    seq: int
    sealed: bytes

    def encode_body(self) -> bytes:
        header = room_header(self.TYPE, self.epoch, self.sender, self.seq, len(self.sealed))
        return header[_LENGTH_BYTES + 1 :] + self.sealed

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(4), fields.unsigned(4), fields.unsigned(8), fields.rest())


class Message(RoomFrame):
    """From a member to all, relayed byte for byte (PROTOCOL 6.2)."""

    TYPE = 0x20
    __slots__ = ()


class Event(RoomFrame):
    """From the server to all; its sender is 0 (PROTOCOL 6.3)."""

    TYPE = 0x21
    __slots__ = ()


FRAMES: dict[int, type[Frame]] = {
    frame.TYPE: frame for frame in (Hello, Pubkey, SessionKey, Refused, Link, Message, Event)
}
_ROOM_TYPES = (Message.TYPE, Event.TYPE)


def decode_frame(data: bytes) -> Frame:
    """The frame that `data`, its length field included, is.

    Raises:
        ProtocolError: it is not exactly one frame.
    """
    if len(data) < _LENGTH_BYTES or int.from_bytes(data[:_LENGTH_BYTES], "big") != len(data) - 2:
        raise ProtocolError("a frame is not as long as it says")
    return decode_record(FRAMES, "frame type", data[_LENGTH_BYTES:])


def room_header(frame_type: int, epoch: int, sender: int, seq: int, sealed_bytes: int) -> bytes:
    """The header of a MESSAGE or EVENT whose sealed part has `sealed_bytes` bytes."""
    length = ROOM_HEADER_BYTES - _LENGTH_BYTES + sealed_bytes
    return _ROOM_HEADER.pack(length, frame_type, epoch, sender, seq)


class FrameReader:
    """Cuts a stream of bytes, in whatever pieces it arrives, into whole frames."""

    __slots__ = ("_rest", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the type and the bytes of each frame that is complete now. MESSAGE and EVENT frames
        that follow each other come as one run of one type, since they are relayed together.

        Raises:
            ForgeableError: a frame is longer than `limit`, or empty. It is raised as soon as the
                length has arrived, after the frames before it were yielded.
        """
        if self._rest:
            data = self._rest + data
        start = 0
        while (end := self._frame_end(data, start)) <= len(data):
            frame_type = data[start + _LENGTH_BYTES]
            if frame_type in _ROOM_TYPES:
                end = self._run_end(data, end, frame_type)
            self._rest = b""
            yield frame_type, data[start:end]
            start = end
        self._rest = data[start:]

    def would_yield(self, data: bytes) -> bool:
        """Whether a whole frame is there with this; `feed` will tell if it cannot be one."""
        joined = self._rest + data if self._rest else data
        try:
            return self._frame_end(joined, 0) <= len(joined)
        except ForgeableError:
            return False

    @property
    def inside_frame(self) -> bool:
        """Whether part of a frame has arrived and part of it has not."""
        return bool(self._rest)

    def _frame_end(self, data: bytes, start: int) -> int:
        if len(data) < start + _LENGTH_BYTES:
            return start + _LENGTH_BYTES + 1
        length = data[start] << 8 | data[start + 1]
        if length == 0:
            raise ForgeableError("an empty frame")
        if _LENGTH_BYTES + length > self.limit:
            raise ForgeableError(f"a frame of {_LENGTH_BYTES + length} bytes is too long")
        return start + _LENGTH_BYTES + length

    def _run_end(self, data: bytes, end: int, frame_type: int) -> int:
        size, limit = len(data), self.limit
        while end + _LENGTH_BYTES < size and data[end + _LENGTH_BYTES] == frame_type:
            next_end = end + _LENGTH_BYTES + (data[end] << 8 | data[end + 1])
            if next_end > size or not _LENGTH_BYTES < next_end - end <= limit:
                break
            end = next_end
        return end


def starts_frame(frames: bytes, at: int) -> bool:
    """Whether a frame begins, or the last one ends, at this place in whole frames."""
    start = 0
    while start < at:
        start += _LENGTH_BYTES + int.from_bytes(frames[start : start + _LENGTH_BYTES], "big")
    return start == at


class RoomHeader(NamedTuple):
    """Where a frame lies in a run of room frames, and what its header says.

    The frame is `run[start:end]`. Its first ROOM_HEADER_BYTES are the header, which the seal
    covers; the rest is sealed. So two slices open it: nothing is parsed or encoded a second time.
    """

    start: int
    end: int
    epoch: int
    sender: int
    seq: int


def room_headers(frame_type: int, run: bytes) -> Iterator[RoomHeader]:
    """The headers of a run of MESSAGE or EVENT frames.

    Raises:
        ProtocolError: the run is not made of whole frames of this type, each with something sealed.
    """
    start, size = 0, len(run)
    while start < size:
        if size - start <= ROOM_HEADER_BYTES:
            raise ProtocolError("a frame is too short for its fields")
        length, its_type, epoch, sender, seq = _ROOM_HEADER.unpack_from(run, start)
        end = start + _LENGTH_BYTES + length
        if length <= ROOM_HEADER_BYTES - _LENGTH_BYTES:
            raise ProtocolError("a frame is too short for its fields")
        if its_type != frame_type or end > size:
            raise ProtocolError("a run of frames has something else in it")
        yield RoomHeader(start, end, epoch, sender, seq)
        start = end
