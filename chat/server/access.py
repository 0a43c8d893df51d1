"""Who may come in, and whose a name is: the list of keys, the bans, and the names that are kept.

All three are the whole server's, and not a room's. Each is a list of lines that people may edit
while the server runs, and is read again when it has changed. `lists` knows what a line means. The
time is in seconds since 1970, and is told to this module.

What an operator changes holds at once, and is written by `save_orders`: many changes together cost
no more than one. When a list cannot be read or changed, the server goes on: what was read last
holds, and so does what the operator has said since.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import inf
from typing import ClassVar

from chat.errors import Reason, UsageError
from chat.frozen import frozen
from chat.kex import PublicKey
from chat.limits import (
    MAX_KEPT_NAMES,
    MAX_KEPT_NAMES_OF_KEY,
    MAX_NAME_LINES,
    MAX_TURNED_AWAY,
)
from chat.server.lists import (
    Ban,
    BrokenLineError,
    Complain,
    InMemory,
    LineFile,
    List,
    Use,
    authorized_key,
    ban_of,
    line_of_ban,
    line_of_use,
    use_in,
    without,
)
from chat.text import fingerprint_of, fold_name, usable_name

SECONDS_PER_DAY = 86_400

_folded = lru_cache(MAX_KEPT_NAMES)(fold_name)
"""For the names of all bans, which are looked through for each one that is lifted by name."""


@frozen
class NotOnList:
    """The key is not on the list of those that may come in."""

    REASON: ClassVar[Reason] = Reason.NOT_ALLOWED
    name: str
    fingerprint: str


@frozen
class KeptName:
    """The name is another key's, which used it last at `used`, and keeps it until `until`."""

    REASON: ClassVar[Reason] = Reason.NAME_TAKEN
    name: str
    used: int
    until: float


Refusal = NotOnList | Ban | KeptName


class _Names:
    """Whose names are: the key that used each last. Invariant: `_uses` is in the order of use, the
    oldest first, and `_of` has the same entries by key."""

    def __init__(self) -> None:
        self._uses: OrderedDict[str, Use] = OrderedDict()
        self._of: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._uses)

    def __iter__(self) -> Iterator[Use]:
        return iter(self._uses.values())

    def get(self, key: str) -> Use | None:
        return self._uses.get(key)

    def put(self, use: Use) -> None:
        """This is the last use of its name. If there are too many, the oldest is forgotten: first
        of this key, so that no key can crowd out the names of others."""
        key = fold_name(use.name)
        self.drop(key)
        self._uses[key] = use
        own = self._of[use.fingerprint] = (*self._of.get(use.fingerprint, ()), key)
        if len(own) > MAX_KEPT_NAMES_OF_KEY:
            self.drop(own[0])
        if len(self._uses) > MAX_KEPT_NAMES:
            self.drop(next(iter(self._uses)))

    def drop(self, key: str) -> None:
        """Forget a name, if it is known."""
        use = self._uses.pop(key, None)
        if use is None:
            return
        own = tuple(one for one in self._of.pop(use.fingerprint) if one != key)
        if own:
            self._of[use.fingerprint] = own

    def change(self, changes: Mapping[str, Use | None]) -> None:
        """Note what has happened to names: how each was used, or (None) that it was forgotten."""
        for key, use in changes.items():
            if use is None:
                self.drop(key)
            else:
                self.put(use)


# -- who may come in -------------------------------------------------------------------------------


class Access:
    """Decides. `admit` before somebody comes in, `used` when a name is used."""

    def __init__(
        self,
        complain: Complain = lambda _: None,
        *,
        keys: LineFile | None = None,
        bans: LineFile | None = None,
        names: LineFile | None = None,
        keep_days: float = 0,
    ) -> None:
        """`keys`: only these may come in; None: everybody. `keep_days`: for how long a key keeps
        the name that it used last; 0: for no time."""
        self._keys = None if keys is None else List(keys, authorized_key, complain)
        self._bans = List(bans or InMemory(), ban_of, complain)
        self._names = List(names or InMemory(), use_in, complain)
        self._keep_seconds = keep_days * SECONDS_PER_DAY
        self._allowed: set[bytes] = set()
        self._banned: dict[str, Ban] = {}
        self._ordered_bans: dict[str, Ban | None] = {}
        """What is to be written: by key, how it is banned; None: not any more."""
        self._unsaved_bans: dict[str, Ban | None] = {}
        """The same, which could not be written."""
        self._uses = _Names()
        self._unsaved: dict[str, Use | None] = {}
        self._to_be_saved = False
        """Whether `used` has asked for a `save` that has not succeeded yet."""
        self._freed = False
        """Whether an operator has freed a name that the file still has."""
        self._name_lines = 0
        self._turned_away: OrderedDict[str, tuple[str, PublicKey]] = OrderedDict()
        self.refresh()

    # -- clients

    def admit(self, name: str, key: PublicKey, now: float) -> Refusal | None:
        """Why a client with this name and key, which is proved, may not come in; None if it may."""
        fingerprint = key.fingerprint
        ban = self.ban_on(fingerprint)
        if ban is not None:
            return ban
        if self._keys is not None and key.digest not in self._allowed:
            self._turn_away(name, key)
            return NotOnList(name, fingerprint)
        use = self._uses.get(fold_name(name))
        if use is None or use.fingerprint == fingerprint or use.fingerprint in self._banned:
            return None
        until = min(use.used, now) + self._keep_seconds
        return KeptName(use.name, use.used, until) if now < until else None

    def used(self, name: str, digest: bytes, now: float, *, stays: bool = False) -> bool:
        """A key leaves that had this name; or comes in with it, and `stays`. Returns whether this
        is the first that is to be saved: `save` should be called soon."""
        if stays and not self._keep_seconds:
            # The room knows who is in, and nobody else has to.
            return False
        use = Use(name, fingerprint_of(digest), int(now))
        self._uses.put(use)
        if not self._keep_seconds:
            return False
        first, key = not self._to_be_saved, fold_name(name)
        self._to_be_saved = True
        self._unsaved.pop(key, None)
        self._unsaved[key] = use
        if len(self._unsaved) > MAX_KEPT_NAMES:
            # They cannot be saved for very long. The oldest would be forgotten anyway.
            del self._unsaved[next(iter(self._unsaved))]
        return first

    def save(self) -> bool:
        """Write the names that were used or forgotten. Of the lines about one, the last counts.
        Returns whether that was possible."""
        if self._unsaved and not self._save():
            return False
        self._unsaved.clear()
        self._to_be_saved = False
        return True

    def _save(self) -> bool:
        added = [line_of_use(use) for use in self._unsaved.values() if use is not None]
        only_added = len(added) == len(self._unsaved)
        if only_added and self._name_lines + len(added) <= MAX_NAME_LINES:
            saved = self._names.append(added)
            self._name_lines += len(added) if saved else 0
            return saved
        return self._names.edit(self._merged, asked=False)

    def _merged(self, lines: list[str]) -> list[str]:
        """The lines of the names, with what has happened since. What is no entry stays."""
        names, others = _Names(), []
        for line in lines:
            try:
                use = use_in(line)
            except BrokenLineError:
                use = None
            if use is None:
                others.append(line)
            else:
                names.put(use)
        names.change(self._unsaved)
        self._name_lines = len(names)
        return [*others, *map(line_of_use, names)]

    def _turn_away(self, name: str, key: PublicKey) -> None:
        """Remember who was not on the list, for `allow`, which writes the name into a line. Of each
        key it is the last name, so that no key can crowd out others."""
        try:
            name = usable_name(name)
        except UsageError:
            return
        self._turned_away[key.fingerprint] = (name, key)
        self._turned_away.move_to_end(key.fingerprint)
        if len(self._turned_away) > MAX_TURNED_AWAY:
            self._turned_away.popitem(last=False)

    def refresh(self) -> None:
        """Read again what has changed. This happens by itself, too, whenever it matters."""
        if self._keys is not None and (keys := self._keys.read()) is not None:
            self._allowed = set(keys)
        if (bans := self._bans.read()) is not None:
            self._banned = {ban.fingerprint: ban for ban in bans}
            self._note_bans(self._unsaved_bans | self._ordered_bans)
        if (uses := self._names.read()) is not None:
            self._uses, self._name_lines = _Names(), len(uses)
            for use in uses:
                self._uses.put(use)
            self._uses.change(self._unsaved)

    # -- the operator

    def use_of(self, name: str) -> Use | None:
        """Who used this name last, if that is known."""
        return self._uses.get(fold_name(name))

    def save_orders(self) -> None:
        """Write what operators have changed since this was called last. What cannot be written
        holds until the server ends."""
        orders, self._ordered_bans = self._ordered_bans, {}
        if orders:
            self._save_bans(orders)
        if self._freed:
            self._freed = False
            self.save()

    def _save_bans(self, orders: dict[str, Ban | None]) -> None:
        added = [line_of_ban(ban) for ban in orders.values() if ban is not None]
        if self._bans.edit(lambda lines: [*without(lines, set(orders)), *added], holds=True):
            for fingerprint in orders:
                self._unsaved_bans.pop(fingerprint, None)
        else:
            self._unsaved_bans |= orders

    def _note_bans(self, changes: Mapping[str, Ban | None]) -> None:
        for fingerprint, ban in changes.items():
            if ban is not None:
                self._banned[fingerprint] = ban
            else:
                self._banned.pop(fingerprint, None)

    def _order(self, changes: dict[str, Ban | None]) -> None:
        self._note_bans(changes)
        self._ordered_bans |= changes

    def ban(self, fingerprint: str, name: str, why: str, now: float) -> Ban:
        """Let this key in no more."""
        ban = Ban(fingerprint, int(now), name, " ".join(why.split()))
        self.take_bans([ban])
        return ban

    def take_bans(self, bans: list[Ban]) -> None:
        """The same for all of these."""
        self._order({ban.fingerprint: ban for ban in bans})

    def unban(self, which: str) -> list[Ban]:
        """Lift the bans of a name, or of a fingerprint. Returns them."""
        self.refresh()
        if which in self._banned:
            found = [self._banned[which]]
        else:
            name, bans = fold_name(which), self._banned.values()
            found = [ban for ban in bans if ban.name and _folded(ban.name) == name]
        self.lift_bans({ban.fingerprint for ban in found})
        return found

    def lift_bans(self, fingerprints: set[str]) -> None:
        """Lift the bans of these keys."""
        self.refresh()
        self._order({one: None for one in fingerprints if one in self._banned})

    def ban_on(self, fingerprint: str) -> Ban | None:
        """The ban of this key, if there is one."""
        self.refresh()
        return self._banned.get(fingerprint)

    def bans(self) -> list[Ban]:
        """All bans."""
        self.refresh()
        return list(self._banned.values())

    def allow(self, which: str) -> list[str] | None:
        """Put the key that was turned away under this name, or has this fingerprint, on the list.
        Returns the fingerprints of the keys that this can mean: if it is one, that is on the list
        now, and if there are several, none is. None: the list could not be changed."""
        folded = fold_name(which)
        found = [
            fingerprint
            for fingerprint, (name, _) in self._turned_away.items()
            if which == fingerprint or folded == fold_name(name)
        ]
        if self._keys is None or len(found) != 1:
            return found
        name, key = self._turned_away[found[0]]
        if not self._keys.edit(lambda lines: [*lines, f"{key.openssh} {name}"]):
            return None
        self._allowed.add(key.digest)
        del self._turned_away[found[0]]
        return found

    @property
    def has_list(self) -> bool:
        """Whether only those on a list may come in."""
        return self._keys is not None

    def forget(self, name: str, until: float = inf) -> bool:
        """Free a name, unless it was used later than `until`. Returns whether it was kept."""
        self.refresh()
        key = fold_name(name)
        use = self._uses.get(key)
        if use is None or use.used > until:
            return False
        self._uses.drop(key)
        self._unsaved[key] = None
        self._freed = True
        return True
