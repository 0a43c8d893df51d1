"""The ordered stream of one room: what this server proposes, and what all servers apply.

Sans I/O: a `Stream` asks a `Store`, is told of what comes, and is told the time. What is behind the
store, and what the proposals mean, is not known here; which entries count is `sequence`'s.

Theory of operation
-------------------

    AWAY       the store is down. What is proposed waits.
    CATCHING   the entries since the one that we read last are read, page by page.
    LOADING    that one is not there, or we are new: the snapshot is asked for.
    FOLLOWING  the entries arrive as they are put there, and what is proposed is sent.

A store that goes down leads to AWAY from everywhere, and `on_up` to CATCHING. So whatever was cut,
reading goes on exactly where it ended, and all that was proposed and not read is proposed again.

Being *lost* lies across these: `Sequence.lost`. A lost stream reads as any other, passes over what
it reads, and proposes a BEGINNING as soon as it follows, again and again until one counts. A new
room begins in the same way: who finds nothing is lost, and proposes one. If several servers do that
at the same moment, the first BEGINNING counts. But who finds a room that others are in, and no way
into it, first asks for a snapshot and loads again (`_asked` times).

What was proposed and was not read when the room is lost, or a new one begins, is void, as is the
old room: the members say again what they know to be unsaid.

Snapshots: at places that are the same for all (`Counted.due`) the server whose batch it is keeps
the room's state. If it dies just then, the next place comes. The stream is trimmed up to the place
before, so that a server which is a little behind still finds where it was.
"""

import enum
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Protocol

from chat.cipher import RandomBytes
from chat.errors import ChatError, OpenError
from chat.frozen import field, frozen
from chat.limits import (
    MAX_BATCH_BYTES,
    MAX_PROPOSED_BYTES,
    ORIGIN_BYTES,
    RESEND_SECONDS,
    SNAPSHOT_BYTES,
    SNAPSHOT_TRIES,
    STREAM_PAGE_ENTRIES,
)
from chat.server.cluster.clusterkey import BEGINNING, ENTRY, SNAPSHOT, WANTED, ClusterKey
from chat.server.cluster.sequence import (
    Begun,
    Counted,
    Foreign,
    Lost,
    PassedOver,
    Ruling,
    Sequence,
    Wanted,
    encode_items,
)
from chat.server.cluster.store import START, EntryId, RawEntry, Store


@frozen
class Batch:
    """What one server proposed, at the place where it counts. `mine`: that server is this one."""

    id: EntryId
    items: tuple[bytes, ...] = field(shown=False)
    mine: bool

    @property
    def time(self) -> float:
        """When it was put there: seconds since 1970, the same at every server."""
        return self.id.ms / 1000


class Follower(Protocol):
    """What a stream is read for: a room. `begin`, `restore` and `apply` give the state, which has
    to be a pure function of them; the rest is for this server alone."""

    def opening(self) -> bytes:
        """What a new room is to begin with, fresh randomness above all. Another server's may be
        taken."""

    def begin(self, batch: Batch) -> None:
        """A new room begins, with this one item. All that was before is void."""

    def restore(self, state: bytes, at: EntryId) -> None:
        """Take over this state, as of that entry, instead of what there is."""

    def apply(self, batch: Batch) -> None:
        """The next batch of the room."""

    def state(self) -> bytes:
        """The state as of the last batch, for another server's `restore`."""

    def on_following(self, follows: bool) -> None:
        """Whether what is proposed is on its way, or waits."""

    def on_lost(self, text: str) -> None:
        """What was applied may not be what others have, and all that was proposed is void; a
        `begin` or a `restore` will follow. That may be of a room that was there before."""

    def on_trouble(self, text: str) -> None:
        """Something for the operator to know."""


class Phase(enum.Enum):
    """See the module's text."""

    AWAY = enum.auto()
    LOADING = enum.auto()
    CATCHING = enum.auto()
    FOLLOWING = enum.auto()


class Stream:
    """See the module's text."""

    def __init__(
        self,
        store: Store,
        key: ClusterKey,
        tag: bytes,
        follower: Follower,
        random_bytes: RandomBytes,
        on_busy: Callable[["Stream"], None],
    ) -> None:
        """`on_busy` is called when there may be something to `flush`."""
        self.name = key.stream_of(tag)
        self.phase = Phase.AWAY
        self.proposed_bytes = 0
        self._store = store
        self._key = key
        self._follower = follower
        self._random_bytes = random_bytes
        self._on_busy = on_busy
        self._sequence = Sequence(key, self.name)
        self._origin = random_bytes(ORIGIN_BYTES)
        self._number = 0
        self._unread: deque[list[bytes]] = deque()
        """Batches that have a number and were not read yet; the last one's is `_number`."""
        self._sent = 0
        """How many of these were sent since the stream follows."""
        self._items: list[bytes] = []
        self._resend_at: float | None = None
        self._begins_at: float | None = None
        self._again_at: float | None = None
        self._asked = 0
        self._now = 0.0
        self._round = 0
        self._told_following = False
        self._complaint = ""

    # -- what the room asks

    @property
    def lost(self) -> bool:
        """Whether no room is followed: it has not begun yet, or another one has to."""
        return self._sequence.lost

    @property
    def idle(self) -> bool:
        """Whether nothing that was proposed is still to come back."""
        return not self.proposed_bytes

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing should be proposed at the moment."""
        return self.proposed_bytes >= MAX_PROPOSED_BYTES

    def propose(self, item: bytes) -> None:
        """Propose this, with the rest of the turn. It is applied when a batch holds it. It is void
        if there is no room to propose it in, or if that is lost before."""
        if not self.lost:
            self._items.append(item)
            self._on_busy(self)
            self.proposed_bytes += len(item)

    def begin_anew(self, text: str) -> None:
        """Have a new room begin: for who finds that the room cannot be what it was."""
        if not self.lost:
            self._on_busy(self)
            self._lose(text)

    def flush(self, now: float) -> None:
        """Send what is proposed. To be called at the end of each turn, before the store's."""
        self._now = now
        if self._again_at is not None and now >= self._again_at:
            self.on_up()
        if self.phase is not Phase.FOLLOWING:
            return
        if self.lost:
            if self._begins_at is None or now >= self._begins_at:
                self._look_for_a_room()
            return
        if self._resend_at is not None and now >= self._resend_at:
            self._resend()
        self._number_items()
        while self._resend_at is None and self._sent < len(self._unread):
            self._send(self._sent)
            self._sent += 1

    @property
    def deadline(self) -> float | None:
        """When `flush` has something to do, even if nothing happens."""
        if self.phase is not Phase.FOLLOWING:
            return self._again_at
        return self._begins_at if self.lost else self._resend_at

    def expire(self, seconds: int) -> None:
        """Have the store forget the room after so long, unless this is asked again before. If it is
        down, nothing is asked."""
        if self._store.up:
            self._store.expire(self.name, seconds)
            self._store.expire(self._key.snapshot_of(self.name), seconds)

    def close(self) -> None:
        """Read no more; nothing is called any more."""
        self._round += 1
        self.phase = Phase.AWAY
        self._store.unfollow(self.name)

    # -- proposing

    def _number_items(self) -> None:
        """Make batches of what was proposed."""
        batch: list[bytes] = []
        size = 0
        for item in self._items:
            if batch and size + len(item) > MAX_BATCH_BYTES:
                self._unread.append(batch)
                self._number += 1
                batch, size = [], 0
            batch.append(item)
            size += len(item)
        if batch:
            self._unread.append(batch)
            self._number += 1
        self._items = []

    def _send(self, at: int) -> None:
        number = self._number - len(self._unread) + 1 + at
        header = self._sequence.header(self._origin, number)
        plaintext = header.encode() + encode_items(self._unread[at])
        self._append(ENTRY, plaintext)

    def _look_for_a_room(self) -> None:
        """We are lost, and know all that is in the stream."""
        sequence = self._sequence
        inhabited = sequence.era != START and sequence.era not in sequence.broken
        if inhabited and self._asked <= SNAPSHOT_TRIES:
            if self._begins_at is not None:
                self._load()
                return
            self._asked += 1
        self._begins_at = self._now + RESEND_SECONDS
        header = sequence.beginning(self._origin)
        if inhabited and self._asked <= SNAPSHOT_TRIES:
            self._append(WANTED, header.encode())
            return
        self._append(BEGINNING, header.encode() + self._follower.opening())

    def _append(self, kind: bytes, plaintext: bytes) -> None:
        read = self._sequence.last

        def done(outcome: EntryId | ChatError) -> None:
            if isinstance(outcome, ChatError):
                self._resend_later()
                self._complain(outcome)
                return
            self._complaint = ""
            if outcome <= read and not self.lost:
                # The stream was made anew, with earlier ids, and we would wait for ever.
                self._lose(f"a new entry stands at {outcome}, and what was read up to {read}")
                self._load()

        sealed = self._key.seal(self.name, kind, plaintext, self._random_bytes)
        self._store.append(self.name, kind, sealed, self._if_current(done))

    def _complain(self, error: ChatError) -> None:
        """Tell the operator, but the same only once until something has succeeded."""
        if error.advice != self._complaint:
            self._complaint = error.advice
            self._follower.on_trouble(error.advice)

    def _resend_later(self) -> None:
        if self._resend_at is None:
            self._resend_at = self._now + RESEND_SECONDS

    def _resend(self) -> None:
        """Send again all that was not read, from the first on. Where our origin is forgotten, what
        is still on its way under it can count no more, and it is said under a new one."""
        self._resend_at = None
        self._sent = 0
        counted = self._sequence.number_of(self._origin)
        first = self._number - len(self._unread) + 1
        if counted is None and first > 1:
            self._new_origin()
            self._number = len(self._unread)

    def _new_origin(self) -> None:
        self._origin = self._random_bytes(ORIGIN_BYTES)
        self._number = 0

    def _read_up_to(self, number: int) -> None:
        """Our batches up to this one have counted."""
        while self._unread and self._number - len(self._unread) < number:
            self.proposed_bytes -= sum(map(len, self._unread.popleft()))
            self._sent = max(0, self._sent - 1)

    # -- where we are

    def on_up(self) -> None:
        """The store can be asked."""
        self._ask_anew()
        if self._sequence.last == START:
            self._load()
        else:
            self._catch_up()

    def on_down(self) -> None:
        """The store cannot be asked any more."""
        self._ask_anew()
        self.phase = Phase.AWAY
        self._tell_following()

    def _ask_anew(self) -> None:
        self._on_busy(self)
        self._round += 1
        self._again_at = None

    def _read_later(self, error: ChatError) -> None:
        """What was asked for was refused."""
        self._complain(error)
        self._again_at = self._now + RESEND_SECONDS

    def _if_current(self, done: Callable[..., None]) -> Callable[..., None]:
        """The same, but for answers that nobody waits for any more."""
        asked_in = self._round

        def answer(reply: object) -> None:
            if self._round == asked_in:
                self._on_busy(self)
                done(reply)

        return answer

    def _load(self) -> None:
        self.phase = Phase.LOADING
        self._store.load(self._key.snapshot_of(self.name), self._if_current(self._on_loaded))

    def _on_loaded(self, value: bytes | ChatError | None) -> None:
        if isinstance(value, ChatError):
            self._read_later(value)
            return
        kept = self._opened(value) if value is not None else None
        if kept is None:
            self._take_over(Sequence(self._key, self.name), False)
            self._catch_up()
            return
        sequence, state = kept

        def on_place(found: Several[RawEntry] | ChatError) -> None:
            if isinstance(found, ChatError):
                self._read_later(found)
                return
            # If it is not there, we were slow, and the stream was trimmed meanwhile; or it is lost.
            self._take_over(sequence, bool(found) and found[0].id == sequence.last)
            if not self.lost:
                self._follower.restore(state, sequence.last)
            self._catch_up()

        self._store.fetch(self.name, sequence.last, 1, self._if_current(on_place))

    def _take_over(self, sequence: Sequence, usable: bool) -> None:
        """Go on from this one, which is of a snapshot; if it is not `usable`, from the beginning of
        the stream, and lost. Not before its room can be restored: after a cut we go on from
        whatever place we have."""
        before, self._sequence = self._sequence, sequence
        was_lost = before.lost
        if not was_lost and not self._is_continued(before):
            before.lose(broken=True)
        sequence.broken = before.broken
        if not usable:
            sequence.last = START
        if not usable or sequence.era in sequence.broken:
            sequence.lose(broken=False)
        if not was_lost and (before.lost or self.lost):
            self._on_lost("what this server has read is not in Redis any more")

    def _is_continued(self, before: Sequence) -> bool:
        """Whether the snapshot is of a world that has in it what we had read; another era has its
        own."""
        now = self._sequence
        if now.lost:
            return False
        if now.era == before.era:
            return before.place <= now.place and now.knows(before.place)
        return now.era > before.era

    def _opened(self, value: bytes) -> tuple[Sequence, bytes] | None:
        """The sequence and the state in a snapshot; None if it cannot be used."""
        key = self._key.snapshot_of(self.name)
        try:
            plaintext = self._key.open(self.name, SNAPSHOT, value)
            return Sequence.decode(self._key, self.name, plaintext)
        except OpenError:
            why = "it was changed, or is by somebody else"
        except ValueError as exc:
            why = str(exc)
        self._follower.on_trouble(f"the snapshot {key} cannot be used: {why}")
        return None

    def _catch_up(self) -> None:
        """Read on from the entry that we read last, which has to be there still."""
        self.phase = Phase.CATCHING
        self._store.fetch(
            self.name, self._sequence.last, STREAM_PAGE_ENTRIES, self._if_current(self._on_page)
        )

    def _on_page(self, found: Several[RawEntry] | ChatError) -> None:
        if isinstance(found, ChatError):
            self._read_later(found)
            return
        last, full = self._sequence.last, len(found) == STREAM_PAGE_ENTRIES
        if last != START:
            if not found or found[0].id != last:
                self._load()
                return
            found = found[1:]
        self._read(found)
        if full:
            self._catch_up()
            return
        self.phase = Phase.FOLLOWING
        self._store.follow(self.name, self._sequence.last)
        self._begins_at = None
        self._read_up_to(self._sequence.number_of(self._origin) or 0)
        self._resend()
        self._tell_following()

    def _tell_following(self) -> None:
        follows = self.phase is Phase.FOLLOWING and not self.lost
        if follows is not self._told_following:
            self._told_following = follows
            self._follower.on_following(follows)

    # -- reading

    def on_entries(self, entries: Several[RawEntry]) -> None:
        """The next entries of the stream."""
        if self.phase is not Phase.FOLLOWING:
            return
        self._on_busy(self)
        size = sum(len(entry.sealed) for entry in entries)
        if len(entries) < STREAM_PAGE_ENTRIES and size < SNAPSHOT_BYTES:
            self._read(entries)
            return
        # We are behind. The stream may have been trimmed past us, and then these are not the next
        # ones. What is left after a trim is at least what lies between two snapshots.
        self._store.unfollow(self.name)
        self._catch_up()
        self._tell_following()

    def _read(self, entries: Several[RawEntry]) -> None:
        for raw in entries:
            self._apply(self._sequence.read(raw))

    def _apply(self, ruling: Ruling) -> None:
        match ruling:
            case Counted():
                mine = ruling.origin == self._origin
                if mine:
                    self._read_up_to(ruling.number)
                self._follower.apply(Batch(ruling.id, ruling.items, mine))
                if ruling.due and mine:
                    self.keep()
            case Begun():
                mine = ruling.origin == self._origin
                self._forget_proposals()
                self._follower.begin(Batch(ruling.id, (ruling.content,), mine))
                self._tell_following()
            case PassedOver(origin=origin, duplicate=False) if origin == self._origin:
                # The entry before it is missing, or we were forgotten.
                self._resend_later()
            case Wanted():
                self.keep()
            case Foreign(text):
                self._follower.on_trouble(text)
            case Lost(text):
                self._on_lost(text)

    def _forget_proposals(self) -> None:
        self._unread.clear()
        self._items.clear()
        self.proposed_bytes = self._sent = 0
        self._new_origin()
        self._resend_at = self._begins_at = None
        self._asked = 0

    def _lose(self, text: str) -> None:
        self._sequence.lose(broken=True)
        self._on_lost(text)

    def _on_lost(self, text: str) -> None:
        self._forget_proposals()
        self._follower.on_lost(text)
        self._tell_following()

    # -- snapshots

    def keep(self) -> None:
        """Keep the state in the store, and trim the stream. Only while it follows."""
        if self.lost or self.phase not in (Phase.FOLLOWING, Phase.CATCHING):
            return
        name = self._key.snapshot_of(self.name)
        plaintext = self._sequence.encode() + self._follower.state()
        sealed = self._key.seal(self.name, SNAPSHOT, plaintext, self._random_bytes)

        def done(error: ChatError | None) -> None:
            if error is not None:
                self._complain(error)
                return
            place, count = self._sequence.marks[0]
            self._store.trim(self.name, place, self._sequence.count - count + 1)

        self._store.keep(name, sealed, self._if_current(done))
