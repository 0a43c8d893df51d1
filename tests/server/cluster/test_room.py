"""A room that several servers carry: it is the same at all of them, whatever happens."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from chat.controls import Welcome
from chat.errors import LOSSES, Reason
from chat.roomevents import Topic
from chat.server import epochs, hosted
from chat.server.cluster import room as ordered
from chat.server.cluster import sequence, stream
from tests.support import fakestream
from tests.support.cluster import SEALED, ClusterServer, ClusterWorld, Person, Seat


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes megabytes and minutes otherwise happens within some entries."""
    for module, name, value in (
        (sequence, "SNAPSHOT_BYTES", 4_000),
        (stream, "SNAPSHOT_BYTES", 4_000),
        (sequence, "RECENT_ENTRIES", 64),
        (stream, "STREAM_PAGE_ENTRIES", 8),
        (fakestream, "STREAM_PAGE_ENTRIES", 8),
        (hosted, "WINDOW_BYTES", 12_000),
        (ordered, "MAX_EPOCH_BYTES", 4_000),
        (epochs, "JOIN_INTERVAL_SECONDS", 0.5),
    ):
        monkeypatch.setattr(module, name, value)


# -- a storm of everything -------------------------------------------------------------------------


class Storm:
    """Everything that may happen, in an order that follows from a seed."""

    def __init__(self, patch: pytest.MonkeyPatch, seed: int) -> None:
        self.world = ClusterWorld(patch, seed, servers=3)
        self.choices = random.Random(f"storm {seed}")
        self.people = [Person(f"p{number}", tag) for tag in (b"", SEALED) for number in range(5)]
        self.said = 0

    def rage(self, steps: int) -> None:
        acts = (
            (20, self.come),
            (40, self.say),
            (8, self.break_off),
            (4, self.leave),
            (3, self.kick),
            (3, self.tell),
            (3, self.set_topic),
            (2, self.wait),
            (4, self.cut),
            (1, self.fill),
            (1, self.fail_over),
            (1, self.kill),
            (1, self.start),
        )
        weights, deeds = zip(*acts, strict=True)
        for _ in range(steps):
            self.choices.choices(deeds, weights)[0]()
            self.world.steps(self.choices.randint(0, 12))

    @property
    def server(self) -> ClusterServer:
        return self.choices.choice(self.world.servers)

    @property
    def speaking(self) -> list[Seat]:
        return [one.seat for one in self.people if one.seat is not None and one.seat.speaks]

    def come(self) -> None:
        person = self.choices.choice(self.people)
        if person.seat is None or person.seat.over or self.choices.random() < 0.2:
            self.world.let_in(person, self.server)

    def say(self) -> None:
        for seat in self.speaking[:1] if self.choices.random() < 0.5 else self.speaking:
            self.said += 1
            seat.say(f"{self.said} " + "x" * self.choices.choice((1, 10, 300)))

    def break_off(self) -> None:
        for seat in self.speaking[: self.choices.randint(0, 2)]:
            seat.drop(self.choices.choice(sorted(LOSSES)))

    def leave(self) -> None:
        for seat in self.speaking[-1:]:
            seat.drop(Reason.LEFT)
            seat.person.place = None

    def kick(self) -> None:
        for room in self.server.server.rooms:
            room.kick(f"p{self.choices.randint(0, 4)}")

    def tell(self) -> None:
        self.server.server.say("a notice")

    def set_topic(self) -> None:
        self.server.server.set_topic(f"topic {self.choices.randint(0, 9)}")

    def wait(self) -> None:
        self.world.run(self.choices.choice((1, 5, 20, 200)))

    def cut(self) -> None:
        self.server.store.cut()

    def fill(self) -> None:
        self.world.redis.full = True
        self.world.steps(self.choices.randint(0, 100))
        self.world.redis.full = False

    def fail_over(self) -> None:
        self.world.redis.fail_over(self.choices.choice((0, 1, 2, 5, 30)))

    def kill(self) -> None:
        if len(self.world.servers) > 1:
            self.world.kill(self.server)

    def start(self) -> None:
        if len(self.world.servers) < 4:
            self.world.start()


def living(world: ClusterWorld, tag: bytes) -> list[tuple[int, str]]:
    """The connections of the members in this room, over all servers: number and server."""
    return sorted(
        (seat.member.id, seat.at.name)
        for seat in world.seats
        if seat.person.tag == tag and not seat.over and seat.member is not None
    )


@pytest.mark.parametrize("seed", range(250))
def test_storm_of_everything_leaves_one_room(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    storm = Storm(monkeypatch, seed)
    world = storm.world
    storm.rage(300)
    world.run(60)
    for person in storm.people:
        if person.seat is None or person.seat.over:
            world.let_in(person, storm.server)
    world.run(10)
    for seat in storm.speaking:
        seat.say(f"the end of {seat.person.name}")
    world.run(5)
    quiet = [one.seat for one in storm.people if one.seat is not None and not one.seat.speaks]
    assert [(seat.person.name, seat.dropped, seat.member) for seat in quiet] == []
    for tag in (b"", SEALED):
        rooms = [room for one in world.servers if (room := one.hosted(tag)) is not None]
        states = {room.ordering.state() for room in rooms}  # type: ignore[attr-defined]
        inside = {number for number, one in rooms[0].room.members.items() if not one.lost}
        connected = living(world, tag)
        assert len(states) == 1
        assert [number for number, _ in connected] == sorted(inside)
        for seat in storm.speaking:
            assert seat.person.tag != tag or seat.cursor.offset == rooms[0].log.end
    assert world.compared
