"""What `--check` says of a Redis, a sentence for each thing."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from unicodedata import unidata_version

import pytest

from chat.errors import IdentityError
from chat.limits import CARD_SECONDS
from chat.server.cluster import check as checking
from chat.server.cluster import resp
from chat.server.cluster.check import Checked
from chat.server.cluster.clusterkey import ClusterKey
from chat.server.cluster.errors import ACL
from chat.server.cluster.tls import context_of
from chat.server.cluster.url import RedisUrl
from tests.support.helpers import fork, needs_openssl, output_of
from tests.support.redis import Redis, needs_redis

pytestmark = needs_redis

SECRET = bytes(32)
PERSISTENT = "--appendonly", "yes"


def check(
    url: str,
    authority: Path | None = None,
    *,
    secret: bytes = SECRET,
    digest: bytes = b"d" * 32,
    ahead: float = 0.0,
    serves: bool = True,
) -> Checked:
    parsed = RedisUrl.parse(url)
    context = context_of(authority) if parsed.tls else None
    key = ClusterKey.of(secret, "test")
    return checking.check(
        parsed, context, key, digest, os.urandom, lambda: time.time() + ahead, serves=serves
    )


def with_login(redis: Redis, login: str) -> str:
    return redis.url.replace("://", f"://{login}@")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path, *PERSISTENT) as redis:
        yield redis


def test_good_redis_has_nothing_wrong_with_it_and_is_left_as_it_was(redis: Redis) -> None:
    for _ in range(2):
        assert check(redis.url) == ([], [])
    for name in redis.do("KEYS", "*").split():
        assert name == b"chat:test" or int(redis.do("TTL", name)) <= 1


@pytest.mark.parametrize(
    ("options", "login", "wrong"),
    [
        (["--requirepass", "secret"], "", "wants a password, and none was given"),
        (["--requirepass", "secret"], ":secreT", "does not accept the user and password"),
        (["--requirepass", "secret"], "nobody:secret", "does not accept the user and password"),
        ([], ":secret", "has no password, and one was given"),
        (["--cluster-enabled", "yes"], "", "part of a Redis Cluster"),
        (["--replicaof", "127.0.0.1", "1"], "", "read-only replica"),
        (["--maxmemory-policy", "allkeys-lru"], "", "set maxmemory-policy noeviction"),
        (["--maxmemory", "1mb"], "", "no memory left"),
        (["--rename-command", "XADD", ""], "", "does not know a command that is needed"),
    ],
)
def test_redis_that_cannot_be_used_is_told_in_one_sentence(
    tmp_path: Path, options: list[str], login: str, wrong: str
) -> None:
    with Redis(tmp_path, *PERSISTENT, *options) as redis:
        found = check(with_login(redis, login) if login else redis.url)
    assert len(found.wrong) == 1
    assert wrong in found.wrong[0]
    assert "secre" not in str(found)


@pytest.mark.parametrize("login", [":secret", "default:secret"])
def test_right_password_is_taken(tmp_path: Path, login: str) -> None:
    with Redis(tmp_path, *PERSISTENT, "--requirepass", "secret") as redis:
        assert check(with_login(redis, login)).wrong == []


def test_database_that_is_not_there_is_named(redis: Redis) -> None:
    assert "no database of that number" in check(redis.url + "?db=99").wrong[0]
    assert check(redis.url + "?db=3").wrong == []
    assert redis.do("-n", "3", "EXISTS", "chat:test") == b"1"


def test_user_needs_what_the_hint_says_and_no_more(redis: Redis) -> None:
    redis.do("ACL", "SETUSER", "chat", "on", ">secret", *ACL.split())
    assert check(with_login(redis, "chat:secret")).wrong == []
    for word in ACL.split()[1:]:
        if word not in ("+auth", "+ping", "+select"):
            redis.do("ACL", "SETUSER", "chat", word.replace("+", "-"))
            (wrong,) = check(with_login(redis, "chat:secret")).wrong
            assert "may not do" in wrong, word
            assert ACL in wrong
            redis.do("ACL", "SETUSER", "chat", word)


def test_other_keys_and_other_versions_are_found(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(redis.url).wrong == []
    assert "another cluster key" in check(redis.url, secret=b"1" * 32).wrong[0]
    assert "another RSA key" in check(redis.url, digest=b"e" * 32).wrong[0]
    with monkeypatch.context() as patch:
        patch.setattr(checking, "unidata_version", "9.0.0")
        (wrong,) = check(redis.url).wrong
        assert f"(Unicode {unidata_version}, and here 9.0.0): run all with one version" in wrong
    monkeypatch.setattr(checking, "FORMAT", 2)
    assert "another version" in check(redis.url).wrong[0]


def test_who_only_looks_leaves_no_card(redis: Redis) -> None:
    assert check(redis.url, secret=b"1" * 32, serves=False).wrong == []
    assert check(redis.url).wrong == []
    assert "another cluster key" in check(redis.url, secret=b"1" * 32, serves=False).wrong[0]


def test_card_of_servers_that_have_ended_keeps_nobody_out(redis: Redis) -> None:
    assert check(redis.url).wrong == []
    assert 0 < redis.count("TTL", "chat:test") <= CARD_SECONDS


def test_clock_and_persistence_are_noted(tmp_path: Path) -> None:
    with Redis(tmp_path) as redis:
        found = check(redis.url, ahead=3600)
        assert found.wrong == []
        assert "rooms begin anew" in found.notes[0]
        assert "ahead of that of Redis" in found.notes[1]
        assert found.notes[1].endswith("clients refuse this server")
        assert "behind" in check(redis.url, ahead=-3600).notes[1]
        for ahead in (120, -1200):
            assert check(redis.url, ahead=ahead).notes[1].endswith("people are shown wrong times")


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (wrong,) = check(f"redis://127.0.0.1:{port}").wrong
    assert wrong.startswith(f"cannot reach Redis at 127.0.0.1 port {port}: connection refused")
    (wrong,) = check(f"redis+unix://{tmp_path}/none").wrong
    assert "/none: no such file or directory: is it running" in wrong


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server, and no Redis"),
        (b"", "closed the connection before we could log in"),
        (b"$30\r\n# Server\r\nredis_version:4.0.14\r\n", "too old: 4.0.14, and 5.0 or newer"),
    ],
)
def test_what_is_no_redis_is_told(answer: bytes, wrong: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        child = fork(lambda: _answer(listener, answer))
        (found,) = check(f"redis://127.0.0.1:{port}").wrong
        assert wrong in found
        os.waitpid(child, 0)


@pytest.mark.parametrize("answers", [b":5\r\n$-1\r\n", b"*0\r\n$-1\r\n", b"*1\r\n+1\r\n:5\r\n"])
def test_time_and_card_that_make_no_sense_are_told(answers: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tried = 6 * b"+OK\r\n" + answers
        child = fork(lambda: _answer(listener, b"$19\r\nredis_version:7.0.0\r\n", tried))
        (found,) = check(f"redis://127.0.0.1:{port}").wrong
        assert found.startswith("Redis answers what makes no sense: ")
        os.waitpid(child, 0)


def _answer(listener: socket.socket, *answers: bytes) -> None:
    connection, _ = listener.accept()
    with contextlib.closing(connection):
        for answer in answers:
            connection.recv(1000)
            connection.sendall(answer)


@needs_openssl
def test_certificate_has_to_be_trusted_and_for_this_host(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    output_of(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=localhost", "-keyout", tmp_path / "other.key", "-out", other),
    )
    with Redis(tmp_path, *PERSISTENT, tls=True) as redis:
        assert check(redis.url, redis.authority) == ([], [])
        assert "is not trusted: " in check(redis.url).wrong[0]
        assert "is not trusted: " in check(redis.url, other).wrong[0]
        elsewhere = redis.url.replace("localhost", "127.0.0.1")
        assert "not valid for '127.0.0.1'" in check(elsewhere, redis.authority).wrong[0]
        plain = redis.url.replace("rediss", "redis")
        assert "a URL with rediss:// speaks" in check(plain).wrong[0]
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path, text in ((empty, "holds no certificates"), (tmp_path / "none.pem", "cannot use")):
        with pytest.raises(IdentityError, match=text):
            context_of(path)


def test_tls_with_a_redis_that_speaks_none_is_told(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a Redis says nothing at all."""
    monkeypatch.setattr(resp, "REDIS_SILENCE_SECONDS", 0.2)
    redis.do("CONFIG", "SET", "port", str(redis.port))
    assert "does not speak TLS" in check(f"rediss://127.0.0.1:{redis.port}").wrong[0]
