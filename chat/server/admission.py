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
    """The guests of one source: how many there are, and which are idle, the oldest first."""

    __slots__ = ("count", "idle")

    def __init__(self) -> None:
        self.count = 0
        self.idle: OrderedDict[Guest, None] = OrderedDict()


class Admission(Generic[Guest]):
    """The connections that have been accepted and are not members.

    A guest is idle while it has said nothing that is worth a place: before its first frame, and
    again when it was dropped and only reads the farewell. An idle guest makes room for another one.
    A guest that is busy joining never does.

    Invariants: `_idle` holds the idle guests in the order in which they became idle, and each
    source's `idle` those of the source; a source without guests is forgotten.
    """

    def __init__(self, limit: int, limit_per_source: int) -> None:
        """How many guests there may be, in all and of one source."""
        self._limit = limit
        self._limit_per_source = limit_per_source
        self._guests: dict[Guest, str] = {}
        self._idle: OrderedDict[Guest, None] = OrderedDict()
        self._sources: dict[str, _Source[Guest]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def is_full(self, source: str) -> bool:
        """Whether a guest must make room before one from this source can be added."""
        return len(self._guests) >= self._limit or self._has_its_share(source)

    def _has_its_share(self, source: str) -> bool:
        found = self._sources.get(source)
        return found is not None and found.count >= self._limit_per_source

    def oldest_idle(self, source: str | None = None) -> Guest | None:
        """The guest that makes room for one from this source: one of the same source if that has
        its share of places, otherwise (and for None) any. None if no such guest is idle."""
        if source is not None and self._has_its_share(source):
            return next(iter(self._sources[source].idle), None)
        return next(iter(self._idle), None)

    def add(self, guest: Guest, source: str) -> None:
        """A guest came in. It is idle."""
        self._guests[guest] = source
        self._sources.setdefault(source, _Source()).count += 1
        self.set_idle(guest)

    def set_idle(self, guest: Guest) -> None:
        """From now on this guest makes room for others. Harmless if it is no guest."""
        if guest in self._guests:
            self._idle[guest] = None
            self._sources[self._guests[guest]].idle[guest] = None

    def set_busy(self, guest: Guest) -> None:
        """From now on this guest does not make room. Harmless if it is no guest."""
        if guest in self._guests:
            self._idle.pop(guest, None)
            self._sources[self._guests[guest]].idle.pop(guest, None)

    def remove(self, guest: Guest) -> None:
        """This guest became a member, or is gone. Harmless if it is no guest."""
        self.set_busy(guest)
        source = self._guests.pop(guest, None)
        if source is not None:
            self._sources[source].count -= 1
            if not self._sources[source].count:
                del self._sources[source]


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
