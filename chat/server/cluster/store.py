"""What gives a room its order: a stream of sealed entries for each, and a value beside it.

This is what `stream` asks for. `redisstore` has it of a Redis; the simulation has it in memory. An
answer comes later, in order, or not at all: when the store goes down, every answer that is still
awaited is forgotten, and nobody can know what became of what was asked.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from chat.errors import ChatError

_SEQ_BITS = 64
_ID_BYTES = 16


class EntryId(NamedTuple):
    """Where an entry stands. `ms` is when it was put there, in milliseconds since 1970 by the clock
    of Redis, and so the same at every server; `seq` tells entries of one millisecond apart."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: bytes) -> "EntryId":
        """The id in the form of Redis; raises ValueError if it has none."""
        ms, _, seq = text.partition(b"-")
        parsed = cls(int(ms), int(seq))
        if not all(0 <= part < 1 << _SEQ_BITS for part in parsed):
            raise ValueError("no id of an entry")
        return parsed

    def encode(self) -> bytes:
        """In 16 bytes."""
        return (self.ms << _SEQ_BITS | self.seq).to_bytes(_ID_BYTES, "big")

    @classmethod
    def decode(cls, data: bytes) -> "EntryId":
        number = int.from_bytes(data, "big")
        return cls(number >> _SEQ_BITS, number & (1 << _SEQ_BITS) - 1)

    @property
    def next(self) -> "EntryId":
        """The first id behind this one."""
        if self.seq + 1 < 1 << _SEQ_BITS:
            return EntryId(self.ms, self.seq + 1)
        return EntryId(self.ms + 1, 0)


START = EntryId(0, 0)
"""Before every entry."""


class RawEntry(NamedTuple):
    """An entry as it stands in a stream. Anybody who can write to Redis may have put it there."""

    id: EntryId
    kind: bytes
    sealed: bytes


class Watcher(Protocol):
    """Who is told what comes of a store by itself."""

    def on_up(self) -> None:
        """From now on it can be asked; nothing is followed yet."""

    def on_down(self, error: ChatError) -> None:
        """It cannot be asked any more, until `on_up`; or at the first attempt it could not be
        reached. May be called again and again, whenever the reason is another one."""

    def on_entries(self, stream: str, entries: Sequence[RawEntry]) -> None:
        """These are the next ones of a stream that is followed."""


class Store(Protocol):
    """See the module's text. Everything but `follow` and `unfollow` may be asked only while it is
    up. What is called as `done` gets an error where something was refused."""

    up: bool

    def append(
        self, stream: str, kind: bytes, sealed: bytes, done: Callable[[EntryId | ChatError], None]
    ) -> None:
        """Put an entry at the end of a stream, and say where it stands. Appends to one stream keep
        their order."""

    def fetch(
        self,
        stream: str,
        first: EntryId,
        count: int,
        done: Callable[[Sequence[RawEntry] | ChatError], None],
    ) -> None:
        """At most `count` entries from this place on, the one that stands there included."""

    def follow(self, stream: str, after: EntryId) -> None:
        """Hand every entry behind this place to the watcher, as it comes, and none before it. They
        are given in pieces of STREAM_PAGE_ENTRIES at most, which only the last one of does not
        fill. A store that goes down follows nothing any more."""

    def unfollow(self, stream: str) -> None:
        """Hand on no more entries of it."""

    def load(self, key: str, done: Callable[[bytes | ChatError | None], None]) -> None:
        """The value that is kept under a name; None if there is none."""

    def keep(self, key: str, value: bytes, done: Callable[[ChatError | None], None]) -> None:
        """Keep a value under a name, instead of the one that is there."""

    def trim(self, stream: str, before: EntryId, keep: int) -> None:
        """Take away the entries before this one. As far as was read, there are `keep` others."""

    def expire(self, name: str, seconds: int) -> None:
        """Have a stream or a value be gone after so long, unless this is asked again before. A
        value that is kept anew stays, until it is asked again."""

    def hold(self, key: str, value: bytes, seconds: int) -> None:
        """Keep a value under a name, unless there is one already. Whichever is there is gone after
        so long, unless this is asked again before."""

    def flush(self) -> None:
        """Let all that was asked in this turn leave."""
