"""What we know of the members of one room: which key had which name, and what the person decided.

Files are not known here, and neither is the clock: `contacts` brings both. A name belongs to
the key that had it first, until the person says otherwise. Names are compared by `caseless_name`.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from chat.client.events import ClientEvent, KeyChanged, NameChanged, Person, Standing
from chat.frozen import frozen, replace
from chat.limits import MAX_KNOWN_MEMBERS, MAX_MEMBERS
from chat.text import caseless_name

Place = tuple[str, bytes]
"""A folded name, and the SHA-256 of a key."""


@frozen
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


@frozen
class Change:
    """Something to be kept. `decided`: the person decided whether the key is trusted or ignored;
    otherwise that stays as it was kept before, perhaps by another client."""

    known: Known
    decided: bool


_Of = TypeVar("_Of", str, bytes)
_Has = TypeVar("_Has", str, bytes)


class _Index(Generic[_Of, _Has]):
    """The keys of each name, or the names of each key: those that were put last come last."""

    def __init__(self) -> None:
        self._of: dict[_Of, dict[_Has, None]] = {}

    def put(self, of: _Of, has: _Has, *, last: bool) -> None:
        """Put it in; `last`: at the end, even if it is in already."""
        having = self._of.setdefault(of, {})
        if last:
            having.pop(has, None)
        having[has] = None

    def remove(self, of: _Of, has: _Has) -> None:
        """Take it out, if it is in."""
        if (having := self._of.get(of)) is not None:
            having.pop(has, None)
            if not having:
                del self._of[of]

    def all(self, of: _Of) -> list[_Has]:
        """What is in, the last one last."""
        return list(self._of.get(of, ()))

    def has(self, of: _Of) -> bool:
        """Whether anything is in."""
        return of in self._of

    def latest(self, of: _Of, besides: _Has | None = None) -> _Has | None:
        """The last one that was put in, but for one."""
        return next((has for has in reversed(self._of.get(of, {})) if has != besides), None)


class KnownMembers:
    """Which keys we know in one room.

    Invariant: `_known` is in the order in which something was done about them. `_keys_of` and
    `_names_of` say the same by name and by key, the one that was seen last at the end; `_owners`
    has only the keys that are a name's own, and `_muted` only what is ignored. `_here` has those
    who are in the room, and `_idle` those who are neither here nor ignored, and may be forgotten.
    For one who comes or goes, nothing looks at all of them: a server can make up thousands.
    """

    def __init__(self, kept: Iterable[Known] = ()) -> None:
        """`kept` is what is known from earlier runs."""
        self._known: dict[Place, Known] = {}
        self._keys_of = _Index[str, bytes]()
        self._names_of = _Index[bytes, str]()
        self._owners = _Index[str, bytes]()
        self._muted = _Index[bytes, str]()
        self._idle: dict[Place, None] = {}
        self._new: set[Place] = set()
        self._here: dict[str, bytes] = {}
        self._changed: dict[Place, bool] = {}
        for known in sorted(kept, key=_order):
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
            before, self._here[place[0]] = self._here.get(place[0]), fingerprint
            if before is not None:
                self._note_idle((place[0], before))
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
        here = list(self._here.items())
        self._here.clear()
        for place in here:
            self._note_idle(place)

    def _saw(self, place: Place, now: int) -> None:
        if (known := self._known.get(place)) is not None:
            self._put(place, replace(known, last=max(known.last, now)))
            self._changed.setdefault(place, False)

    # -- what is known

    def _owner(self, place: Place) -> Known | None:
        """The key, other than this, that is this name's own; if there are several, the one that was
        seen last."""
        owner = self._owners.latest(place[0], besides=place[1])
        return None if owner is None else self._known[place[0], owner]

    def _other_names(self, name: str, fingerprint: bytes) -> list[ClientEvent]:
        """What to say of a key that is known under another name: the one that was seen last."""
        latest = self._names_of.latest(fingerprint)
        if latest is None:
            return []
        other = self._known[latest, fingerprint]
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
        for key in {*self._keys_of.all(folded), fingerprint}:
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
            for folded in self._names_of.all(fingerprint):
                place = folded, fingerprint
                self._decide(place, replace(self._known[place], ignored=False))

    def ignores(self, fingerprint: bytes) -> bool:
        """Whether the person does not want to hear this key."""
        return self._muted.has(fingerprint)

    def ignored(self) -> list[Known]:
        """Whom the person does not want to hear."""
        return [known for known in self._known.values() if known.ignored]

    def name_of(self, fingerprint: bytes) -> str:
        """The name that this key had last; empty if it is not known."""
        latest = self._names_of.latest(fingerprint)
        return "" if latest is None else self._known[latest, fingerprint].name

    def keys_of(self, name: str) -> list[Known]:
        """The keys that this name had, the one that was seen last first, those that are its own
        before all others."""
        folded = caseless_name(name)
        keys = [self._known[folded, key] for key in self._keys_of.all(folded)]
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
        before = self._known.pop(place, None)
        self._known[place] = known
        self._note(place, known, seen=before is None or known.last > before.last)
        # All that are kept, and a full room of newcomers.
        while len(self._known) > MAX_KNOWN_MEMBERS + MAX_MEMBERS:
            self._forget_one()

    def _note(self, place: Place, known: Known, *, seen: bool) -> None:
        folded, fingerprint = place
        self._keys_of.put(folded, fingerprint, last=seen)
        self._names_of.put(fingerprint, folded, last=seen)
        if known.trusted:
            self._owners.put(folded, fingerprint, last=seen)
        else:
            self._owners.remove(folded, fingerprint)
        if known.ignored:
            self._muted.put(fingerprint, folded, last=seen)
        else:
            self._muted.remove(fingerprint, folded)
        self._note_idle(place)

    def _note_idle(self, place: Place) -> None:
        """See whether this may be forgotten; if so, it was seen last of all that may."""
        known = self._known.get(place)
        self._idle.pop(place, None)
        if known is not None and not known.ignored and not self.is_here(place):
            self._idle[place] = None

    def _forget_one(self) -> None:
        """Forget who was not seen for longest; if possible, nobody who is here or is ignored."""
        folded, fingerprint = place = next(iter(self._idle or self._known))
        del self._known[place]
        self._idle.pop(place, None)
        self._new.discard(place)
        self._changed.pop(place, None)
        self._keys_of.remove(folded, fingerprint)
        self._names_of.remove(fingerprint, folded)
        self._owners.remove(folded, fingerprint)
        self._muted.remove(fingerprint, folded)
