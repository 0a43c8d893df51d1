"""By what connection a member is in a room that several servers carry, and beats of servers.

The stream is a list of what was proposed; a test applies of it what it likes, and when.
"""

import json
from collections.abc import Callable, Iterator
from hashlib import shake_256
from itertools import count
from typing import Any, ClassVar

import pytest

from chat.cipher import RandomBytes
from chat.controls import Resume
from chat.errors import Reason
from chat.identities import Card
from chat.limits import BEAT_SECONDS, GRACE_SECONDS, PROPOSAL_SEED_BYTES, SERVER_GONE_SECONDS
from chat.reactor import Reactor
from chat.server import words
from chat.server.cluster import room
from chat.server.cluster.proposals import (
    WHOEVER,
    Come,
    Header,
    Lose,
    Proposal,
    PutOut,
    Relay,
    decode,
    encode,
)
from chat.server.cluster.registry import Registry
from chat.server.cluster.room import OrderedRoom, Randomness
from chat.server.cluster.store import START, EntryId
from chat.server.cluster.stream import Batch
from chat.server.hosted import HostedRoom
from chat.server.log import Cursor
from chat.server.ordering import Arrival
from tests.support.helpers import FakeClock, FixedBytes

OWN, OTHER = b"own serv", b"other se"


class Proposed:
    """In the place of a stream: keeps what is proposed."""

    proposed_bytes = 0
    lost = False
    follows = True

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self.full = False

    @property
    def idle(self) -> bool:
        return not self.items

    def propose(self, item: bytes) -> None:
        self.items.append(item)

    def proposed(self) -> set[bytes]:
        return set(self.items)

    def take(self) -> list[Proposal]:
        """All that was proposed since."""
        items, self.items = self.items, []
        return [decode(item)[1] for item in items]


class Door:
    """In the place of a connection."""

    def __init__(self) -> None:
        self.over = False
        self.member: Any = None
        self.home: Any = None
        self.cursor = Cursor()
        self.dropped: list[tuple[Reason, str]] = []

    def admitted(self, _sent_again: int) -> None:
        pass

    def deliver(self, _unicast: object) -> None:
        pass

    def drop(self, reason: Reason, text: str = "") -> None:
        self.dropped.append((reason, text))
        self.over = True
        if self.member is not None and reason is not Reason.REPLACED:
            self.home.connection_lost(self.member, reason, text)


class Quiet:
    """In the place of a console, and of its log: shows nothing."""

    def __init__(self) -> None:
        self.log = self

    def note(self, *_what: object, **_more: object) -> None:
        pass

    news = exchanged = note


class Site:
    """In the place of the cluster."""

    server_id = OWN
    cut_off = False

    def __init__(self, reactor: Reactor) -> None:
        self.random_bytes: RandomBytes = FixedBytes("site")
        self.tickets: Iterator[int] = count(1)
        self.clock = reactor.clock
        self.call = reactor.call

    def ban_on(self, _fingerprint: str) -> None:
        """Nobody is banned."""

    def report(self, _text: str) -> None:
        pass


class Carried:
    """A room that this server carries with another one, and its stream. Somebody comes in, whose
    connection here is `door`."""

    def __init__(self, reactor: Reactor) -> None:
        self.site = Site(reactor)
        self.stream = Proposed()
        self._entries = 0
        self._reactor = reactor
        self.hosted = self._make()
        self.room.begin(self._batch(b"opening"))
        self.door = Door()
        self.come(self.door)
        (self.member,) = self.hosted.room.find("Ira")

    def _make(self) -> HostedRoom:
        randomness = Randomness()
        quiet: Any = Quiet()

        def note_name(_member: object, _stays: bool) -> None:
            pass

        hosted = HostedRoom(
            self._reactor, quiet, 60.0, set(), b"", note_name, lambda: b"", randomness
        )
        self.room = OrderedRoom(hosted, randomness, self.site)
        self.room.stream = self.stream  # type: ignore[assignment]
        return hosted

    def _batch(self, *items: bytes) -> Batch:
        self._entries += 1
        return Batch(EntryId(self._entries, 0), items, True)

    def come(self, door: Door, arrival: Arrival | None = None) -> None:
        """Somebody comes in here, and that is applied."""
        arrival = arrival or Arrival("Ira", bytes(32), Card(), None, 0.0, "", "")
        connection: Any = door
        self.room.admit(arrival, connection)
        (come,) = self.stream.take()
        self.apply(come)

    def apply(self, *proposals: Proposal, server: bytes = OWN) -> None:
        """What a server has proposed takes its place."""
        header = Header(server, 1.0, GRACE_SECONDS, bytes(PROPOSAL_SEED_BYTES))
        self.room.apply(self._batch(*(encode(header, one) for one in proposals)))


class Shake:
    """SHAKE-256, which notes how much was asked of it."""

    asked: ClassVar[list[int]] = []

    def __init__(self, seed: bytes) -> None:
        self._seed = seed

    def digest(self, size: int) -> bytes:
        self.asked.append(size)
        return shake_256(self._seed).digest(size)


def test_random_bytes_follow_from_the_seed_and_cost_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "shake_256", Shake)
    one, other = Randomness(), Randomness()
    for randomness in (one, other):
        randomness.sow(b"seed")
    drawn = [one(16) for _ in range(100)]
    assert drawn == [other(16) for _ in range(100)]
    assert len(set(drawn)) == 100
    assert Shake.asked == [16] * 200
    one.sow(b"another")
    assert one(16) not in drawn


@pytest.fixture
def carried(reactor: Reactor) -> Carried:
    return Carried(reactor)


def test_connection_that_is_dropped_is_proposed_lost_by_its_own_ticket(carried: Carried) -> None:
    carried.door.drop(Reason.LOST)
    (lose,) = carried.stream.take()
    assert isinstance(lose, Lose)
    carried.apply(lose)
    assert carried.member.lost


def test_kick_holds_for_one_whose_connection_breaks_at_the_same_moment(carried: Carried) -> None:
    carried.door.drop(Reason.LOST)
    (lose,) = carried.stream.take()
    carried.apply(PutOut(((carried.member.id, carried.member.fingerprint),), ""), lose)
    assert carried.hosted.room.find("Ira") == ()


@pytest.mark.parametrize(
    "late", [lambda number: Lose(number, 1, Reason.LOST, ""), lambda number: Relay(number, 1, b"?")]
)
def test_what_an_old_connection_leaves_does_not_count_once_its_member_is_back(
    carried: Carried, late: Callable[[int], Proposal]
) -> None:
    """It was proposed when the new connection had come, and before that was applied."""
    carried.apply(Lose(carried.member.id, 1, Reason.LOST, ""))
    back = Door()
    request = Resume(carried.member.id, carried.member.token, carried.hosted.log.end, 0)
    carried.come(back, Arrival("Ira", bytes(32), Card(), request, 0.0, "", ""))
    assert not carried.member.lost
    carried.apply(late(carried.member.id))
    assert not carried.member.lost
    assert back.dropped == []
    assert carried.hosted.connection_of(carried.member) is not None


def test_server_that_takes_over_a_snapshot_proposes_that_those_are_lost_whom_it_has_let_go(
    carried: Carried,
) -> None:
    carried.room.restore(carried.room.state(), START)
    carried.room.on_following(True)
    assert [reason for reason, _ in carried.door.dropped] == [Reason.LOST]
    assert carried.stream.take() == [Lose(carried.member.id, 1, Reason.LOST, "")]


def test_server_that_is_cut_off_lets_go_who_is_in_and_who_waits_and_lets_nobody_in(
    carried: Carried,
) -> None:
    waiting, late = Door(), Door()
    door: Any = waiting
    arrival = Arrival("Zoe", bytes([1] * 32), Card(), None, 0.0, "", "")
    carried.room.admit(arrival, door)
    carried.site.cut_off = True
    carried.room.let_go(words.CUT_OFF)
    door = late
    carried.room.admit(arrival, door)
    for each in (carried.door, waiting, late):
        assert each.dropped == [(Reason.LOST, words.CUT_OFF)]
    come, lose = carried.stream.take()
    assert isinstance(come, Come)
    assert lose == Lose(carried.member.id, 1, Reason.LOST, words.CUT_OFF)
    # It is let in as all that waits is applied, and is lost at once.
    carried.apply(come)
    (zoe,) = carried.hosted.room.find("Zoe")
    assert carried.stream.take() == [Lose(zoe.id, 2, Reason.LOST, "")]


def test_who_gives_up_waiting_has_no_place_when_the_wish_comes_back_late(carried: Carried) -> None:
    """There are only so many places for each key, and it may try again and again."""
    zoe, boris = Door(), Door()
    for name, one in (("Zoe", zoe), ("Boris", boris)):
        door: Any = one
        key = bytes([1 + len(name)] * 32)
        carried.room.admit(Arrival(name, key, Card(), None, 0.0, "", ""), door)
    zoe.drop(Reason.TIMEOUT)
    for _ in range(2):
        carried.room.take_back_wishes()
    zoes, boriss, lose = carried.stream.take()
    assert lose == Lose(WHOEVER, 2, Reason.LOST, "")
    for proposal in (zoes, boriss, lose):
        carried.apply(proposal)
    assert carried.stream.take() == []
    assert not carried.hosted.room.find("Zoe")
    (member,) = carried.hosted.room.find("Boris")
    assert boris.member is member
    # A wish that was void leaves nothing to take back.
    carried.apply(Lose(WHOEVER, 9, Reason.LOST, ""))
    assert carried.hosted.room.find("Boris") == (member,)


# -- beats


class Lists:
    """In the place of what the servers share."""

    def bans(self) -> list[Any]:
        return []

    def topic(self) -> tuple[int, str]:
        return 0, ""


@pytest.fixture
def registry(clock: FakeClock) -> Registry:
    lists: Any = Lists()
    registry = Registry(OWN, clock, lists)
    registry.stream = Proposed()  # type: ignore[assignment]
    return registry


def proposed(registry: Registry) -> list[bytes]:
    stream: Any = registry.stream
    items: list[bytes] = stream.items
    stream.items = []
    return items


def test_beat_waits_until_the_last_one_is_back(registry: Registry) -> None:
    registry.beat("here", 1, {}, 0.0)
    registry.beat("here", 2, {}, 0.0)
    assert [json.loads(item)["people"] for item in proposed(registry)] == [1]


def test_server_beats_again_when_the_stream_begins_anew(registry: Registry) -> None:
    registry.beat("here", 1, {}, 0.0)
    proposed(registry)
    registry.begin(Batch(EntryId(1, 0), (registry.opening(),), True))
    (beat,) = proposed(registry)
    registry.apply(Batch(EntryId(2, 0), (beat,), True))
    assert [peer.title for peer in registry.peers.values()] == ["here"]


def test_server_that_does_not_hear_itself_knows_when_others_take_it_for_gone(
    registry: Registry, clock: FakeClock
) -> None:
    assert not registry.unheard
    clock.advance(SERVER_GONE_SECONDS)
    registry.beat("here", 1, {}, 0.0)
    registry.apply(Batch(EntryId(1, 0), tuple(proposed(registry)), True))
    clock.advance(SERVER_GONE_SECONDS)
    assert not registry.unheard
    clock.advance(BEAT_SECONDS)
    assert registry.unheard
    assert list(registry.gone({OTHER})) == [], "it may be the one that is cut off"


def test_server_that_hears_itself_again_takes_nobody_for_gone_who_may_have_been_refused_as_well(
    registry: Registry, clock: FakeClock
) -> None:
    def beats(server: bytes, seconds: float) -> None:
        clock.advance(seconds)
        beat = {"what": "beat", "server": server.hex(), "title": "", "people": 0, "behind": 0.0}
        item = json.dumps({**beat, "asks": []}).encode()
        registry.apply(Batch(START, (item,), server == OWN))

    beats(OTHER, 0)
    beats(OWN, 2 * SERVER_GONE_SECONDS)
    assert list(registry.gone({OTHER})) == []
    assert not registry.alone
    for _ in range(int(SERVER_GONE_SECONDS / BEAT_SECONDS)):
        beats(OWN, BEAT_SECONDS)
    assert list(registry.gone({OTHER})) == []
    beats(OWN, BEAT_SECONDS)
    assert list(registry.gone({OTHER})) == [OTHER]
    assert registry.alone
