"""What we know of the members of one room: which key had which name, and what the person decided.

Files are not known here, and neither is the clock: `contacts` brings both. A name belongs to
the key that had it first, until the person says otherwise. Names are compared by `caseless_name`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chat.client.events import ClientEvent, KeyChanged, NameChanged, Person, Standing
from chat.limits import MAX_KNOWN_MEMBERS, MAX_MEMBERS
from chat.text import caseless_name

Place = tuple[str, bytes]
"""A folded name, and the SHA-256 of a key."""


@dataclass(frozen=True, slots=True)
class Known:
    """A key that we saw under a name. `first` and `last`: when, in seconds since 1970; `trusted`:
    it is the name's own key; `ignored`: the person does not want to hear it."""

    name: str
    fingerprint: bytes
    first: int
    last: int
    trusted: bool = True
    ignored: bool = False

    @property
    def place(self) -> Place:
        """Two of the same place are about the same member."""
        return caseless_name(self.name), self.fingerprint


def _order(known: Known) -> tuple[int, bytes, str]:
    """By the time when they were seen last; if that is the same, in an order that is always so."""
    return known.last, known.fingerprint, known.name


@dataclass(frozen=True, slots=True)
class Change:
    """Something to be kept. `decided`: the person decided whether the key is trusted or ignored;
    otherwise that stays as it was kept before, perhaps by another client."""

    known: Known
    decided: bool


class KnownMembers:
    """Which keys we know in one room.

    Invariant: `_known` is in the order in which they were seen, the latest last, and `_keys_of`
    and `_names_of` say the same by name and by key. `_here` has those who are in the room.
    """

    def __init__(self, kept: Iterable[Known] = ()) -> None:
        """`kept` is what is known from earlier runs."""
        self._known: dict[Place, Known] = {}
        self._keys_of: dict[str, set[bytes]] = {}
        self._names_of: dict[bytes, set[str]] = {}
        self._new: set[Place] = set()
        self._here: dict[str, bytes] = {}
        self._changed: dict[Place, bool] = {}
        for known in sorted(kept, key=lambda known: known.last):
            self._put(known.place, known)

    def __len__(self) -> int:
        return len(self._known)

    # -- who comes and goes

    def met(
        self, name: str, fingerprint: bytes, now: int, *, unproved: bool = False
    ) -> list[ClientEvent]:
        """A member is here, and this is its key. Returns what the person has to be told. A server
        can make up a member that is `unproved`, so that one owns no name and is not remembered."""
        place = caseless_name(name), fingerprint
        known, owner = self._known.get(place), self._owner(place)
        trusted = owner is None or (known is not None and known.trusted)
        events: list[ClientEvent] = []
        if not unproved:
            if known is None:
                events += self._other_names(name, fingerprint)
                known = Known(name, fingerprint, now, now)
                self._new.add(place)
            last = max(known.last, now)
            self._here[place[0]] = fingerprint
            self._put(place, replace(known, name=name, last=last, trusted=trusted))
            self._changed.setdefault(place, False)
        if not trusted and owner is not None:
            events.append(KeyChanged(name, owner.fingerprint, fingerprint, owner.first))
        return events

    def left(self, name: str, now: int) -> None:
        """A member is no longer here."""
        folded = caseless_name(name)
        fingerprint = self._here.pop(folded, None)
        if fingerprint is not None:
            self._saw((folded, fingerprint), now)

    def is_here(self, place: Place) -> bool:
        """Whether we were told of this member, and not that it has gone."""
        return self._here.get(place[0]) == place[1]

    def nobody_is_here(self) -> None:
        """We are told anew who is here."""
        self._here.clear()

    def _saw(self, place: Place, now: int) -> None:
        if (known := self._known.get(place)) is not None:
            self._put(place, replace(known, last=max(known.last, now)))
            self._changed.setdefault(place, False)

    # -- what is known

    def _owner(self, place: Place) -> Known | None:
        """The key, other than this, that is this name's own; if there are several, the one that was
        seen last."""
        folded, fingerprint = place
        others = (self._known[folded, key] for key in self._keys_of.get(folded, ()))
        owners = (one for one in others if one.trusted and one.fingerprint != fingerprint)
        return max(owners, key=_order, default=None)

    def _other_names(self, name: str, fingerprint: bytes) -> list[ClientEvent]:
        """What to say of a key that is known under another name: the one that was seen last."""
        others = [self._known[other, fingerprint] for other in self._names_of.get(fingerprint, ())]
        if not others:
            return []
        other = max(others, key=_order)
        return [NameChanged(name, other.name, fingerprint, other.first)]

    def described(self, one: Person) -> Person:
        """The member, with what we know of its key."""
        place = caseless_name(one.name), one.fingerprint
        known = self._known.get(place)
        owner = self._owner(place)
        if known is not None and known.trusted:
            standing = Standing.NEW if place in self._new else Standing.KNOWN
            return replace(one, standing=standing, known_since=known.first)
        if owner is not None:
            return replace(one, standing=Standing.CHANGED, known_since=owner.first)
        return one

    # -- what the person decides

    def trust(self, name: str, fingerprint: bytes, now: int) -> None:
        """From now on this key is the name's own, and no other."""
        folded = caseless_name(name)
        for key in self._keys_of.get(folded, set()) | {fingerprint}:
            known = self._known.get((folded, key)) or Known(name, key, now, now)
            self._decide((folded, key), replace(known, trusted=key == fingerprint))
        self._new.discard((folded, fingerprint))

    def ignore(self, name: str, fingerprint: bytes, now: int) -> None:
        """Do not hear this key, whatever name it takes."""
        place = caseless_name(name), fingerprint
        known = self._known.get(place) or Known(name, fingerprint, now, now, trusted=False)
        self._decide(place, replace(known, ignored=True))

    def unignore(self, fingerprints: Iterable[bytes]) -> None:
        """Hear these keys again."""
        for fingerprint in fingerprints:
            for folded in self._names_of.get(fingerprint, ()):
                place = folded, fingerprint
                self._decide(place, replace(self._known[place], ignored=False))

    def ignores(self, fingerprint: bytes) -> bool:
        """Whether the person does not want to hear this key."""
        names = self._names_of.get(fingerprint, ())
        return any(self._known[name, fingerprint].ignored for name in names)

    def ignored(self) -> list[Known]:
        """Whom the person does not want to hear."""
        return [known for known in self._known.values() if known.ignored]

    def keys_of(self, name: str) -> list[Known]:
        """The keys that this name had, the one that was seen last first, those that are its own
        before all others."""
        folded = caseless_name(name)
        keys = [self._known[folded, key] for key in self._keys_of.get(folded, ())]
        return sorted(keys, key=lambda one: (one.trusted, _order(one)), reverse=True)

    def _decide(self, place: Place, known: Known) -> None:
        self._put(place, known)
        self._changed[place] = True

    # -- what is to be kept

    @property
    def has_changed(self) -> bool:
        """Whether something is to be kept."""
        return bool(self._changed)

    def everybody_is_seen(self, now: int) -> None:
        """Whoever is here was seen now."""
        for place in self._here.items():
            self._saw(place, now)

    def changes(self) -> list[Change]:
        """What is to be kept, and was not yet."""
        return [Change(self._known[place], decided) for place, decided in self._changed.items()]

    def kept(self) -> None:
        """It is kept now."""
        self._changed.clear()

    # -- the table

    def _put(self, place: Place, known: Known) -> None:
        """Put this at the end, and forget what was not seen for longest, if there is too much."""
        self._known.pop(place, None)
        self._known[place] = known
        folded, fingerprint = place
        self._keys_of.setdefault(folded, set()).add(fingerprint)
        self._names_of.setdefault(fingerprint, set()).add(folded)
        # All that are kept, and a full room of newcomers.
        while len(self._known) > MAX_KNOWN_MEMBERS + MAX_MEMBERS:
            self._forget_one()

    def _forget_one(self) -> None:
        """Forget who was not seen for longest; if possible, nobody who is here or is ignored."""
        folded, fingerprint = place = next(
            (
                (folded, key)
                for (folded, key), known in self._known.items()
                if not known.ignored and self._here.get(folded) != key
            ),
            next(iter(self._known)),
        )
        del self._known[place]
        self._new.discard(place)
        self._changed.pop(place, None)
        self._keys_of[folded].discard(fingerprint)
        if not self._keys_of[folded]:
            del self._keys_of[folded]
        self._names_of[fingerprint].discard(folded)
        if not self._names_of[fingerprint]:
            del self._names_of[fingerprint]
