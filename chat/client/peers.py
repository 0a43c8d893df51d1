"""The members of the room as one of them was told, and how far each was heard.

Implements PROTOCOL 5.1 and 6.5 for a client: what an honest server never says of a member is
refused here. Keys and messages are not known here.
"""

import unicodedata
from collections.abc import Callable, Iterator

from chat.client.events import ClientEvent, Person
from chat.errors import ProtocolError, UsageError
from chat.limits import FINGERPRINT_BYTES, MAX_MEMBERS, MAX_NAME_CHARS
from chat.messages import Card, RosterEntry
from chat.text import fold_name, normalize_name

_NO_CARD = Card()

SERVER = 0
"""The number that no member has."""


Proves = Callable[[RosterEntry], bool]
"""Takes a member. Returns whether it has proved to have the room key."""


class Peer:
    """A member, ourselves included, or the server. `proved`: in a sealed room it has shown that it
    has the room key, so neither the server nor anybody else has made it up.

    `seq` is the number of its last frame in the log. `shift` is by how much the numbers of its run
    are ahead of `seq`: a membership belongs to one run, and both count up by one with each message,
    so this never changes. None: it has said nothing that we could read.
    """

    __slots__ = ("card", "fingerprint", "name", "proved", "seq", "shift", "since", "warned")

    def __init__(
        self,
        name: str,
        seq: int,
        fingerprint: bytes = b"",
        since: int = 0,
        card: Card = _NO_CARD,
        *,
        proved: bool = False,
    ) -> None:
        self.name = name
        self.seq = seq
        self.fingerprint = fingerprint
        self.since = since
        self.card = card
        self.proved = proved
        self.shift: int | None = None
        self.warned: set[str] = set()
        """What was said of this peer, once."""

    @property
    def person(self) -> tuple[str, bytes]:
        """Who this is a connection of: a name and a key."""
        return self.name, self.fingerprint

    @property
    def bound(self) -> bytes:
        """What its messages are bound to beside their header: in a sealed room its proof, so that
        the server cannot let one say what another has said; nothing in the open room."""
        return self.card.proof if self.proved else b""

    def once(self, what: str, event: ClientEvent) -> list[ClientEvent]:
        """The event, if nothing was said of this before."""
        if what in self.warned:
            return []
        self.warned.add(what)
        return [event]

    def is_next(self, number: int) -> bool:
        """Whether this is the number, in its run, of the message that came last."""
        if self.shift is None:
            self.shift = number - self.seq
        return number - self.seq == self.shift


class Peers:
    """The members by their numbers.

    Invariant: no two names look the same to a reader, and there are at most MAX_MEMBERS.
    """

    def __init__(self, proves: Proves | None = None) -> None:
        """`proves` is None in the open room, where there is nothing to prove."""
        self._proves = proves
        self._members: dict[int, Peer] = {}
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._members.values())

    def add(self, entry: RosterEntry) -> Peer:
        """Put in a member.

        Raises:
            ProtocolError: an honest server would not have let it in, or it is in already.
        """
        name = _key_of(entry.name)
        if entry.id == SERVER or entry.id in self._members or name in self._names:
            raise ProtocolError("a member is in the room twice")
        if len(self._members) >= MAX_MEMBERS:
            raise ProtocolError("more members than a room has")
        if len(entry.fingerprint) != FINGERPRINT_BYTES:
            raise ProtocolError("a fingerprint that is none")
        proved = self._proves is not None and self._proves(entry)
        peer = Peer(
            entry.name, entry.seq, entry.fingerprint, entry.since, entry.card, proved=proved
        )
        self._members[entry.id] = peer
        self._names.add(name)
        return peer

    def remove(self, member: int) -> Peer:
        """Take out a member. Raises ProtocolError, as `of` does."""
        peer = self.of(member)
        del self._members[member]
        self._names.discard(fold_name(peer.name))
        return peer

    def find(self, member: int) -> Peer | None:
        """The member of this number, if there is one."""
        return self._members.get(member)

    def of(self, member: int) -> Peer:
        """The member of this number.

        Raises:
            ProtocolError: there is none.
        """
        peer = self._members.get(member)
        if peer is None:
            raise ProtocolError("an event about somebody who is not here")
        return peer

    def without(self, others: "Peers") -> list[Peer]:
        """Those who are not among the others, by their numbers."""
        members = sorted(self._members.items())
        return [peer for number, peer in members if number not in others._members]

    def of_person(self, name: str, fingerprint: bytes) -> list[Peer]:
        """All connections of a person, in the order in which they came."""
        return [peer for peer in self if peer.person == (name, fingerprint)]

    def fingerprints(self) -> set[bytes]:
        """The keys of all members."""
        return {peer.fingerprint for peer in self}

    def people(self) -> list[Person]:
        """What there is to tell of the members."""
        return [Person(peer.name, peer.since, peer.fingerprint) for peer in self]


def _key_of(name: str) -> str:
    """What all names have in common that look the same to a reader."""
    if len(name) > MAX_NAME_CHARS:
        raise ProtocolError("a member has no name that can be used")
    # The server may know a newer Unicode than we do, and so letters that are none to us.
    known = "".join("x" if unicodedata.category(char) == "Cn" else char for char in name)
    try:
        usable = normalize_name(known) == known
    except UsageError as exc:
        raise ProtocolError("a member has no name that can be used") from exc
    if not usable:
        raise ProtocolError("a member has no name that can be used")
    return fold_name(name)
