"""Guests: connections that are not members yet, how many there may be, and which is next.

`Admission` counts them, in all and for each source, and says which of them makes room when a place
is needed. `Turns` says which is next for work that costs time. Neither knows sockets, sessions or
the time.

Limits go by source: an address, or a network that belongs to one customer (`sockets.source_of`).
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Guest = TypeVar("Guest", bound=Hashable)


class _Source(Generic[Guest]):
    """The guests of one source, each idle or busy; those that have been so for longest first."""

    __slots__ = ("busy", "idle")

    def __init__(self) -> None:
        self.busy: OrderedDict[Guest, None] = OrderedDict()
        self.idle: OrderedDict[Guest, None] = OrderedDict()

    @property
    def count(self) -> int:
        return len(self.busy) + len(self.idle)


class _Ranking:
    """Sources by a number of guests, which changes by one at a time. So a step costs the same,
    however many sources there are."""

    def __init__(self) -> None:
        self.largest = 0
        """The largest number; 0 if there is no source."""
        self._sources: dict[int, dict[str, None]] = {}

    def move(self, source: str, before: int, count: int) -> None:
        """This source had so many guests before, and has one more or one less now."""
        if before:
            del self._sources[before][source]
            if not self._sources[before]:
                del self._sources[before]
        if count:
            self._sources.setdefault(count, {})[source] = None
        if count > self.largest or self.largest not in self._sources:
            self.largest = count

    def first(self) -> str:
        """A source with the largest number. There must be one."""
        return next(iter(self._sources[self.largest]))


class Admission(Generic[Guest]):
    """The connections that have been accepted and are not members.

    Theory of operation
    -------------------

    A guest is busy while the server owes it something: it waits for its turn, or to be let in.
    Otherwise it is idle: before its first frame, while it owes READY, and when it was dropped and
    only reads the farewell. Anybody can become idle with many connections at no cost, so an idle
    guest makes room for another one, the oldest first. An honest client is idle for as long as its
    answer takes.

    Room is made in this order (`makes_room`):

    1. A source that has its share makes room for its own, with an idle guest.
    2. When all places are taken, a source with fewer guests than the largest one always gets one.
       The source with the most idle guests makes room, if these alone are more than the newcomer's
       source has; or else the largest source, with a guest that is idle or even busy. So others
       cannot keep a source from its equal part of the places, however many connections they have.
    3. Otherwise the newcomer's source is the largest, and makes room for its own.

    Invariants: each source's guests are in its `busy` or its `idle`, in the order in which they
    became so. `_by_all` ranks the sources by all their guests, and `_by_idle` by the idle ones. A
    source without guests is forgotten.
    """

    def __init__(self, limit: int, limit_per_source: int) -> None:
        """How many guests there may be, in all and of one source."""
        self._limit = limit
        self._limit_per_source = limit_per_source
        self._guests: dict[Guest, str] = {}
        self._sources: dict[str, _Source[Guest]] = {}
        self._by_all = _Ranking()
        self._by_idle = _Ranking()

    def __len__(self) -> int:
        return len(self._guests)

    def is_full(self, source: str) -> bool:
        """Whether a guest must make room before one from this source can be added."""
        return len(self._guests) >= self._limit or self._count(source) >= self._limit_per_source

    def _count(self, source: str) -> int:
        found = self._sources.get(source)
        return 0 if found is None else found.count

    def makes_room(self, source: str) -> Guest | None:
        """The guest that makes room for one from this source, when `is_full`; None if none does."""
        count = self._count(source)
        if count < self._limit_per_source:
            if self._by_idle.largest > count:
                return self.oldest_idle()
            if self._by_all.largest > count:
                largest = self._sources[self._by_all.first()]
                return next(iter(largest.idle or largest.busy))
        found = self._sources.get(source)
        return None if found is None else next(iter(found.idle), None)

    def oldest_idle(self) -> Guest | None:
        """The oldest idle guest of the source that has the most; None if no guest is idle."""
        if not self._by_idle.largest:
            return None
        return next(iter(self._sources[self._by_idle.first()].idle))

    def add(self, guest: Guest, source: str) -> None:
        """A guest came in. It is idle."""
        self._guests[guest] = source
        found = self._sources.setdefault(source, _Source())
        found.idle[guest] = None
        self._by_all.move(source, found.count - 1, found.count)
        self._by_idle.move(source, len(found.idle) - 1, len(found.idle))

    def set_idle(self, guest: Guest) -> None:
        """From now on this guest makes room for others. Harmless if it is no guest, or is idle."""
        name = self._guests.get(guest)
        if name is not None and guest not in self._sources[name].idle:
            found = self._sources[name]
            del found.busy[guest]
            found.idle[guest] = None
            self._by_idle.move(name, len(found.idle) - 1, len(found.idle))

    def set_busy(self, guest: Guest) -> None:
        """From now on this guest makes room for smaller sources alone. Harmless if it is no guest,
        or is busy."""
        name = self._guests.get(guest)
        if name is not None and guest not in self._sources[name].busy:
            found = self._sources[name]
            del found.idle[guest]
            found.busy[guest] = None
            self._by_idle.move(name, len(found.idle) + 1, len(found.idle))

    def remove(self, guest: Guest) -> None:
        """This guest became a member, or is gone. Harmless if it is no guest."""
        self.set_busy(guest)
        name = self._guests.pop(guest, None)
        if name is not None:
            found = self._sources[name]
            del found.busy[guest]
            self._by_all.move(name, found.count + 1, found.count)
            if not found.count:
                del self._sources[name]


class Turns(Generic[Guest]):
    """The guests that wait for work that costs time. One source comes after the other, so many
    guests of one source keep a guest of another waiting for one piece of work at most.

    Of one source the newest guest comes first. If more come than can be served, those that have
    waited for long are dropped anyway; to serve the oldest first would make all wait that long.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, dict[Guest, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, guest: Guest, source: str) -> None:
        """This guest waits from now on."""
        self._waiting.setdefault(source, {})[guest] = None

    def take(self) -> Guest:
        """The next guest, which no longer waits then. There must be one."""
        source, guests = next(iter(self._waiting.items()))
        guest, _ = guests.popitem()
        if guests:
            self._waiting.move_to_end(source)
        else:
            del self._waiting[source]
        return guest

    def remove(self, guest: Guest, source: str) -> None:
        """This guest no longer waits. Harmless if it did not."""
        guests = self._waiting.get(source)
        if guests is not None:
            guests.pop(guest, None)
            if not guests:
                del self._waiting[source]
