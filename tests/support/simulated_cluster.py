"""Several servers of one cluster in a simulated world: their ways to a Redis in memory, and a
record of what they make of it.

Each of them writes down what it does; here that is compared. What has to be the same is law 19 of
`laws`, whose member somebody is law 20.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, ClassVar

from chat.errors import ChatError
from chat.server.cluster.proposals import Header, Lose, Proposal, Relay, Vanish
from chat.server.cluster.room import OrderedRoom, _Seat
from chat.server.cluster.store import EntryId, RawEntry, Watcher
from chat.server.cluster.stream import Batch, Phase
from chat.server.connection import Connection
from chat.server.hosted import HostedRoom
from chat.server.members import Member
from chat.server.ordering import Arrival
from chat.server.room import Room
from tests.laws_of_keys import require
from tests.support.fakestream import FakeRedis, FakeStore
from tests.support.simulated import EPOCH, Process, World
from tests.support.simulated_liar import LyingHome, LyingRoom
from tests.support.simulated_record import Entry, Life, PrivateTexts, RoomKeys, Secrets

RETRY_SECONDS = 0.5
"""So long after a server has found no way to Redis it tries again."""


# -- the way to Redis --------------------------------------------------------------------------


class SimulatedRedis(FakeRedis):
    """It counts how often writes were lost that somebody may have read."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(
            Random(f"redis {seed}"),
            # Delays go by this, and ids by what it is `ahead`.
            lambda: world.now + EPOCH,
            lambda seconds, callback: world.at(world.now + seconds, callback),
        )
        self.losses: list[float] = []
        self._world = world

    def fail_over(self, lost_writes: int) -> None:
        if lost_writes:
            self.losses.append(self._world.now)
        super().fail_over(lost_writes)

    def write_again(self, count: int) -> None:
        """Somebody puts the last entries of each stream there once more."""
        for stream, entries in list(self.streams.items()):
            for entry in entries[-count:]:
                self.append(stream, entry.kind, entry.sealed)

    def lose_values(self) -> None:
        """All snapshots are gone."""
        self.values.clear()


class SimulatedStore(FakeStore):
    """What happens to a process by way of Redis happens in its own turns. `cut_until`: it finds no
    way before."""

    def __init__(self, redis: SimulatedRedis, process: Process, slowest: float) -> None:
        super().__init__(redis)
        self.cut_until = 0.0
        self._process = process
        self._slowest = slowest
        self._known_life = -1
        """The connection of which the process knows."""

    def follow_by(self, watcher: Watcher) -> None:
        """From now on, tell this one."""
        self.watcher = _Mailbox(self, watcher)

    def post(self, callback: Callable[[], None]) -> None:
        """Let the process do this, when it comes to it."""
        self._process.reactor.defer(callback)
        self._process.poke()

    def _short(self) -> float:
        return self._redis.choices.random() * self._slowest

    def begin(self) -> None:
        no_way = self._redis.down or self._process.world.now < self.cut_until
        if no_way and not self.up and self in self._redis.stores:
            self._redis.call_in(RETRY_SECONDS, self.begin)
        else:
            super().begin()

    def cut_for(self, seconds: float) -> None:
        """Break the connection, and let there be none for a while."""
        self.cut_until = self._process.world.now + seconds
        self.cut()

    def noted_up(self, life: int) -> None:
        """The process knows that it is connected."""
        self._known_life = life

    @property
    def _is_known(self) -> bool:
        return self.up and self._known_life == self._life

    def _ask(self, execute: Callable[[], object], done: Callable[..., None] | None) -> None:
        if not self._is_known:
            # It goes into a connection that is broken, which the process does not know yet.
            return

        def answer(reply: object) -> None:
            if done is not None:
                self.post(lambda: done(reply))

        super()._ask(execute, answer)

    def follow(self, stream: str, after: EntryId) -> None:
        if self._is_known:
            super().follow(stream, after)


class _Mailbox:
    """What a process is told waits until it has a turn."""

    def __init__(self, store: SimulatedStore, watcher: Watcher) -> None:
        self._store = store
        self._watcher = watcher

    def on_up(self) -> None:
        life = self._store._life

        def tell() -> None:
            self._store.noted_up(life)
            self._watcher.on_up()

        self._store.post(tell)

    def on_down(self, error: ChatError) -> None:
        self._store.post(lambda: self._watcher.on_down(error))

    def on_entries(self, stream: str, entries: Sequence[RawEntry]) -> None:
        self._store.post(lambda: self._watcher.on_entries(stream, entries))


# -- what the servers make of a room -----------------------------------------------------------


class Branch(Life):
    """One log of a room, as all servers have it, or (19) as some of them have."""

    def __init__(
        self,
        room: bytes,
        number: int,
        secrets: Secrets,
        private: PrivateTexts,
        room_keys: RoomKeys,
    ) -> None:
        super().__init__(room, secrets, private, room_keys)
        self.raw = bytearray()
        self.is_new = True
        """Whether nothing was appended to it yet."""
        self._number = number

    @property
    def key(self) -> tuple[bytes, int]:
        return self.room, self._number

    def bound(self, offset: int) -> None:
        if offset > self.boundaries[-1]:
            super().bound(offset)

    def note(self, entry: Entry) -> None:
        if not self.entries or entry.start >= self.entries[-1].end:
            super().note(entry)

    def note_secret(self, epoch: int, secret: bytes) -> None:
        known = self.secrets.setdefault(epoch, secret)
        require(known == secret, f"two servers have another secret for epoch {epoch} of one room")


class ReplicaRoom(LyingRoom):
    """The room as one server has it."""

    def __init__(self, chronicle: "Chronicle", process: Process, *made: Any) -> None:
        self._chronicle = chronicle
        self._process = process
        self._since = chronicle.world.now
        super().__init__(chronicle.branch_of, chronicle.world.clock, *made)
        self._stand_on(self.branch)

    @property
    def branch(self) -> Branch:
        assert isinstance(self.life, Branch)
        return self.life

    def _stand_on(self, branch: Branch) -> None:
        """Its log is this one."""
        self.life = branch
        told = self._chronicle.told.setdefault((self._process.name, branch.room), {})
        told[self._since] = branch

    def go_on(self) -> None:
        """It was restored from a snapshot."""
        log = self._log
        window = log.read(log.start, log.end)
        self._stand_on(self._chronicle.holding(self.id, log.start, window))
        self.branch.note_secret(self.epoch, self._epochs.secret.secret)

    def _append_run(self, run: bytes) -> None:
        if run:
            self._stand_on(self._chronicle.agreed(self.branch, self._log.end, run, self.epoch))
        super()._append_run(run)


class ReplicaMaker:
    """In the place of `Room`, where a server makes or restores one."""

    def __init__(self, chronicle: "Chronicle") -> None:
        self._chronicle = chronicle

    def __call__(self, *made: Any) -> ReplicaRoom:
        return ReplicaRoom(self._chronicle, self._chronicle.world.running, *made)

    def restored(self, *state: Any) -> Room:
        """The room of which this is the state, by way of one that is thrown away."""
        restore: Any = Room.restored
        room = restore.__func__(self, *state)
        assert isinstance(room, ReplicaRoom)
        room.go_on()
        return room


class ReplicaHome(LyingHome):
    """A room at one server of several: it may end here and go on elsewhere."""

    admitted: Member | None = None
    """Who was let in last, if anybody was."""

    def admit(self, arrival: Arrival, connection: Connection | None) -> Member | None:
        self.admitted = super().admit(arrival, connection)
        return self.admitted

    def begin(self) -> None:
        super().begin()
        self.room.room_clock = lambda: self.clock()

    def restore(self, *state: Any) -> None:
        super().restore(*state)
        self.room.room_clock = lambda: self.clock()

    def end(self) -> None:
        HostedRoom.end(self)


class Replica(OrderedRoom):
    """What a server applies, and what has come of it."""

    chronicle: ClassVar["Chronicle"]
    _hosted: ReplicaHome
    _owners: dict[int, bytes]
    """At which server each member is, by who came where."""

    def __init__(self, *made: Any) -> None:
        super().__init__(*made)
        self._followed: dict[bytes, tuple[Branch, int]] = {}
        """The logs of all rooms that were followed here, and how far."""

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self._owners = {}
        self._note(batch.id)

    def restore(self, state: bytes, at: EntryId) -> None:
        super().restore(state, at)
        self._owners = {number: seat.server for number, seat in self._seats.items()}
        self._note(at)

    def on_following(self, follows: bool) -> None:
        if follows:
            text = "a server goes on in a room without something that its members were told there"
            require(self._has_all_that_was_told(), text)
        super().on_following(follows)

    def _has_all_that_was_told(self) -> bool:
        branch = self._branch
        before, end = self._followed.get(branch.room, (branch, 0))
        return self._hosted.log.end >= end and branch.raw[:end] == before.raw[:end]

    @property
    def _branch(self) -> Branch:
        room = self._hosted.room
        assert isinstance(room, ReplicaRoom)
        return room.branch

    def apply(self, batch: Batch) -> None:
        super().apply(batch)
        self._note(batch.id)
        for number in self._hosted._members:
            text = f"member {number} has a connection at a server that it is not at"
            require(self._owners[number] == self._site.server_id, text)

    def _note(self, at: EntryId) -> None:
        home, room = self._hosted, self._hosted.room
        if self.stream.phase is Phase.FOLLOWING:
            self._followed[room.id] = self._branch, home.log.end
        # Not by way of `state`, which may forget something.
        members = [*room.members.values(), *room._members.pending]
        place = [room.id, room.messages, room._event_seq, home.log.start, home.log.end, self._at]
        held = repr([place, *map(_plain, (room._epochs, members, self._seats))])
        self.chronicle.note_state(self.stream.name, at, held)

    def _come(self, seat: _Seat, *come: Any) -> None:
        self._hosted.admitted = None
        super()._come(seat, *come)
        if self._hosted.admitted is not None:
            self._owners[self._hosted.admitted.id] = seat.server

    def _do(self, header: Header, proposal: Proposal) -> None:
        before = self._presences()
        super()._do(header, proposal)
        if isinstance(proposal, Relay | Lose | Vanish):
            server = proposal.server if isinstance(proposal, Vanish) else header.server
            now = self._presences()
            for number, presence in before.items():
                changed = now.get(number) != presence
                text = f"a server that member {number} is not at speaks for it"
                require(not changed or self._owners[number] == server, text)

    def _presences(self) -> dict[int, tuple[bool, int]]:
        """Of each member, whether it is lost, and how much it has said."""
        inside = self._hosted.room.members
        return {number: (member.lost, member.seq) for number, member in inside.items()}


class Chronicle:
    """What all servers of a cluster have made of all rooms. `began` is told of each new log."""

    def __init__(
        self, world: World, redis: SimulatedRedis, began: Callable[[Branch], None], *of_lives: Any
    ) -> None:
        """`of_lives`: see `Life`, but for its first argument."""
        self.world = world
        self.told: dict[tuple[str, bytes], dict[float, Life]] = {}
        """By the process of a server, and the room: which log it had since when. Who comes to a
        room anew comes perhaps to another log of it."""
        self._redis = redis
        self._began = began
        self._of_lives = of_lives
        self._rooms: dict[bytes, list[Branch]] = {}
        self._states: dict[tuple[str, EntryId], str] = {}

    def branch_of(self, room: bytes) -> Branch:
        """The log of a room; the first, if there are several."""
        if room not in self._rooms:
            self._rooms[room] = [Branch(room, 0, *self._of_lives)]
        return self._rooms[room][0]

    def holding(self, room: bytes, start: int, window: bytes) -> Branch:
        """The log of a room that has this in it."""
        end = start + len(window)
        found = (one for one in self._rooms[room] if one.raw[start:end] == window)
        branch = next(found, None)
        require(branch is not None, "a log was restored that no server has made")
        assert branch is not None
        return branch

    def agreed(self, branch: Branch, start: int, run: bytes, epoch: int) -> Branch:
        """A server whose log is this one so far appends this. Returns whose log that is."""
        end, known = start + len(run), self._rooms[branch.room]
        if branch.raw[start:end] == run:
            return branch
        for other in known:
            if other.raw[:start] == branch.raw[:start] and other.raw[start:end] == run:
                return other
        if start < len(branch.raw):
            losses = [at for at in self._redis.losses if at >= branch.entries[0].at]
            text = f"two servers have other logs of one room from {start} on"
            require(len(known) <= len(losses), text)
            branch.died_at = min(branch.died_at, self.world.now)
            branch = self._fork(branch, start, epoch)
            known.append(branch)
        if not branch.raw or branch.is_new:
            self._began(branch)
        branch.is_new = False
        branch.raw += run
        return branch

    def _fork(self, branch: Branch, end: int, epoch: int) -> Branch:
        fork = Branch(branch.room, len(self._rooms[branch.room]), *self._of_lives)
        fork.tag, fork.server = branch.tag, branch.server
        fork.raw = branch.raw[:end]
        fork.boundaries = [each for each in branch.boundaries if each <= end]
        fork.crowded_out |= branch.crowded_out
        for number, secret in branch.secrets.items():
            if number <= epoch:
                fork.secrets[number] = secret
        for entry in branch.entries:
            if entry.end <= end:
                fork.note(entry)
        return fork

    def note_state(self, stream: str, at: EntryId, held: str) -> None:
        """A server has this where it has applied the stream up to here."""
        known = self._states.setdefault((stream, at), held)
        require(known == held, f"two servers have another room at {at}: {_differing(known, held)}")


def _plain(held: Any) -> Any:
    """What an object holds, and what that holds: what only this server knows left out."""
    if isinstance(held, int | float | str | bytes | None):
        return held
    if isinstance(held, dict):
        return [(_plain(key), _plain(value)) for key, value in held.items()]
    if isinstance(held, Iterable):
        return [_plain(each) for each in held]
    names = getattr(held, "__slots__", ()) or vars(held)
    fields = {name: getattr(held, name) for name in names if name not in _OWN}
    return [(name, _plain(value)) for name, value in sorted(fields.items())]


_OWN = {"sent", "event_key"}
"""How far a member was sent the log; and what follows from a secret."""


def _differing(one: str, other: str) -> str:
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return f"{one[max(0, at - 60) : at + 20]!r} and {other[max(0, at - 60) : at + 20]!r}"
