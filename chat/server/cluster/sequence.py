"""What one stream says, entry by entry: which entries count, and whether it is the stream that it
was. A pure function of what was read, so that all servers come to the same.

Theory of operation
-------------------

A **BEGINNING** begins a room; its id is the *era*. A **BATCH** is what one server proposed in a
turn. All entries are sealed under the cluster key, and each has a header.

*Exactly once, and in order.* A server numbers its batches under an `origin`, which is random
(`outbox`). A batch counts if its number is the next one of its origin; all others are passed over.
So a server that does not know what became of its batches sends them again from the first one that
it has not read, as often as it likes. And if Redis refuses one batch and takes the next, the latter
does not count, and comes again behind the first.

*Old entries put there again* do not count: their number is taken. An origin that was silent for
ORIGIN_SECONDS is forgotten, and what it said would count again; so the first batch of an origin
counts only if its sender had read further than the last batch of any origin that was forgotten
(`_horizon`). Entries of another era never count.

*The running hash.* A server cannot know where its entry will stand, so it is the readers that keep
a hash, chained over the id and the tag of each entry. A batch says how far its sender had read
(`seen`), and the hash there. A reader that has another hash at that place, or no entry, reads
another stream than the sender: something was withheld, put in another order, taken away, or lost in
a fail-over. The snapshot has the hash, too.

*Lost.* A server that finds that its stream is not what it was is `lost`: it may have applied what
others have not. It says so with a new BEGINNING, which names the era that it ends. That one counts
at every server that is in that era, and so only once, however many servers propose one. A lost
server passes over all until a BEGINNING comes that ends the latest era of which it has heard, or a
later one. It never goes back into an era that it has found broken, nor into one that it has
left for a later one (`broken`): the members have seen more of it than there may be.

*Behind.* A server that has missed something, with no sign that anything is wrong, is lost as well:
one that has just started, for instance. It asks the others for a snapshot with a WANTED. One from
which a BEGINNING was withheld does not know that it is behind: what it says is `Outdated`.
"""

import hashlib
import struct
from collections import OrderedDict
from typing import NamedTuple, TypeAlias

from chat.cipher import TAG_BYTES
from chat.errors import OpenError
from chat.frozen import field, frozen
from chat.limits import (
    MAX_BROKEN_ERAS,
    ORIGIN_BYTES,
    ORIGIN_SECONDS,
    RECENT_ENTRIES,
    SNAPSHOT_BYTES,
)
from chat.server.cluster.clusterkey import BEGINNING, ENTRY, WANTED, ClusterKey
from chat.server.cluster.store import START, EntryId, RawEntry

FORMAT = 1
"""Of entries, and of snapshots with all that is in them. A server passes over what has another one,
and says so."""

_LABEL = b"chat/1 stream"
_HASH_BYTES = 16
_HEADER = struct.Struct(f">B16s{ORIGIN_BYTES}sQ16s{_HASH_BYTES}s")
_STATE = struct.Struct(">B16s16s32s16sQQ16sQ16sQHH")
_ORIGIN = struct.Struct(f">{ORIGIN_BYTES}sQ16s")
_RECENT = struct.Struct(f">16s{_HASH_BYTES}s")
_LENGTH = struct.Struct(">I")
_NO_HASH = bytes(_HASH_BYTES)


class Header(NamedTuple):
    """What stands before the content of an entry, within its seal. In a BEGINNING `era` is the one
    that it ends, and there is neither number nor `seen`."""

    era: EntryId
    origin: bytes
    number: int
    seen: EntryId
    seen_hash: bytes

    def encode(self) -> bytes:
        return _HEADER.pack(
            FORMAT,
            self.era.encode(),
            self.origin,
            self.number,
            self.seen.encode(),
            self.seen_hash,
        )


def encode_items(items: list[bytes]) -> bytes:
    """The content of a BATCH."""
    return b"".join(part for item in items for part in (_LENGTH.pack(len(item)), item))


def decode_items(content: bytes) -> tuple[bytes, ...]:
    """The proposals in the content of a BATCH."""
    items = []
    at = 0
    while at < len(content):
        (size,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        items.append(content[at : at + size])
        at += size
    return tuple(items)


# -- what becomes of an entry ----------------------------------------------------------------------


@frozen
class Begun:
    """A room begins here. `content`: what the server that proposed it put in."""

    id: EntryId
    origin: bytes
    content: bytes = field(shown=False)


@frozen
class Counted:
    """A batch that counts. `due`: the server whose batch it is has to make a snapshot here."""

    id: EntryId
    origin: bytes
    number: int
    items: tuple[bytes, ...] = field(shown=False)
    due: bool


@frozen
class PassedOver:
    """An entry that does not count. `duplicate`: its batch has counted before."""

    id: EntryId
    origin: bytes
    duplicate: bool


@frozen
class Outdated:
    """An entry of a room that was over when it was put there."""

    id: EntryId


@frozen
class Wanted:
    """Some server cannot go on without a snapshot of this room."""

    id: EntryId


@frozen
class Foreign:
    """An entry that no server of this cluster has put there in this form."""

    text: str


@frozen
class Lost:
    """From here on this server is lost. `text` says what was found."""

    text: str


Ruling: TypeAlias = Begun | Counted | PassedOver | Outdated | Wanted | Foreign | Lost


# -- the sequence ----------------------------------------------------------------------------------


class Sequence:
    """See the module's text. `era`: of the room that was begun last, as far as was heard; START:
    none. `last`: how far was read. `lost`: no room is followed. `broken`: eras that were found so,
    or were followed and are over.
    `count`: entries read since START; `marks`: the last two places where a snapshot was due, and
    what `count` was there."""

    def __init__(self, key: ClusterKey, stream: str) -> None:
        """A sequence that knows nothing, and so is lost."""
        self.era = START
        self.last = START
        self.lost = True
        self.broken: tuple[EntryId, ...] = ()
        self.count = 0
        self.marks = ((START, 0), (START, 0))
        self._key = key
        self._stream = stream
        self._hash = bytes(32)
        self._horizon = START
        self._origins: OrderedDict[bytes, tuple[int, EntryId]] = OrderedDict()
        self._recent: OrderedDict[EntryId, bytes] = OrderedDict()
        self._since = 0

    def lose(self, *, broken: bool) -> None:
        """Follow no room any more. `broken`: nor ever again the one that is followed now."""
        if broken:
            self.end_era()
        self.lost = True

    def end_era(self) -> None:
        """Another era comes. Who was told something in this one must not be told it anew: a store
        that is put back to an earlier time may have it again."""
        self.broken = (*self.broken, self.era)[-MAX_BROKEN_ERAS:]

    @property
    def hash(self) -> bytes:
        """The running hash, as an entry brings it along."""
        return self._hash[:_HASH_BYTES]

    @property
    def place(self) -> EntryId:
        """The last entry that is in the hash."""
        return next(reversed(self._recent), START)

    def number_of(self, origin: bytes) -> int | None:
        """The last number of this origin that counted; None if nothing is known of it."""
        known = self._origins.get(origin)
        return None if known is None else known[0]

    def header(self, origin: bytes, number: int) -> Header:
        """The header of a batch of a server that has read so far."""
        return Header(self.era, origin, number, self.place, self.hash)

    def beginning(self, origin: bytes) -> Header:
        """The header of a BEGINNING that ends the era that was heard of last."""
        return Header(self.era, origin, 0, START, _NO_HASH)

    def knows(self, place: EntryId) -> bool:
        """Whether this entry was read, or stands so far back that this cannot be told."""
        return place in self._recent or not self._recent or place < next(iter(self._recent))

    def read(self, raw: RawEntry) -> Ruling:
        """Go on by an entry."""
        if raw.id <= self.last:
            return self._lose(f"the entry {raw.id} stands behind {self.last}")
        self.last = raw.id
        self.count += 1
        opened = self._open(raw)
        if isinstance(opened, Foreign):
            return opened
        header, content = opened
        if raw.kind == BEGINNING:
            return self._on_beginning(raw, header, content)
        if header.era > self.era:
            if not self.lost:
                self._lose("")
                self.era = header.era
                return Lost(f"the entry {raw.id} is of a room whose beginning was not here")
            self.era = header.era
        if raw.kind == WANTED and header.era == self.era:
            return Wanted(raw.id)
        if self.lost:
            return PassedOver(raw.id, header.origin, False)
        if header.era < self.era:
            return Outdated(raw.id)
        return self._on_batch(raw, header, content)

    def _lose(self, text: str) -> Ruling:
        self.lose(broken=True)
        return Lost(text)

    def _open(self, raw: RawEntry) -> tuple[Header, bytes] | Foreign:
        if raw.kind not in (BEGINNING, ENTRY, WANTED):
            return Foreign(f"the entry {raw.id} of {self._stream} is of no kind that is known here")
        try:
            plaintext = self._key.open(self._stream, raw.kind, raw.sealed)
        except OpenError:
            return Foreign(
                f"the entry {raw.id} of {self._stream} does not open: somebody else put it there, "
                "or changed it"
            )
        if plaintext[0] != FORMAT:
            return Foreign(
                f"the entry {raw.id} of {self._stream} is by a server of another version"
            )
        _, era, origin, number, seen, seen_hash = _HEADER.unpack_from(plaintext)
        header = Header(EntryId.decode(era), origin, number, EntryId.decode(seen), seen_hash)
        return header, plaintext[_HEADER.size :]

    def _on_beginning(self, raw: RawEntry, header: Header, content: bytes) -> Ruling:
        if header.era < self.era:
            # Another server was faster.
            return PassedOver(raw.id, header.origin, True)
        if not self.lost:
            self.end_era()
        self.era = raw.id
        if raw.id in self.broken:
            if self.lost:
                return PassedOver(raw.id, header.origin, True)
            # We went on from a snapshot of the room before.
            self.lose(broken=False)
            return Lost("the room that comes next has been found broken before")
        self.lost = False
        self._since = 0
        self.marks = ((raw.id, self.count), (raw.id, self.count))
        self._origins.clear()
        self._recent.clear()
        self._horizon = START
        self._hash = hashlib.sha256(_LABEL).digest()
        self._chain(raw)
        return Begun(raw.id, header.origin, content)

    def _on_batch(self, raw: RawEntry, header: Header, content: bytes) -> Ruling:
        found = self._contradiction(raw, header)
        if found:
            return self._lose(found)
        self._chain(raw)
        self._forget(raw.id)
        number = self.number_of(header.origin)
        forgotten = number is None and header.seen < self._horizon
        if forgotten or header.number != (number or 0) + 1:
            return PassedOver(raw.id, header.origin, header.number <= (number or 0))
        self._origins[header.origin] = (header.number, raw.id)
        self._origins.move_to_end(header.origin)
        return Counted(
            raw.id, header.origin, header.number, decode_items(content), self._is_due(raw)
        )

    def _contradiction(self, raw: RawEntry, header: Header) -> str:
        if header.seen >= raw.id or not self.knows(header.seen):
            return f"another server has read an entry {header.seen} that is not here"
        if self._recent.get(header.seen, header.seen_hash) != header.seen_hash:
            return f"another server has read another conversation up to the entry {header.seen}"
        return ""

    def _chain(self, raw: RawEntry) -> None:
        self._hash = hashlib.sha256(self._hash + raw.id.encode() + raw.sealed[-TAG_BYTES:]).digest()
        self._recent[raw.id] = self.hash
        if len(self._recent) > RECENT_ENTRIES:
            self._recent.popitem(last=False)

    def _forget(self, now: EntryId) -> None:
        while self._origins:
            origin, (_, last) = next(iter(self._origins.items()))
            if now.ms - last.ms <= 1000 * ORIGIN_SECONDS:
                return
            del self._origins[origin]
            self._horizon = max(self._horizon, last)

    def _is_due(self, raw: RawEntry) -> bool:
        self._since += len(raw.sealed)
        if self._since < SNAPSHOT_BYTES:
            return False
        self._since = 0
        self.marks = (self.marks[1], (raw.id, self.count))
        return True

    # -- as bytes

    def encode(self) -> bytes:
        """For the snapshot."""
        origins = (
            _ORIGIN.pack(origin, number, last.encode())
            for origin, (number, last) in self._origins.items()
        )
        recent = (_RECENT.pack(place.encode(), seen) for place, seen in self._recent.items())
        head = _STATE.pack(
            FORMAT,
            self.era.encode(),
            self.last.encode(),
            self._hash,
            self._horizon.encode(),
            self._since,
            self.count,
            *(part for place, count in self.marks for part in (place.encode(), count)),
            len(self._origins),
            len(self._recent),
        )
        return b"".join((head, *origins, *recent))

    @classmethod
    def decode(cls, key: ClusterKey, stream: str, data: bytes) -> tuple["Sequence", bytes]:
        """The sequence at the beginning of `data`, and what follows it.

        Raises:
            ValueError: it is of another format, or is none.
        """
        self = cls(key, stream)
        try:
            version, era, last, running, horizon, since, count, *marks, origins, recent = (
                _STATE.unpack_from(data)
            )
            if version != FORMAT:
                raise ValueError("it is by a server of another version")
            at = _STATE.size
            for _ in range(origins):
                origin, number, place = _ORIGIN.unpack_from(data, at)
                self._origins[origin] = (number, EntryId.decode(place))
                at += _ORIGIN.size
            for _ in range(recent):
                place, seen = _RECENT.unpack_from(data, at)
                self._recent[EntryId.decode(place)] = seen
                at += _RECENT.size
        except struct.error as exc:
            raise ValueError("it is too short") from exc
        self.era, self.last = EntryId.decode(era), EntryId.decode(last)
        self._hash, self._horizon, self._since = running, EntryId.decode(horizon), since
        self.count, self.lost = count, False
        self.marks = (
            (EntryId.decode(marks[0]), marks[1]),
            (EntryId.decode(marks[2]), marks[3]),
        )
        return self, data[at:]
