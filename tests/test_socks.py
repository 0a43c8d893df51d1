"""SOCKS 5 without a socket: what --proxy says, and what is said to a proxy and read of it."""

import pytest

from chat.errors import ProxyRefusedError, TransportError, UsageError
from chat.socks import Proxy, conversation

LOGIN = "socks5h://ira:sec%40ret@localhost"


@pytest.mark.parametrize(
    ("text", "host", "port", "looks_up", "login"),
    [
        ("socks5h://localhost:9050", "localhost", 9050, True, None),
        ("SOCKS5://127.0.0.1/", "127.0.0.1", 1080, False, None),
        ("socks5h://[::1]:1081", "::1", 1081, True, None),
        (LOGIN, "localhost", 1080, True, (b"ira", b"sec@ret")),
        ("socks5://a:b%3ac%ff@h:1", "h", 1, False, (b"a", b"b:c\xff")),
        ("socks5://a:b:c@h", "h", 1080, False, (b"a", b"b:c")),
    ],
)
def test_url_says_which_proxy(
    text: str, host: str, port: int, looks_up: bool, login: tuple[bytes, bytes] | None
) -> None:
    proxy = Proxy(text)
    assert (proxy.host, proxy.port) == (host, port)
    assert (proxy.looks_up, proxy.login) == (looks_up, login)
    assert Proxy(str(proxy)).host == host


@pytest.mark.parametrize(
    "text",
    [
        "localhost:1080",
        "http://x:secret@localhost:1080",
        "socks4://localhost",
        "socks5h://",
        "socks5h://x:secret@",
        "socks5h://x:sec@ret@localhost",
        "socks5h://x:secret@localhost:secret",
        "socks5h://x:secret@localhost:70000",
        "socks5h://x:secret@localhost:1/path",
        "socks5h://x:secret@[::1",
        "socks5h://x:secret@" + "a" * 64,
        "socks5h://@localhost",
        "socks5h://secret@localhost",
        "socks5h://:secret@localhost",
        "socks5h://secret:@localhost",
        f"socks5h://x:{'secret' * 50}@localhost",
        "socks5h://x:secret\udcff@localhost",
    ],
)
def test_what_is_no_url_of_a_proxy_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Proxy(text)
    assert "secret" not in str(caught.value) + caught.value.hint


def test_login_is_not_shown() -> None:
    assert f"{Proxy(LOGIN)} {Proxy(LOGIN)!r}" == " ".join(2 * ["socks5h://localhost:1080"])


def talk(
    answers: bytes, host: str = "chat.example", url: str = "socks5h://h"
) -> tuple[bytes, bytes]:
    """What is said to a proxy that answers this; and what of the answers is left unread."""
    said, asked = b"", conversation(Proxy(url), host, 9443)
    try:
        sent, wanted = next(asked)
        while True:
            said += sent
            answer, answers = answers[:wanted], answers[wanted:]
            assert len(answer) == wanted, "it would wait for more"
            sent, wanted = asked.send(answer)
    except StopIteration:
        return said, answers


HELLO = b"\5\1\0"
NAMED = b"\5\1\0\3\x0cchat.example\x24\xe3"
CONNECTED = b"\5\0\0\1\x7f\0\0\1\0\7"
ACCEPTED = b"\5\0" + CONNECTED


@pytest.mark.parametrize(
    ("host", "request_"),
    [
        ("chat.example", NAMED),
        ("b\u00fccher.example", b"\5\1\0\3\x15xn--bcher-kva.example\x24\xe3"),
        ("192.0.2.7", b"\5\1\0\1\xc0\0\2\7\x24\xe3"),
        ("2001:db8::1", b"\5\1\0\4\x20\1\r\xb8" + bytes(11) + b"\1\x24\xe3"),
    ],
)
def test_host_is_named_or_given_as_an_address(host: str, request_: bytes) -> None:
    assert talk(ACCEPTED, host) == (HELLO + request_, b"")


@pytest.mark.parametrize(
    "bound",
    [
        b"\1\0\0\0\0\0\0",
        b"\4" + bytes(18),
        b"\3\0\0\0",
        b"\3\xff" + bytes(257),
    ],
)
def test_no_byte_behind_the_answer_is_read(bound: bytes) -> None:
    assert talk(b"\5\0\5\0\0" + bound + b"from the server") == (HELLO + NAMED, b"from the server")


def test_user_and_password_are_given_to_a_proxy_that_asks_for_them() -> None:
    said, _ = talk(b"\5\2\1\0" + CONNECTED, url=LOGIN)
    assert said == b"\5\2\0\2" + b"\1\3ira\7sec@ret" + NAMED
    said, _ = talk(ACCEPTED, url=LOGIN)
    assert said == b"\5\2\0\2" + NAMED, "it did not ask"


REFUSALS = {
    1: "it failed, and does not say why",
    2: "its rules do not allow this connection",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "connection refused",
    6: "the connection took too many hops",
    7: "it makes no connections",
    8: "it does not know this kind of address",
    9: "it says 9, which has no meaning",
    255: "it says 255, which has no meaning",
}


@pytest.mark.parametrize(
    ("answers", "url", "error"),
    [
        *((bytes([5, 0, 5, code]), LOGIN, text) for code, text in REFUSALS.items()),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", LOGIN, "it does not speak SOCKS 5"),
        (b"\0\x5b", LOGIN, "it does not speak SOCKS 5"),
        (b"\5\0\4\0", LOGIN, "it does not speak SOCKS 5"),
        (b"\5\0\5\0\0\2", LOGIN, "it does not speak SOCKS 5"),
        (b"\5\2", "socks5h://h", "it asks for a user and a password"),
        (b"\5\xff", "socks5h://h", "it asks for a user and a password"),
        (b"\5\xff", LOGIN, "it wants us to log in by another way than a password"),
        (b"\5\1", LOGIN, "it wants us to log in by another way than a password"),
        (b"\5\2\1\1", LOGIN, "it does not accept the user and the password"),
    ],
)
def test_proxy_that_refuses_or_speaks_otherwise_is_told(
    answers: bytes, url: str, error: str
) -> None:
    with pytest.raises(TransportError) as caught:
        talk(answers, url=url)
    assert str(caught.value) == error
    assert "ret@" not in caught.value.hint
    # Whether the proxy can connect may change.
    assert isinstance(caught.value, ProxyRefusedError) == (error not in REFUSALS.values())


@pytest.mark.parametrize("host", ["a..b", "\udcff", ".".join(["a" * 60] * 5)])
def test_host_that_has_no_name_is_refused_before_it_is_asked_for(host: str) -> None:
    with pytest.raises(TransportError, match="is not known"):
        talk(ACCEPTED, host)
