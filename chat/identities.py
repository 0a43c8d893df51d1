"""Who somebody is, as it travels: what a client says of itself when it comes, and how a member is
listed for the others (PROTOCOL 4.3 and 5.1).

How these are sealed, and who proves what, is not known here.
"""

from collections.abc import Iterable
from typing import Self

from chat.errors import ProtocolError
from chat.frozen import frozen
from chat.limits import PROOF_BYTES, ROOM_TAG_BYTES, X25519_BYTES
from chat.wire import Fields, Record, block

_CALLER = 0x01
_LOST = 0x02


@frozen
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


@frozen
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


@frozen
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


@frozen
class Entries(Record):
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
