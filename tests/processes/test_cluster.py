"""Several servers carry one room, with a real Redis."""

import re
from pathlib import Path

import pytest

from chat.server import words
from tests.processes.test_service import handed
from tests.support.processes import CHAT, Piped, Stage
from tests.support.redis import Redis, needs_redis

pytestmark = needs_redis


def server(stage: Stage, redis: Redis, *arguments: str) -> tuple[Piped, int]:
    key = str(stage.folder / "cluster.key")
    return stage.server("--cluster", redis.url, "--cluster-key", key, *arguments)


def ira_at(stage: Stage, *ports: int) -> Piped:
    """Ira's client, which was given these servers, when she is in."""
    servers = ",".join(f"127.0.0.1:{port}" for port in ports)
    keys = stage.keys("client", "ira")
    ira = stage.run([*CHAT, "client", servers, "9443", "Ira", *keys])
    ira.expect("[+] In the room: ", "\n")
    return ira


@pytest.mark.parametrize(
    ("options", "status", "wrong"),
    [
        ({"key": "other"}, 1, "the servers of the cluster chat have another RSA key"),
        ({"--cluster-key": "another"}, 1, "the cluster chat in this Redis has another cluster key"),
        ({"--cluster": "redis+unix:///nobody"}, 1, "cannot reach Redis at /nobody: no such"),
        ({"--cluster": "nonsense"}, 2, "this is no address of a Redis"),
        ({"--port": ""}, 1, "address already in use"),
    ],
)
def test_server_that_cannot_be_one_of_the_cluster_says_why_in_one_line(
    stage: Stage, redis: Redis, options: dict[str, str], status: int, wrong: str
) -> None:
    one, port = server(stage, redis)
    ira = stage.member(port, "Ira")
    given = {
        "--cluster": redis.url,
        "--cluster-key": str(stage.folder / "cluster.key"),
        "--port": "0",
        **options,
    }
    keys = stage.keys("server", given.pop("key", "server"))
    given["--port"] = given["--port"] or str(port)
    if given["--cluster-key"] == "another":
        given["--cluster-key"] = str(stage.folder / "another.key")
    typed = [word for option in given.items() for word in option]
    refused = stage.start("server", *keys, *typed).end()
    assert (refused.status, refused.out) == (status, "")
    assert not (stage.folder / "another.key").exists()
    assert wrong in refused.err
    assert len([line for line in refused.err.splitlines() if "hint: " not in line]) == 1
    # Those who are there have noticed nothing.
    ira.type("still here", "EXIT")
    assert ira.end().status == 0
    assert "lost" not in ira.out
    assert one.popen.poll() is None


def test_server_that_was_handed_its_socket_has_it_after_a_restart(
    stage: Stage, redis: Redis
) -> None:
    key = str(stage.folder / "cluster.key")
    options = ["--cluster", redis.url, "--cluster-key", key, "--port", str(stage.free_port())]
    one = stage.run([*handed("SOCK_STREAM"), *stage.keys("server", "server"), *options])
    one.expect("[+] Running on port: ", "[+] Fingerprint: ")
    (port,) = map(int, re.findall("port: ([0-9]+)", one.out))
    one.type("RESTART")
    one.expect("[+] Server starts anew\n", f"[+] Running on port: {port}\n")
    stage.member(port, "Ira")


def test_check_says_that_nothing_is_wrong_and_what_is_good_to_know(
    stage: Stage, redis: Redis
) -> None:
    key = stage.folder / "cluster.key"
    options = ["--cluster", redis.url, "--cluster-key", str(key), "--check"]
    notes = [
        str(words.cluster_key_made(key)),
        "[!] cluster: Redis keeps nothing on its disk as it goes (appendonly no): if it restarts, "
        "rooms begin anew",
    ]
    for told in (notes, notes[1:]):
        checked = stage.start("server", *stage.keys("server", "server"), *options).end()
        assert (checked.status, checked.err.splitlines()) == (0, told)
        assert checked.out == "[+] This server can join the cluster.\n"


def test_members_of_two_servers_are_in_one_room(stage: Stage, redis: Redis) -> None:
    one, first = server(stage, redis)
    one.expect(str(words.ONE_OF_SEVERAL))
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
    ira = ira_at(stage, first, second)
    boris = stage.member(second, "Boris", key="other")
    # What she says before she knows of him is not for him.
    ira.expect("Username: Boris")
    ira.type("before")
    boris.expect("Ira: before")
    one.kill()
    ira.type("after")
    boris.expect("Ira: after")
    boris.type("welcome back")
    ira.expect("Boris: welcome back")
    assert [boris.out.count(text) for text in ("before", "after")] == [1, 1]


def test_member_who_comes_to_a_server_with_another_redis_is_told_of_it_and_loses_no_words(
    stage: Stage, redis: Redis, tmp_path: Path
) -> None:
    """Somebody has given the two servers different ones, and they cannot know of each other."""
    folder = tmp_path / "other"
    folder.mkdir()
    with Redis(folder) as other:
        one, first = server(stage, redis)
        _, second = server(stage, other)
        ira = ira_at(stage, first, second)
        boris = stage.member(second, "Boris", key="other")
        assert "Boris" not in ira.out
        redis.freeze()
        ira.type("under way")
        one.kill()
        boris.expect("Ira: under way")
        ira.expect(", in a new room.")
