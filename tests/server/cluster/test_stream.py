"""One room's stream at several servers, over a Redis in memory that is cut, fails over, fills up.

A follower here is a list of what was applied: the simplest room there is.
"""

import json
import random
from contextlib import suppress
from unittest.mock import Mock, patch

import pytest

from chat.errors import ChatError
from chat.limits import (
    GATHER_SECONDS,
    LOST_ANSWER_SECONDS,
    MAX_PROPOSED_BYTES,
    RESEND_SECONDS,
    UNREAD_SECONDS,
)
from chat.server.cluster import outbox, sequence, stream
from chat.server.cluster.clusterkey import BEGINNING, ENTRY, SNAPSHOT, WANTED, ClusterKey
from chat.server.cluster.sequence import Counted, Lost, Sequence
from chat.server.cluster.store import EntryId, RawEntry
from chat.server.cluster.stream import Batch, Phase
from chat.server.cluster.streams import Streams
from tests.support import fakestream
from tests.support.fakestream import FakeRedis, FakeStore, Timeline
from tests.support.helpers import FixedBytes

KEY = ClusterKey.of(bytes(32), "test")
TAG = b"a room"


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes megabytes and minutes otherwise happens within some entries."""
    for module, name, value in (
        (sequence, "SNAPSHOT_BYTES", 2_000),
        (stream, "SNAPSHOT_BYTES", 2_000),
        (sequence, "RECENT_ENTRIES", 24),
        (sequence, "ORIGIN_SECONDS", 1),
        (stream, "STREAM_PAGE_ENTRIES", 5),
        (fakestream, "STREAM_PAGE_ENTRIES", 5),
    ):
        monkeypatch.setattr(module, name, value)


class Server:
    """A server with one room, which is the list of all that was applied to it."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.said = self.lives = 0
        self.log: list[tuple[EntryId, str]] = []
        self.eras: list[EntryId] = []
        self.lost: list[str] = []
        self.troubles: list[str] = []
        self.follows = False
        self.restored = 0
        self.random_bytes = FixedBytes(name)
        self.store = FakeStore(world.redis)
        self.refusals: list[str] = []
        self.streams = Streams(
            self.store, KEY, self.random_bytes, lambda _: None, self.refusals.append
        )
        self.store.watcher = self.streams
        self.stream = self.streams.open(TAG, self)
        self.store.begin()

    def say(self) -> None:
        if not self.stream.lost:
            self.said += 1
            self.stream.propose(f"{self.name}{self.lives * '+'}/{self.said}".encode())

    # -- the follower

    def opening(self) -> bytes:
        return b"opened by " + self.name.encode()

    def begin(self, batch: Batch) -> None:
        self.eras.append(batch.id)
        self.log = [(batch.id, batch.items[0].decode())]

    def restore(self, state: bytes, at: EntryId) -> None:
        self.restored += 1
        self.log = [(EntryId(*place), text) for place, text in json.loads(state)]
        assert self.log[-1][0] <= at

    def apply(self, batch: Batch) -> None:
        self.log += [(batch.id, item.decode()) for item in batch.items]

    def state(self) -> bytes:
        return json.dumps(self.log).encode()

    def on_following(self, follows: bool) -> None:
        assert follows is not self.follows
        self.follows = follows

    def on_lost(self, text: str) -> None:
        # What was proposed before is void.
        self.lost.append(text)
        self.lives += 1
        self.said = 0

    def on_trouble(self, text: str) -> None:
        self.troubles.append(text)


class World:
    """Some servers, one Redis, and a time for all."""

    def __init__(self, seed: int = 0, servers: int = 2) -> None:
        self.choices = random.Random(seed)
        self.time = Timeline()
        self.redis = FakeRedis(self.choices, lambda: self.time.now, self.time.call_in)
        self._names = (f"s{number}" for number in range(1_000))
        self.servers = [self.start() for _ in range(servers)]

    def start(self) -> Server:
        return Server(self, next(self._names))

    def kill(self, server: Server) -> None:
        self.servers.remove(server)
        server.store.close()

    def flush(self) -> None:
        for server in self.servers:
            for one in server.streams.due(self.time.now):
                one.read(self.time.now)
            server.streams.flush(self.time.now)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.time.step()
            self.flush()

    def wait(self, seconds: float) -> None:
        self.time.call_in(seconds, lambda: None)
        until = self.time.now + seconds
        while self.time.now < until:
            self.run(1)

    def say_much(self) -> None:
        """Let the first server say so much that snapshots are kept."""
        for _ in range(60):
            self.servers[0].say()
            self.settle()

    def settle(self) -> None:
        """Until nothing is on its way, and nobody has anything to do."""
        for _ in range(20_000):
            self.flush()
            if self.time.step():
                continue
            due = [at for one in self.servers if (at := one.streams.deadline) is not None]
            if not due:
                return
            self.time.now = max(self.time.now, min(due))
        raise AssertionError("it does not settle")

    def entries(self) -> list[bytes]:
        return [entry.kind for entry in self.redis.streams[KEY.stream_of(TAG)]]

    def in_order(self, server: Server) -> None:
        """What each run of a server said is there once, in order, without a gap."""
        said: dict[str, list[int]] = {}
        for _, text in server.log[1:]:
            if not text.startswith("opened"):
                name, _, number = text.partition("/")
                said.setdefault(name, []).append(int(number))
        for numbers in said.values():
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def agree(self) -> None:
        """All that lives has one log, in order, and all was said."""
        self.settle()
        first = self.servers[0]
        for server in self.servers:
            assert server.stream.phase is Phase.FOLLOWING
            assert not server.stream.lost
            assert server.log == first.log
            assert server.stream.proposed_bytes == 0
            self.in_order(server)


@pytest.fixture
def world() -> World:
    world = World()
    world.settle()
    return world


# -- a room in peace -----------------------------------------------------------------------------


def test_servers_that_start_together_begin_one_room() -> None:
    world = World(servers=3)
    world.agree()
    assert {tuple(server.eras) for server in world.servers} == {(world.servers[0].eras[0],)}
    assert len(world.servers[0].eras) == 1


def test_what_is_said_in_one_turn_is_one_entry_and_comes_back_in_order_with_its_time(
    world: World,
) -> None:
    a, b = world.servers
    for _ in range(3):
        a.say()
    world.agree()
    assert [text for _, text in b.log[1:]] == ["s0/1", "s0/2", "s0/3"]
    assert len({place for place, _ in b.log[1:]}) == 1
    assert world.entries().count(ENTRY) == 1
    assert a.follows
    assert b.follows


def test_long_turn_becomes_several_entries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_BATCH_BYTES", 10)
    for _ in range(5):
        world.servers[0].say()
    world.agree()
    assert world.entries().count(ENTRY) == 3


def test_snapshot_waits_until_the_store_has_the_one_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world.servers[0]
    keep, trim = Mock(), Mock()
    monkeypatch.setattr(one.store, "keep", keep)
    monkeypatch.setattr(one.store, "trim", trim)
    one.say()
    world.agree()
    for _ in range(3):
        one.stream.keep()
    assert keep.call_count == 1
    for calls in (2, 2):
        keep.call_args.args[-1](None)
        assert keep.call_count == calls
    # Nobody tells what became of one when the connection is cut.
    one.stream.keep()
    one.store.cut()
    world.agree()
    one.stream.keep()
    assert (keep.call_count, trim.call_count) == (4, 2)


def test_snapshot_that_cannot_be_made_harms_no_room_and_the_next_one_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = world.servers[0]
    state = a.state

    def fail() -> bytes:
        monkeypatch.setattr(a, "state", state)
        raise MemoryError

    monkeypatch.setattr(a, "state", fail)
    with pytest.raises(MemoryError):
        world.say_much()
    assert a.stream.follows
    assert a.lost == []
    with patch.object(a.store, "keep") as keep:
        a.stream.keep()
        assert keep.called
    world.agree()


def test_server_that_starts_later_reads_a_snapshot_and_what_follows(world: World) -> None:
    world.say_much()
    kept = len(world.entries())
    assert kept < 40, "the stream is trimmed"
    world.servers.append(world.start())
    world.agree()
    assert world.servers[-1].restored == 1
    assert len(world.servers[-1].log) == 61


def test_what_waits_is_bounded_by_who_proposes(world: World) -> None:
    a = world.servers[0]
    world.redis.down = True
    a.store.cut()
    assert not a.follows
    a.stream.propose(bytes(MAX_PROPOSED_BYTES))
    assert a.stream.full
    world.redis.down = False
    world.settle()
    assert not a.stream.full


def say_first_and_second(world: World) -> tuple[RawEntry, RawEntry]:
    """The first server has said something, and then the second one, who has read neither."""
    world.settle()
    entries = world.redis.streams[KEY.stream_of(TAG)]
    world.servers[1].store.frozen = True
    for server in world.servers:
        before = len(entries)
        server.say()
        world.flush()
        while len(entries) == before:
            world.time.step()
    first, second = entries[-2:]
    return first, second


def test_what_another_server_says_is_read_together_with_what_is_on_its_way(world: World) -> None:
    first, second = say_first_and_second(world)
    server = world.servers[1]
    before = len(server.log)
    server.stream.on_entries([first])
    server.stream.read(world.time.now)
    assert len(server.log) == before
    assert server.stream.deadline == world.time.now + GATHER_SECONDS
    server.stream.on_entries([second])
    server.stream.read(world.time.now)
    assert len(server.log) == before + 2


def test_what_another_server_says_does_not_wait_for_long(world: World) -> None:
    first, _ = say_first_and_second(world)
    server = world.servers[1]
    before, came = len(server.log), world.time.now
    server.stream.on_entries([first])
    for after, count in ((0, 0), (GATHER_SECONDS / 2, 0), (GATHER_SECONDS, 1)):
        server.stream.read(came + after)
        assert len(server.log) == before + count


def test_what_was_gathered_when_the_store_went_down_is_read_once(world: World) -> None:
    first, _ = say_first_and_second(world)
    server = world.servers[1]
    server.stream.on_entries([first])
    server.stream.read(world.time.now)
    server.store.frozen = False
    server.store.cut()
    world.agree()


def test_error_in_one_room_leaves_what_others_say_to_the_next_time(world: World) -> None:
    a, b = world.servers
    world.settle()
    broken = a.streams.open(b"broken", Mock())
    a.streams._busy.clear()
    broken._on_busy(broken)
    a.say()
    with patch.object(broken, "flush", Mock(side_effect=ZeroDivisionError)):
        with pytest.raises(ZeroDivisionError), patch.object(a.streams._store, "flush") as sent:
            a.streams.flush(world.time.now)
        sent.assert_called_once()
        a.streams.flush(world.time.now)
    a.streams.close(broken)
    world.wait(1)
    assert len(b.log) == 2


def test_error_amid_what_is_sent_leaves_it_to_the_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = world.servers
    append = a.store.append

    def fail(*_what: object) -> None:
        monkeypatch.setattr(a.store, "append", append)
        raise MemoryError

    monkeypatch.setattr(a.store, "append", fail)
    a.say()
    with pytest.raises(MemoryError):
        world.settle()
    world.agree()
    assert len(b.log) == 2


def fail_at_first(
    world: World, monkeypatch: pytest.MonkeyPatch, catches_up: bool, times: float
) -> list[EntryId]:
    """While the second server hears nothing the first says something. The second fails so often at
    the first entry of that. Returns where it failed, as it goes on."""
    a, b = world.servers
    b.store.frozen = True
    for _ in range(4):
        a.say()
        world.wait(0.1)
    apply = b.apply
    failed: list[EntryId] = []

    def fail(batch: Batch) -> None:
        if len(failed) < times and batch.id == a.log[1][0]:
            failed.append(batch.id)
            raise ZeroDivisionError
        apply(batch)

    monkeypatch.setattr(b, "apply", fail)
    b.store.frozen = False
    if catches_up:
        b.store.cut()
    with pytest.raises(ZeroDivisionError):
        world.wait(1)
    return failed


@pytest.mark.parametrize("catches_up", [False, True])
def test_room_in_which_an_error_was_is_read_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, catches_up: bool
) -> None:
    fail_at_first(world, monkeypatch, catches_up, times=1)
    b = world.servers[1]
    assert not b.stream.follows
    assert b.lost == [""]
    world.agree()
    b.say()
    world.agree()
    assert len(b.log) == 6


@pytest.mark.parametrize("catches_up", [False, True])
def test_error_that_comes_again_keeps_a_server_from_nothing_that_follows(
    world: World, monkeypatch: pytest.MonkeyPatch, catches_up: bool
) -> None:
    failed = fail_at_first(world, monkeypatch, catches_up, times=2)
    a, b = world.servers
    with pytest.raises(ZeroDivisionError):
        world.settle()
    world.settle()
    assert len(failed) == 2
    assert b.log == [a.log[0], *a.log[2:]]
    assert len(b.log) == 4
    assert b.stream.follows


def test_each_entry_in_which_an_error_was_at_one_server_alone_is_read_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = world.servers
    apply = b.apply
    failing: list[EntryId] = []

    def fail(batch: Batch) -> None:
        if not failing:
            failing.append(batch.id)
            raise ZeroDivisionError
        apply(batch)

    monkeypatch.setattr(b, "apply", fail)
    for _ in range(4):
        failing.clear()
        a.say()
        with pytest.raises(ZeroDivisionError):
            world.settle()
        world.agree()
    assert b.lost == 4 * [""]


def test_error_at_every_entry_has_a_room_read_anew_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = world.servers
    monkeypatch.setattr(b, "apply", Mock(side_effect=ZeroDivisionError))
    for _ in range(4):
        a.say()
        for _ in range(4):
            with suppress(ZeroDivisionError):
                world.settle()
        assert b.stream.follows
    assert b.lost == [""]
    # Who reads all that is slow only at the first one.
    late = world.start()
    world.servers.append(late)
    monkeypatch.setattr(late, "apply", b.apply)
    since = world.time.now
    for _ in range(6):
        with suppress(ZeroDivisionError):
            world.settle()
    assert late.stream.follows
    assert late.lost == [""]
    assert world.time.now - since < 2.5 * RESEND_SECONDS


def test_snapshot_that_could_not_be_opened_for_an_error_is_loaded_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.say_much()
    open_sealed = ClusterKey.open

    def fail(key: ClusterKey, stream: str, kind: bytes, sealed: bytes) -> bytes:
        if kind != SNAPSHOT:
            return open_sealed(key, stream, kind, sealed)
        monkeypatch.setattr(ClusterKey, "open", open_sealed)
        raise MemoryError

    monkeypatch.setattr(ClusterKey, "open", fail)
    late = world.start()
    world.servers.append(late)
    with pytest.raises(MemoryError):
        world.settle()
    world.agree()
    assert late.restored == 1


@pytest.mark.parametrize("question", ["load", "fetch"])
def test_answer_that_was_lost_in_an_error_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    a, b = world.servers
    ask = getattr(b.store, question)

    def forget(*_what: object) -> None:
        monkeypatch.setattr(b.store, question, ask)

    monkeypatch.setattr(b.store, question, forget)
    world.redis.fail_over(world.redis.writes)
    world.wait(1)
    assert b.stream.phase is (Phase.LOADING if question == "load" else Phase.CATCHING)
    a.say()
    world.wait(LOST_ANSWER_SECONDS)
    world.agree()


def test_room_that_could_not_be_restored_does_not_go_on_as_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.say_much()
    late = world.start()
    world.servers.append(late)
    restore = late.restore

    def fail(_state: bytes, _at: EntryId) -> None:
        monkeypatch.setattr(late, "restore", restore)
        raise ZeroDivisionError

    monkeypatch.setattr(late, "restore", fail)
    with pytest.raises(ZeroDivisionError):
        world.wait(1)
    late.store.cut()
    world.agree()
    assert late.restored == 1


# -- cuts ----------------------------------------------------------------------------------------


def test_what_was_on_its_way_at_a_cut_counts_once(world: World) -> None:
    a = world.servers[0]
    for _ in range(20):
        a.say()
        world.run(3)
        a.store.cut()
    world.agree()
    assert len(a.log) == 21
    assert a.lost == []


def test_entry_that_is_refused_does_not_let_the_next_one_pass(world: World) -> None:
    a = world.servers[0]
    world.redis.full = True
    a.say()
    world.flush()
    while not a.refusals:
        world.run(1)
    world.redis.full = False
    a.say()
    world.agree()
    assert [text for _, text in a.log[1:]] == ["s0/1", "s0/2"]
    assert a.refusals == ["it is full", ""]


def test_refusal_of_many_rooms_is_told_once_and_ends_with_the_last_of_them(world: World) -> None:
    a = world.servers[0]
    rooms = [a.streams.open(bytes([number]) * 16, Mock()) for number in range(3)]
    for room, refusal in (
        *((room, "full") for room in rooms),
        (rooms[0], ""),
        (rooms[1], "locked"),
        (rooms[2], ""),
        (rooms[1], ""),
    ):
        a.streams._on_answer(room, refusal)
    assert a.refusals == ["full", "locked", "", ""]


def test_server_that_was_silent_for_long_is_forgotten_and_begins_anew(world: World) -> None:
    a, b = world.servers
    for round_number in range(4):
        a.say()
        world.settle()
        for _ in range(3):
            world.wait(0.7)
            b.say()
            world.settle()
        assert len(a.log) == 1 + 4 * (round_number + 1)
    world.agree()


def test_server_that_was_frozen_while_the_stream_was_trimmed_past_it_takes_the_snapshot(
    world: World,
) -> None:
    b = world.servers[1]
    b.store.frozen = True
    world.say_much()
    assert len(b.log) == 1
    b.store.frozen = False
    b.store.poke(b.stream.name)
    world.agree()
    assert (len(b.log), b.restored, b.lost) == (61, 1, [])


def test_room_that_is_closed_hears_nothing_more() -> None:
    world = World()
    a, b = world.servers
    world.run(1)
    a.streams.close(a.stream)
    world.settle()
    assert (a.log, a.follows) == ([], False)
    assert b.follows


# -- what Redis has lost, and what was done to it -------------------------------------------------


def test_fail_over_that_loses_what_was_read_is_a_new_room_for_all(world: World) -> None:
    a, b = world.servers
    b.store.cut()
    for _ in range(3):
        a.say()
        world.run(30)
    assert len(a.log) == 4
    world.redis.fail_over(1)
    world.agree()
    assert len(set(a.eras)) == len(set(b.eras)) == 2
    assert len(a.lost) == 1
    assert b.log == a.log


def test_wiped_redis_is_a_new_room(world: World) -> None:
    a, b = world.servers
    a.say()
    world.settle()
    world.redis.wipe()
    world.agree()
    assert len(a.eras) == len(b.eras) == 2


def test_stream_that_is_deleted_under_our_feet_is_noticed_with_the_next_entry(
    world: World,
) -> None:
    a, b = world.servers
    a.say()
    world.settle()
    name = KEY.stream_of(TAG)
    world.redis.streams[name].clear()
    world.redis._last[name] = EntryId(0, 0)
    world.redis.ahead = -500
    a.say()
    world.settle()
    b.say()
    world.agree()
    assert min(len(a.eras), len(b.eras)) > 1


@pytest.mark.parametrize("whole", [False, True])
def test_entry_that_is_deleted_before_anybody_has_read_it_is_said_again(
    world: World, whole: bool
) -> None:
    a, b = world.servers
    for one in (a, b):
        one.say()
    world.settle()
    entries = world.redis.streams[KEY.stream_of(TAG)]
    before = list(entries)
    a.say()
    a.say()
    world.flush()
    while entries == before:
        world.time.step()
    del entries[0 if whole else len(before) :]
    world.agree()
    assert [text for _, text in a.log[1:] if text.startswith("s0")] == ["s0/1", "s0/2", "s0/3"]
    assert a.lost == b.lost == []


def test_clock_of_redis_that_goes_back_changes_nothing(world: World) -> None:
    a = world.servers[0]
    for world.redis.ahead in (0.0, 3600.0, 0.0, -3600.0):
        a.say()
        world.settle()
    world.agree()
    assert len(a.eras) == 1
    assert [place for place, _ in a.log] == sorted(place for place, _ in a.log)


def test_entry_that_is_withheld_from_one_server_is_found(world: World) -> None:
    a, b = world.servers
    entries = world.redis.streams[KEY.stream_of(TAG)]
    b.store.cut()
    a.say()
    world.run(1)
    while len(a.log) < 2:
        world.run(1)
    hidden = entries.pop()
    a.say()
    world.settle()
    assert "that is not here" in "".join(a.lost + b.lost)
    world.agree()
    assert hidden not in entries


def test_server_from_which_a_new_room_was_withheld_finds_it_though_nothing_is_said_there(
    world: World,
) -> None:
    a, b = world.servers
    name = KEY.stream_of(TAG)
    b.store.frozen = True
    header = a.stream._sequence.beginning(b"origin x").encode()
    sealed = KEY.seal(name, BEGINNING, header + b"opened by x", FixedBytes("x"))
    world.redis.append(name, BEGINNING, sealed)
    world.settle()
    world.redis.streams[name].pop()
    b.store.frozen = False
    # What is said at the same moment is merely late.
    b.say()
    world.settle()
    assert world.entries().count(WANTED) == 0
    assert (len(a.eras), b.eras) == (2, a.eras[:1])
    world.wait(UNREAD_SECONDS)
    b.say()
    world.agree()
    assert "a room whose beginning was not here" in b.lost[0]
    assert len(a.eras) == 2


def test_question_that_is_refused_holds_nobody_up(world: World) -> None:
    """It is not asked again before somebody is late again, and then may be taken."""
    a = world.servers[0]
    world.redis.full = True
    a.stream._ask_for_others(EntryId(10**12, 0))
    world.settle()
    assert world.entries().count(WANTED) == 0
    assert not a.streams.refuses


def test_entries_that_are_shown_in_another_order_are_found() -> None:
    """Each of them counts in either order. What the next server says that it has read does not."""
    name = KEY.stream_of(TAG)
    random_bytes = FixedBytes("entries")

    def entry(place: int, kind: bytes, plaintext: bytes) -> RawEntry:
        return RawEntry(EntryId(place, 0), kind, KEY.seal(name, kind, plaintext, random_bytes))

    honest, other = Sequence(KEY, name), Sequence(KEY, name)
    begin = entry(1, BEGINNING, honest.beginning(b"origin a").encode())
    for one in (honest, other):
        one.read(begin)
    x = entry(2, ENTRY, honest.header(b"origin a", 1).encode())
    y = entry(3, ENTRY, honest.header(b"origin b", 1).encode())
    swapped = x._replace(sealed=y.sealed), y._replace(sealed=x.sealed)
    for one, entries in ((honest, (x, y)), (other, swapped)):
        assert all(isinstance(one.read(raw), Counted) for raw in entries)
    z = entry(4, ENTRY, honest.header(b"origin a", 2).encode())
    assert isinstance(honest.read(z), Counted)
    assert other.read(z) == Lost("another server has read another conversation up to the entry 3-0")


def test_old_entry_that_is_put_there_again_does_not_count(world: World) -> None:
    a, b = world.servers
    a.say()
    b.say()
    world.settle()
    name = KEY.stream_of(TAG)
    for entry in list(world.redis.streams[name]):
        world.redis.append(name, entry.kind, entry.sealed)
    # And once their origins are forgotten.
    for _ in range(3):
        world.wait(0.7)
        b.say()
        world.settle()
    for entry in list(world.redis.streams[name]):
        world.redis.append(name, entry.kind, entry.sealed)
    world.agree()
    assert len(a.log) == 6
    assert len(a.eras) == 1


@pytest.mark.parametrize(
    ("kind", "sealed"),
    [(b"x", b""), (ENTRY, b""), (ENTRY, bytes(200)), (BEGINNING, bytes(200)), (b"", b"")],
)
def test_foreign_entry_is_named_and_passed_over(world: World, kind: bytes, sealed: bytes) -> None:
    a, b = world.servers
    name = KEY.stream_of(TAG)
    place = world.redis.append(name, kind, sealed)
    a.say()
    world.agree()
    assert len(a.log) == 2
    assert f"the entry {place} of {name}" in a.troubles[0]
    assert a.troubles == b.troubles


def test_entry_of_another_version_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence, "FORMAT", 2)
    sealed = KEY.seal(
        KEY.stream_of(TAG),
        ENTRY,
        world.servers[0].stream._sequence.header(b"8" * 8, 1).encode(),
        FixedBytes("2"),
    )
    monkeypatch.setattr(sequence, "FORMAT", 1)
    world.redis.append(KEY.stream_of(TAG), ENTRY, sealed)
    world.agree()
    assert "another version" in world.servers[0].troubles[0]


def test_entry_of_another_room_does_not_open(world: World) -> None:
    moved = world.redis.streams[KEY.stream_of(TAG)][0]
    with pytest.raises(ChatError):
        KEY.open(KEY.stream_of(b"other"), moved.kind, moved.sealed)


@pytest.mark.parametrize("damage", [b"", bytes(500)])
def test_damaged_snapshot_is_named_and_nobody_stays_behind(world: World, damage: bytes) -> None:
    world.say_much()
    world.redis.values[KEY.snapshot_of(KEY.stream_of(TAG))] = damage
    world.servers.append(world.start())
    world.agree()
    assert "cannot be used" in world.servers[-1].troubles[0]
    assert [len(server.eras) for server in world.servers] == [1, 1, 0]
    assert world.servers[-1].restored == 1


# -- all of it at once -----------------------------------------------------------------------------


def storm(seed: int, breaks: bool) -> World:
    """Some hundred things happen, in an order that follows from the seed."""
    world = World(seed, servers=3)
    choices = world.choices
    for _ in range(choices.randint(50, 250)):
        server = choices.choice(world.servers)
        match choices.randrange(40):
            case 0 | 1 | 2:
                server.store.cut()
            case 3 if len(world.servers) > 1:
                world.kill(server)
            case 4 | 5 if len(world.servers) < 5:
                world.servers.append(world.start())
            case 6:
                world.redis.full = not world.redis.full
            case 7:
                world.redis.fail_over(0)
            case 8:
                world.wait(choices.random() * 2 * RESEND_SECONDS)
            case 9 if breaks:
                world.redis.fail_over(choices.randint(1, 8))
            case 10 if breaks and choices.random() < 0.2:
                world.redis.wipe()
            case _:
                server.say()
        world.flush()
        world.run(choices.randint(0, 8))
        for one in world.servers:
            world.in_order(one)
    world.redis.full = False
    world.agree()
    return world


@pytest.mark.parametrize("seed", range(40))
def test_all_servers_have_one_log_after_a_storm_and_no_room_ends_without_a_cause(
    seed: int,
) -> None:
    world = storm(seed, breaks=False)
    begun = {era for server in world.servers for era in server.eras}
    assert len(begun) <= 1
    assert not any(server.lost for server in world.servers)


@pytest.mark.parametrize("seed", range(40))
def test_all_servers_have_one_log_though_redis_loses_what_it_had(seed: int) -> None:
    storm(seed, breaks=True)


def test_items_survive_their_encoding() -> None:
    items = [b"", b"a", bytes(70_000), b""]
    assert sequence.decode_items(sequence.encode_items(items)) == tuple(items)


def test_room_in_which_nothing_happens_costs_a_turn_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = world.servers[0]
    for number in range(50):
        a.streams.open(f"room {number}".encode(), Mock(opening=lambda: b"it"))
    world.settle()
    flushed: list[str] = []
    monkeypatch.setattr(stream.Stream, "flush", lambda self, _: flushed.append(self.name))
    a.streams.flush(world.time.now)
    a.say()
    a.streams.flush(world.time.now)
    assert flushed == [a.stream.name]
