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
reading goes on exactly where it ended, and all that is in the `Outbox` is sent again.

What arrives while something of ours is on its way is *gathered*: for a moment it waits for that, so
that members are sent both together. A `send` to each of them costs more than what is in it.

A stream can be *lost* in each of these phases: `Sequence.lost`. A lost stream reads as any other,
passes over what it reads, and proposes a BEGINNING as soon as it follows, again and again until one
counts. A new room begins in the same way: a server that finds nothing is lost, and proposes one. If
several servers do that at the same moment, the first BEGINNING counts. A server that finds a room
in which others are, and no way into it, first asks for a snapshot and loads again, SNAPSHOT_TRIES
times. If a server goes on in a room that is over, since its store keeps the next one from it, the
others ask for that snapshot in its place: it finds from this that there is another room.

When the room is lost, or a new one begins, the old room is void. So is all that was proposed for it
and not read: the members say it again.

Snapshots: at places that are the same for all (`Counted.due`) the server whose batch it is keeps
the room's state. If it dies just then, the next place comes. The stream is trimmed up to the place
before, so that a server which is a little behind still finds where it was.
"""

import enum
from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Protocol

from chat.cipher import RandomBytes
from chat.errors import ChatError, OpenError
from chat.frozen import field, frozen
from chat.limits import (
    FAULT_SECONDS,
    GATHER_SECONDS,
    LOST_ANSWER_SECONDS,
    MAX_PROPOSED_BYTES,
    RESEND_SECONDS,
    SNAPSHOT_BYTES,
    SNAPSHOT_TRIES,
    STREAM_PAGE_ENTRIES,
    UNREAD_SECONDS,
)
from chat.server.cluster.clusterkey import BEGINNING, ENTRY, SNAPSHOT, WANTED, ClusterKey
from chat.server.cluster.outbox import Outbox
from chat.server.cluster.sequence import (
    Begun,
    Counted,
    Foreign,
    Lost,
    Outdated,
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


class Follower(Protocol):
    """What a stream is read for: a room. Its state has to be a pure function of the calls of
    `begin`, `restore` and `apply`; the other calls are about this server alone."""

    def opening(self) -> bytes:
        """What a new room is to begin with, such as fresh randomness. If several servers begin it
        at the same moment, that of one of them counts."""

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
        `begin` or a `restore` will follow. That may be of a room that was there before. `text`:
        why, for the operator; empty after an error, which is told as such."""

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
        on_answer: Callable[["Stream", str], None],
    ) -> None:
        """`on_busy` is called when there may be something to `flush`; `on_answer` when the store
        has taken what was sent, or given what was asked for, or has refused it: then with the
        reason."""
        self.name = key.stream_of(tag)
        self.phase = Phase.AWAY
        self._store = store
        self._key = key
        self._follower = follower
        self._random_bytes = random_bytes
        self._on_busy = on_busy
        self._on_answer = on_answer
        self._sequence = Sequence(key, self.name)
        self._outbox = Outbox(random_bytes)
        self._begins_at: float | None = None
        self._again_at: float | None = None
        self._unread_at: float | None = None
        """When what was sent last has to be read; None where that is not known, or all was."""
        self._taken = False
        """Whether the store has taken something since the last turn."""
        self._sent = b""
        """What was sent last, sealed."""
        self._gathered: list[RawEntry] = []
        self._gather_until: float | None = None
        self._asked = 0
        self._asked_for_others = START
        """Behind which entry that was done last."""
        self._reading_refused = False
        self._keeping = self._keep_again = False
        """Whether a snapshot is on its way, and another one is to follow."""
        self._now = 0.0
        self._fault = START
        """Where an error was for which what was applied was read anew; the last one."""
        self._fault_came_again_at = float("-inf")
        self._round = 0
        self._told_following = False
        self._complaint = ""

    # -- what the room asks

    @property
    def lost(self) -> bool:
        """Whether no room is followed: it has not begun yet, or another one has to."""
        return self._sequence.lost

    @property
    def follows(self) -> bool:
        """Whether all that is in the room by now was read, and what is proposed is sent."""
        return self.phase is Phase.FOLLOWING and not self.lost

    @property
    def remembers(self) -> bool:
        """Whether no room is followed, and only this stream knows into which it must not go back.
        Nobody may forget it then."""
        return self.lost and bool(self._sequence.broken)

    @property
    def idle(self) -> bool:
        """Whether nothing that was proposed is still to come back."""
        return not self.proposed_bytes

    @property
    def full(self) -> bool:
        """Whether so much waits that nothing should be proposed at the moment."""
        return self.proposed_bytes >= MAX_PROPOSED_BYTES

    @property
    def proposed_bytes(self) -> int:
        """How much was proposed that is still to come back."""
        return self._outbox.size

    def proposed(self) -> set[bytes]:
        """What was proposed, is not void, and is still to come back."""
        return self._outbox.items()

    def propose(self, item: bytes) -> None:
        """Propose this, with the rest of the turn. It is applied when the batch that holds it is
        read. It is void if no room is followed, or if the room is lost before."""
        if not self.lost:
            self._outbox.put(item)
            self._on_busy(self)

    def read(self, now: float) -> None:
        """Read what was gathered, unless it still waits for what is on its way. To be called at the
        end of each turn, before anything is sent to members."""
        self._now = now
        if self.phase is not Phase.FOLLOWING or not self._gathered:
            return
        if self._gather_until is None:
            self._gather_until = now + GATHER_SECONDS
        ours_comes = not self.idle and all(one.sealed != self._sent for one in self._gathered)
        if not ours_comes or now >= self._gather_until:
            gathered = self._gathered
            self._gather_anew()
            try:
                self._read(gathered)
            except Exception:
                if self.phase is Phase.FOLLOWING:
                    # Those behind the one in which the error is are read in the next turn.
                    self._gathered = [one for one in gathered if one.id > self._sequence.last]
                self._on_busy(self)
                raise

    def flush(self, now: float) -> None:
        """Send what is proposed. To be called at the end of each turn, before the store's. Nothing
        is read here: it would wait for the next turn."""
        self._now = now
        if self._again_at is not None and now >= self._again_at:
            self.on_up()
        if self.phase in (Phase.LOADING, Phase.CATCHING) and self._again_at is None:
            # Nothing else would tell if an error has lost the answer.
            self._again_at = now + LOST_ANSWER_SECONDS
        if self.phase is not Phase.FOLLOWING:
            return
        if self.lost:
            if self._begins_at is None or now >= self._begins_at:
                self._look_for_a_room()
            return
        outbox = self._outbox
        if self._is_missing(now) or (outbox.resend_at is not None and now >= outbox.resend_at):
            self._resend()
        try:
            for number, items in outbox.take():
                header = self._sequence.header(outbox.origin, number)
                self._append(ENTRY, header.encode() + encode_items(items))
        except Exception:
            # Otherwise it would count as sent.
            outbox.resend_later(now + RESEND_SECONDS)
            raise

    @property
    def deadline(self) -> float | None:
        """When `read` or `flush` has something to do, even if nothing happens."""
        if self.phase is not Phase.FOLLOWING:
            return self._again_at
        if self.lost:
            return self._begins_at
        due = self._outbox.resend_at, self._unread_at, self._gather_until
        return min((at for at in due if at is not None), default=None)

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
        header = sequence.beginning(self._outbox.origin)
        if inhabited and self._asked <= SNAPSHOT_TRIES:
            self._append(WANTED, header.encode())
            return
        self._append(BEGINNING, header.encode() + self._follower.opening())

    def _append(self, kind: bytes, plaintext: bytes) -> None:
        read = self._sequence.last

        def done(outcome: EntryId | ChatError) -> None:
            if isinstance(outcome, ChatError):
                self._outbox.resend_later(self._now + RESEND_SECONDS)
                # Nobody waits for a WANTED, which is not sent again by itself either.
                if kind != WANTED:
                    self._on_answer(self, outcome.advice)
                return
            self._on_answer(self, "")
            self._complaint = ""
            self._taken = True
            if outcome <= read and not self.lost:
                # The stream was made anew, with earlier ids, and we would wait for ever.
                self._lose(f"a new entry stands at {outcome}, and what was read up to {read}")
                self._load()

        sealed = self._key.seal(self.name, kind, plaintext, self._random_bytes)
        self._sent = sealed
        self._store.append(self.name, kind, sealed, self._if_current(done))

    def _complain(self, error: ChatError) -> None:
        """Tell the operator, but the same only once until something has succeeded."""
        if error.advice != self._complaint:
            self._complaint = error.advice
            self._follower.on_trouble(error.advice)

    def _resend(self) -> None:
        """Send again all that was not read."""
        outbox = self._outbox
        outbox.resend(known=self._sequence.number_of(outbox.origin) is not None)

    def _is_missing(self, now: float) -> bool:
        """Whether the store has taken what we have sent, and we ought to have read it by now. If
        somebody has removed it from the stream since, nothing else may ever tell us."""
        if self.idle:
            self._unread_at = None
        elif self._taken:
            self._unread_at = now + UNREAD_SECONDS
        self._taken = False
        if self._unread_at is None or now < self._unread_at:
            return False
        self._unread_at = None
        return True

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
        self._reading_refused = False
        self._tell_following()

    def _ask_anew(self) -> None:
        self._on_busy(self)
        self._round += 1
        self._again_at = None
        self._keeping = self._keep_again = False

    def _read_later(self, error: ChatError) -> None:
        """What was asked for was refused."""
        self._reading_refused = True
        self._on_answer(self, error.advice)
        self._again_at = self._now + RESEND_SECONDS

    def _if_current(self, done: Callable[..., None]) -> Callable[..., None]:
        """The same, but for answers that nobody waits for any more."""
        asked_in = self._round

        def answer(reply: object) -> None:
            if self._round == asked_in:
                self._on_busy(self)
                done(reply)

        return answer

    def _if_wanted(self, done: Callable[..., None]) -> Callable[..., None]:
        """The same, for answers without which nothing is read on. If an error ends what is done
        with one, that is asked for again."""

        def take(reply: object) -> None:
            self._again_at = None
            try:
                done(reply)
            except Exception:
                later = self._now + RESEND_SECONDS
                self._again_at = later if self._again_at is None else min(self._again_at, later)
                raise

        return self._if_current(take)

    def _load(self) -> None:
        self.phase = Phase.LOADING
        self._gather_anew()
        self._store.load(self._key.snapshot_of(self.name), self._if_wanted(self._on_loaded))

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
                self._restore(sequence, state)
            self._catch_up()

        self._store.fetch(self.name, sequence.last, 1, self._if_wanted(on_place))

    def _restore(self, sequence: Sequence, state: bytes) -> None:
        try:
            self._follower.restore(state, sequence.last)
        except Exception:
            # What there is now is no room, and must not go on as one. Perhaps the next snapshot can
            # be restored.
            self._load_later()
            raise

    def _load_later(self) -> None:
        """Forget what was read, and load a snapshot soon."""
        broken, self._sequence = self._sequence.broken, Sequence(self._key, self.name)
        self._sequence.broken = broken
        self._again_at = self._now + RESEND_SECONDS

    def _take_over(self, sequence: Sequence, usable: bool) -> None:
        """Go on from this one, which is of a snapshot; if it is not `usable`, from the beginning of
        the stream, and lost. Not before its room can be restored: after a cut we go on from
        whatever place we have."""
        before, self._sequence = self._sequence, sequence
        was_lost = before.lost
        if not was_lost and not self._is_continued(before):
            before.lose(broken=True)
        elif not was_lost and before.era != sequence.era:
            before.end_era()
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
        self._gather_anew()
        self._store.fetch(
            self.name, self._sequence.last, STREAM_PAGE_ENTRIES, self._if_wanted(self._on_page)
        )

    def _on_page(self, found: Several[RawEntry] | ChatError) -> None:
        if isinstance(found, ChatError):
            self._read_later(found)
            return
        if self._reading_refused:
            self._reading_refused = False
            self._on_answer(self, "")
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
        self._outbox.read_up_to(self._sequence.number_of(self._outbox.origin) or 0)
        self._resend()
        self._tell_following()

    def _tell_following(self) -> None:
        if self.follows is not self._told_following:
            self._told_following = self.follows
            self._follower.on_following(self.follows)

    # -- reading

    def on_entries(self, entries: Several[RawEntry]) -> None:
        """The next entries of the stream."""
        if self.phase is not Phase.FOLLOWING:
            return
        self._on_busy(self)
        size = sum(len(entry.sealed) for entry in entries)
        if len(entries) < STREAM_PAGE_ENTRIES and size < SNAPSHOT_BYTES:
            self._gathered += entries
            return
        # We are behind. The stream may have been trimmed past us, and then these are not the next
        # ones. What is left after a trim is at least what lies between two snapshots.
        self._store.unfollow(self.name)
        self._catch_up()
        self._tell_following()

    def _gather_anew(self) -> None:
        self._gathered, self._gather_until = [], None

    def _read(self, entries: Several[RawEntry]) -> None:
        for raw in entries:
            ruling = self._sequence.read(raw)
            try:
                self._apply(ruling)
            except Exception:
                self._on_fault()
                raise
            # An error in this, for want of memory for instance, leaves nothing half done.
            if self._is_to_keep(ruling):
                self.keep()

    def _is_to_keep(self, ruling: Ruling) -> bool:
        """Whether here is a place for a snapshot of ours."""
        if isinstance(ruling, Counted):
            return ruling.due and ruling.origin == self._outbox.origin
        return isinstance(ruling, Wanted)

    def _on_fault(self) -> None:
        """Something was applied in part. Others may have applied all of it: what there is now is
        read anew. If the error is in the program, it comes again at the same entry, at all servers.
        So if it does, all of them go on behind it, and have the same; and so they do after the next
        errors, or the room would be read again and again."""
        place = self._sequence.last
        if place == self._fault:
            self._fault_came_again_at = self._now
        if self._now < self._fault_came_again_at + FAULT_SECONDS:
            if self.phase is Phase.CATCHING:
                self._again_at = self._now
        else:
            self._fault = place
            if self.phase is Phase.FOLLOWING:
                self._store.unfollow(self.name)
            self.phase = Phase.LOADING
            self._load_later()
            self._on_lost("")

    def _apply(self, ruling: Ruling) -> None:
        origin = self._outbox.origin
        match ruling:
            case Counted():
                mine = ruling.origin == origin
                if mine:
                    self._outbox.read_up_to(ruling.number)
                self._follower.apply(Batch(ruling.id, ruling.items, mine))
            case Begun():
                self._forget_proposals()
                self._follower.begin(Batch(ruling.id, (ruling.content,), ruling.origin == origin))
                self._tell_following()
            case PassedOver(duplicate=False) if ruling.origin == origin:
                # The entry before it is missing, or we were forgotten.
                self._outbox.resend_later(self._now + RESEND_SECONDS)
            case Outdated(place) if self.phase is Phase.FOLLOWING:
                self._ask_for_others(place)
            case Foreign(text):
                self._follower.on_trouble(text)
            case Lost(text):
                self._on_lost(text)

    def _ask_for_others(self, place: EntryId) -> None:
        """Somebody has said something in a room that is over. Perhaps it was merely late."""
        since = max(self._sequence.era, self._asked_for_others)
        if place.ms - since.ms >= 1000 * UNREAD_SECONDS:
            self._asked_for_others = place
            self._append(WANTED, self._sequence.beginning(self._outbox.origin).encode())

    def _forget_proposals(self) -> None:
        self._outbox.clear()
        self._begins_at = None
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
        """Keep the state in the store, and trim the stream. Only while it follows; and not before
        the store has what was kept last, or all that is asked would wait behind many snapshots."""
        if self.lost or self.phase not in (Phase.FOLLOWING, Phase.CATCHING):
            return
        if self._keeping:
            self._keep_again = True
            return
        sequence = self._sequence
        place, count = sequence.marks[0]
        name = self._key.snapshot_of(self.name)
        plaintext = self._sequence.encode() + self._follower.state()
        sealed = self._key.seal(self.name, SNAPSHOT, plaintext, self._random_bytes)

        def done(error: ChatError | None) -> None:
            again, self._keeping, self._keep_again = self._keep_again, False, False
            if error is not None:
                self._complain(error)
                return
            if self._sequence is sequence:
                self._store.trim(self.name, place, sequence.count - count + 1)
            if again:
                self.keep()

        self._keeping = True
        self._store.keep(name, sealed, self._if_current(done))
