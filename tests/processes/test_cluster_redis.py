"""Redis under a cluster that is killed, frozen, full, replaced or lied to, while people talk."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support.helpers import key
from tests.support.processes import Stage
from tests.support.redis import Redis, needs_redis
from tests.support.secrets import Secret
from tests.support.talking import HASTY, KEYS, Cluster

pytestmark = [needs_redis, pytest.mark.slow]

PERSISTENT = ("--appendonly", "yes")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """Starts a Redis in a folder of its own."""
    with ExitStack() as ends:

        def start(name: str, *options: str, network: bool = False) -> Redis:
            folder = tmp_path / name
            folder.mkdir()
            return ends.enter_context(Redis(folder, *options, network=network))

        yield start


def two_and_two(stage: Stage, redis: Redis, limits: dict[str, float] | None = None) -> Cluster:
    """Two servers, with a member at each, who knows the other one."""
    cluster = Cluster(stage, redis, limits)
    cluster.serve()
    cluster.serve()
    cluster.join("Ira", 0, 1, 2)
    cluster.join("Boris", 1, 0, 2)
    return cluster


def restart(redis: Redis) -> None:
    redis.kill()
    redis.restart()


def test_redis_that_has_all_of_it_on_its_disk_goes_on_where_it_was(
    stage: Stage, start: Callable[..., Redis]
) -> None:
    redis = start("redis", *PERSISTENT)
    cluster = two_and_two(stage, redis, HASTY)
    first = cluster.servers[0]
    cluster.survive("Redis killed and started again", partial(restart, redis))
    cluster.survive(
        "all its connections cut", partial(redis.do, "CLIENT", "KILL", "TYPE", "normal")
    )
    cluster.survive("Redis paused for a second", partial(redis.do, "CLIENT", "PAUSE", "1000"))
    assert not any(member.told("disconnected") for member in cluster.members)

    def fill() -> None:
        redis.do("CONFIG", "SET", "maxmemory", "1")
        cluster.until(lambda: "no memory left" in first.out)
        redis.do("CONFIG", "SET", "maxmemory", "0")
        cluster.until(lambda: "Redis takes again what it had refused." in first.out)

    cluster.survive("Redis full, and then no more", fill)
    assert not any(member.told("disconnected") for member in cluster.members)

    def lack_replicas() -> None:
        redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
        cluster.until(lambda: "too few replicas" in first.out)
        redis.do("CONFIG", "SET", "min-replicas-to-write", "0")

    cluster.survive("without the replica that it waits for, and then without need", lack_replicas)

    def fill_disk() -> None:
        redis.fill_disk()
        cluster.until(lambda: "cannot write to its disk" in first.out)
        # For longer than a server may be silent.
        cluster.until(lambda: "not known" in cluster.ask(0, "STATS", "Servers: "))
        redis.empty_disk()

    cluster.survive("its disk full, and then no more", fill_disk)
    for member in cluster.members:
        assert not any(member.told(kind) for kind in ("disconnected", "lost"))

    def freeze() -> None:
        redis.freeze()
        cluster.until(lambda: "members are let go" in first.out)
        redis.thaw()

    cluster.survive("Redis frozen for so long that everybody is let go", freeze)
    cluster.check()


def test_redis_that_ends_when_its_disk_is_full_goes_on_where_it_was(
    stage: Stage, start: Callable[..., Redis]
) -> None:
    redis = start("redis", *PERSISTENT, "--appendfsync", "always")
    cluster = two_and_two(stage, redis)

    def fill_disk() -> None:
        redis.fill_disk()
        cluster.until(lambda: redis.process.poll() is not None)
        redis.restart()

    cluster.survive("its disk full, and started again when there is room", fill_disk)
    cluster.check()


def test_redis_that_comes_back_with_nothing_is_a_new_room(
    stage: Stage, start: Callable[..., Redis]
) -> None:
    redis = start("redis")
    cluster = two_and_two(stage, redis)
    cluster.survive("Redis killed, and started again with nothing", partial(restart, redis))
    for server in cluster.servers:
        assert "is not in Redis any more. The open room begins anew." in server.out
    cluster.check(new_rooms=1)


def behind_a_replica(
    stage: Stage, start: Callable[..., Redis], limits: dict[str, float] | None = None
) -> tuple[Cluster, Redis, Redis]:
    """Two servers with a member at each, their Redis, and a replica that lacks what was said
    last."""
    primary = start("primary", "--repl-diskless-sync-delay", "0", network=True)
    replica = start("replica")
    cluster = two_and_two(stage, primary, limits)
    replica.follow(primary)
    cluster.until(lambda: replica.do("DBSIZE") == primary.do("DBSIZE"))
    cluster.talk()
    replica.do("REPLICAOF", "NO", "ONE")
    cluster.talk()
    return cluster, primary, replica


def test_replica_that_lacks_the_last_second_is_a_new_room(
    stage: Stage, start: Callable[..., Redis]
) -> None:
    cluster, primary, replica = behind_a_replica(stage, start)

    def fail_over() -> None:
        primary.kill()
        replica.take_over(primary)

    cluster.survive("a replica promoted that lacks the last second", fail_over)
    assert "is not in Redis any more" in cluster.servers[0].out
    cluster.check(new_rooms=1)


def test_last_second_that_is_lost_with_all_servers_is_said_again_by_those_who_said_it(
    stage: Stage, start: Callable[..., Redis]
) -> None:
    """Nobody is left who knows that Redis has lost something, but the clients."""
    # What is said is vouched for at once.
    cluster, primary, replica = behind_a_replica(stage, start, {"CHECK_SECONDS": 0})
    cluster.kill(0, 1)
    primary.kill()
    replica.take_over(primary)
    for place in (0, 1):
        cluster.serve(place=place)
    cluster.until(lambda: all(one.told("reconnected") for one in cluster.members), talking=False)
    # Whoever joins anew last waits in vain for the one who came before.
    for member in cluster.members:
        member.talk()
    cluster.until(cluster.all_is_said, talking=False)
    cluster.talk()
    assert not any("is not in Redis any more" in server.out for server in cluster.servers)
    cluster.check(new_rooms=1, unconfirmed=True)


def test_foreign_entries_and_a_damaged_snapshot_are_named_and_harm_nobody(
    stage: Stage, start: Callable[..., Redis]
) -> None:
    redis = start("redis")
    cluster = two_and_two(stage, redis, {"SNAPSHOT_BYTES": 20_000})
    cluster.talk(20)
    room = redis.streams()[0]
    snapshot = f"{room.decode()}:s"
    cluster.until(lambda: redis.count("EXISTS", snapshot))
    cluster.survive("a foreign entry", partial(redis.do, "XADD", room, "*", "what", "ever"))
    named = "is of no kind that is known here"
    cluster.until(lambda: all(server.out.count(named) == 1 for server in cluster.servers))

    # While anything is said, a good one soon takes its place.
    cluster.until(cluster.all_is_said, talking=False)
    redis.do("SET", snapshot, "damaged")
    third = cluster.serve()
    complaint = f"the snapshot {snapshot} cannot be used: it was changed"
    cluster.until(lambda: complaint in third.out, talking=False)
    # It needs a good one, if the beginning of the stream is not there any more.
    cluster.until(lambda: redis.do("GET", snapshot) != b"damaged")
    cluster.survive("a damaged snapshot, and both others killed", partial(cluster.kill, 0, 1))
    cluster.check()


def test_redis_holds_nothing_that_can_be_read(stage: Stage, start: Callable[..., Redis]) -> None:
    redis = start("redis", *PERSISTENT)
    cluster = Cluster(stage, redis, {"SNAPSHOT_BYTES": 5_000})
    cluster.serve()
    cluster.serve()
    where = ",".join(f"127.0.0.1:{port}" for port in cluster.ports[:2])
    invite = stage.start("invite", where, *stage.keys("client", "ira")).end().out.strip()
    cluster.join("Friedericke", 0, 1)
    friends = [cluster.join(name, 0, invite=invite) for name in ("Annegret", "Mechthild")]
    cluster.until(lambda: sum(redis.count("EXISTS", name + b":s") for name in redis.streams()) == 2)
    for command in ("TOPIC Quarterly", "SAY Rhubarb", "BAN Friedericke Gooseberry"):
        cluster.ask(0, command, "\n")
    outcast = cluster.members.pop(0)
    assert outcast.process.end().status == 3
    cluster.check()

    held = redis.everything() + b"".join(
        path.read_bytes() for path in redis.folder.rglob("*") if path.suffix in (".aof", ".rdb")
    )
    assert len(held) > 40_000
    words = ["line 1", "Annegret", "Mechthild", "Friedericke", "Quarterly", "Rhubarb", "Gooseberry"]
    secrets = [cluster.key.read_bytes().strip(), *(word.encode() for word in words)]
    secrets += [str(port).encode() for port in cluster.ports[:2]]
    digests = [key(name).public.digest for name in ("server", *KEYS)]
    digests.append(bytes.fromhex(friends[0].told("entered")[0]["tag"]))
    for digest in digests:
        secrets += [digest, digest.hex().encode(), b64encode(digest)[:-2]]
    assert [secret for secret in secrets if secret in held] == []
    assert not Secret(invite).found_in(held)
