"""Servers of one cluster over a Redis in memory (`fakestream`), in virtual time.

All from the `Server` down to the store is the real program. A `Seat` stands in the place of a
connection and notes what its member is sent; `Turns` stands in the place of a reactor. Whenever a
server has applied something, its state is compared with what others had at the same place: every
room has to be the same at all of them, byte for byte.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from chat.controls import Control, Rekey, Resume, Welcome, decode_control
from chat.errors import Reason
from chat.identities import Card
from chat.limits import GRACE_SECONDS
from chat.reactor import Timer
from chat.server.access import Access
from chat.server.cluster.cluster import Cluster
from chat.server.cluster.clusterkey import ClusterKey
from chat.server.cluster.room import OrderedRoom
from chat.server.cluster.shared import SharedLists
from chat.server.cluster.store import EntryId
from chat.server.cluster.stream import Batch
from chat.server.console import Console
from chat.server.greeting import Greeting
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban, InMemory, line_of_ban
from chat.server.log import Cursor, Sealed
from chat.server.members import Member
from chat.server.ordering import Arrival
from chat.server.room import Unicast
from chat.server.server import Server
from chat.wire import Message
from tests.support.fakestream import FakeRedis, FakeStore, Timeline
from tests.support.helpers import WALL_CLOCK, FixedBytes, key

KEY = ClusterKey.of(bytes(32), "test")
CARD = b"the card"
SEALED = b"t" * 16
"""The tag of a sealed room."""

Place = tuple[bytes, EntryId, EntryId]
"""A room, an era of its stream, and an entry in that."""


class Turns:
    """What a server needs of a reactor: timers, and a clock that has an `origin` of its own."""

    def __init__(self, time: Timeline, origin: float) -> None:
        self.patient_per_turn = 0
        self.alive = True
        self._hooks: list[Callable[[], None]] = []
        self._time = time
        self._origin = origin

    def clock(self) -> float:
        return self._time.now + self._origin

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(deadline, callback)

        def fire() -> None:
            if self.alive and timer.callback is not None:
                timer.callback()

        self._time.call_in(max(0.0, deadline - self.clock()), fire)
        return timer

    def call(self, callback: Callable[[], None]) -> float:
        callback()
        return 0.0

    def contain(self, _answering: object, fault: Exception) -> float:
        raise fault

    def before_wait(self, hook: Callable[[], None]) -> None:
        self._hooks.append(hook)

    def end_turn(self) -> None:
        for hook in self._hooks:
            hook()

    def stop(self) -> None:
        self.alive = False


class Screen:
    """A desk that keeps its lines."""

    keys: Sequence[str] = ()
    queued_bytes = 0

    def __init__(self) -> None:
        self.lines: list[str] = []

    def show(self, lines: Sequence[str]) -> None:
        self.lines += lines


class Socket:
    """A transport whose peer takes everything at once."""

    writing = False

    def __init__(self, cursor: Cursor) -> None:
        self.taken = b""
        self._cursor = cursor

    def send(self, data: bytes) -> int:
        self.taken += data
        return len(data)

    def flush(self) -> None:
        while not self._cursor.idle:
            data = self._cursor.pending(65_536)
            self.taken += data
            self._cursor.advance(len(data))


class Person:
    """Somebody who comes in, speaks and comes back. `place`: what the last WELCOME said."""

    def __init__(self, name: str, tag: bytes) -> None:
        self.name = name
        self.tag = tag
        self.place: Welcome | None = None
        self.epoch = 0
        self.offset = 0
        self.seat: Seat | None = None

    def arrival(self, address: str) -> Arrival:
        """The person at the door: back to its place, if it has one."""
        place, resume = self.place, None
        if place is not None:
            resume = Resume(place.member, place.token, self.offset, self.epoch)
        fingerprint = hashlib.sha256(self.name.encode()).digest()
        return Arrival(self.name, fingerprint, Card(), resume, WALL_CLOCK, address, address)


class Seat:
    """In the place of a `Connection`."""

    def __init__(self, at: "ClusterServer", person: Person) -> None:
        self.at = at
        self.person = person
        self.over = self.welcome_waits = False
        self.home: HostedRoom | None = None
        self.member: Member | None = None
        self.cursor = Cursor()
        self.transport = Socket(self.cursor)
        self.dropped: tuple[Reason, str] | None = None
        self.heard: list[Control] = []
        self.held = 0.0
        self.begins_at = 0
        self._spoken = 0
        person.seat = self

    # -- the person

    def say(self, text: str) -> None:
        """Say something. Servers do not look at what is sealed in a frame."""
        assert self.member is not None
        assert self.home is not None
        self._spoken = max(self._spoken, self.member.seq) + 1
        frame = Message(self.person.epoch, self.member.id, self._spoken, text.encode()).to_wire()
        self.home.submit(self.member, frame, self.at.turns.clock(), self)  # type: ignore[arg-type]

    @property
    def speaks(self) -> bool:
        """Whether it is in, and has been told so."""
        return not self.over and self.member is not None and bool(self.heard)

    # -- the connection

    def drop(self, reason: Reason, text: str = "") -> None:
        if self.over:
            return
        if self.home is not None and self.cursor.following:
            self.person.offset = self.cursor.offset
        if self.home is not None and self.member is not None and reason is not Reason.REPLACED:
            self.home.connection_lost(self.member, reason, text)
        self.over, self.dropped = True, (reason, text)

    def admitted(self, _sent_again: int) -> None:
        assert not self.over

    def relayed(self, _size: int, _count: int, _appended: int) -> None:
        assert not self.over

    def hold(self, seconds: float) -> None:
        self.held += seconds

    def deliver(self, unicast: Unicast) -> None:
        assert not self.over
        if not self.cursor.following:
            assert self.home is not None
            self.begins_at = unicast.at
            self.cursor.follow(self.home.log, unicast.at)
        self.cursor.splice(Sealed(self._hear, *unicast.controls), unicast.at)
        self.at.server.to_flush.add(self)  # type: ignore[arg-type]

    def _hear(self, *controls: bytes) -> bytes:
        for control in map(decode_control, controls):
            self.heard.append(control)
            if isinstance(control, Welcome):
                self.person.place, self.person.epoch = control, control.epoch
                self._spoken = 0
            elif isinstance(control, Rekey):
                self.person.epoch = control.epoch
        return b""


class ClusterServer:
    """One server of the cluster."""

    def __init__(
        self, world: "ClusterWorld", name: str, origin: float, bans: list[Ban], grace: float
    ) -> None:
        self.name = name
        self.turns = Turns(world.time, origin)
        self.screen = Screen()
        self.store = FakeStore(world.redis)
        self.console = Console(self.turns, self.screen)  # type: ignore[arg-type]
        self.access = Access(bans=InMemory(*map(line_of_ban, bans)))
        self.greeting = Greeting()
        shared = SharedLists(self.access, self.greeting, self.console)
        self.cluster = Cluster(
            self.turns,  # type: ignore[arg-type]
            self.store,
            KEY,
            CARD,
            name,
            FixedBytes(name),
            shared,
        )
        self.server = Server(
            self.turns,  # type: ignore[arg-type]
            [],
            key("server"),
            self.console,
            grace,
            access=self.access,
            greeting=self.greeting,
            company=self.cluster,
        )
        self.store.watcher = self.cluster.streams
        self.store.begin()

    def let_in(self, person: Person) -> Seat:
        """The person comes in here. What it has elsewhere breaks."""
        if person.seat is not None and not person.seat.over:
            person.seat.drop(Reason.LOST)
        seat = Seat(self, person)
        room = self.server.rooms.of(person.tag, self.name)
        room.ordering.admit(person.arrival(self.name), seat)  # type: ignore[arg-type]
        return seat

    def hosted(self, tag: bytes = b"") -> HostedRoom | None:
        """The room of this tag, if it is carried here."""
        return next((room for room in self.server.rooms if room.tag == tag), None)

    def open_room(self) -> HostedRoom:
        room = self.hosted()
        assert room is not None
        return room


class ClusterWorld:
    """Servers, one Redis, a time for all of them, and what each room was like at each place."""

    def __init__(self, patch: pytest.MonkeyPatch, seed: int = 0, servers: int = 2) -> None:
        self.choices = random.Random(seed)
        self.time = Timeline()
        self.redis = FakeRedis(self.choices, lambda: self.time.now, self.time.call_in)
        self.states: dict[Place, bytes] = {}
        self.compared = self.restored = self.begun = 0
        self.seats: list[Seat] = []
        self._watch(patch)
        self._names = (f"s{number}" for number in range(1_000))
        self.servers = [self.start() for _ in range(servers)]

    def _watch(self, patch: pytest.MonkeyPatch) -> None:
        """Compare each room whenever something was applied."""
        apply, begin, restore = OrderedRoom.apply, OrderedRoom.begin, OrderedRoom.restore

        def applied(room: OrderedRoom, batch: Batch) -> None:
            apply(room, batch)
            self._compare(room, batch.id)

        def begun(room: OrderedRoom, batch: Batch) -> None:
            begin(room, batch)
            self.begun += 1
            self._compare(room, batch.id)

        def restored(room: OrderedRoom, state: bytes, at: EntryId) -> None:
            restore(room, state, at)
            self.restored += 1
            before = [place for place in self.states if place[:2] == _era(room) and place[2] <= at]
            self._compare(room, max(before)[2])

        patch.setattr(OrderedRoom, "apply", applied)
        patch.setattr(OrderedRoom, "begin", begun)
        patch.setattr(OrderedRoom, "restore", restored)

    def _compare(self, room: OrderedRoom, at: EntryId) -> None:
        place: Any = (*_era(room), at)
        state = room.state()
        before = self.states.setdefault(place, state)
        self.compared += before is not state
        assert before == state, f"two servers differ at {at}"

    # -- what happens

    def start(
        self,
        *,
        bans: list[Ban] | None = None,
        origin: float | None = None,
        grace: float = GRACE_SECONDS,
    ) -> ClusterServer:
        """One more server. Its clock says whatever it likes."""
        if origin is None:
            origin = self.choices.uniform(0, 1_000_000)
        server = ClusterServer(self, next(self._names), origin, bans or [], grace)
        if hasattr(self, "servers"):
            self.servers.append(server)
        return server

    def kill(self, server: ClusterServer) -> None:
        """It is gone, and its connections with it."""
        self.servers.remove(server)
        server.turns.stop()
        server.store.close()
        for seat in self.seats:
            if seat.at is server and not seat.over:
                if seat.cursor.following:
                    seat.person.offset = seat.cursor.offset
                seat.over, seat.dropped = True, (Reason.LOST, "")

    def let_in(self, person: Person, server: ClusterServer) -> Seat:
        """The person comes in there."""
        seat = server.let_in(person)
        self.seats.append(seat)
        return seat

    def come(self, name: str, server: ClusterServer, tag: bytes = b"") -> Seat:
        """Somebody new comes in there, and is welcomed."""
        seat = self.let_in(Person(name, tag), server)
        self.until(lambda: seat.speaks)
        return seat

    # -- time

    def end_turn(self) -> None:
        for server in list(self.servers):
            server.turns.end_turn()

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.end_turn()
            self.time.step()
        self.end_turn()

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.time.now + seconds
        self.time.call_in(seconds, lambda: None)
        while self.time.now < until:
            self.steps(1)

    def until(self, holds: Callable[[], bool], seconds: float = 60.0) -> None:
        """Let time pass until this holds."""
        until = self.time.now + seconds
        self.end_turn()
        while not holds():
            assert self.time.now < until, "it does not come"
            self.steps(1)


def _era(room: OrderedRoom) -> tuple[bytes, EntryId]:
    return room.stream.name.encode(), room.stream._sequence.era
