"""The members' keys, over all of a stay: whom we know, whom we were warned of, whom we ignore.

`known` has the rules, and the list on the disk is behind a `Store`, which `__main__` chooses. The
list is read when we enter a room, and written when there is something new, at most every
KEEP_MEMBERS_SECONDS, and at the end: never while something waits to be shown. When it cannot be
read or written, that is said once, and what we learn lasts as long as the stay.
"""

from collections.abc import Callable
from typing import Protocol

from chat.client.events import (
    ClientEvent,
    Entered,
    KeyChanged,
    MemberJoined,
    MemberLeft,
    MessageReceived,
    Person,
    Standing,
    Warned,
)
from chat.client.known import Change, Known, KnownMembers, Place
from chat.errors import ChatError
from chat.frozen import replace
from chat.limits import MAX_KNOWN_MEMBERS, MAX_NAME_CHARS
from chat.text import caseless_name, digest_of, fingerprint_of


class Store(Protocol):
    """Where known members are kept. Each method raises ChatError if that cannot be."""

    def load(self, room: str) -> tuple[list[Known], str]:
        """Who is known in a room; and what is wrong with the list, if something is."""

    def keep(self, room: str, changes: list[Change], *, patient: bool) -> bool:
        """Write down what has changed in a room. Returns whether that was possible now; `patient`
        waits for others who write."""


class Roster(Protocol):
    """Who is in the room now."""

    def members(self) -> list[Person]:
        """All of them."""

    def member(self, name: str, fingerprint: bytes) -> Person | None:
        """One of them, if this person is in."""


class Contacts:
    """Whom we know in the room we are in."""

    def __init__(
        self, store: Store | None, name: str, fingerprint: bytes, wall_clock: Callable[[], float]
    ) -> None:
        """`store`: None keeps nothing. `name` and `fingerprint` are our own; `wall_clock` tells
        seconds since 1970."""
        self._store = store
        self._me = caseless_name(name), fingerprint
        self._wall_clock = wall_clock
        self._room = ""
        self._known = KnownMembers()
        self._readable = False
        self._said: set[str] = set()
        self._heard: set[Place] = set()
        self._warned: dict[str, Person] = {}
        """By name: the last one who came under it with another key than its own."""

    @property
    def _now(self) -> int:
        return max(0, int(self._wall_clock()))

    # -- what happens

    def take(self, event: ClientEvent, room: str, roster: Roster) -> list[ClientEvent]:
        """What is to be shown for an event: nothing if it comes from somebody whom we ignore, and
        behind it what is to be said of keys. `room` and `roster` are those of now."""
        match event:
            case MessageReceived(name=name, own=False, fingerprint=fingerprint):
                if self._known.ignores(fingerprint):
                    return []
                return [*self._hear(name, fingerprint, roster), event]
            case Entered():
                return [event, *self._enter(room, roster.members())]
            case MemberJoined(name, fingerprint, unproved):
                return [event, *self._meet(name, fingerprint, unproved)]
            case MemberLeft(name, fingerprint=fingerprint):
                self._known.left(name, self._now)
                if self._known.ignores(fingerprint):
                    return [replace(event, parting="")]
        return [event]

    def _enter(self, room: str, members: list[Person]) -> list[ClientEvent]:
        events = []
        if room != self._room:
            events += self.keep(patient=False)
            self._room = room
            events += self._load()
            self._warned.clear()
        self._known.nobody_is_here()
        self._heard.clear()
        for one in members:
            events += self._meet(one.name, one.fingerprint, one.unproved)
        return events

    def _hear(self, name: str, fingerprint: bytes, roster: Roster) -> list[ClientEvent]:
        """What is to be said before a message. Nobody is told of callers, so their keys are looked
        at when they say something for the first time since we entered."""
        place = caseless_name(name), fingerprint
        if place in self._heard or self._known.is_here(place):
            return []
        if len(self._heard) >= MAX_KNOWN_MEMBERS:
            self._heard.clear()
        self._heard.add(place)
        one = roster.member(name, fingerprint)
        events = self._meet(name, fingerprint, one is not None and one.unproved)
        # Nobody tells us that it has gone.
        self._known.left(name, self._now)
        return events

    def _meet(self, name: str, fingerprint: bytes, unproved: bool) -> list[ClientEvent]:
        if (caseless_name(name), fingerprint) == self._me:
            return []
        events = self._known.met(name, fingerprint, self._now, unproved=unproved)
        if any(isinstance(event, KeyChanged) for event in events):
            self._warned.pop(caseless_name(name), None)
            self._warned[caseless_name(name)] = Person(name, 0, fingerprint, 0, unproved=unproved)
            if len(self._warned) > MAX_KNOWN_MEMBERS:
                del self._warned[next(iter(self._warned))]
        return events

    # -- what is kept

    def _load(self) -> list[ClientEvent]:
        kept: list[Known] = []
        complaint = ""
        try:
            if self._store is not None:
                kept, complaint = self._store.load(self._room)
                self._readable = True
        except ChatError as error:
            # What cannot be read must not be replaced.
            self._readable = False
            complaint = _not_kept(error)
        self._known = KnownMembers(kept)
        return self._say(complaint)

    @property
    def has_changed(self) -> bool:
        """Whether there is something to be kept."""
        return self._readable and self._known.has_changed

    def keep(self, *, patient: bool) -> list[ClientEvent]:
        """Keep what has changed. `patient`: it is over, so wait for other programs that do the
        same. Returns what is to be said about it."""
        if self._store is None or not self._readable:
            return []
        if patient:
            self._known.everybody_is_seen(self._now)
        if not self._known.has_changed:
            return []
        try:
            if self._store.keep(self._room, self._known.changes(), patient=patient):
                self._known.kept()
        except ChatError as error:
            return self._say(_not_kept(error))
        return []

    def _say(self, complaint: str) -> list[ClientEvent]:
        if not complaint or complaint in self._said:
            return []
        self._said.add(complaint)
        return [Warned(complaint[:1].upper() + complaint[1:])]

    # -- what the person asks and decides

    def described(self, one: Person) -> Person:
        """The member, with what we know of its key."""
        if (caseless_name(one.name), one.fingerprint) == self._me:
            return replace(one, standing=Standing.YOU)
        ignored = self._known.ignores(one.fingerprint)
        return replace(self._known.described(one), ignored=ignored)

    def warned_of(self, name: str) -> Person | None:
        """Who came last under this name with another key than its own, in this stay; it need not
        be here any more, and a caller is gone before one can answer."""
        warned = self._warned.get(caseless_name(name))
        return None if warned is None else self.described(warned)

    def trust(self, one: Person) -> None:
        """This key is the name's own, and no other."""
        self._known.trust(one.name, one.fingerprint, self._now)

    def ignore(self, name: str, members: list[Person]) -> str:
        """Do not hear whoever has this name; if nobody here has, whoever had it. It may also be the
        fingerprint of a key, of which nothing need be known. Returns the name as it is written, or
        nothing if we know nobody of this name."""
        for name_of_it, fingerprint in self._keys_of(name, members):
            self._known.ignore(name_of_it, fingerprint, self._now)
            return name_of_it
        return ""

    def unignore(self, name: str, members: list[Person]) -> bool:
        """Hear whoever has or had this name again; whether they were ignored."""
        fingerprints = {fingerprint for _, fingerprint in self._keys_of(name, members)}
        ignored = {one for one in fingerprints if self._known.ignores(one)}
        self._known.unignore(ignored)
        return bool(ignored)

    def _keys_of(self, name: str, members: list[Person]) -> list[tuple[str, bytes]]:
        """The name as it is written, and its key: of whoever has it now, then of whoever had it."""
        if (digest := digest_of(name)) is not None:
            return self._names_of(digest, members)
        folded = caseless_name(name)
        here = [one for one in members if caseless_name(one.name) == folded]
        return [
            *((one.name, one.fingerprint) for one in here),
            *((one.name, one.fingerprint) for one in self._known.keys_of(name)),
        ]

    def _names_of(self, digest: bytes, members: list[Person]) -> list[tuple[str, bytes]]:
        """The same for a key: its name here, or the last one that it had. If it had none, the
        beginning of the fingerprint stands for one; nobody can be called so."""
        if digest == self._me[1]:
            return []
        here = [one.name for one in members if one.fingerprint == digest]
        name = next(iter(here), "") or self._known.name_of(digest)
        return [(name or fingerprint_of(digest)[:MAX_NAME_CHARS], digest)]

    def ignored(self) -> list[str]:
        """The names of those whom we ignore."""
        return list(dict.fromkeys(known.name for known in self._known.ignored()))


def _not_kept(error: ChatError) -> str:
    return f"what is known of the members is not kept: {error}"
