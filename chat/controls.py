"""Control messages: what one member and the server tell each other on their link (PROTOCOL 5).

`session` seals them, and both ends say what they do.
"""

import struct
from typing import Self

from chat.errors import ProtocolError
from chat.frozen import field, frozen
from chat.identities import Entries
from chat.limits import (
    HASH_BYTES,
    MAX_ANSWER_BYTES,
    MAX_COMMAND_BYTES,
    MAX_MOTD_BYTES,
    MAX_SUBMIT_BYTES,
    MAX_TOPIC_BYTES,
    RESUME_TOKEN_BYTES,
    ROOM_ID_BYTES,
    ROOM_SECRET_BYTES,
)
from chat.wire import Empty, Farewell, Fields, Record, block, decode_record, short_text


class Control(Record):
    """One control message (PROTOCOL 5)."""


@frozen
class Ready(Empty, Control):
    """Client to server, first on the link: the session key was unwrapped."""

    TYPE = 0x01


@frozen
class Resume(Control):
    """Client to server, instead of READY: continue where the connection was lost. `offset` is how
    far the client has read the log, `epoch` the last one whose key it has."""

    TYPE = 0x07
    member: int
    token: bytes = field(shown=False)
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


@frozen
class Resumed(Empty, Control):
    """Server to client: the log follows, from the offset in RESUME."""

    TYPE = 0x08


@frozen
class Ping(Empty, Control):
    """Client to server: are you there?"""

    TYPE = 0x09


@frozen
class Pong(Empty, Control):
    """Server to client: I am."""

    TYPE = 0x0A


@frozen
class Welcome(Control):
    """Server to client: its place in the room, and the secret that opens the log from `offset` on.
    An epoch begins there, with this `base` of the running hash. What was sealed under an epoch
    before `oldest_epoch` does not count any more. `messages` MESSAGE frames came before; `members`
    members follow in ROSTER messages."""

    TYPE = 0x02
    room: bytes
    member: int
    token: bytes = field(shown=False)
    epoch: int
    oldest_epoch: int
    secret: bytes = field(shown=False)
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


class Roster(Entries, Control):
    """Server to client, right behind WELCOME: some of the members."""

    TYPE = 0x03
    __slots__ = ()


@frozen
class Rekey(Control):
    """Server to client, right behind LEFT: the fresh secret of the next epoch."""

    TYPE = 0x04
    epoch: int
    secret: bytes = field(shown=False)

    def encode_body(self) -> bytes:
        return self.epoch.to_bytes(4, "big") + self.secret

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(4), fields.take(ROOM_SECRET_BYTES))


@frozen
class Resend(Control):
    """Server to client: send again from this sequence number on, under the current epoch."""

    TYPE = 0x05
    seq: int

    def encode_body(self) -> bytes:
        return self.seq.to_bytes(8, "big")

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(fields.unsigned(8))


@frozen
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


@frozen
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


@frozen
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
        since, topic = fields.unsigned(8), short_text(fields.block(), MAX_TOPIC_BYTES)
        return cls(since, topic, short_text(fields.rest(), MAX_MOTD_BYTES))


@frozen
class Operate(Control):
    """Client to server: a command of an operator, as at the server's console."""

    TYPE = 0x0E
    command: str

    def encode_body(self) -> bytes:
        return self.command.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(short_text(fields.rest(), MAX_COMMAND_BYTES))


@frozen
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
        return cls(bool(done), short_text(fields.rest(), MAX_ANSWER_BYTES))


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
