"""What servers propose for a room, and its form in the stream.

A proposal is applied by every server at the same place of the stream. So all that it depends on
comes with it (`Header`): who proposed it, when, for how long that server keeps places, and fresh
randomness. The time is that of the room, in seconds from its beginning: each server goes on from
the last entry that it has applied, by its own monotonic clock. So no clock of any machine has to be
right.
"""

import struct
from math import isfinite
from typing import NamedTuple, Self

from chat.controls import Resume
from chat.errors import ProtocolError, Reason
from chat.frozen import field, frozen
from chat.identities import Card, decode_card
from chat.limits import FINGERPRINT_BYTES, PROPOSAL_SEED_BYTES, SERVER_ID_BYTES
from chat.roomevents import Topic
from chat.server.ordering import Arrival
from chat.wire import Empty, Fields, Record, Text, block, decode_record

_HEADER = struct.Struct(f">{SERVER_ID_BYTES}sdd{PROPOSAL_SEED_BYTES}s")
_MEMBER = struct.Struct(">IQ")
_NAMED = struct.Struct(f">I{FINGERPRINT_BYTES}s")
_COME = struct.Struct(">Qd")
_VANISH = struct.Struct(f">{SERVER_ID_BYTES}sQ")

EVERY_TICKET = (1 << 64) - 1
"""Before this one comes each that a server gives."""

WHOEVER = 0
"""No member has this number."""


class Header(NamedTuple):
    """Who proposes (a run of a server has one id), at which time of the room, for how many seconds
    that server keeps the place of who is lost, and randomness of which no other proposal has the
    same."""

    server: bytes
    at: float
    grace: float
    seed: bytes


class Proposal(Record):
    """Something that is to happen in a room."""

    __slots__ = ()


@frozen
class Come(Proposal):
    """Somebody wants to come in at this server, where its connection is known by `ticket`."""

    TYPE = 0x01
    ticket: int
    arrival: Arrival = field(shown=False)

    def encode_body(self) -> bytes:
        arrival = self.arrival
        resume = b"" if arrival.resume is None else arrival.resume.encode_body()
        texts = (arrival.name, arrival.address, arrival.source)
        return b"".join(
            (
                _COME.pack(self.ticket, arrival.joined_at),
                *(block(text.encode()) for text in texts),
                block(arrival.fingerprint),
                block(resume),
                arrival.card.encode(),
            )
        )

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        ticket, joined_at = _COME.unpack(fields.take(_COME.size))
        name, address, source = fields.text(), fields.text(), fields.text()
        fingerprint, resume = fields.block(), fields.block()
        card: Card = decode_card(fields)
        request = Resume.decode_body(Fields(resume)) if resume else None
        arrival = Arrival(name, fingerprint, card, request, joined_at, address, source)
        return cls(ticket, arrival)


@frozen
class Relay(Proposal):
    """A member says this run of MESSAGE frames, over the connection of this ticket."""

    TYPE = 0x02
    member: int
    ticket: int
    run: bytes = field(shown=False)

    def encode_body(self) -> bytes:
        return _MEMBER.pack(self.member, self.ticket) + self.run

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        member, ticket = _MEMBER.unpack(fields.take(_MEMBER.size))
        return cls(member, ticket, fields.rest())


@frozen
class Lose(Proposal):
    """A member's connection, which had this ticket, has been dropped for this reason. WHOEVER: its
    number is not known yet."""

    TYPE = 0x03
    member: int
    ticket: int
    reason: Reason
    text: str

    def encode_body(self) -> bytes:
        head = _MEMBER.pack(self.member, self.ticket)
        return head + bytes((self.reason,)) + self.text.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        member, ticket = _MEMBER.unpack(fields.take(_MEMBER.size))
        return cls(member, ticket, fields.reason(), fields.rest_text())


@frozen
class PutOut(Proposal):
    """An operator wants these members out. They are named by their numbers and their keys, since in
    the next room of this stream the numbers are those of others."""

    TYPE = 0x04
    members: tuple[tuple[int, bytes], ...]
    text: str

    def encode_body(self) -> bytes:
        return block(b"".join(_NAMED.pack(*one) for one in self.members)) + self.text.encode()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        named = Fields(fields.block())
        members = []
        while named.left:
            members.append(_NAMED.unpack(named.take(_NAMED.size)))
        return cls(tuple(members), fields.rest_text())


class Say(Text, Proposal):
    """An operator tells everybody something."""

    TYPE = 0x05
    __slots__ = ()


@frozen
class Retitle(Proposal):
    """An operator sets the topic."""

    TYPE = 0x06
    topic: Topic

    def encode_body(self) -> bytes:
        return self.topic.encode_body()

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(Topic.decode_body(fields))


@frozen
class Tick(Empty, Proposal):
    """Time passes: something is due."""

    TYPE = 0x07


@frozen
class Vanish(Proposal):
    """A server is gone, or has nobody of this room any more: its members have lost their
    connections, of which the tickets are before this one."""

    TYPE = 0x08
    server: bytes
    before: int = EVERY_TICKET

    def encode_body(self) -> bytes:
        return _VANISH.pack(self.server, self.before)

    @classmethod
    def decode_body(cls, fields: Fields) -> Self:
        return cls(*_VANISH.unpack(fields.take(_VANISH.size)))


_FAMILY: dict[int, type[Proposal]] = {
    one.TYPE: one for one in (Come, Relay, Lose, PutOut, Say, Retitle, Tick, Vanish)
}


def encode(header: Header, proposal: Proposal) -> bytes:
    """An item for the stream."""
    return _HEADER.pack(*header) + proposal.encode()


def decode(item: bytes) -> tuple[Header, Proposal]:
    """Raises ProtocolError: no server of this version has proposed it."""
    if len(item) < _HEADER.size:
        raise ProtocolError("a proposal is too short")
    header = Header(*_HEADER.unpack_from(item))
    if not isfinite(header.at):
        raise ProtocolError("a proposal is of no time")
    return header, decode_record(_FAMILY, "proposal", item[_HEADER.size :])
