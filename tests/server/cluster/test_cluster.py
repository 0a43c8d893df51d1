"""One server of a cluster: what the operator is shown, and how the server goes."""

import contextlib
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from chat.errors import Reason
from chat.limits import (
    BEAT_SECONDS,
    CARD_SECONDS,
    GATHER_SECONDS,
    GRACE_SECONDS,
    SERVER_GONE_SECONDS,
)
from chat.presence import Presence
from chat.server import words
from chat.server.hosted import HostedRoom
from tests.support.cluster import CARD, KEY, SEALED, ClusterServer, ClusterWorld, Person, Seat

SLOW_SECONDS = SERVER_GONE_SECONDS + 2
"""A way to Redis that is longer than a server may be silent."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> ClusterWorld:
    """Two servers that know each other, with two members and one."""
    world = ClusterWorld(monkeypatch)
    one, other = world.servers
    for name, server in (("Ira", one), ("Boris", one), ("Eve", other)):
        world.come(name, server)
    world.run(2 * BEAT_SECONDS + 1)
    return world


def test_operator_sees_the_servers_and_how_far_they_are_behind(world: ClusterWorld) -> None:
    count, *lines = world.servers[0].cluster.lines()
    assert count == "[+] Servers: 2"
    shown = [
        re.fullmatch(r"    (s\d)(.*): (\d) connected, heard \d s ago, (\d+) ms behind .*", line)
        for line in sorted(lines)
    ]
    assert [found.groups()[:3] for found in shown if found] == [
        ("s0", ", this one", "2"),
        ("s1", "", "1"),
    ]
    assert all(0 < int(found[4]) < 500 for found in shown if found)


def test_operator_sees_which_servers_were_not_heard_yet(world: ClusterWorld) -> None:
    """They may be dead: what they said last is in the stream."""
    world.kill(world.servers[0])
    late = world.start()
    world.run(1)
    *others, own = sorted(late.cluster.lines()[1:])
    assert [line.split(", ")[1] for line in others] == ["not heard yet"] * 2
    assert ", this one: " in own
    assert "not heard yet" not in own
    world.run(SERVER_GONE_SECONDS)
    assert len(late.cluster.lines()) == 1 + len(world.servers)
    assert "not heard yet" not in "\n".join(late.cluster.lines())


def test_operator_sees_at_once_how_many_are_connected_to_this_server(world: ClusterWorld) -> None:
    one, _ = world.servers
    world.come("Zoe", one)
    (own,) = (line for line in one.cluster.lines() if ", this one" in line)
    assert ": 3 connected" in own


def test_operator_is_told_when_redis_goes_and_when_it_is_back(world: ClusterWorld) -> None:
    one, _ = world.servers
    world.redis.down = True
    one.store.cut()
    assert one.screen.lines[-1].startswith("[!] cluster: Redis is away: ")
    assert one.cluster.lines()[0] == "[!] Servers: not known while nothing comes back from Redis"
    world.redis.down = False
    world.run(1)
    assert one.screen.lines.count("[+] cluster: Redis is there again.") == 1


def test_operator_sees_no_number_of_servers_while_redis_is_full(world: ClusterWorld) -> None:
    one, _ = world.servers
    world.redis.full = True
    world.run(SERVER_GONE_SECONDS + 1)
    count, *_ = one.cluster.lines()
    assert count == "[!] Servers: not known while nothing comes back from Redis"
    world.redis.full = False
    world.run(2 * BEAT_SECONDS)
    assert one.cluster.lines()[0] == "[+] Servers: 2"


# -- a slow way to Redis --------------------------------------------------------------------------


def told(server: ClusterServer, text: str) -> int:
    """How often the operator was told this of the cluster."""
    return sum(line.endswith(f" cluster: {text}") for line in server.screen.lines)


def gone(world: ClusterWorld) -> list[str]:
    """Those whom a server has let go since it does not hear from Redis in time."""
    cut_off = (Reason.LOST, words.CUT_OFF)
    return [seat.person.name for seat in world.seats if seat.dropped == cut_off]


def test_server_with_a_slow_way_sends_its_members_and_newcomers_to_another(
    world: ClusterWorld,
) -> None:
    one, other = world.servers
    one.store.lag = SLOW_SECONDS
    world.run(SERVER_GONE_SECONDS + BEAT_SECONDS + 1)
    assert gone(world) == ["Ira", "Boris"]
    # Its beats come back late from now on, and that is not enough.
    for _ in range(3):
        world.run(SLOW_SECONDS)
        late = world.let_in(Person("Zoe", b""), one)
        assert late.over
    assert world.come("Zoe", other).speaks
    one.store.lag = 0.0
    world.run(2 * SLOW_SECONDS)
    assert world.come("Nat", one).speaks
    assert (told(one, words.SLOW_HERE), told(one, words.REDIS_IN_TIME)) == (1, 1)
    assert [line for line in other.screen.lines if "cluster" in line] == []


def test_server_keeps_its_members_while_new_rooms_begin_all_the_time(world: ClusterWorld) -> None:
    """At each moment another room does not follow yet."""
    one, _ = world.servers
    one.store.lag = BEAT_SECONDS / 10
    for number in range(40):
        seat = world.let_in(Person("Zoe", bytes([number]) * len(SEALED)), one)
        world.time.call_in(2 * BEAT_SECONDS, partial(seat.drop, Reason.LEFT))
        world.run(BEAT_SECONDS / 5)
        assert not all(room.stream.follows for room in one.cluster._rooms.values())
    assert gone(world) == []
    assert [line for line in one.screen.lines if "cluster" in line] == []


def test_trouble_is_over_though_new_rooms_begin_all_the_time(world: ClusterWorld) -> None:
    one, _ = world.servers
    one.store.cut()
    one.store.lag = BEAT_SECONDS / 10
    for number in range(20):
        seat = world.let_in(Person("Zoe", bytes([number]) * len(SEALED)), one)
        world.time.call_in(2 * BEAT_SECONDS, partial(seat.drop, Reason.LEFT))
        world.run(BEAT_SECONDS / 5)
    assert told(one, words.REDIS_BACK) == 1


def test_others_know_at_once_of_a_guest_that_gives_up_while_its_server_reads_nothing(
    world: ClusterWorld,
) -> None:
    one, other = world.servers
    one.store.frozen = True
    world.let_in(Person("Zoe", b""), one).drop(Reason.TIMEOUT)
    world.run(BEAT_SECONDS + 1)
    assert other.open_room().room.presence("Zoe") is Presence.LOST


def test_members_stay_while_redis_is_slow_for_all(world: ClusterWorld) -> None:
    for server in world.servers:
        server.store.lag = SLOW_SECONDS
    # Each may take the other one for quick, until it reads how that one is.
    world.run(5 * SLOW_SECONDS)
    for server in world.servers:
        assert not server.cluster.cut_off
        assert told(server, words.SLOW_EVERYWHERE) == 1
    nat = world.let_in(Person("Nat", b""), world.servers[0])
    world.run(10 * SLOW_SECONDS)
    assert not nat.over
    assert nat.speaks
    for server in world.servers:
        server.store.lag = 0.0
    world.run(2 * SLOW_SECONDS)
    for server in world.servers:
        assert (told(server, words.SLOW_EVERYWHERE), told(server, words.REDIS_IN_TIME)) == (1, 1)


@pytest.fixture
def only(world: ClusterWorld) -> ClusterServer:
    """The only server: the other one is gone, and that is known."""
    only, other = world.servers
    world.kill(other)
    world.run(2 * SERVER_GONE_SECONDS)
    return only


def test_only_server_keeps_its_members_while_redis_is_slow(
    world: ClusterWorld, only: ClusterServer
) -> None:
    only.store.lag = SLOW_SECONDS
    world.run(5 * SLOW_SECONDS)
    assert gone(world) == []
    assert told(only, words.SLOW_EVERYWHERE) == 1


def test_only_server_keeps_its_members_where_redis_is_slow_after_it_was_away(
    world: ClusterWorld, only: ClusterServer
) -> None:
    world.redis.down = True
    only.store.cut()
    world.run(2 * SERVER_GONE_SECONDS)
    assert gone(world) == ["Ira", "Boris"]
    only.store.lag = SLOW_SECONDS
    world.redis.down = False
    world.until(lambda: not only.cluster.cut_off, 10 * SLOW_SECONDS)
    nat = world.let_in(Person("Nat", b""), only)
    world.run(10 * SLOW_SECONDS)
    assert nat.speaks
    only.store.lag = 0.0
    world.run(2 * SLOW_SECONDS)
    assert told(only, words.REDIS_IN_TIME) == 1


def test_beat_of_before_that_is_read_late_does_not_tell_that_redis_is_slow(
    world: ClusterWorld, only: ClusterServer
) -> None:
    """The connection has ended when Redis had taken the beat, and before it came back."""
    world.until(lambda: not only.cluster.registry.stream.idle)
    world.until(lambda: not only.store._on_way)
    assert not only.cluster.registry.stream.idle
    world.redis.down = True
    only.store.cut()
    world.run(2 * SERVER_GONE_SECONDS)
    world.redis.down = False
    world.run(BEAT_SECONDS)
    assert told(only, words.REDIS_BACK) == 1
    assert told(only, words.SLOW_EVERYWHERE) == 0


def test_nobody_is_sent_away_while_redis_refuses_what_is_said(world: ClusterWorld) -> None:
    world.redis.full = True
    world.run(2 * SERVER_GONE_SECONDS)
    world.redis.full = False
    world.run(SERVER_GONE_SECONDS)
    assert gone(world) == []


def test_redis_that_may_not_be_read_is_told_once_and_nobody_is_sent_away(
    world: ClusterWorld,
) -> None:
    one, _ = world.servers
    world.redis.unreadable.update(world.redis.streams)
    one.store.cut()
    world.run(2 * SERVER_GONE_SECONDS)
    assert told(one, "it may not be read") == 1
    world.redis.unreadable.clear()
    world.run(SERVER_GONE_SECONDS)
    assert told(one, words.REDIS_TAKES) == 1
    assert gone(world) == []


def test_room_that_may_not_be_read_keeps_nobody_out_of_another(world: ClusterWorld) -> None:
    one, _ = world.servers
    world.come("Zoe", one, SEALED)
    world.redis.unreadable.add(KEY.stream_of(SEALED))
    one.store.cut()
    world.run(2 * SERVER_GONE_SECONDS)
    assert gone(world) == []
    assert world.come("Nat", one).speaks


def test_server_lets_nobody_in_before_something_comes_back_from_redis(world: ClusterWorld) -> None:
    """A connection that stands says nothing: Redis may take no writes."""
    one, _ = world.servers
    one.store.lag = SLOW_SECONDS
    world.run(BEAT_SECONDS)
    for _ in range(5):
        one.store.cut()
        world.run(BEAT_SECONDS)
        assert one.store.up
    assert gone(world) == ["Ira", "Boris"]
    assert world.let_in(Person("Zoe", b""), one).over
    one.store.lag = 0.0
    world.run(2 * SLOW_SECONDS)
    assert told(one, words.REDIS_BACK) == 1
    assert sum("Redis is away: " in line for line in one.screen.lines) == 1
    assert world.come("Zoe", one).speaks


def test_server_whose_room_does_not_catch_up_sends_its_members_to_another(
    world: ClusterWorld,
) -> None:
    """Its beats come back, since they stand in another stream."""
    one, _ = world.servers
    stream = one.cluster._rooms[b""].stream
    stream.on_down()
    world.run(SERVER_GONE_SECONDS + BEAT_SECONDS + 1)
    assert gone(world) == ["Ira", "Boris"]
    world.run(SERVER_GONE_SECONDS)
    assert told(one, words.REDIS_IN_TIME) == 0
    stream.on_up()
    world.run(2 * BEAT_SECONDS)
    assert (told(one, words.SLOW_HERE), told(one, words.REDIS_IN_TIME)) == (1, 1)
    assert world.come("Zoe", one).speaks


def test_server_that_was_stopped_first_reads_what_came_meanwhile(world: ClusterWorld) -> None:
    one, _ = world.servers
    one.turns._origin += 2 * SERVER_GONE_SECONDS
    world.run(SERVER_GONE_SECONDS)
    assert gone(world) == []
    assert [line for line in one.screen.lines if "cluster" in line] == []


def test_what_was_over_before_a_server_started_is_no_news_there(world: ClusterWorld) -> None:
    one, _ = world.servers
    next(seat for seat in world.seats if seat.person.name == "Boris").drop(Reason.LEFT)
    world.run(1)
    late = world.start()
    world.run(1)
    assert [member.name for member in late.open_room().members()] == ["Ira", "Eve"]
    assert late.screen.lines == []
    world.come("Zoe", one)
    world.run(1)
    assert "[+] New connection. Username: Zoe" in late.screen.lines


def test_what_happened_while_a_server_did_not_reach_redis_is_news_there(
    world: ClusterWorld,
) -> None:
    one, other = world.servers
    other.store.cut()
    world.come("Zoe", one)
    world.run(1)
    assert "[+] New connection. Username: Zoe" in other.screen.lines


def test_card_is_kept_while_a_server_is_there(world: ClusterWorld) -> None:
    world.redis.values[KEY.card] = b"that of the first server"
    world.run(2 * CARD_SECONDS)
    assert world.redis.values[KEY.card] == b"that of the first server"
    for server in list(world.servers):
        world.kill(server)
    world.run(CARD_SECONDS + 1)
    assert KEY.card not in world.redis.values


def test_card_that_redis_has_lost_is_there_again_as_soon_as_a_server_has_said_it_is_alive(
    world: ClusterWorld,
) -> None:
    """Otherwise the next server to come would leave its own, even if it has other keys."""
    del world.redis.values[KEY.card]
    world.run(BEAT_SECONDS)
    assert world.redis.values[KEY.card] == CARD


def test_server_that_goes_changes_no_room_any_more(world: ClusterWorld) -> None:
    one, other = world.servers
    eve = next(seat for seat in world.seats if seat.at is other)
    room = one.open_room()
    one.cluster.leave()
    end = room.log.end
    eve.say("is anybody here?")
    world.run(SERVER_GONE_SECONDS)
    assert room.log.end == end
    assert {member.name: member.lost for member in other.open_room().members()} == {
        "Ira": True,
        "Boris": True,
        "Eve": False,
    }


def test_members_of_a_server_that_went_come_back_elsewhere(world: ClusterWorld) -> None:
    one, other = world.servers
    ira = next(seat for seat in world.seats if seat.person.name == "Ira")
    place = ira.person.place
    one.cluster.leave()
    world.run(1)
    world.kill(one)
    again = world.let_in(ira.person, other)
    world.until(lambda: again.speaks)
    assert again.member is not None
    assert place is not None
    assert again.member.id == place.member


def test_room_is_followed_no_more_if_a_snapshot_shows_that_the_last_one_has_left(
    world: ClusterWorld,
) -> None:
    one, other = world.servers
    ira = world.come("Ira", one, SEALED)
    world.come("Zoe", other, SEALED)
    one.store.frozen = True
    ira.drop(Reason.LEFT)
    world.run(1)
    stream = other.cluster._rooms[SEALED].stream
    stream.keep()
    world.run(1)
    # It is trimmed past what the one server has read.
    del world.redis.streams[stream.name][:-1]
    one.store.frozen = False
    one.store.cut()
    world.until(lambda: world.restored > 0 and one.store.up)
    world.run(1)
    assert one.hosted(SEALED) is None


def test_room_is_followed_no_more_when_nobody_is_in(world: ClusterWorld) -> None:
    one, _ = world.servers
    ira = world.come("Ira", one, SEALED)
    name = one.cluster._rooms[SEALED].stream.name
    assert name in one.store._followed
    ira.drop(Reason.LEFT)
    world.run(1)
    assert one.hosted(SEALED) is None
    assert name not in one.store._followed


# -- a room that a server has left, when Redis loses the leaving --------------------------------


def names(server: ClusterServer, tag: bytes = SEALED) -> list[str]:
    """Who is in the room, the lost ones in brackets."""
    room = server.hosted(tag)
    assert room is not None
    members = room.room.members.values()
    return sorted(f"({one.name})" if one.lost else one.name for one in members)


def leave_a_ghost(world: ClusterWorld) -> Seat:
    """Ira has left by the first server, which does not carry the room any more, and Redis loses
    that. Then Zoe comes in by the second one."""
    one, other = world.servers
    ira = world.come("Ira", one, SEALED)
    writes = world.redis.writes
    ira.drop(Reason.LEFT)
    world.until(lambda: one.hosted(SEALED) is None)
    world.redis.fail_over(world.redis.writes - writes)
    zoe = world.come("Zoe", other, SEALED)
    assert names(other) == ["Ira", "Zoe"]
    return zoe


def test_member_of_a_server_that_has_left_the_room_is_lost(world: ClusterWorld) -> None:
    zoe = leave_a_ghost(world)
    _, other = world.servers
    world.run(2 * BEAT_SECONDS + 1)
    assert names(other) == ["(Ira)", "Zoe"]
    world.run(GRACE_SECONDS)
    assert names(other) == ["Zoe"]
    assert zoe.speaks


def test_who_comes_in_after_the_answer_is_not_lost(world: ClusterWorld) -> None:
    leave_a_ghost(world)
    one, other = world.servers
    answers: list[tuple[bytes, bytes, int]] = []
    other.cluster.registry.on_answered = lambda *answer: answers.append(answer)
    world.run(2 * BEAT_SECONDS + 1)
    boris = world.come("Boris", one, SEALED)
    world.until(lambda: "Boris" in names(other))
    for answer in answers:
        other.cluster._on_answered(*answer)
    world.run(BEAT_SECONDS)
    assert names(other) == names(one) == ["(Ira)", "Boris", "Zoe"]
    assert boris.speaks


def test_server_that_carries_the_room_keeps_its_members(world: ClusterWorld) -> None:
    one, other = world.servers
    ira = world.come("Ira", one, SEALED)
    world.come("Zoe", other, SEALED)
    carried = other.cluster._rooms[SEALED]
    assert carried.unsure == {one.cluster.server_id}
    world.run(2 * BEAT_SECONDS)
    assert carried.unsure == set()
    assert names(other) == ["Ira", "Zoe"]
    assert not ira.over


def test_server_is_asked_again_until_it_follows_the_room(world: ClusterWorld) -> None:
    one, other = world.servers
    world.come("Ira", one, SEALED)
    stream = one.cluster._rooms[SEALED].stream
    stream.on_down()
    world.come("Zoe", other, SEALED)
    carried = other.cluster._rooms[SEALED]
    world.run(2 * BEAT_SECONDS)
    assert carried.unsure == {one.cluster.server_id}
    stream.on_up()
    world.run(2 * BEAT_SECONDS)
    assert carried.unsure == set()
    assert names(other) == ["Ira", "Zoe"]


def test_question_that_redis_loses_is_asked_again(world: ClusterWorld) -> None:
    leave_a_ghost(world)
    one, other = world.servers
    lost: list[bytes] = []
    one.cluster.registry.on_asked = lost.append
    world.run(BEAT_SECONDS + 1)
    assert SEALED in lost
    assert names(other) == ["Ira", "Zoe"]
    one.cluster.registry.on_asked = one.cluster._answer
    world.run(2 * BEAT_SECONDS)
    assert names(other) == ["(Ira)", "Zoe"]


# -- a turn of the loop -------------------------------------------------------------------------


def test_what_is_said_is_on_its_way_while_others_are_sent_theirs(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis answers within the time that it takes to send to a large room."""
    ira = next(seat for seat in world.seats if seat.person.name == "Ira")
    one = ira.at
    done: list[str] = []
    append, fan_out = one.store.append, HostedRoom.fan_out

    def ask(*what: Any) -> None:
        done.append("ask Redis")
        append(*what)

    def send(room: HostedRoom) -> None:
        done.append("send")
        fan_out(room)

    monkeypatch.setattr(one.store, "append", ask)
    monkeypatch.setattr(HostedRoom, "fan_out", send)
    ira.say("hello")
    one.open_room().touch()
    one.turns.end_turn()
    assert done == ["ask Redis", "send"]


def gathered(world: ClusterWorld) -> tuple[Seat, ClusterServer]:
    """Ira has said something that is still on its way, and what Eve said has come before it."""
    ira = next(seat for seat in world.seats if seat.person.name == "Ira")
    eve = next(seat for seat in world.seats if seat.person.name == "Eve")
    one, stream = ira.at, ira.at.cluster._rooms[b""].stream
    for _ in range(100):
        eve.say("from afar")
        ira.say("from here")
        world.end_turn()
        while not stream.idle:
            world.time.step()
            if stream._gathered and all(raw.sealed != stream._sent for raw in stream._gathered):
                return ira, one
            world.end_turn()
    raise AssertionError("it does not happen")


def test_nothing_is_read_after_members_were_sent_theirs(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be sent when the loop wakes up by chance. It takes so long to send that what was
    gathered has waited for long enough."""
    ira, one = gathered(world)
    fan_out = HostedRoom.fan_out

    def slowly(room: HostedRoom) -> None:
        fan_out(room)
        world.time.now += 2 * GATHER_SECONDS

    monkeypatch.setattr(HostedRoom, "fan_out", slowly)
    one.open_room().touch()
    one.turns.end_turn()
    assert not one.server._busy
    assert b"from afar" not in ira.transport.taken[-300:]
    deadline = one.cluster.streams.deadline
    assert deadline is not None
    assert deadline <= one.turns.clock()
    one.turns.end_turn()
    assert b"from afar" in ira.transport.taken[-300:]


def test_what_has_come_is_read_before_the_last_server_says_farewell(world: ClusterWorld) -> None:
    ira = next(seat for seat in world.seats if seat.person.name == "Ira")
    stream = ira.at.cluster._rooms[b""].stream
    ira.say("the last word")
    world.end_turn()
    while not stream._gathered:
        world.time.step()
    ira.at.server.terminate()
    assert ira.home is not None
    assert b"the last word" in ira.home.log.read(0, ira.home.log.end)


def fail(*_: object) -> None:
    raise AssertionError("nobody foresaw this")


def contain(callback: Callable[[], None]) -> float:
    with contextlib.suppress(AssertionError):
        callback()
    return 0.0


def test_server_ends_though_an_error_keeps_it_from_taking_leave_of_the_others(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, stop = world.servers[0], Mock()
    monkeypatch.setattr(one.cluster, "leave", fail)
    monkeypatch.setattr(one.turns, "call", contain)
    monkeypatch.setattr(one.turns, "stop", stop)
    one.server.terminate()
    stop.assert_called_once()


def test_error_in_one_room_keeps_no_other_from_what_is_said(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = world.servers
    world.come("Zoe", one, SEALED)
    nat = world.come("Nat", other, SEALED)
    sealed = one.cluster._rooms[SEALED]
    ira, eve = (seat for name in ("Ira", "Eve") for seat in world.seats if seat.person.name == name)

    monkeypatch.setattr(sealed, "apply", fail)
    monkeypatch.setattr(one.turns, "call", contain)
    monkeypatch.setattr(one.cluster, "call", contain)
    nat.say("nobody hears this")
    eve.say("from afar")
    other.turns.end_turn()
    world.until(lambda: b"from afar" in ira.transport.taken)
