"""Servers of a cluster that are killed, frozen, cut off, and started again, while people talk."""

import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from chat.server import words
from tests.processes.test_cuts import Cable
from tests.support.processes import Piped, Stage
from tests.support.redis import Redis, needs_redis
from tests.support.talking import HASTY, Cluster, Member

pytestmark = [needs_redis, pytest.mark.slow]


def three_and_three(stage: Stage, redis: Redis, limits: dict[str, float] | None = None) -> Cluster:
    """Three servers, with a member at each, who knows the others."""
    cluster = Cluster(stage, redis, limits)
    for _ in range(3):
        cluster.serve()
    cluster.join("Ira", 0, 1, 2)
    cluster.join("Boris", 1, 2, 0)
    cluster.join("Zoe", 2, 0, 1)
    return cluster


@pytest.fixture
def cabled(stage: Stage, tmp_path: Path) -> Iterator[tuple[Cluster, Cable]]:
    """Two servers, and the cable over which the first of them reaches Redis."""
    with Redis(tmp_path, network=True) as redis:
        cable = Cable(stage, redis.port)
        cluster = Cluster(stage, redis, HASTY)
        cluster.serve(url=f"redis://127.0.0.1:{cable.port}")
        cluster.serve()
        yield cluster, cable


def came_back(member: Member) -> int:
    """How often it has come back to its place."""
    return len(member.told("reconnected"))


def test_servers_that_are_killed_one_after_the_other_and_all_at_once(
    stage: Stage, redis: Redis
) -> None:
    cluster = three_and_three(stage, redis)
    cluster.survive("a server killed", partial(cluster.kill, 0))
    cluster.survive("another one killed", partial(cluster.kill, 1))
    assert list(map(came_back, cluster.members)) == [2, 1, 0]
    for place in (0, 1):
        cluster.serve(place=place)

    def kill_all() -> None:
        cluster.kill(0, 1, 2)
        for place in (0, 1, 2):
            cluster.serve(place=place)

    cluster.survive("all servers killed at once, and started again", kill_all)
    cluster.check()


def test_servers_that_restart_one_after_the_other(stage: Stage, redis: Redis) -> None:
    cluster = three_and_three(stage, redis)
    for place, server in enumerate(cluster.servers):

        def restart(server: Piped = server) -> None:
            server.type("RESTART")
            cluster.until(lambda: server.out.count("[+] Running on port: ") == 2)

        cluster.survive(f"server {place} restarts", restart)
    # Whoever is at a server that restarts leaves it once.
    assert 3 <= sum(map(came_back, cluster.members)) <= 6
    cluster.check()


def test_server_that_is_frozen_is_given_up_and_knows_it_when_it_is_thawed(
    stage: Stage, redis: Redis
) -> None:
    cluster = three_and_three(stage, redis, HASTY)
    ira, frozen = cluster.members[0], cluster.servers[0]
    # One whose client waits for longer: its place is taken for lost, and it does not know it.
    vera = cluster.join("Vera", 0, limits={"NEXT_PING_SECONDS": 600})
    cluster.members.remove(vera)
    cluster.survive("a server frozen", frozen.freeze)
    assert (came_back(ira), came_back(vera)) == (1, 0)
    cluster.until(lambda: {"event": "lost", "name": "Vera"} in ira.events)
    cluster.members.append(vera)
    frozen.signal(signal.SIGCONT)
    cluster.until(lambda: came_back(vera))
    cluster.talk()
    cluster.check()


def test_server_that_starts_while_others_talk_has_all_of_it_from_the_snapshot(
    stage: Stage, redis: Redis
) -> None:
    cluster = Cluster(stage, redis, {"SNAPSHOT_BYTES": 20_000})
    cluster.serve()
    cluster.join("Ira", 0, 1)
    cluster.join("Boris", 0, 1)
    cluster.talk(20)
    stream = redis.streams()[0]
    first = redis.do("XRANGE", stream, "-", "+", "COUNT", "1")
    cluster.until(lambda: redis.do("XRANGE", stream, "-", "+", "COUNT", "1") != first)
    cluster.survive("a server starts", cluster.serve)
    cluster.survive("the only other server killed", partial(cluster.kill, 0))
    cluster.check()


def test_server_that_is_cut_from_redis_for_long_loses_its_members_to_another(
    cabled: tuple[Cluster, Cable],
) -> None:
    cluster, cable = cabled
    first = cluster.servers[0]
    ira = cluster.join("Ira", 0, 1)
    cluster.join("Boris", 1, 0)
    cluster.survive("a server cut from Redis for a moment", partial(cable.do, "cut"))
    cluster.until(lambda: first.out.count("Redis is there again") == 1)
    cluster.survive("its connections cut in the middle of a reply", partial(cable.do, "cut amid"))
    cluster.until(lambda: first.out.count("Redis is there again") == 2)
    assert came_back(ira) == 0
    cluster.survive("its connections to Redis frozen", partial(cable.do, "freeze"))
    assert came_back(ira) == 1
    assert "members are let go" in first.out
    cable.do("thaw")
    cluster.until(lambda: "Redis is there again" in first.out.rpartition("let go")[2])
    cluster.survive("the other server killed", partial(cluster.kill, 1))
    cluster.check()


def test_server_that_is_heard_by_redis_and_hears_no_answer_doubles_nothing(
    cabled: tuple[Cluster, Cable],
) -> None:
    """What it proposes counts, and it does not know that; so its members say it again elsewhere."""
    cluster, cable = cabled
    first = cluster.servers[0]
    ira, boris = cluster.join("Ira", 0, 1), cluster.join("Boris", 1, 0)
    cluster.survive("no answer of Redis comes to a server", partial(cable.do, "freeze back"))
    assert (came_back(ira), came_back(boris)) == (1, 0)
    cable.do("thaw")
    cluster.until(lambda: "Redis is there again" in first.out)
    cluster.survive("the other server killed", partial(cluster.kill, 1))
    cluster.check()


def test_server_with_a_slow_way_to_redis_sends_members_and_newcomers_to_another(
    stage: Stage, tmp_path: Path
) -> None:
    with Redis(tmp_path, network=True) as redis:
        cable = Cable(stage, redis.port)
        cluster = Cluster(stage, redis, HASTY)
        first = cluster.serve(url=f"redis://127.0.0.1:{cable.port}")
        cluster.serve()
        ira, boris = cluster.join("Ira", 0, 1), cluster.join("Boris", 1, 0)
        cluster.talk()
        cable.do("slow 2000")
        cluster.until(lambda: came_back(ira))
        assert words.SLOW_HERE in first.out
        zoe = cluster.join("Zoe", 0, 1)
        assert any("does not hear from Redis in time" in one["text"] for one in zoe.told("warning"))
        # She does not have what was said before.
        cluster.members.remove(zoe)
        cable.do("slow 0")
        cluster.until(lambda: "in time again" in first.out or "there again" in first.out)
        cluster.survive("the other server killed", partial(cluster.kill, 1))
        assert (came_back(ira), came_back(boris)) == (2, 1)
        cluster.check()


def test_server_that_is_cut_from_its_clients_loses_them_to_another(
    stage: Stage, redis: Redis
) -> None:
    cluster = Cluster(stage, redis, HASTY)
    cluster.serve()
    cluster.serve()
    cable = Cable(stage, cluster.ports[0])
    ira = cluster.join("Ira", 0, 1, through={0: cable.port})
    boris = cluster.join("Boris", 1, 0)
    cluster.survive("a server cut from its clients", partial(cable.do, "sever"))
    assert (came_back(ira), came_back(boris)) == (1, 0)
    cable.do("mend")
    cluster.kill(1)
    cluster.survive("the other one killed", partial(cluster.serve, place=1))
    cluster.survive("the cable to its clients frozen", partial(cable.do, "freeze"))
    assert came_back(ira) == 3
    cluster.check()


def test_operator_sees_the_servers_and_ends_one_whose_members_go_on_elsewhere(
    stage: Stage, redis: Redis
) -> None:
    cluster = three_and_three(stage, redis)
    addresses = [f"127.0.0.1:{port}" for port in cluster.ports]

    def stats(place: int) -> str:
        return cluster.ask(place, "STATS\nWHO", "In the room: ")

    def sees_all(place: int) -> bool:
        """Whether a server shows all servers, and which of them it is."""
        line = (
            "    ([0-9.:]+)(, this one)?: 1 connected, "
            "heard [0-9] s ago, [0-9]+ ms behind the stream"
        )
        shown = [(one, ", this one" * (one == addresses[place])) for one in addresses]
        return sorted(re.findall(line, stats(place))) == sorted(shown)

    for place in range(3):
        cluster.until(partial(sees_all, place))
    assert "The open room: 3\n" in cluster.ask(0, "ROOMS", "\n")
    cluster.survive("a server ends", partial(cluster.servers[0].type, "TERMINATE"))
    assert cluster.servers[0].wait() == 0
    assert list(map(came_back, cluster.members)) == [1, 0, 0]
    assert "Servers: 2\n" in stats(1)
    assert addresses[0] not in stats(1)
    cluster.check()


def is_last(cluster: Cluster) -> bool:
    """Whether the other server was silent for so long that the first one takes it for gone."""
    cluster.servers[0].type("STATS")
    return "Servers: 1\n" in cluster.ask(0, "WHO", "In the room: ")


def test_last_server_ends_it_for_everybody(stage: Stage, redis: Redis) -> None:
    cluster = Cluster(stage, redis, HASTY)
    for _ in range(2):
        cluster.serve()
    ira, boris = cluster.join("Ira", 0, 1), cluster.join("Boris", 1, 0)
    cluster.survive("a server killed", partial(cluster.kill, 1))
    cluster.until(partial(is_last, cluster))
    cluster.until(cluster.all_is_said, talking=False)
    cluster.servers[0].type("TERMINATE")
    assert cluster.servers[0].wait() == 0
    for member in (ira, boris):
        assert "the server has shut down before the end of the input" in member.process.end().err


def test_log_of_the_last_server_that_ends_is_as_another_one_has_it(
    stage: Stage, redis: Redis
) -> None:
    cluster = Cluster(stage, redis, HASTY)
    last, frozen = cluster.serve(), cluster.serve()
    cluster.join("Ira", 0, 1)
    cluster.join("Boris", 0, 1)
    cluster.talk()
    frozen.freeze()
    cluster.until(partial(is_last, cluster))

    def end() -> None:
        last.type("TERMINATE")
        assert last.wait() == 0
        frozen.signal(signal.SIGCONT)

    cluster.survive("the last server ends, and another one goes on after all", end)
    assert "for everybody" in last.out
    # Nobody is told that somebody on the way has changed the log.
    cluster.check()
