"""The members of the room as one of them was told, how far each was heard, and who they are.

Implements PROTOCOL 5.1, 6.5 and 6.11 for a client: what an honest server never says of a member is
refused here. Keys and messages are not known here.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

from chat.client.events import (
    ClientEvent,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    Person,
)
from chat.errors import ProtocolError, Reason, UsageError
from chat.identities import Card, RosterEntry
from chat.limits import FINGERPRINT_BYTES, MAX_MEMBERS, MAX_NAME_CHARS
from chat.presence import Presence, presence_of
from chat.text import caseless_name, normalize_name

_NO_CARD = Card()

SERVER = 0
"""The number that no member has."""


Proves = Callable[[RosterEntry], bool]
"""Takes a member. Returns whether it has proved to have the room key."""


class Peer:
    """A member, ourselves included, or the server. `proved`: in a sealed room it has shown that it
    has the room key, so neither the server nor anybody else has made it up.

    `number` is the member's; the server has SERVER. `seq` is the number of its last frame in the
    log. `shift` is by how much the numbers of its run are ahead of `seq`: a membership belongs to
    one run, and both count up by one with each message, so this never changes. None: it has said
    nothing that we could read. `lost`: its connection is lost, as far as we were told. `parting`:
    the word with which it is about to leave.
    """

    __slots__ = (
        "card",
        "fingerprint",
        "lost",
        "name",
        "number",
        "parting",
        "proved",
        "seq",
        "shift",
        "since",
        "warned",
    )

    def __init__(
        self,
        name: str,
        seq: int,
        fingerprint: bytes = b"",
        since: int = 0,
        card: Card = _NO_CARD,
        *,
        number: int = SERVER,
        proved: bool = False,
        lost: bool = False,
    ) -> None:
        self.name = name
        self.number = number
        self.seq = seq
        self.fingerprint = fingerprint
        self.since = since
        self.card = card
        self.proved = proved
        self.lost = lost
        self.shift: int | None = None
        self.parting = ""
        self.warned: set[str] = set()
        """What was said of this peer, once."""

    @property
    def person(self) -> tuple[str, bytes]:
        """Who this is a connection of: a name, however it is spelled, and a key."""
        return caseless_name(self.name), self.fingerprint

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


class _Company:
    """All connections of a person by their numbers, callers included. `name` is that of the first
    of which we were told."""

    __slots__ = ("connections", "fingerprint", "left_for", "name", "parting", "sealed")

    def __init__(self, name: str, fingerprint: bytes, *, sealed: bool) -> None:
        """`sealed`: this is in a sealed room."""
        self.sealed = sealed
        self.name = name
        self.fingerprint = fingerprint
        self.connections: dict[int, Peer] = {}
        self.left_for = Reason.LEFT
        """Why the connection went that went last."""
        self.parting = ""
        """The word with which it went."""

    @property
    def staying(self) -> list[Peer]:
        """Those that are no callers."""
        return [one for one in self.connections.values() if not one.card.caller]

    @property
    def presence(self) -> Presence:
        return presence_of(one.lost for one in self.staying)

    def first(self) -> int:
        """The lowest number of those that are no callers."""
        return min(number for number, one in self.connections.items() if not one.card.caller)

    @property
    def person(self) -> Person:
        """What there is to tell of the person to whoever asks."""
        staying = self.staying
        shown = staying or list(self.connections.values())
        since, standing = min(one.since for one in shown), sum(not one.lost for one in shown)
        return Person(
            self.name, since, self.fingerprint, standing, not staying, unproved=self.unproved
        )

    @property
    def unproved(self) -> bool:
        """Whether the room is sealed, and not all of them have proved to have its key."""
        return self.sealed and not all(one.proved for one in self.connections.values())

    @property
    def joined(self) -> MemberJoined:
        return MemberJoined(self.name, self.fingerprint, self.unproved)

    def told(self, before: Presence) -> list[ClientEvent]:
        """What others are to be told, whom they were told of as `before`."""
        match before, self.presence:
            case Presence.GONE, Presence.HERE:
                return [self.joined]
            case Presence.GONE, Presence.LOST:
                return [self.joined, MemberLost(self.name)]
            case Presence.HERE, Presence.LOST:
                return [MemberLost(self.name)]
            case Presence.LOST, Presence.HERE:
                return [MemberBack(self.name)]
            case Presence.HERE | Presence.LOST, Presence.GONE:
                return [MemberLeft(self.name, self.left_for, self.parting, self.fingerprint)]
        return []


class Peers:
    """The members by their numbers, and the people whose connections they are.

    Invariant: members whose names differ in case or form alone have the same key, so they are one
    person. There are at most MAX_MEMBERS.
    """

    def __init__(self, proves: Proves | None = None) -> None:
        """`proves` is None in the open room, where there is nothing to prove."""
        self._proves = proves
        self._members: dict[int, Peer] = {}
        self._people: dict[str, _Company] = {}
        self._changed: dict[_Company, Presence] = {}
        """Of whom something is to be told, and how they were here when it was told last."""

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
        if entry.id == SERVER or entry.id in self._members:
            raise ProtocolError("a member is in the room twice")
        company = self._people.get(name)
        if company is not None and company.fingerprint != entry.fingerprint:
            raise ProtocolError("two members of different keys have the same name")
        if len(self._members) >= MAX_MEMBERS:
            raise ProtocolError("more members than a room has")
        if len(entry.fingerprint) != FINGERPRINT_BYTES:
            raise ProtocolError("a fingerprint that is none")
        proved = self._proves is not None and self._proves(entry)
        peer = Peer(
            entry.name,
            entry.seq,
            entry.fingerprint,
            entry.since,
            entry.card,
            number=entry.id,
            proved=proved,
            lost=entry.lost,
        )
        if company is None:
            sealed = self._proves is not None
            company = _Company(entry.name, entry.fingerprint, sealed=sealed)
            self._people[name] = company
        self._will_change(company, peer)
        self._members[entry.id] = company.connections[entry.id] = peer
        return peer

    def remove(self, member: int, reason: Reason = Reason.LEFT) -> Peer:
        """Take out a member, who went for this reason. Raises ProtocolError, as `of` does."""
        peer = self.of(member)
        company = self._company_of(peer)
        self._will_change(company, peer)
        del self._members[member], company.connections[member]
        if not peer.card.caller:
            company.left_for = reason
            company.parting = peer.parting if reason is Reason.LEFT else ""
        if not company.connections:
            del self._people[caseless_name(peer.name)]
        return peer

    def set_lost(self, peer: Peer, lost: bool) -> None:
        """A member has lost its connection, or is back."""
        self._will_change(self._company_of(peer), peer)
        peer.lost = lost

    def _company_of(self, peer: Peer) -> _Company:
        return self._people[caseless_name(peer.name)]

    def _will_change(self, company: _Company, peer: Peer) -> None:
        # Otherwise a person would be told of in the place of a caller that came before it.
        if not peer.card.caller:
            self._changed.setdefault(company, company.presence)

    def take_news(self) -> list[ClientEvent]:
        """What there is to tell of people, since this was asked last."""
        changed, self._changed = self._changed, {}
        return [event for company, before in changed.items() for event in company.told(before)]

    def take_lost(self) -> list[ClientEvent]:
        """What there is to tell of people to somebody who was told of nobody, but for the names."""
        self._changed.clear()
        lost = [one for one in self._people.values() if one.presence is Presence.LOST]
        return [MemberLost(one.name) for one in sorted(lost, key=_Company.first)]

    def take_news_since(self, before: "Peers") -> list[ClientEvent]:
        """What there is to tell of people, after `before` was told: first who has gone, and then
        the others in the order of their numbers. Why somebody went is not known."""
        self._changed.clear()
        gone = [one for one in before._in_order() if self._same(one) is None]
        news: list[ClientEvent] = [MemberLeft(one.name, Reason.LEFT) for one in gone]
        for company in self._in_order():
            same = before._same(company)
            news += company.told(Presence.GONE if same is None else same.presence)
        return news

    def _same(self, company: _Company) -> _Company | None:
        """The same person here, unless it is here by callers alone."""
        same = self._people.get(caseless_name(company.name))
        if same is None or same.fingerprint != company.fingerprint or not same.staying:
            return None
        return same

    def _in_order(self) -> list[_Company]:
        """The people of whom others are told, the first to come first."""
        people = [company for company in self._people.values() if company.staying]
        return sorted(people, key=_Company.first)

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

    def of_person(self, name: str, fingerprint: bytes) -> list[Peer]:
        """All connections of a person in the order in which they came, callers behind the
        others."""
        company = self._people.get(caseless_name(name))
        if company is None or company.fingerprint != fingerprint:
            return []
        return sorted(company.connections.values(), key=lambda one: one.card.caller)

    def person(self, name: str, fingerprint: bytes) -> Person | None:
        """What there is to tell of one of those who are in."""
        company = self._people.get(caseless_name(name))
        if company is None or company.fingerprint != fingerprint:
            return None
        return company.person

    def connections(self) -> Counter[bytes]:
        """How many connections of each key stand; 1 where all are lost. Callers do not count."""
        standing: Counter[bytes] = Counter()
        for one in self.people():
            if not one.calling:
                standing[one.fingerprint] += max(1, one.connections)
        return standing

    def people(self) -> list[Person]:
        """What there is to tell of those who are in to whoever asks."""
        return [company.person for company in self._people.values()]


def _key_of(name: str) -> str:
    """What all names have in common that differ in case or form alone. Whether names look alike is
    the server's to judge: it may know other look-alikes than we do, so this is no breach."""
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
    return caseless_name(name)
