"""Several servers carry one room, with a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import CHAT, Piped, Stage
from tests.support.redis import Redis, needs_redis

pytestmark = needs_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path) as redis:
        yield redis


def server(stage: Stage, redis: Redis, *arguments: str) -> tuple[Piped, int]:
    key = str(stage.folder / "cluster.key")
    return stage.server("--cluster", redis.url, "--cluster-key", key, *arguments)


def test_members_of_two_servers_are_in_one_room(stage: Stage, redis: Redis) -> None:
    _, first = server(stage, redis)
    _, second = server(stage, redis)
    ira = stage.member(first, "Ira", key="ira")
    boris = stage.member(second, "Boris", key="other")
    ira.expect("Username: Boris")
    ira.type("hello over there")
    boris.expect("Ira: hello over there")
    boris.type("hello back")
    ira.expect("Boris: hello back")


def test_members_of_a_server_that_is_killed_go_on_at_another(stage: Stage, redis: Redis) -> None:
    one, first = server(stage, redis)
    _, second = server(stage, redis)
    keys = stage.keys("client", "ira")
    servers = f"127.0.0.1:{first},127.0.0.1:{second}"
    ira = stage.run([*CHAT, "client", servers, "9443", "Ira", *keys])
    ira.expect("[+] In the room: ", "\n")
    boris = stage.member(second, "Boris", key="other")
    ira.type("before")
    boris.expect("Ira: before")
    one.kill()
    ira.type("after")
    boris.expect("Ira: after")
    boris.type("welcome back")
    ira.expect("Boris: welcome back")
    assert [boris.out.count(text) for text in ("before", "after")] == [1, 1]
