"""Who is in a room: members and their places, by number, by name, by key and by source.

Implements PROTOCOL 6.11 as the server does it. What others are told of members, and what keys they
have, is not known here.
"""

from collections import OrderedDict
from collections.abc import Iterable

from chat.errors import Reason, RefusedError, UsageError
from chat.identities import (
    Card,
    RosterEntry,
    as_lost,
    decode_card,
    encode_entry,
    encode_identity,
)
from chat.limits import (
    MAX_CALLERS_OF_KEY,
    MAX_CONNECTIONS_OF_KEY,
    MAX_LOST_OF_SOURCE,
    MAX_MEMBERS,
)
from chat.presence import Presence, presence_of
from chat.server.state import State
from chat.text import digest_of, fold_name, usable_name
from chat.wire import Fields

NO_CARD = Card()

_CHANGES = ("lost", "epoch", "seq", "resend_pending", "source", "address", "welcomed_at")
"""What may change of a member, and is kept for another server."""


class Member:
    """One connection of a person in the room, or its place while the connection is lost.

    `joined_at` is in seconds since 1970, by our clock. `seq` is the number of the last message
    that was accepted. `epoch` is that of its first welcome, the first whose key the member has,
    and 0 before. `welcomed_at` is where in the log that epoch begins. `resend_pending`: a RESEND
    was sent, and what it asks for has not come.

    The server notes three things here: `address` and `source`, from where the member is connected
    or was last, for people and for limits; and `sent`, the offset up to which the log has been sent
    to it.

    There may be thousands of these, so the card is kept as it is sent.
    """

    __slots__ = (
        "_card",
        "_identity",
        "address",
        "caller",
        "epoch",
        "fingerprint",
        "id",
        "joined_at",
        "lost",
        "name",
        "resend_pending",
        "sent",
        "seq",
        "source",
        "token",
        "welcomed_at",
    )

    def __init__(
        self,
        member_id: int,
        name: str,
        fingerprint: bytes,
        token: bytes,
        joined_at: float,
        card: Card = NO_CARD,
    ) -> None:
        self.id = member_id
        self.token = token
        self.name = name
        self.fingerprint = fingerprint
        self.joined_at = max(0, int(joined_at))
        self.caller = card.caller
        self.lost = False
        self._identity = encode_identity(member_id, name, fingerprint, self.joined_at)
        self._card = card.encode()
        self.epoch = 0
        self.seq = 0
        self.resend_pending = False
        self.source = self.address = ""
        self.welcomed_at = self.sent = 0

    def state(self) -> State:
        """All that there is to know, for `restored`; but not `sent`, which is of one server."""
        return {
            "id": self.id,
            "name": self.name,
            "fingerprint": self.fingerprint.hex(),
            "token": self.token.hex(),
            "joined_at": self.joined_at,
            "card": self._card.hex(),
            **{each: getattr(self, each) for each in _CHANGES},
        }

    @classmethod
    def restored(cls, state: State) -> "Member":
        """The member of which this is the `state`."""
        member = cls(
            state["id"],
            state["name"],
            bytes.fromhex(state["fingerprint"]),
            bytes.fromhex(state["token"]),
            state["joined_at"],
            decode_card(Fields(bytes.fromhex(state["card"]))),
        )
        for each in _CHANGES:
            setattr(member, each, state[each])
        member.sent = member.welcomed_at
        return member

    @property
    def stays(self) -> bool:
        """Whether others are told of it: it is no caller."""
        return not self.caller

    def entry(self) -> RosterEntry:
        """The member as others are told of it."""
        return RosterEntry.decode(Fields(self.encoded_entry()))

    def encoded_entry(self) -> bytes:
        """The same, encoded. Little of it is new, and a roster may have thousands of these."""
        card = as_lost(self._card) if self.lost else self._card
        return encode_entry(self.seq, self._identity, card)


def people_of(members: Iterable[Member]) -> list[list[Member]]:
    """The connections of each person: people and connections in the order in which they came.
    Callers are left out, but of those who are here by callers alone."""
    people: dict[str, list[Member]] = {}
    for member in members:
        people.setdefault(fold_name(member.name), []).append(member)
    return [[one for one in each if one.stays] or each for each in people.values()]


def count_people(members: Iterable[Member]) -> int:
    """How many people these are, without those who are here by callers alone."""
    return sum(connections[0].stays for connections in people_of(members))


class Members:
    """The members of one room. A member goes through these states, and the room tells the others:

        pending     `add` has given it a name and a number. Nobody else has heard of it, and it may
                    not speak. It is in `pending`.
        in          JOINED has told the others, and WELCOME has told itself. `let_in` puts it into
                    `inside`.
        lost        In, but without a connection (`lose`). LOST has told the others. It is in
                    `inside` and in `_lost`, and `bring_back` ends that.
        out         `remove` has taken it out of `inside`. It is in `leaving` until LEFT tells the
                    others. Whoever was pending is told of to nobody.

    Invariants: `_of` holds those that are pending, in or lost, both by folded name and by key. All
    of a name have the same key, and are one *person*; whoever goes last frees the name at once.
    `_lost` is in the order in which the members lost their connections, so the next grace to end is
    the first; `_lost_of` holds the same members by source.
    """

    def __init__(self) -> None:
        self.inside: dict[int, Member] = {}
        self.pending: list[Member] = []
        self.leaving: list[tuple[Member, Reason]] = []
        self.next_id = 1
        self._of: dict[str | bytes, tuple[Member, ...]] = {}
        self._lost: OrderedDict[int, float] = OrderedDict()
        self._lost_of: dict[str, dict[int, None]] = {}

    # -- as they are kept for another server

    def state(self) -> State:
        """All that there is to know, for `restored`."""
        leaving = {member.id: member for member, _ in self.leaving}
        known = {one.id: one for each in self._of.values() for one in each} | leaving
        return {
            "members": [known[number].state() for number in sorted(known)],
            "inside": list(self.inside),
            "pending": [member.id for member in self.pending],
            "leaving": [[member.id, reason.value] for member, reason in self.leaving],
            "next_id": self.next_id,
            "lost": list(self._lost.items()),
            "lost_of": [[source, list(lost)] for source, lost in self._lost_of.items()],
        }

    @classmethod
    def restored(cls, state: State) -> "Members":
        """The members of which this is the `state`."""
        members = cls()
        known = {each["id"]: Member.restored(each) for each in state["members"]}
        members.leaving = [(known[number], Reason(reason)) for number, reason in state["leaving"]]
        gone = {member.id for member, _ in members.leaving}
        for number, member in known.items():
            if number not in gone:
                members._find_by_name_and_key(member)
        members.inside.update((number, known[number]) for number in state["inside"])
        members.pending = [known[number] for number in state["pending"]]
        members.next_id = state["next_id"]
        members._lost.update((number, lost_at) for number, lost_at in state["lost"])
        members._lost_of = {source: dict.fromkeys(lost) for source, lost in state["lost_of"]}
        return members

    # -- who may come in

    def usable_name(self, name: str) -> str:
        """The name as it would stand in the room. Whether it is taken is not asked.

        Raises:
            RefusedError: it cannot be used.
        """
        try:
            return usable_name(name)
        except UsageError as exc:
            raise RefusedError(Reason.NAME_INVALID, str(exc)) from exc

    def makes_room(self, name: str, fingerprint: bytes, caller: bool) -> Member | None:
        """The ghost, if one is needed, that must be removed before this key may come in with this
        name: the lost member of the key that was lost first.

        Raises:
            RefusedError: another key has the name, or the room is full, or this key is in too
                often, and none of its members is lost.
        """
        if any(one.fingerprint != fingerprint for one in self.find(name)):
            raise RefusedError(Reason.NAME_TAKEN, f"the name {name} is taken")
        if len(self.inside) + len(self.pending) + len(self.leaving) >= MAX_MEMBERS:
            raise RefusedError(Reason.FULL, "")
        limit = MAX_CALLERS_OF_KEY if caller else MAX_CONNECTIONS_OF_KEY
        same = [one for one in self._of.get(fingerprint, ()) if one.caller is caller]
        if len(same) < limit:
            return None
        lost = [one for one in same if one.lost]
        if lost:
            return min(lost, key=lambda one: self._lost[one.id])
        if caller:
            # It will not be long, so this is one of the reasons for which a client tries again.
            text = f"{limit} others of your key are saying something; try again in a moment"
            raise RefusedError(Reason.TIMEOUT, text)
        raise RefusedError(Reason.FULL, f"you are here {limit} times already")

    # -- they come and go

    def add(
        self, name: str, fingerprint: bytes, token: bytes, joined_at: float, card: Card
    ) -> Member:
        """A new member, which is pending."""
        member = Member(self.next_id, name, fingerprint, token, joined_at, card)
        self.next_id += 1
        self._find_by_name_and_key(member)
        self.pending.append(member)
        return member

    def _find_by_name_and_key(self, member: Member) -> None:
        """From now on this member is found so."""
        by_name, fingerprint = fold_name(member.name), member.fingerprint
        namesakes = (*self._of.get(by_name, ()), member)
        of_key = (*self._of.get(fingerprint, ()), member)
        self._of[by_name] = namesakes
        # Most keys have one name: then both are one object.
        self._of[fingerprint] = namesakes if namesakes == of_key else of_key

    def let_in(self, count: int) -> list[Member]:
        """The first so many of those that are pending are in now. Returns them."""
        newcomers = self.pending[:count]
        del self.pending[:count]
        self.inside.update((member.id, member) for member in newcomers)
        return newcomers

    def lose(self, member: Member, now: float) -> Member | None:
        """A member that is in, and was not lost, is lost. Returns the one that must be removed for
        it, if too many of its source are lost: the one that was lost first."""
        self._lost[member.id] = now
        member.lost = True
        lost = self._lost_of.setdefault(member.source, {})
        lost[member.id] = None
        return self.inside[next(iter(lost))] if len(lost) > MAX_LOST_OF_SOURCE else None

    def bring_back(self, member: Member) -> bool:
        """A member is not lost any more. Returns whether it was."""
        if not self._end_absence(member):
            return False
        member.lost = False
        return True

    def _end_absence(self, member: Member) -> bool:
        if self._lost.pop(member.id, None) is None:
            return False
        lost = self._lost_of[member.source]
        del lost[member.id]
        if not lost:
            del self._lost_of[member.source]
        return True

    def remove(self, member: Member, reason: Reason) -> None:
        """A member is out."""
        for owner in (fold_name(member.name), member.fingerprint):
            others = tuple(one for one in self._of.pop(owner) if one is not member)
            if others:
                self._of[owner] = others
        # It stays `lost` if it was: others know it so, until LEFT tells them.
        self._end_absence(member)
        if member.id in self.inside:
            del self.inside[member.id]
            self.leaving.append((member, reason))
        else:
            self.pending.remove(member)

    # -- who is here

    def find(self, name: str) -> tuple[Member, ...]:
        """The members of this name, or of one that looks like it: one person."""
        return self._of.get(fold_name(name), ())

    def of_key(self, fingerprint: str) -> list[Member]:
        """The members of a key, by its fingerprint as people write it. Who is pending is one."""
        return list(self._of.get(digest_of(fingerprint) or b"", ()))

    def presence(self, name: str) -> Presence:
        """How the person of this name is here. Who is pending is here already."""
        return presence_of(one.lost for one in self.find(name) if one.stays)

    @property
    def nobody(self) -> bool:
        """Whether nobody is in, is about to be, or has a place that is kept."""
        return not self._of and not self.leaving

    @property
    def anybody_lost(self) -> bool:
        """Whether some member is lost."""
        return bool(self._lost)

    @property
    def first_lost(self) -> tuple[Member, float] | None:
        """Of those that are lost now, the one that was lost first, and when."""
        for member_id, lost_at in self._lost.items():
            return self.inside[member_id], lost_at
        return None

    def lost_at(self, member: Member) -> float | None:
        """When a member was lost; None if it is connected."""
        return self._lost.get(member.id)
