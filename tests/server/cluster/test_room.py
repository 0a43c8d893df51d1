"""A room that several servers carry: it is the same at all of them, whatever happens."""

import json
import random
from typing import Any
from unittest.mock import Mock

import pytest

from chat.controls import Resumed, Welcome
from chat.errors import LOSSES, Reason
from chat.limits import BEAT_SECONDS, FINGERPRINT_BYTES, GRACE_SECONDS
from chat.server import epochs, hosted
from chat.server.cluster import room as ordered
from chat.server.cluster import sequence, stream
from chat.server.cluster.proposals import PutOut
from chat.server.members import Member
from chat.server.room import Room
from chat.text import fingerprint_of
from tests.support import fakestream
from tests.support.cluster import KEY, SEALED, ClusterServer, ClusterWorld, Person, Seat


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


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> ClusterWorld:
    """Two servers."""
    return ClusterWorld(monkeypatch)


def inside(server: ClusterServer, tag: bytes = b"") -> dict[str, bool]:
    """Who is in, as this server has it, and whether the member is lost."""
    room = server.hosted(tag)
    return {} if room is None else {one.name: one.lost for one in room.room.members.values()}


# -- one room ----------------------------------------------------------------------------------


def test_members_of_two_servers_hear_each_other(world: ClusterWorld) -> None:
    one, other = world.servers
    ira, boris = world.come("Ira", one), world.come("Boris", other)
    ira.say("hello")
    world.until(lambda: b"hello" in boris.transport.taken)
    boris.say("hello back")
    world.until(lambda: b"hello back" in ira.transport.taken)
    assert world.compared


def test_what_is_due_is_told_at_all_servers_at_once(world: ClusterWorld) -> None:
    one, other = world.servers
    ira = world.come("Ira", one)
    world.come("Boris", other)
    late = world.let_in(Person("Late", b""), other)
    world.until(lambda: late.speaks, seconds=5)
    world.until(lambda: "Late" in inside(one), seconds=1)
    world.end_turn()
    assert ira.cursor.offset == one.open_room().log.end


def test_server_goes_on_from_the_snapshot_alone(world: ClusterWorld) -> None:
    one, _ = world.servers
    ira = world.come("Ira", one)
    for _ in range(60):
        ira.say("x" * 300)
        world.run(0.2)
    late = world.start()
    world.run(1)
    assert world.restored == 1
    assert late.open_room().ordering.state() == one.open_room().ordering.state()  # type: ignore[attr-defined]


IN_A_SNAPSHOT = """
at log.boundaries log.start
room.base room.bases
room.epochs.begins_at room.epochs.current room.epochs.forgotten room.epochs.messages_at_renewal
room.epochs.next_renewal_at room.epochs.past room.epochs.refused room.epochs.renewals
room.epochs.renewed_at room.epochs.renewed_epoch room.epochs.secret room.epochs.step_at
room.epochs.waited_for
room.event_seq room.id
room.members.inside room.members.leaving room.members.lost room.members.lost_of
room.members.members.address room.members.members.card room.members.members.epoch
room.members.members.fingerprint room.members.members.id room.members.members.joined_at
room.members.members.lost room.members.members.name room.members.members.resend_pending
room.members.members.seq room.members.members.source room.members.members.token
room.members.members.welcomed_at room.members.next_id room.members.pending
room.messages seats
"""


def names_in(state: object, path: str = "") -> set[str]:
    """The names of all that is in the state, each behind the names of what it is in."""
    if isinstance(state, dict):
        inner = [names_in(value, f"{path}.{name}") for name, value in state.items()]
        return set().union(*inner)
    if isinstance(state, list) and any(isinstance(one, dict) for one in state):
        return set().union(*(names_in(one, path) for one in state))
    return {path[1:]}


def test_snapshot_of_another_shape_has_another_format(world: ClusterWorld) -> None:
    """Then a server of another version says so in one line, and cannot fail over what is missing.
    Whoever changes these names, or what they mean, in a release has to raise FORMAT."""
    one, _ = world.servers
    world.come("Ira", one)
    state = one.open_room().ordering.state()  # type: ignore[attr-defined]
    end = 4 + int.from_bytes(state[:4], "big")
    assert names_in(json.loads(state[4:end])) == set(IN_A_SNAPSHOT.split())
    assert sequence.FORMAT == 1


def test_epoch_ends_when_a_snapshot_could_not_hold_it(world: ClusterWorld) -> None:
    one, _ = world.servers
    ira = world.come("Ira", one)
    epoch = one.open_room().room.epoch
    for _ in range(20):
        ira.say("x" * 300)
    world.run(1)
    assert one.open_room().room.epoch == epoch + 1
    assert one.open_room().room.epoch_bytes <= 4_000


def test_flood_into_a_full_window_leaves_in_few_sends(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = world.servers
    ira, boris = world.come("Ira", one), world.come("Boris", other)
    for _ in range(60):
        ira.say("x" * 300)
        world.run(0.2)
    log = other.open_room().log
    assert log.start > 0
    sends = Mock(wraps=boris.transport.send)
    monkeypatch.setattr(boris.transport, "send", sends)
    boris.cursor.leave_front()
    world.run(1)
    sends.reset_mock()
    for _ in range(20):
        ira.say("x" * 100)
    world.run(1)
    assert log.end == boris.cursor.offset
    assert sends.call_count <= 5


def test_sealed_room_that_is_empty_begins_anew_at_all_servers(world: ClusterWorld) -> None:
    one, other = world.servers
    ira, boris = world.come("Ira", one, SEALED), world.come("Boris", other, SEALED)
    first = ira.person.place
    ira.say("the last word")
    world.run(1)
    ira.drop(Reason.LEFT)
    boris.drop(Reason.LEFT)
    world.run(1)
    assert [server.hosted(SEALED) for server in world.servers] == [None, None]
    # What was said in it counts nevertheless.
    assert [server.server.rooms.relayed for server in world.servers] == [1, 1]
    again = world.come("Ira", other, SEALED).person.place
    assert first is not None
    assert again is not None
    assert again.room != first.room
    assert again.member == 1


def test_sealed_room_is_forgotten_when_no_server_carries_it_and_not_before(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered, "SEALED_ROOM_SECONDS", 60)
    monkeypatch.setattr(ordered, "EMPTY_ROOM_SECONDS", 20)
    monkeypatch.setattr(ordered, "SEALED_ROOM_AGAIN_SECONDS", 10)
    one, other = world.servers
    stream = KEY.stream_of(SEALED)

    def kept() -> set[str]:
        return {name for name in (*world.redis.streams, *world.redis.values) if stream in name}

    ira, boris = world.come("Ira", one, SEALED), world.come("Boris", other, SEALED)
    for _ in range(60):
        ira.say("x" * 300)
        world.run(0.2)
    snapshot = KEY.snapshot_of(stream)
    assert kept() == {stream, snapshot}
    ira.drop(Reason.LEFT)
    world.run(200)
    assert one.hosted(SEALED) is None
    # A server that ends the room may ask just when another one lets somebody in.
    for name in (stream, snapshot):
        world.redis.expire(name, 20)
    world.run(200)
    assert kept() == {stream, snapshot}
    boris.say("we are still here")
    world.run(1)
    assert not boris.over
    world.kill(other)
    world.run(45)
    assert kept() == {stream, snapshot}
    world.run(155)
    assert kept() == set()
    # The open room stays, though nobody is in.
    assert KEY.stream_of(b"") in world.redis.streams
    again = world.come("Ira", one, SEALED)
    again.drop(Reason.LEFT)
    world.run(1)
    assert one.hosted(SEALED) is None
    assert kept() == {stream}
    world.run(25)
    assert kept() == set()


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365])
def test_clock_of_a_machine_means_nothing(world: ClusterWorld, hours: int) -> None:
    one, _ = world.servers
    wrong = world.start(origin=2e6 + 3_600 * hours)
    ira, boris = world.come("Ira", one), world.come("Boris", wrong)
    boris.say("it is late")
    world.until(lambda: b"it is late" in ira.transport.taken)
    ira.drop(Reason.LOST)
    world.run(GRACE_SECONDS - 5)
    assert inside(wrong) == {"Ira": True, "Boris": False}
    world.run(10)
    assert inside(wrong) == inside(one) == {"Boris": False}


@pytest.mark.parametrize("grace", [0.0, 5.0, 10 * GRACE_SECONDS])
def test_servers_that_keep_places_for_other_times_have_the_same_room(
    world: ClusterWorld, grace: float
) -> None:
    one, other = world.servers[0], world.start(grace=grace)
    ira, boris = world.come("Ira", one), world.come("Boris", other)
    for server in (one, other):
        world.come("Eve", server).drop(Reason.LOST)
        for seat in (ira, boris, ira):
            seat.say("she is lost")
            world.run(max(10, grace / 2))
        assert inside(one) == inside(other)
    world.run(GRACE_SECONDS + grace + 5)
    assert inside(one) == inside(other) == {"Ira": False, "Boris": False}
    assert world.compared


# -- whose member ------------------------------------------------------------------------------


def test_server_cannot_speak_for_a_member_that_came_back_elsewhere(world: ClusterWorld) -> None:
    one, other = world.servers
    ira = world.come("Ira", one)
    again = world.let_in(ira.person, other)
    # It has not heard of that yet.
    ira.over = False
    assert ira.home is not None
    member = next(iter(one.open_room().room.members.values()))
    ira.member = member
    world.until(lambda: again.speaks)
    one.open_room().ordering.relay(member, b"no run at all", 0.0, None)
    one.open_room().ordering.lose(member, Reason.LEFT, "")
    world.run(1)
    assert inside(one) == inside(other) == {"Ira": False}


def test_old_connection_that_breaks_late_does_not_end_the_new_stay(world: ClusterWorld) -> None:
    one, _ = world.servers
    ira = world.come("Ira", one)
    again = Seat(one, ira.person)
    ira.person.offset = ira.cursor.offset
    arrival = ira.person.arrival("::1")
    one.open_room().ordering.admit(arrival, again)  # type: ignore[arg-type]
    ira.drop(Reason.LOST, "found out only now")
    world.run(1)
    assert again.speaks
    assert inside(one) == {"Ira": False}


def test_arrival_that_is_known_late_costs_nobody_its_place(world: ClusterWorld) -> None:
    one, other = world.servers
    ira = world.come("Ira", one)
    ira.say("so that there is no welcome where the first one was")
    world.run(1)
    # She asked for it there with a place that is too old by now.
    before = Person("Ira", b"")
    before.place, before.offset = ira.person.place, 2**64 - 1
    late = world.let_in(before, other)
    world.until(lambda: late.speaks and ira.over)
    assert isinstance(late.heard[0], Welcome)
    again = world.let_in(ira.person, one)
    world.until(lambda: again.speaks)
    assert isinstance(again.heard[0], Resumed)


def test_connection_that_goes_while_its_arrival_is_on_the_way_leaves_no_ghost(
    world: ClusterWorld,
) -> None:
    one, other = world.servers
    world.come("Boris", other)
    ira = world.let_in(Person("Ira", b""), one)
    ira.drop(Reason.LOST)
    world.run(GRACE_SECONDS + 2)
    assert inside(one) == inside(other) == {"Boris": False}


@pytest.mark.parametrize("taken_for_gone", [False, True])
def test_guest_of_whose_arrival_a_server_learns_from_a_snapshot_is_let_in(
    world: ClusterWorld, *, taken_for_gone: bool
) -> None:
    one, other = world.servers
    world.come("Eve", one)
    boris = world.come("Boris", other)
    one.store.frozen = True
    ira = world.let_in(Person("Ira", b""), one)
    world.until(lambda: "Ira" in inside(other))
    before = one.open_room().ordering.stream._sequence.last  # type: ignore[attr-defined]
    if taken_for_gone:
        other.open_room().ordering.vanish(one.cluster.server_id)  # type: ignore[attr-defined]
    for _ in range(20):
        boris.say("x" * 300)
        world.run(0.2)
    assert world.redis.streams[KEY.stream_of(b"")][0].id > before
    assert inside(other)["Ira"] is taken_for_gone
    one.store.frozen = False
    one.store.cut()
    world.until(lambda: ira.speaks, seconds=2)
    world.run(2 * GRACE_SECONDS)
    assert inside(one) == inside(other) == {"Boris": False, "Ira": False}
    assert one.open_room().ordering._waiting == {}  # type: ignore[attr-defined]


def test_tickets_of_a_room_that_was_carried_before_mean_nobody(world: ClusterWorld) -> None:
    one, other = world.servers
    world.come("Boris", other, SEALED)
    world.come("Ira", one, SEALED).drop(Reason.LEFT)
    world.run(1)
    assert one.hosted(SEALED) is None
    again = world.come("Eve", one, SEALED)
    world.run(1)
    assert again.speaks
    assert inside(one, SEALED) == inside(other, SEALED) == {"Boris": False, "Eve": False}


@pytest.mark.parametrize(("number", "reason"), [(0, Reason.REPLACED), (1, Reason.LOST)])
def test_connection_whose_member_has_come_to_another_server_is_not_told_to_end(
    world: ClusterWorld, number: int, reason: Reason
) -> None:
    ira = world.come("Ira", world.servers[0])
    # Asked for there perhaps before Ira came here, and known only now.
    server = world.servers[number]
    late = Seat(server, ira.person)
    server.open_room().ordering.admit(ira.person.arrival("::1"), late)  # type: ignore[arg-type]
    world.until(lambda: late.speaks)
    world.run(1)
    assert ira.dropped is not None
    assert ira.dropped[0] is reason


def test_key_that_is_banned_while_its_arrival_is_on_the_way_is_put_out(
    world: ClusterWorld,
) -> None:
    one, _ = world.servers
    world.run(BEAT_SECONDS)
    # In a room that no other server carries: those put out whom they know, when they hear of it.
    eve = world.let_in(Person("Eve", SEALED), one)
    one.server.ban(fingerprint_of(eve.person.arrival("").fingerprint), "Eve", "")
    world.until(lambda: eve.over)
    world.run(1)
    assert eve.dropped is not None
    assert eve.dropped[0] is Reason.KICKED
    assert inside(one, SEALED) == {}


def test_kick_holds_for_one_who_is_at_another_server(world: ClusterWorld) -> None:
    one, other = world.servers
    eve = world.come("Eve", other)
    world.run(1)
    one.open_room().kick("Eve")
    world.run(1)
    assert eve.dropped is not None
    assert eve.dropped[0] is Reason.KICKED
    assert inside(one) == inside(other) == {}


def test_kick_holds_for_one_whose_server_has_died(world: ClusterWorld) -> None:
    one, other = world.servers
    eve = world.come("Eve", other)
    world.kill(other)
    one.open_room().kick("Eve")
    world.run(1)
    assert inside(one) == {}
    back = world.let_in(eve.person, one)
    world.until(lambda: back.speaks)
    assert any(isinstance(control, Welcome) for control in back.heard)
    assert not any(isinstance(control, Resumed) for control in back.heard)


def test_member_whose_loss_was_never_put_in_order_is_lost_when_the_stream_follows(
    world: ClusterWorld,
) -> None:
    one, other = world.servers
    ira = world.come("Ira", one)
    world.come("Boris", other)
    assert ira.member is not None
    one.open_room().disconnect(ira.member)
    world.run(1)
    assert inside(other) == {"Ira": False, "Boris": False}
    one.store.cut()
    world.run(1)
    assert inside(other) == inside(one) == {"Ira": True, "Boris": False}


def test_number_alone_puts_nobody_out(world: ClusterWorld) -> None:
    one, other = world.servers
    ira = world.come("Ira", one)
    assert ira.member is not None
    ordering = other.open_room().ordering
    assert isinstance(ordering, ordered.OrderedRoom)
    ordering._propose(PutOut(((ira.member.id, bytes(FINGERPRINT_BYTES)),), "in another room"))
    world.run(1)
    assert not ira.over


# -- when the stream is not what it was --------------------------------------------------------


def test_lost_tail_begins_a_new_room_and_lets_members_go(world: ClusterWorld) -> None:
    one, other = world.servers
    ira, boris = world.come("Ira", one), world.come("Boris", other)
    ira.say("this is lost")
    world.until(lambda: b"this is lost" in boris.transport.taken)
    world.redis.fail_over(world.redis.writes)
    world.run(5)
    assert ira.over
    assert boris.over
    again = world.let_in(ira.person, other)
    world.until(lambda: again.speaks)
    assert inside(one) == {"Ira": False}


def test_room_in_which_an_error_was_becomes_what_the_others_have(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = world.servers
    ira, boris = world.come("Ira", one), world.come("Boris", other)
    do = ordered.OrderedRoom._do

    def fail(room: ordered.OrderedRoom, *what: Any) -> None:
        if room is other.open_room().ordering:
            monkeypatch.setattr(ordered.OrderedRoom, "_do", do)
            raise ZeroDivisionError
        do(room, *what)

    monkeypatch.setattr(ordered.OrderedRoom, "_do", fail)
    ira.say("hello")
    with pytest.raises(ZeroDivisionError):
        world.run(1)
    assert boris.over
    world.run(3)
    assert b"hello" in world.come("Zoe", other).at.open_room().log.read(0, one.open_room().log.end)
    assert not ira.over
    assert not [line for line in other.screen.lines if "begins anew" in line]


def test_whoever_was_let_in_only_in_part_does_not_wait_for_ever(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = world.servers
    ira = world.come("Ira", one)
    join = Room.join

    def fail(of: Room, *what: Any) -> Member:
        if of is other.open_room().room:
            monkeypatch.setattr(Room, "join", join)
            raise ZeroDivisionError
        return join(of, *what)

    monkeypatch.setattr(Room, "join", fail)
    boris = world.let_in(Person("Boris", b""), other)
    with pytest.raises(ZeroDivisionError):
        world.run(1)
    assert boris.over
    world.run(3)
    again = world.let_in(boris.person, other)
    world.until(lambda: again.speaks)
    world.until(lambda: inside(one) == inside(other))
    assert not ira.over


def test_sealed_room_that_was_lost_is_kept_only_until_there_is_another(world: ClusterWorld) -> None:
    one, _ = world.servers
    ira = world.come("Ira", one, SEALED)
    room = one.hosted(SEALED)
    assert room is not None
    world.redis.fail_over(world.redis.writes)
    world.until(lambda: ira.over)
    # Only its stream knows into which room nobody may go back.
    assert not room.ordering.is_over
    world.run(5)
    assert one.hosted(SEALED) is None


def test_member_is_held_when_too_much_waits_and_let_go_when_it_is_far_too_much(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (stream, ordered):
        monkeypatch.setattr(module, "MAX_PROPOSED_BYTES", 1_000)
    one, _ = world.servers
    ira = world.come("Ira", one)
    world.redis.down = True
    one.store.cut()
    ira.say("x" * 100)
    assert not ira.held
    ira.say("x" * 1_000)
    assert ira.held
    assert not ira.over
    ira.say("x" * 1_000)
    assert ira.dropped == (Reason.LOST, "too much waits for Redis")
    world.redis.down = False
    world.run(2)
    assert inside(one) == {"Ira": True}


def test_nobody_comes_in_where_far_too_much_waits(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (stream, ordered):
        monkeypatch.setattr(module, "MAX_PROPOSED_BYTES", 1_000)
    one, _ = world.servers
    world.come("Ira", one)
    world.redis.down = True
    one.store.cut()
    guests = [world.let_in(Person(f"p{number}", b""), one) for number in range(100)]
    waiting = [guest for guest in guests if not guest.over]
    sent_away = guests[len(waiting) :]
    assert waiting
    assert {guest.dropped for guest in sent_away} == {(Reason.LOST, "too much waits for Redis")}
    world.redis.down = False
    world.run(2)
    assert all(guest.speaks for guest in waiting)
    assert world.come(sent_away[0].person.name, one)


def test_guests_who_give_up_while_there_is_no_room_yet_do_not_add_up(world: ClusterWorld) -> None:
    one, _ = world.servers
    world.redis.down = True
    one.store.cut()
    boris = world.let_in(Person("Boris", SEALED), one)
    for _ in range(3):
        world.let_in(Person("Ira", SEALED), one).drop(Reason.LOST)
    zoe = world.let_in(Person("Zoe", SEALED), one)
    room = one.hosted(SEALED)
    assert room is not None
    assert len(room.ordering._waiting) == 2  # type: ignore[attr-defined]
    world.redis.down = False
    world.until(lambda: boris.speaks and zoe.speaks)


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


@pytest.mark.parametrize("seed", range(6))
def test_storm_of_everything_leaves_one_room(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    storm = Storm(monkeypatch, seed)
    world = storm.world
    storm.rage(200)
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
