"""Where Redis is, and the password that may come from elsewhere."""

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import UsageError
from chat.limits import SOCKET_PATH_BYTES
from chat.server.cluster.url import RedisUrl, password_in


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("redis://h", RedisUrl("h"), "redis://h:6379/0"),
        ("REDIS://h:1/", RedisUrl("h", 1), "redis://h:1/0"),
        ("redis://[::1]:1/15", RedisUrl("::1", 1, "", 15), "redis://[::1]:1/15"),
        ("rediss://h", RedisUrl("h", tls=True), "rediss://h:6379/0"),
        ("redis://:p%40w@h", RedisUrl("h", password=b"p@w"), "redis://h:6379/0"),
        ("redis://u:a:b@h", RedisUrl("h", user="u", password=b"a:b"), "redis://h:6379/0"),
        ("redis://u@h", RedisUrl("h", user="u"), "redis://h:6379/0"),
        ("redis+unix:///run/r.sock", RedisUrl(path="/run/r.sock"), "redis+unix:///run/r.sock"),
        (
            "redis+unix://u:%ff@/a%20b?db=3",
            RedisUrl(path="/a b", database=3, user="u", password=b"\xff"),
            "redis+unix:///a b?db=3",
        ),
    ],
)
def test_url_says_where_and_is_shown_without_its_login(
    text: str, expected: RedisUrl, shown: str
) -> None:
    assert RedisUrl.parse(text) == expected
    assert str(expected) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:6379",
        "http://x:secret@h",
        "redis:x:secret@h",
        "redis://",
        "redis://x:secret@",
        "redis://x:sec@ret@h",
        "redis://x:secret@h:secret",
        "redis://x:secret@h:70000",
        "redis://x:secret@h/secret",
        "redis://x:secret@h/0/1",
        "redis://x:secret@h?db=1",
        "redis://x:secret@h#secret",
        "redis://secret:@h",
        "redis://@h",
        "redis://x:secret%00@h",
        "redis://x:secret\udcff@h",
        "redis://x:secret@" + "a" * 64,
        "redis+unix://secret",
        "redis+unix://x:secret@relative",
        "redis+unix:///" + "a" * SOCKET_PATH_BYTES,
        "redis+unix:///a%00secret",
        "redis+unix:///a?db=secret",
        "redis+unix:///a?secret=1",
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        RedisUrl.parse(text)
    assert "secret" not in caught.value.advice


@given(st.text())
def test_any_text_is_a_url_or_refused(text: str) -> None:
    for scheme in ("", "redis://", "rediss://", "redis+unix://", "redis+unix:///"):
        with contextlib.suppress(UsageError):
            url = RedisUrl.parse(scheme + text)
            assert bool(url.host) is not bool(url.path)


@given(st.text(min_size=1), st.binary(min_size=1).filter(lambda secret: b"\0" not in secret))
def test_every_login_can_be_written(user: str, password: bytes) -> None:
    try:
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    except UnicodeEncodeError:
        return
    for text in (f"redis://{login}@h", f"redis+unix://{login}@/p"):
        url = RedisUrl.parse(text)
        assert (url.user, url.password) == (user, password)
        if len(password) > 8:
            assert repr(password)[2:-1] not in f"{url} {url!r}"


def test_password_comes_from_one_place() -> None:
    url = RedisUrl.parse("redis://h")
    assert url.warning == ""
    assert url.with_password(b"", "it") is url
    assert url.with_password(b"pw", "the file").password == b"pw"
    typed = RedisUrl.parse("redis://:pw@h")
    assert "CHAT_REDIS_PASSWORD" in typed.warning
    assert typed.with_password(b"pw", "the file") is typed
    for text in ("redis://h", "redis+unix:///p"):
        # Nobody sees it there, so nothing is to be said.
        assert RedisUrl.parse(text).with_password(b"pw", "the file").warning == ""
    assert "CHAT_REDIS_PASSWORD" in RedisUrl.parse("redis+unix://:pw@/p").warning
    with pytest.raises(UsageError, match="the file has another one"):
        typed.with_password(b"other", "the file")
    with pytest.raises(UsageError, match="NUL"):
        url.with_password(b"a\0b", "the file")


@pytest.mark.parametrize("content", [b"pw", b"pw\n", b"pw\r\n", b"pw\n\n"])
def test_file_holds_a_password_in_its_first_line(content: bytes) -> None:
    assert password_in(content) == b"pw"


@pytest.mark.parametrize("content", [b"", b"\n", b"\npw", b"pw\nother\n", b"p\0w"])
def test_file_with_anything_else_holds_none(content: bytes) -> None:
    with pytest.raises(UsageError):
        password_in(content)
