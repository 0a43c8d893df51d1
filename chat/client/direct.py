"""Private messages: sealed for one person, and opened by those who may read them.

Implements PROTOCOL 6.12. Who is in the room, and what becomes of a message on its way, is not known
here.
"""

from collections.abc import Iterable, Sequence

from chat.cipher import SEALING_KEY_BYTES, RandomBytes, SealingKey
from chat.client.events import Person
from chat.client.peers import Peer, Peers
from chat.contents import Direct, DirectText, MessageContent
from chat.errors import OpenError, ProtocolError, UsageError
from chat.kex import KeyShare, RoomKey, direct_key
from chat.limits import DIRECT_WRAP_BYTES, DIRECT_WRAPS, DIRECT_WRAPS_OF_PERSON, MAX_PAIR_KEYS
from chat.text import caseless_name

_WRAP, _TEXT = b"\x01", b"\x02"
"""What is sealed, so that neither can be taken for the other."""


class DirectMessages:
    """Seals and opens with the share of our run. `us` is always our own entry in the roster. Our
    share is known here, whatever the roster says of it."""

    def __init__(
        self, share: KeyShare, room_key: RoomKey | None, random_bytes: RandomBytes
    ) -> None:
        """`room_key` is that of a sealed room; None in the open one."""
        self._share = share
        self._room_key = room_key
        self._random_bytes = random_bytes
        self._keys: dict[tuple[bytes, bool], SealingKey | None] = {}

    def readers(self, us: Peer, peers: Peers, person: Person) -> list[Peer]:
        """The connections of this person for which a private message of ours can be sealed.

        Raises:
            UsageError: there are none, or this is us.
        """
        meant = peers.of_person(person.name, person.fingerprint)
        if us in meant:
            raise UsageError("that is you, and a private message is for somebody else")
        if not meant:
            raise UsageError(f"{person.name} is not here any more")
        able = self._able(us, meant)
        if not able:
            unproved = self._room_key is not None and not any(peer.proved for peer in meant)
            why = "has not proved to have the room key" if unproved else "shows no usable key share"
            raise UsageError(f"{person.name} {why}, and so cannot be sent a private message")
        return able

    def _able(self, us: Peer, peers: Iterable[Peer]) -> list[Peer]:
        return [peer for peer in peers if self._key(us, peer, sending=True) is not None]

    def seal(
        self, said: MessageContent, us: Peer, peers: Peers, meant: Sequence[Peer], text: str
    ) -> bytes:
        """The body of our message `said`: a text for `meant`, which are `readers`. Our own
        connections read it, too; so our copy, when it comes back, is opened like any other."""
        others = [peer for peer in peers.of_person(*us.person) if peer is not us]
        key = self._random_bytes(SEALING_KEY_BYTES)
        wraps = [
            self._wrap(said, us, peer, key)
            for connections in ([us, *self._able(us, others)], meant)
            for peer in connections[:DIRECT_WRAPS_OF_PERSON]
        ]
        missing = DIRECT_WRAPS - len(wraps)
        wraps += [self._random_bytes(DIRECT_WRAP_BYTES) for _ in range(missing)]
        inside = DirectText(meant[0].name, meant[0].fingerprint, text).encode()
        sealing = SealingKey.from_bytes(key)
        sealed = sealing.seal(said.bound() + _TEXT, inside, self._random_bytes)
        # Each begins with random bytes, so this order says nothing.
        return Direct(tuple(sorted(wraps)), sealed).encode()

    def open(self, said: MessageContent, us: Peer, sender: Peer) -> DirectText | None:
        """What this message says; None if it is not for us.

        Raises:
            ProtocolError: it is for us, and makes no sense.
        """
        direct = Direct.decode(said.body)
        key = self._key(us, sender, sending=sender is us)
        wrapped = _unwrapped(direct, key, _bound(said, sender, us))
        if wrapped is None:
            return None
        if len(wrapped) != SEALING_KEY_BYTES:
            raise ProtocolError("a private message could not be opened")
        try:
            inside = SealingKey.from_bytes(wrapped).open(said.bound() + _TEXT, direct.sealed)
        except OpenError as error:
            raise ProtocolError("a private message could not be opened") from error
        opened = DirectText.decode(inside)
        meant = caseless_name(opened.name), opened.fingerprint
        if us.person not in (sender.person, meant):
            raise ProtocolError("a private message is for somebody else")
        return opened

    def reached(
        self, said: MessageContent, us: Peer, peers: Peers, opened: DirectText
    ) -> list[Peer]:
        """The connections for which our message `said` was sealed, as far as they are in."""
        direct = Direct.decode(said.body)
        return [
            peer
            for peer in peers.of_person(opened.name, opened.fingerprint)
            if _unwrapped(direct, self._key(us, peer, sending=True), _bound(said, us, peer))
        ]

    def _wrap(self, said: MessageContent, us: Peer, peer: Peer, key: bytes) -> bytes:
        sealing = self._key(us, peer, sending=True)
        assert sealing is not None
        return sealing.seal(_bound(said, us, peer), key, self._random_bytes)

    def _key(self, us: Peer, peer: Peer, *, sending: bool) -> SealingKey | None:
        """The key from us to a connection, which may be our own, or from it to us. None: there is
        none. In a sealed room whoever has not proved to have the room key may be the server's
        invention."""
        if peer is not us and self._room_key is not None and not peer.proved:
            return None
        share = self._share.public if peer is us else peer.card.share
        if (share, sending) not in self._keys:
            try:
                key = direct_key(self._share, share, self._room_key, sending=sending)
            except ProtocolError:
                key = None
            self._keys[share, sending] = key
            if len(self._keys) > MAX_PAIR_KEYS:
                del self._keys[next(iter(self._keys))]
        return self._keys[share, sending]


def _bound(said: MessageContent, sender: Peer, receiver: Peer) -> bytes:
    """What a wrap is bound to. Shares are not enough: anybody can show another's as their own."""
    return said.bound() + _WRAP + sender.fingerprint + receiver.fingerprint


def _unwrapped(direct: Direct, key: SealingKey | None, bound: bytes) -> bytes | None:
    """What the one wrap holds that opens; None if none does."""
    if key is None:
        return None
    for wrap in direct.wraps:
        try:
            return key.open(bound, wrap)
        except OpenError:
            pass
    return None
