"""Servers over a real Redis: what is proposed comes back in order, whatever becomes of it."""

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from chat.errors import ChatError
from chat.limits import (
    MAX_REDIS_RETRY_SECONDS,
    REDIS_PING_SECONDS,
    REDIS_SILENCE_SECONDS,
    RESEND_SECONDS,
    STREAM_BLOCK_SECONDS,
)
from chat.reactor import Reactor
from chat.server.cluster import redisstore, sequence, stream
from chat.server.cluster.clusterkey import ENTRY, ClusterKey
from chat.server.cluster.redisstore import RedisStore
from chat.server.cluster.store import START, EntryId
from chat.server.cluster.stream import Batch, Stream
from chat.server.cluster.streams import Streams
from chat.server.cluster.tls import context_of
from chat.server.cluster.url import RedisUrl
from tests.support.helpers import FakeClock, needs_openssl
from tests.support.loopback import until
from tests.support.redis import Redis, needs_redis

pytestmark = needs_redis

KEY = ClusterKey.of(b"the cluster key of these tests!!", "test")
TAG = b"a tag"


class Room:
    """The follower of one stream: a list of what was said."""

    def __init__(self, streams: Streams, tag: bytes) -> None:
        self.said: list[str] = []
        self.begun = 0
        self.restored = 0
        self.places: list[EntryId] = []
        self.lost: list[str] = []
        self.troubles: list[str] = []
        self.follows = False
        self.stream: Stream = streams.open(tag, self)

    def opening(self) -> bytes:
        return b"a secret that was never sealed"

    def begin(self, batch: Batch) -> None:
        self.begun += 1
        self.said = []

    def restore(self, state: bytes, at: EntryId) -> None:
        self.restored += 1
        self.said = state.decode().split()

    def apply(self, batch: Batch) -> None:
        self.said += [item.decode() for item in batch.items]
        self.places.append(batch.id)

    def state(self) -> bytes:
        return " ".join(self.said).encode()

    def on_following(self, follows: bool) -> None:
        self.follows = follows

    def on_lost(self, text: str) -> None:
        self.lost.append(text)

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)

    def say(self, text: str) -> None:
        self.stream.propose(text.encode())


class Server:
    """A server with one room."""

    def __init__(
        self,
        reactor: Reactor,
        url: str,
        context: ssl.SSLContext | None = None,
        key: ClusterKey = KEY,
    ) -> None:
        self.away: list[ChatError | None] = []
        self.store = RedisStore(reactor, RedisUrl.parse(url), context, key, os.urandom)
        self.refusals: list[str] = []
        self.streams = Streams(self.store, key, os.urandom, self.away.append, self.refusals.append)
        self.store.watcher = self.streams
        self.room = Room(self.streams, TAG)
        self._reactor = reactor
        self.store.begin()

    def flush(self) -> None:
        now = self._reactor.clock()
        for one in self.streams.due(now):
            one.read(now)
        self.streams.flush(now)


class World:
    """Servers on one reactor. The clock stands still, unless it is told to go on."""

    def __init__(self, reactor: Reactor, clock: FakeClock, redis: Redis) -> None:
        self.reactor = reactor
        self.clock = clock
        self.redis = redis
        self.servers: list[Server] = []
        reactor.before_wait(self._flush)

    def _flush(self) -> None:
        for server in self.servers:
            server.flush()

    def start(self, url: str = "", context: ssl.SSLContext | None = None) -> Server:
        server = Server(self.reactor, url or self.redis.url, context)
        self.servers.append(server)
        return server

    def started(self) -> Server:
        server = self.start()
        self.until(lambda: server.room.follows)
        return server

    def kill(self, server: Server) -> None:
        self.servers.remove(server)
        server.store.close()

    def until(self, condition: Callable[[], object]) -> None:
        until(self.reactor, condition)

    def later(self, condition: Callable[[], object]) -> None:
        """Let time pass until it is so: retries come by themselves."""

        def so_far() -> bool:
            if condition():
                return True
            self.clock.advance(0.01)
            return False

        until(self.reactor, so_far)

    def all_said(self, *texts: str) -> None:
        self.until(lambda: all(one.room.said == list(texts) for one in self.servers))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path) as redis:
        yield redis


@pytest.fixture
def world(reactor: Reactor, clock: FakeClock, redis: Redis) -> Iterator[World]:
    world = World(reactor, clock, redis)
    yield world
    for server in world.servers:
        server.store.close()


# -- in peace --------------------------------------------------------------------------------------


def test_what_is_said_at_one_server_is_applied_at_all_in_one_order_and_at_one_place(
    world: World,
) -> None:
    a, b, c = world.start(), world.start(), world.start()
    world.until(lambda: all(one.room.follows for one in world.servers))
    for number in range(20):
        a.room.say(f"a{number}")
        b.room.say(f"b{number}")
        world.reactor.turn(0)
    world.until(lambda: len(c.room.said) == 40)
    world.until(lambda: a.room.said == b.room.said == c.room.said)
    assert a.room.places == b.room.places == c.room.places
    assert [text for text in a.room.said if text[0] == "a"] == [f"a{n}" for n in range(20)]
    assert {one.room.begun for one in world.servers} == {1}


def test_stream_that_is_followed_again_from_a_place_before_is_read_without_a_gap(
    world: World,
) -> None:
    """While the question is on its way that asks for what comes behind a later place."""
    store = world.started().store
    heard: list[bytes] = []
    store.watcher = Mock(on_entries=lambda _, entries: heard.extend(one.kind for one in entries))
    placed: list[EntryId] = []

    def put(kind: bytes) -> None:
        store.append("it", kind, b"", placed.append)  # type: ignore[arg-type]

    store.follow("it", START)
    for kind in (b"1", b"2", b"3"):
        put(kind)
    world.until(lambda: heard == [b"1", b"2", b"3"])
    heard.clear()
    put(b"4")
    store.follow("it", placed[0])
    world.until(lambda: b"4" in heard)
    assert heard == [b"2", b"3", b"4"]


def test_turn_costs_one_entry_and_a_quiet_room_none(world: World) -> None:
    a = world.started()
    name = KEY.stream_of(TAG)
    assert world.redis.do("XLEN", name) == b"1"
    for number in range(50):
        a.room.say(str(number))
    world.until(lambda: len(a.room.said) == 50)
    assert world.redis.do("XLEN", name) == b"2"
    for _ in range(20):
        world.reactor.turn(0)
    assert world.redis.do("XLEN", name) == b"2"


def test_room_that_is_opened_while_others_wait_is_followed_at_once(world: World) -> None:
    """Without the clock: the connection that waits for the other room is rung."""
    a, b = world.started(), world.started()
    for number in range(5):
        tag = f"room {number}".encode()
        here, there = Room(a.streams, tag), Room(b.streams, tag)
        world.until(lambda here=here, there=there: here.follows and there.follows)  # type: ignore[misc]
        here.say("x")
        world.until(lambda there=there: there.said == ["x"])  # type: ignore[misc]
    a.room.say("still here")
    world.all_said("still here")
    b.streams.close(b.room.stream)
    b.room.said = ["closed"]
    a.room.say("unheard")
    world.until(lambda: a.room.said[-1] == "unheard")
    assert b.room.said == ["closed"]


def test_rooms_that_are_too_many_for_one_connection_are_read_over_several(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redisstore, "READER_ROOMS", 2)
    a, b = world.started(), world.started()

    def waiting() -> int:
        return world.redis.do("CLIENT", "LIST").count(b"cmd=xread")

    rooms = []
    for number in range(6):
        tag = f"room {number}".encode()
        rooms.append((Room(a.streams, tag), Room(b.streams, tag)))
    everybody = [room for pair in rooms for room in pair]
    world.until(lambda: all(room.follows for room in everybody))
    # Seven rooms at each server, and at most two over a connection.
    world.until(lambda: waiting() == 8)
    world.redis.do("CLIENT", "KILL", "TYPE", "normal")
    for turn in range(3):
        for here, there in rooms:
            here.say(f"a{turn}")
            there.say(f"b{turn}")
        world.reactor.turn(0)
    world.later(lambda: all(len(room.said) == 6 for room in everybody))
    world.until(lambda: waiting() == 8)
    for here, there in rooms:
        assert here.said == there.said
        assert sorted(here.said) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    # What is closed makes room for others.
    a.streams.close(rooms[0][0].stream)
    again = Room(a.streams, b"room 0")
    world.until(lambda: again.said == rooms[0][1].said)
    assert waiting() == 8
    # And a connection that waits for nothing more is closed.
    rooms[0] = again, rooms[0][1]
    for here, there in rooms:
        a.streams.close(here.stream)
        b.streams.close(there.stream)
    world.until(lambda: waiting() == 2)
    a.room.say("still here")
    world.all_said("still here")
    # Nothing has broken, but for what the test has cut.
    assert len(a.away) == len(b.away) == 3


def test_rooms_share_a_connection_where_redis_takes_no_more_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redisstore, "READER_ROOMS", 1)
    a = world.started()
    # Those of this server, and nobody else's.
    world.redis.do("CONFIG", "SET", "maxclients", "2")
    rooms = [Room(a.streams, f"room {number}".encode()) for number in range(3)]
    world.until(lambda: all(room.follows for room in rooms))
    for turn in "once", "again":
        for room in (*rooms, a.room):
            room.say(turn)
        world.until(lambda turn=turn: all(room.said[-1:] == [turn] for room in (*rooms, a.room)))  # type: ignore[misc]
    assert [room.said for room in rooms] == 3 * [["once", "again"]]
    assert (a.away, len(a.store._links)) == ([None], 2)


def test_server_starts_from_the_snapshot_and_what_follows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sequence, stream):
        monkeypatch.setattr(module, "SNAPSHOT_BYTES", 2_000)
    a = world.started()
    for number in range(60):
        a.room.say(str(number))
        world.until(lambda number=number: len(a.room.said) > number)  # type: ignore[misc]
    world.until(lambda: int(world.redis.do("XLEN", KEY.stream_of(TAG))) < 30)
    world.kill(a)
    b = world.started()
    assert b.room.said == [str(number) for number in range(60)]
    assert (b.room.restored, b.room.begun) == (1, 0)


def test_two_clusters_in_one_redis_do_not_meet(world: World) -> None:
    a = world.started()
    other = Server(world.reactor, world.redis.url, key=ClusterKey.of(bytes(32), "other"))
    world.servers.append(other)
    world.until(lambda: other.room.follows)
    a.room.say("here")
    other.room.say("there")
    world.until(lambda: a.room.said == ["here"] and other.room.said == ["there"])


def test_room_is_forgotten_by_redis_when_that_was_asked(world: World) -> None:
    a = world.started()
    name = KEY.stream_of(TAG)
    a.room.stream.expire(100)
    world.until(lambda: 0 < world.redis.count("TTL", name) <= 100)
    a.room.stream.expire(0)
    world.until(lambda: not world.redis.count("EXISTS", name))


def test_value_is_held_for_as_long_as_somebody_asks_and_is_not_written_over(world: World) -> None:
    a, b = world.started(), world.started()
    a.store.hold("held", b"that of a", 50)
    world.until(lambda: 0 < world.redis.count("TTL", "held") <= 50)
    b.store.hold("held", b"that of b", 100)
    world.until(lambda: world.redis.count("TTL", "held") > 50)
    assert world.redis.do("GET", "held") == b"that of a"


def test_all_that_redis_holds_is_sealed(world: World) -> None:
    a = world.started()
    for _ in range(3):
        a.room.say("some words that nobody else may read")
        world.reactor.turn(0)
    world.until(lambda: len(a.room.said) == 3)
    a.room.stream.keep()
    held = KEY.snapshot_of(KEY.stream_of(TAG)).encode()
    world.until(lambda: held in world.redis.do("KEYS", "*"))
    everything = world.redis.everything()
    assert KEY.stream_of(TAG).encode() in everything
    for word in (b"words", b"secret", TAG, TAG.hex().encode(), b"cluster key", b"nobody"):
        assert word not in everything


# -- cut off -------------------------------------------------------------------------------------


def test_connections_that_redis_cuts_come_back_and_nothing_is_lost_or_said_twice(
    world: World,
) -> None:
    a, b = world.started(), world.started()
    for number in range(10):
        a.room.say(str(number))
        world.reactor.turn(0)
        world.redis.do("CLIENT", "KILL", "TYPE", "normal")
    world.later(lambda: len(b.room.said) == 10 and len(a.room.said) == 10)
    world.all_said(*map(str, range(10)))
    assert (a.room.begun, a.room.lost) == (1, [])
    assert "lost" in str(a.away[-2])
    assert a.away[-1] is None


def test_redis_that_is_killed_and_comes_back_with_nothing_is_a_new_room(world: World) -> None:
    a, b = world.started(), world.started()
    a.room.say("gone")
    world.all_said("gone")
    world.redis.kill()
    world.later(lambda: a.away[-1] and b.away[-1])
    assert not a.room.follows
    assert "cannot reach Redis" in str(a.away[-1]) or "lost" in str(a.away[-1])
    a.room.say("void")
    world.redis.restart()
    world.later(lambda: a.room.begun == 2 and b.room.begun == 2)
    a.room.say("new")
    world.all_said("new")
    assert len(a.room.lost) == 1


def test_redis_that_keeps_all_comes_back_as_it_was(
    reactor: Reactor, clock: FakeClock, tmp_path: Path
) -> None:
    with Redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as redis:
        world = World(reactor, clock, redis)
        a, b = world.started(), world.started()
        a.room.say("before")
        world.all_said("before")
        redis.kill()
        a.room.say("meanwhile")
        redis.restart()
        world.later(lambda: len(b.room.said) == 2 and len(a.room.said) == 2)
        assert a.room.said == b.room.said == ["before", "meanwhile"]
        assert a.room.begun == b.room.begun == 1
        for server in world.servers:
            server.store.close()


@pytest.mark.parametrize("on_and_on", [False, True])
def test_frozen_redis_is_noticed_in_time_and_what_was_said_meanwhile_counts_once(
    world: World, on_and_on: bool
) -> None:
    a = world.started()
    world.redis.freeze()
    said = ["into-the-ice"]
    a.room.say(said[0])
    world.reactor.turn(0)
    before = world.clock.now

    def is_noticed() -> bool:
        if on_and_on:
            said.append(f"line-{len(said)}")
            a.room.say(said[-1])
        return not a.room.follows

    world.later(is_noticed)
    assert world.clock.now - before < REDIS_SILENCE_SECONDS + 0.5
    assert "has not answered for" in str(a.away[-1])
    world.redis.thaw()
    world.later(lambda: a.room.follows)
    a.room.say("thawed")
    world.all_said(*said, "thawed")


def test_quiet_connections_stay(world: World) -> None:
    """PING on the one, and the end of the block on the other: both come by themselves."""
    a = world.started()
    pings = []
    count = world.redis.do("INFO", "commandstats").count(b"cmdstat_ping:calls=")
    for _ in range(3):
        world.clock.advance(REDIS_PING_SECONDS)
        for _ in range(10):
            world.reactor.turn(0.001)
        pings.append(world.redis.do("INFO", "commandstats"))
    assert count
    assert pings[0] != pings[2]
    assert a.away == [None]
    assert STREAM_BLOCK_SECONDS < REDIS_SILENCE_SECONDS + STREAM_BLOCK_SECONDS


def test_full_redis_refuses_and_takes_it_later_once_and_in_order(world: World) -> None:
    a, b = world.started(), world.started()
    world.redis.do("CONFIG", "SET", "maxmemory", "1")
    a.room.say("one")
    world.until(lambda: a.refusals)
    a.room.say("two")
    for _ in range(3):
        world.clock.advance(RESEND_SECONDS)
        for _ in range(10):
            world.reactor.turn(0.001)
    assert "no memory left" in a.refusals[0]
    assert len(a.refusals) == 1
    world.redis.do("CONFIG", "SET", "maxmemory", "0")
    world.later(lambda: len(b.room.said) == 2)
    world.all_said("one", "two")
    assert a.refusals[1:] == [""]
    assert a.room.begun == 1


def test_redis_that_becomes_a_replica_is_left_until_it_is_one_no_more(world: World) -> None:
    a = world.started()
    world.redis.do("REPLICAOF", "127.0.0.1", "1")
    a.room.say("held")
    world.later(lambda: "read-only replica" in str(a.away[-1]))
    world.redis.do("REPLICAOF", "NO", "ONE")
    world.later(lambda: a.room.said == ["held"])
    assert a.room.begun == 1


def test_foreign_entry_and_foreign_key_are_named(world: World) -> None:
    a = world.started()
    name = KEY.stream_of(TAG)
    for words in (("x", "y"), (ENTRY.decode(), "z"), ("a", "b", "c", "d")):
        world.redis.do("XADD", name, "*", *words)
    a.room.say("go on")
    world.all_said("go on")
    assert [trouble.split(" of ")[0][:9] for trouble in a.room.troubles] == 3 * ["the entry"]


def entry_read(place: str, kind: bytes = b"+e\r\n", sealed: bytes = b"+sealed\r\n") -> bytes:
    """A reply to XREAD: one entry of the room, which stands there."""
    name = KEY.stream_of(TAG)
    return f"*1\r\n*2\r\n+{name}\r\n*1\r\n*2\r\n+{place}\r\n*2\r\n".encode() + kind + sealed


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"XADD", b"+what\r\n"),
        (b"XRANGE", b":5\r\n"),
        (b"XREAD", b"*1\r\n:5\r\n"),
        (b"XREAD", entry_read(f"{2**64}-0")),
        (b"XREAD", entry_read("5--1")),
        (b"XREAD", entry_read("5-1", kind=b":5\r\n")),
        (b"XREAD", entry_read("5-1", sealed=b"$-1\r\n")),
        (b"GET", b":5\r\n"),
    ],
)
def test_reply_that_makes_no_sense_is_named_and_the_connection_given_up(
    world: World, tmp_path: Path, asked: bytes, answer: bytes
) -> None:
    with contextlib.closing(Cable(world.reactor, world.redis.socket, tmp_path / "cable")) as cable:
        cable.lies = {asked: answer}
        a = world.start(f"redis+unix://{cable.path}")
        world.later(lambda: any("makes no sense" in str(error) for error in a.away))
        cable.lies = {}
        world.later(lambda: a.room.follows)
        a.room.say("sense")
        world.all_said("sense")
        world.kill(a)


def test_key_of_somebody_else_under_our_name_is_named(world: World) -> None:
    name = KEY.stream_of(TAG)
    world.redis.do("SET", name, "x")
    a = world.start()
    world.until(lambda: a.refusals or a.away[-1:] not in ([], [None]))
    assert "holds something else" in str(a.refusals + a.away)
    world.redis.do("DEL", name)
    world.later(lambda: a.room.follows)


def test_reply_that_is_cut_in_the_middle_is_read_again_from_its_beginning(
    world: World, tmp_path: Path
) -> None:
    """By a cable that ends somewhere within what Redis says."""
    a = world.started()
    with contextlib.closing(Cable(world.reactor, world.redis.socket, tmp_path / "cable")) as cable:
        b = world.start(f"redis+unix://{cable.path}")
        world.later(lambda: b.room.follows)
        for number in range(30):
            cable.breaks_in = 37 * number % 250
            a.room.say(f"{number}")
            b.room.say(f"b{number}")
            for _ in range(5):
                world.reactor.turn(0.001)
                world.clock.advance(0.05)
        cable.breaks_in = 1 << 30
        world.later(lambda: len(a.room.said) == len(b.room.said) == 60)
        assert a.room.said == b.room.said
        assert len(set(a.room.said)) == 60
        assert b.room.begun + b.room.restored == 1
        assert cable.broken > 5
        world.kill(b)


class Cable:
    """Passes on what two say, and what Redis says only up to some byte. `lies`: what it answers
    itself to some commands."""

    def __init__(self, reactor: Reactor, there: Path, path: Path) -> None:
        self.path = path
        self.breaks_in = 1 << 30
        self.broken = 0
        self.lies: dict[bytes, bytes] = {}
        self._reactor = reactor
        self._there = there
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        reactor.watch_read(self._listener.fileno(), self._on_newcomer)

    def _on_newcomer(self) -> None:
        here, _ = self._listener.accept()
        there = socket.socket(socket.AF_UNIX)
        there.connect(str(self._there))
        for one, other in ((here, there), (there, here)):
            self._pairs[one] = other
            self._reactor.watch_read(
                one.fileno(),
                lambda one=one, up=one is here: self._carry(one, up),  # type: ignore[misc]
            )

    def _carry(self, one: socket.socket, up: bool) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = one.recv(65_536)
        lie = next((self.lies[word] for word in self.lies if up and word in data), b"")
        if lie:
            one.sendall(lie)
            return
        passed = data if up else data[: self.breaks_in]
        if passed:
            with contextlib.suppress(OSError):
                self._pairs[one].sendall(passed)
        if not up:
            self.breaks_in -= len(passed)
        if not data or len(passed) < len(data):
            self.broken += bool(data)
            self.breaks_in = 1 << 30
            self._cut(one)

    def _cut(self, one: socket.socket) -> None:
        for end in (one, self._pairs[one]):
            self._reactor.unwatch(end.fileno())
            del self._pairs[end]
            end.close()

    def close(self) -> None:
        for one in list(self._pairs):
            if one in self._pairs:
                self._cut(one)
        self._reactor.unwatch(self._listener.fileno())
        self._listener.close()


# -- TLS -------------------------------------------------------------------------------------------


@needs_openssl
def test_servers_speak_tls_with_a_redis_whose_certificate_they_trust(
    reactor: Reactor, clock: FakeClock, tmp_path: Path
) -> None:
    with Redis(tmp_path, tls=True) as redis:
        world = World(reactor, clock, redis)
        a = world.start(redis.url, context_of(redis.authority))
        b = world.start(f"redis+unix://{redis.socket}")
        world.until(lambda: a.room.follows and b.room.follows)
        a.room.say("x" * 200_000)
        b.room.say("y")
        world.until(lambda: len(a.room.said) == len(b.room.said) == 2)
        assert a.room.said == b.room.said
        for server in world.servers:
            server.store.close()
    assert MAX_REDIS_RETRY_SECONDS > 0


def test_entries_of_a_room_that_was_not_asked_for_are_left_to_the_next_question(
    world: World,
) -> None:
    store = world.started().store
    reader = store._readers[0]
    store.follow("another", START)
    assert "another" not in reader.asked
    watcher = store.watcher = Mock()
    store._on_read(reader, [[b"another", [[b"1-0", [b"kind", b"sealed"]]]]])
    watcher.on_entries.assert_not_called()
    assert reader.followed["another"] == START


def test_error_amid_a_question_leaves_it_to_the_next_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.started().store
    reader = store._readers[0]
    reader.reads = False
    with monkeypatch.context() as failing:
        failing.setattr(reader.link, "ask", Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            store.flush()
    ask = Mock()
    monkeypatch.setattr(reader.link, "ask", ask)
    store.flush()
    assert ask.called
