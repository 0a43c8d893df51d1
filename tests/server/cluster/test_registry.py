"""What servers of a cluster share beside the rooms: who is alive, bans, names, the topic."""

import json
from unittest.mock import Mock

import pytest

from chat.errors import Reason
from chat.limits import BEAT_SECONDS, ORIGIN_SECONDS, SERVER_GONE_SECONDS
from chat.roomevents import Topic
from chat.server.cluster import registry, stream
from chat.server.cluster.registry import Registry
from chat.server.cluster.store import START, EntryId
from chat.server.cluster.stream import Batch
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban
from chat.text import fingerprint_of
from tests.support import fakestream
from tests.support.cluster import SEALED, ClusterServer, ClusterWorld

A_KEY, OTHER_KEY = (fingerprint_of(bytes([number]) * 32) for number in (1, 2))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> ClusterWorld:
    """Two servers that know each other."""
    world = ClusterWorld(monkeypatch)
    world.run(BEAT_SECONDS + 1)
    return world


def alive(server: ClusterServer) -> list[str]:
    return sorted(peer.title for peer in server.cluster.registry.peers.values())


def banned(server: ClusterServer) -> list[str]:
    return sorted(ban.fingerprint for ban in server.access.bans())


def ban(server: ClusterServer, fingerprint: str = A_KEY) -> None:
    server.server.ban(fingerprint, "Eve", "why not")


# -- who is alive ------------------------------------------------------------------------------


def test_servers_know_each_other(world: ClusterWorld) -> None:
    assert [alive(one) for one in world.servers] == [["s0", "s1"]] * 2


def test_server_that_is_not_heard_is_gone_and_its_members_are_lost(world: ClusterWorld) -> None:
    one, other = world.servers
    boris = world.come("Boris", other)
    world.come("Ira", one)
    world.run(SERVER_GONE_SECONDS)
    number = boris.member.id if boris.member else 0
    world.kill(other)
    world.run(SERVER_GONE_SECONDS - BEAT_SECONDS - 1)
    assert not one.open_room().room.members[number].lost
    world.run(2 * BEAT_SECONDS + 1)
    assert one.open_room().room.members[number].lost
    assert alive(one) == ["s0"]


def test_server_that_says_goodbye_is_gone_at_once(world: ClusterWorld) -> None:
    one, other = world.servers
    boris = world.come("Boris", other)
    number = boris.member.id if boris.member else 0
    world.run(1)
    other.cluster.leave()
    world.until(lambda: one.open_room().room.members[number].lost, seconds=1)
    world.run(2 * SERVER_GONE_SECONDS)
    assert alive(one) == ["s0"]


def test_server_that_has_said_goodbye_says_nothing_more(world: ClusterWorld) -> None:
    one, other = world.servers
    other.cluster.leave()
    world.run(1)
    # Whoever follows the stream says anew that it is alive.
    world.redis.fail_over(world.redis.writes)
    world.run(BEAT_SECONDS + 1)
    assert alive(one) == ["s0"]


def test_server_is_alone_when_it_is_sure_that_no_other_one_is_there(world: ClusterWorld) -> None:
    one, other = world.servers
    world.run(SERVER_GONE_SECONDS)
    assert not one.cluster.alone
    other.cluster.leave()
    world.run(1)
    assert one.cluster.alone
    late = world.start()
    world.run(BEAT_SECONDS)
    assert not late.cluster.alone
    assert not one.cluster.alone


def test_server_that_is_cut_off_does_not_know_whether_it_is_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = ClusterWorld(monkeypatch, servers=1)
    [one] = world.servers
    world.run(SERVER_GONE_SECONDS)
    assert not one.cluster.alone
    world.run(BEAT_SECONDS + 1)
    assert one.cluster.alone
    world.redis.down = True
    one.store.cut()
    world.run(2 * BEAT_SECONDS + 1)
    assert not one.cluster.alone


def test_server_that_is_cut_off_takes_nobody_for_gone(world: ClusterWorld) -> None:
    one, other = world.servers
    world.come("Boris", other)
    world.come("Ira", one)
    world.redis.down = True
    one.store.cut()
    world.run(3 * SERVER_GONE_SECONDS)
    assert alive(one) == []
    assert list(one.cluster.registry.gone({other.cluster.server_id})) == []
    world.redis.down = False
    world.run(BEAT_SECONDS)
    assert list(one.cluster.registry.gone({other.cluster.server_id})) == []


def test_server_that_was_frozen_takes_nobody_for_gone_before_it_has_heard_them() -> None:
    now = 0.0
    registry = Registry(b"own", lambda: now, Mock())
    registry.stream = Mock(follows=True)

    def hear(server: bytes) -> None:
        beat = {"what": "beat", "title": "", "people": 1, "behind": 0, "asks": []}
        beat["server"] = server.hex()
        registry.apply(Batch(START, (json.dumps(beat).encode(),), server == b"own"))

    def take_for_gone() -> list[bytes]:
        return list(registry.gone({b"other", b"third"}))

    while now <= SERVER_GONE_SECONDS:
        now += BEAT_SECONDS
        hear(b"own")
        hear(b"other")
    assert take_for_gone() == [b"third"]
    # Our own beat was on its way when we were frozen, and comes before all that the others said.
    now += 10 * SERVER_GONE_SECONDS
    hear(b"own")
    assert not registry.alone
    assert take_for_gone() == []
    for _ in range(4):
        hear(b"other")
        now += BEAT_SECONDS
        hear(b"own")
    assert take_for_gone() == [b"third"]


def test_servers_that_are_gone_for_long_are_forgotten() -> None:
    """Each start of a server is another one."""
    registry = Registry(b"own", float, Mock())
    registry.stream = Mock(follows=True)
    for number in range(1_000):
        beat = {"what": "beat", "title": "", "people": 1, "behind": 0, "asks": []}
        beat["server"] = f"{number:016x}"
        at = EntryId(round(1_000 * BEAT_SECONDS * number), 0)
        registry.apply(Batch(at, (json.dumps(beat).encode(),), False))
    assert len(registry._peers) == ORIGIN_SECONDS / BEAT_SECONDS + 1


def test_clock_of_another_machine_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ClusterWorld(monkeypatch, servers=1)
    ahead = world.start(origin=3_600.0 * 24 * 365)
    (one, _), boris = world.servers, world.come("Boris", ahead)
    world.run(3 * SERVER_GONE_SECONDS)
    assert alive(one) == alive(ahead) == ["s0", "s1"]
    assert boris.speaks


# -- bans, names and the topic -------------------------------------------------------------------


def test_ban_and_its_end_hold_at_all_servers(world: ClusterWorld) -> None:
    one, other = world.servers
    ban(one)
    world.run(1)
    assert banned(other) == [A_KEY]
    other.server.unban(A_KEY)
    world.run(1)
    assert banned(one) == []


def test_ban_puts_out_of_a_room_that_its_server_does_not_carry(world: ClusterWorld) -> None:
    one, other = world.servers
    eve = world.come("Eve", other, SEALED)
    assert one.hosted(SEALED) is None
    assert eve.member is not None
    ban(one, fingerprint_of(eve.member.fingerprint))
    world.run(1)
    assert eve.dropped is not None
    assert eve.dropped[0] is Reason.KICKED


def test_commands_given_at_the_same_moment_end_the_same_everywhere(world: ClusterWorld) -> None:
    one, other = world.servers
    ban(one)
    world.run(1)
    one.server.unban(A_KEY)
    ban(other)
    one.server.set_topic("one")
    other.server.set_topic("other")
    world.run(1)
    assert banned(one) == banned(other)
    assert one.greeting.topic == other.greeting.topic


def test_topic_is_told_at_all_servers(world: ClusterWorld) -> None:
    one, other = world.servers
    one.server.set_topic("what it is about")
    world.run(1)
    assert other.greeting.topic == one.greeting.topic
    assert world.start().greeting.topic.text == ""
    world.run(1)
    assert world.servers[-1].greeting.topic == one.greeting.topic


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, HostedRoom]]:
    """The topics that members are told, and where."""
    told: list[tuple[str, HostedRoom]] = []
    tell = HostedRoom.set_topic

    def noted(room: HostedRoom, topic: Topic) -> None:
        told.append((topic.text, room))
        tell(room, topic)

    monkeypatch.setattr(HostedRoom, "set_topic", noted)
    return told


def test_topic_is_told_in_rooms_that_its_server_does_not_carry(
    world: ClusterWorld, told: list[tuple[str, HostedRoom]]
) -> None:
    one, other = world.servers
    world.come("Ira", one)
    world.come("Boris", other)
    world.come("Zoe", one, SEALED)
    other.server.set_topic("what it is about")
    world.run(1)
    # The open room is at both servers.
    assert {text for text, _ in told} == {"what it is about"}
    assert sorted(room.tag for _, room in told) == sorted([b"", b"", SEALED])


@pytest.mark.parametrize("kept", [True, False])
def test_name_that_is_freed_is_free_at_all_servers(world: ClusterWorld, kept: bool) -> None:
    """At the one that is told so it need not be kept, if that was started later."""
    one, other = world.servers
    boris = world.come("Boris", one)
    boris.drop(Reason.LEFT)
    world.run(1)
    assert other.access.use_of("Boris") is not None
    if not kept:
        one.access.forget("Boris")
    assert one.server.forget("Boris") is kept
    world.run(1)
    assert other.access.use_of("Boris") is None


def test_name_that_was_freed_stays_free_at_a_server_that_is_started_later(
    world: ClusterWorld,
) -> None:
    """It reads in the room's stream who had it before."""
    one, other = world.servers
    world.come("Boris", one).drop(Reason.LEFT)
    world.run(1)
    other.server.forget("Boris")
    world.run(1)
    late = world.start()
    world.come("Ira", late)
    assert late.access.use_of("Boris") is None
    world.come("Eve", one).drop(Reason.LEFT)
    world.run(1)
    assert late.access.use_of("Eve") is not None


# -- what is past when a server starts ---------------------------------------------------------


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts reads the stream in many pages."""
    for module in (stream, fakestream):
        monkeypatch.setattr(module, "STREAM_PAGE_ENTRIES", 4)


@pytest.mark.usefixtures("pages")
def test_server_that_starts_puts_out_nobody_whose_ban_was_lifted_since(world: ClusterWorld) -> None:
    one, _ = world.servers
    world.run(60)
    eve = world.come("Eve", one)
    fingerprint = fingerprint_of(eve.person.arrival("").fingerprint)
    one.server.ban(fingerprint, "Eve", "why not")
    world.run(3 * BEAT_SECONDS)
    one.server.unban(fingerprint)
    back = world.let_in(eve.person, one)
    world.start()
    world.run(5)
    assert eve.over
    assert back.speaks


@pytest.mark.usefixtures("pages")
def test_server_that_starts_tells_nobody_a_topic_of_before(
    world: ClusterWorld, told: list[tuple[str, HostedRoom]]
) -> None:
    one, other = world.servers
    world.run(60)
    for topic in ("first", "second"):
        other.server.set_topic(topic)
        world.run(3 * BEAT_SECONDS)
    world.kill(other)
    told.clear()
    late = world.start()
    world.run(5)
    assert {text for text, room in told if room is one.open_room()} <= {"second"}
    assert late.greeting.topic.text == "second"


@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize("later", [False, True])
def test_server_that_starts_frees_a_name_only_of_whoever_had_it_before(
    world: ClusterWorld, later: bool, snapshot: bool
) -> None:
    world.servers[0].server.forget("Boris")
    world.run(60)
    if snapshot:
        world.servers[1].cluster.registry.stream.keep()
        world.run(1)
    late = world.start()
    used = world.time.now - (0 if later else 120)
    late.access.used("Boris", bytes(32), used)
    world.run(1)
    assert (late.access.use_of("Boris") is not None) is later


def test_names_that_were_freed_long_ago_are_forgotten(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MAX_FREED_NAMES", 3)
    one, other = world.servers
    for name in ("a", "b", "c", "d", "b"):
        one.server.forget(name)
        world.run(1)
    assert [*json.loads(other.cluster.registry.state())["freed"]] == ["c", "d", "b"]


def test_server_that_starts_writes_all_bans_of_the_cluster_at_once(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(fingerprint_of(bytes([number]) * 32) for number in range(9))
    for each in keys:
        ban(world.servers[0], each)
    world.run(1)
    late = world.start()
    edit = Mock(wraps=late.access._bans.edit)
    monkeypatch.setattr(late.access._bans, "edit", edit)
    world.run(1)
    assert banned(late) == keys
    assert edit.call_count == 1


def test_server_that_starts_with_other_bans_takes_those_of_the_cluster(world: ClusterWorld) -> None:
    ban(world.servers[0])
    world.run(1)
    late = world.start(bans=[Ban(OTHER_KEY, 0, "Mallory", "")])
    world.run(1)
    assert [banned(one) for one in world.servers] == [[A_KEY]] * 3
    assert any(line.endswith(f"lifted here: {OTHER_KEY}") for line in late.screen.lines)


def test_server_that_comes_back_does_not_say_that_bans_are_lifted_which_hold(
    world: ClusterWorld,
) -> None:
    """They were said after the snapshot from which it starts."""
    ban(world.servers[0])
    world.run(1)
    late = world.start(bans=[Ban(A_KEY, 0, "Eve", "why not")])
    world.run(1)
    assert banned(late) == [A_KEY]
    assert not [line for line in late.screen.lines if "lifted" in line]


def test_first_server_brings_its_bans_along(monkeypatch: pytest.MonkeyPatch) -> None:
    world = ClusterWorld(monkeypatch, servers=0)
    world.start(bans=[Ban(OTHER_KEY, 0, "Mallory", "")])
    world.run(1)
    assert banned(world.start()) == []
    world.run(1)
    assert banned(world.servers[-1]) == [OTHER_KEY]


def test_bans_outlive_all_servers(world: ClusterWorld) -> None:
    ban(world.servers[0])
    world.run(1)
    for server in list(world.servers):
        world.kill(server)
    late = world.start()
    world.run(1)
    assert banned(late) == [A_KEY]
