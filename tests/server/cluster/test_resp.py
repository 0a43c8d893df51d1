"""A connection to Redis as bytes: replies in order, what is no reply, and silence."""

from collections.abc import Callable
from unittest.mock import Mock, patch

import pytest

from chat.limits import (
    MAX_REDIS_TEXT_CHARS,
    MAX_REPLY_BYTES,
    REDIS_PING_SECONDS,
    REDIS_SILENCE_SECONDS,
)
from chat.server.cluster import errors
from chat.server.cluster.errors import RedisError, RedisLostError, error_of
from chat.server.cluster.resp import Pipeline, Reply, Server, login
from chat.server.cluster.url import RedisUrl
from tests.support.helpers import Pair

INFO = (
    "# Server\r\nredis_version:{version}\r\nrun_id:abc\r\nloading:{loading}\r\nrole:{role}\r\n"
    "cluster_enabled:{cluster}\r\nmaxmemory_policy:allkeys-lru\r\naof_enabled:1\r\n"
)


def info(
    version: str = "7.0.15", loading: int = 0, role: str = "master", cluster: int = 0
) -> bytes:
    text = INFO.format(version=version, loading=loading, role=role, cluster=cluster)
    return f"${len(text)}\r\n{text}\r\n".encode()


def logged_in(url: str, *replies: bytes) -> tuple[list[Server | RedisError], bytes]:
    """What comes of a login that is answered so, and what was asked."""
    outcome: list[Server | RedisError] = []
    pipeline = Pipeline(0.0)
    login(pipeline, RedisUrl.parse(url), 0.0, outcome.append)
    asked = pipeline.data_to_send()
    for reply in replies:
        pipeline.receive(reply, 0.0)
    return outcome or [pipeline.dead] if pipeline.dead else outcome, asked


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_each_reply_goes_to_who_asked_however_it_is_cut(size: int) -> None:
    pipeline = Pipeline(0.0)
    replies: list[tuple[str, Reply]] = []

    def asker(name: str) -> Callable[[Reply], None]:
        return lambda reply: replies.append((name, reply))

    for name in "abcd":
        pipeline.ask(0.0, asker(name), "GET", name)
    assert pipeline.data_to_send().startswith(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n")
    assert pipeline.data_to_send() == b""
    data = b"$5\r\nab\r\nc\r\n-OOM no\r\n*2\r\n:1\r\n$-1\r\n$-1\r\n"
    for at in range(0, len(data), size):
        pipeline.receive(data[at : at + size], 0.0)
    assert replies[0] == ("a", b"ab\r\nc")
    assert isinstance(replies[1][1], errors.FullError)
    assert replies[2:] == [("c", [1, None]), ("d", None)]
    assert pipeline.deadline == REDIS_PING_SECONDS, "nothing is awaited"


@pytest.mark.parametrize("data", [b"*9223372036854775807\r\n", b"%1\r\n*0\r\n:1\r\n"])
def test_reply_that_cannot_be_made_ends_the_connection(data: bytes) -> None:
    pipeline = Pipeline(0.0)
    replies: list[Reply] = []
    pipeline.ask(0.0, replies.append, "GET", "a")
    pipeline.ask(0.0, replies.append, "GET", "b")
    pipeline.receive(data, 0.0)
    pipeline.receive(b":2\r\n", 0.0)
    assert isinstance(pipeline.dead, errors.NotRedisError)
    assert replies == [], "the reply to b was not given to a"


def test_reply_longer_than_memory_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(0.0)
    replies: list[Reply] = []
    pipeline.ask(0.0, replies.append, "GET", "a")
    # How long an array must be for that is each system's own affair.
    monkeypatch.setattr(pipeline, "_reader", Mock(gets=Mock(side_effect=MemoryError)))
    pipeline.receive(b"*4294967295\r\n", 0.0)
    assert isinstance(pipeline.dead, errors.NotRedisError)
    assert replies == []


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"$4294967295\r\n", b"x"),
        (b"*42949672\r\n", b"$-1\r\n"),
        (b"+", b"x"),
        # A false of RESP 3, for which nobody asks, is taken for no reply.
        (b"", b"#f\r\n"),
    ],
)
def test_reply_without_end_ends_the_connection(begin: bytes, more: bytes) -> None:
    pipeline, replies = Pipeline(0.0), list[Reply]()
    pipeline.ask(0.0, replies.append, "GET", "a")
    pipeline.receive(begin, 0.0)
    more *= 2**20 // len(more)
    for _ in range(MAX_REPLY_BYTES // 2**20 - 1):
        pipeline.receive(more, 0.0)
    assert pipeline.dead is None
    for _ in range(2):
        pipeline.receive(more, 0.0)
    assert "more than 33,554,432 bytes at once" in str(pipeline.dead)
    assert replies == []


def test_any_number_of_replies_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.server.cluster.resp.MAX_REPLY_BYTES", 16)
    pipeline, replies = Pipeline(0.0), list[Reply]()
    data = b"$10\r\n0123456789\r\n" * 3
    for _ in range(3):
        pipeline.ask(0.0, replies.append, "GET", "a")
    for at in range(0, len(data), 8):
        pipeline.receive(data[at : at + 8], 0.0)
    assert (replies, pipeline.dead) == ([b"0123456789"] * 3, None)


def test_what_fails_in_whoever_asked_is_no_fault_of_redis() -> None:
    def fail(_reply: Reply) -> None:
        raise TypeError

    pipeline = Pipeline(0.0)
    pipeline.ask(0.0, fail, "GET", "a")
    with pytest.raises(TypeError):
        pipeline.receive(b":1\r\n", 0.0)
    assert pipeline.dead is None


def test_what_could_not_be_asked_takes_nobody_s_reply() -> None:
    pipeline = Pipeline(0.0)
    replies: list[Reply] = []
    with patch("hiredis.pack_command", side_effect=MemoryError), pytest.raises(MemoryError):
        pipeline.ask(0.0, Mock(), "SET", "a", bytes(9))
    pipeline.ask(0.0, replies.append, "GET", "a")
    pipeline.receive(b":1\r\n", 0.0)
    assert replies == [1]


def test_nothing_is_handed_out_once_it_is_closed() -> None:
    pipeline = Pipeline(0.0)
    replies: list[Reply] = []

    def first(reply: Reply) -> None:
        replies.append(reply)
        pipeline.close()

    pipeline.ask(0.0, first, "GET", "a")
    pipeline.ask(0.0, replies.append, "GET", "b")
    pipeline.receive(b":1\r\n:2\r\n", 0.0)
    assert replies == [1]


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        ("NOAUTH Authentication required.", errors.LoginError, "wants a password, and none"),
        ("WRONGPASS invalid username-password pair", errors.LoginError, "does not accept"),
        ("ERR invalid password", errors.LoginError, "does not accept"),
        ("ERR Client sent AUTH, but no password is set", errors.LoginError, "has no password"),
        ("ERR AUTH <password> called without any password configured for the default user. Are "
         "you sure your configuration is correct?", errors.LoginError, "has no password"),
        ("NOPERM this user has no permissions", errors.LoginError, "may not do"),
        ("MOVED 3999 127.0.0.1:6381", errors.ShardedError, "Redis Cluster"),
        ("READONLY You can't write against a read only replica.", errors.ReadOnlyError, "replica"),
        (
            "UNBLOCKED force unblock from blocking operation, "
            "instance state changed (master -> replica?)",
            errors.ReadOnlyError,
            "replica",
        ),
        ("OOM command not allowed", errors.FullError, "no memory"),
        ("LOADING Redis is loading", errors.BusyError, "loads its data"),
        ("MISCONF Redis is configured to save", errors.BusyError, "cannot write to its disk"),
        ("WRONGTYPE Operation against a key", RedisError, "something else"),
        ("ERR unknown command `XADD`", RedisError, "does not know a command"),
        ("ERR DB index is out of range", RedisError, "no database"),
        ("DENIED Redis is running in\x1b[2J protected mode", RedisError, r"DENIED .*\\x1b\[2J"),
        ("ERR " + "x" * 10_000, RedisError, "Redis answers: ERR x"),
    ],
)  # fmt: skip
def test_each_error_of_redis_is_one_sentence(reply: str, kind: type[RedisError], text: str) -> None:
    error = error_of(reply)
    assert type(error) is kind
    with pytest.raises(kind, match=text):
        raise error
    assert len(str(error)) < 2 * MAX_REDIS_TEXT_CHARS
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "a web server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "a server with TLS"),
        (b"\x1b[31mgarbage\r\n", r"no Redis: \\x1b\[31mgarbage"),
        (b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", "no Redis"),
        (b"$-1\r\n", "no Redis"),
        (b"$4\r\nwhat\r\n", "no Redis: what"),
        (b":5\r\n", "no Redis"),
        (b"$14\r\nredis_version:\r\n", "no Redis"),
    ],
)
def test_what_is_no_redis_is_named(data: bytes, what: str) -> None:
    (outcome,), _ = logged_in("redis://h", data)
    with pytest.raises(errors.NotRedisError, match=what):
        raise outcome  # type: ignore[misc]


def test_chat_server_is_named() -> None:
    (outcome,), _ = logged_in("redis://h", Pair().server.data_to_send())
    assert "a chat server, and no Redis" in str(outcome)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (info("4.0.14"), errors.TooOldError),
        (info("2.8"), errors.TooOldError),
        (info("what"), errors.NotRedisError),
        (info(cluster=1), errors.ShardedError),
        (info(loading=1), errors.BusyError),
        (info(role="slave"), errors.ReadOnlyError),
        (info("7.0.15\r\nredis_mode:sentinel"), errors.NotRedisError),
        (b"-NOAUTH Authentication required.\r\n", errors.LoginError),
    ],
)
def test_redis_that_cannot_be_used_is_found_at_the_login(
    reply: bytes, kind: type[RedisError]
) -> None:
    (outcome,), _ = logged_in("redis://h", reply)
    assert type(outcome) is kind


def test_login_is_asked_all_at_once_and_told_once() -> None:
    outcome, asked = logged_in("redis://u:pw@h/2", b"+OK\r\n", b"+OK\r\n", info("5.0.14"))
    assert outcome == [Server("5.0.14", (5, 0), "abc", "allkeys-lru", True)]
    assert [word for word in asked.split(b"\r\n") if word[:1] not in (b"*", b"$")] == [
        *(b"AUTH", b"u", b"pw", b"SELECT", b"2", b"INFO", b"")
    ]
    outcome, asked = logged_in("redis://:pw@h", b"-WRONGPASS no\r\n", b"-NOAUTH no\r\n")
    assert [str(one) for one in outcome] == ["this Redis does not accept the user and password"]
    assert b"AUTH\r\n$2\r\npw\r\n" in asked


def test_error_that_nobody_asked_for_ends_the_connection() -> None:
    pipeline = Pipeline(0.0)
    pipeline.receive(b"-ERR max number of clients reached\r\n", 0.0)
    assert "max number of clients" in str(pipeline.dead)


def test_quiet_connection_asks_for_a_pong_and_a_silent_one_is_given_up() -> None:
    pipeline = Pipeline(0.0)
    pipeline.tick(REDIS_PING_SECONDS - 0.1)
    assert pipeline.data_to_send() == b""
    now = REDIS_PING_SECONDS
    pipeline.tick(now)
    assert b"PING" in pipeline.data_to_send()
    pipeline.receive(b"+PONG\r\n", now + 1)
    assert pipeline.deadline == now + 1 + REDIS_PING_SECONDS
    pipeline.tick(pipeline.deadline)
    last = pipeline.deadline
    assert last == now + 1 + REDIS_SILENCE_SECONDS + REDIS_PING_SECONDS
    pipeline.tick(last - 0.1)
    assert pipeline.dead is None
    pipeline.tick(last)
    assert isinstance(pipeline.dead, RedisLostError)
    assert "has not answered for 5 s" in str(pipeline.dead)


@pytest.mark.parametrize("late", [0, 2])
def test_silence_is_told_in_the_same_words_however_late_it_is_noticed(late: float) -> None:
    pipeline = Pipeline(0.0)
    pipeline.ask(0.0, lambda _: None, "PING")
    pipeline.tick(REDIS_SILENCE_SECONDS + late)
    assert str(pipeline.dead) == "Redis has not answered for 5 s"


def test_patience_is_that_of_the_oldest_question_and_whatever_moves_counts() -> None:
    pipeline = Pipeline(0.0)
    pipeline.ask(10.0, lambda _: None, "XREAD", patience=5.0)
    assert pipeline.deadline == 10.0 + REDIS_SILENCE_SECONDS + 5.0
    pipeline.receive(b"$10\r\nab", 12.0)
    pipeline.moved(13.0)
    assert pipeline.deadline == 13.0 + REDIS_SILENCE_SECONDS + 5.0
