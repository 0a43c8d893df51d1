"""The way through a proxy: proxies made by hand that answer, lie, are slow or silent."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from chat.errors import ProxyRefusedError, TransportError
from chat.limits import PROXY_SECONDS
from chat.proxied import ProxiedDialer
from chat.reactor import Reactor
from chat.resolver import Address, LookUp
from chat.socks import Proxy
from tests.support.helpers import FakeClock
from tests.support.loopback import Wire, listen, until
from tests.test_socks import ACCEPTED, HELLO, NAMED, REFUSALS


class Stand:
    """A proxy made by hand, and somebody who connects through it."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.guests: list[Wire] = []
        self.serve: Callable[[Wire], None] = lambda _: None
        self.connected: list[socket.socket] = []
        self.failed: list[TransportError] = []
        reactor.watch_read(self.listener.fileno(), self._on_connection)
        self.dialer = self.dialer_to("chat.example")

    def dialer_to(self, host: str, scheme: str = "socks5h", login: str = "") -> ProxiedDialer:
        proxy = Proxy(f"{scheme}://{login}127.0.0.1:{self.port}")
        self.dialer = ProxiedDialer(self.reactor, host, 9443, proxy)
        return self.dialer

    def _on_connection(self) -> None:
        self.guests.append(Wire(self.reactor, self.listener.accept()[0]))
        self.serve(self.guests[-1])

    def dial(self) -> None:
        self.dialer.dial(self.connected.append, self.failed.append)

    def finish(self) -> None:
        until(self.reactor, lambda: self.connected or self.failed)

    def error(self) -> str:
        self.dial()
        self.finish()
        (error,) = self.failed
        return str(error)

    def close(self) -> None:
        self.dialer.close()
        self.reactor.unwatch(self.listener.fileno())
        for guest in self.guests:
            guest.close()
        for one in (self.listener, *self.connected):
            one.close()


@pytest.fixture
def stand(reactor: Reactor) -> Iterator[Stand]:
    with contextlib.closing(Stand(reactor)) as stand:
        yield stand
    # Nothing is watched and nothing is due: everything was released.
    assert not reactor._selector.get_map()
    assert not [timer for timer in reactor._timers if timer.callback]


def answers(data: bytes) -> Callable[[Wire], None]:
    return lambda guest: guest.send(data)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts whose addresses are looked up here."""
    hosts: list[str] = []
    for module in ("chat.sockets", "chat.proxied"):
        monkeypatch.setattr(f"{module}.LookUp", noting(hosts, LookUp))
    return hosts


def noting(hosts: list[str], look_up: type) -> Callable[..., object]:
    def look(reactor: Reactor, host: str, *more: object, **options: bool) -> object:
        hosts.append(host)
        return look_up(reactor, host, *more, **options)

    return look


def test_socket_is_handed_on_with_all_that_the_server_has_said(
    stand: Stand, asked: list[str]
) -> None:
    stand.serve = answers(ACCEPTED + b"from the server")
    stand.dial()
    stand.finish()
    (connected,) = stand.connected
    assert connected.recv(100) == b"from the server"
    assert bytes(stand.guests[0].received) == HELLO + NAMED
    assert set(asked) == {"127.0.0.1"}, "nobody here is asked for the name"


@pytest.mark.parametrize("size", range(1, len(ACCEPTED)))
def test_answer_may_come_in_two_halves(stand: Stand, size: int) -> None:
    stand.serve = answers(ACCEPTED[:size])
    stand.dial()
    for _ in range(20):
        stand.reactor.turn(0)
    assert not stand.connected
    stand.guests[0].send(ACCEPTED[size:])
    stand.finish()
    assert len(stand.connected) == 1


def test_proxy_is_asked_again_each_time(stand: Stand) -> None:
    stand.serve = answers(ACCEPTED)
    for _ in range(3):
        stand.dial()
        stand.finish()
        stand.connected.pop().close()
    assert [bytes(guest.received) for guest in stand.guests] == [HELLO + NAMED] * 3


@pytest.mark.parametrize(
    ("said", "why"),
    [
        *((bytes([5, 0, 5, code]), text) for code, text in REFUSALS.items()),
        (b"HTTP/1.1 200 OK\r\n\r\n", "it does not speak SOCKS 5"),
        (b"\xff" * 1_000_000, "it does not speak SOCKS 5"),
        (b"\5\2", "it asks for a user and a password"),
    ],
)
def test_proxy_that_refuses_is_told_with_host_and_proxy(
    stand: Stand, said: bytes, why: str
) -> None:
    stand.serve = answers(said)
    where = f"chat.example port 9443 through the proxy socks5h://127.0.0.1:{stand.port}"
    assert stand.error() == f"cannot reach {where}: {why}"
    refused = why not in REFUSALS.values()
    assert [isinstance(error, ProxyRefusedError) for error in stand.failed] == [refused]
    until(stand.reactor, lambda: stand.guests[0].eof)


@pytest.mark.parametrize("size", range(len(ACCEPTED)))
def test_proxy_that_closes_is_told(stand: Stand, size: int) -> None:
    def serve(guest: Wire) -> None:
        guest.send(ACCEPTED[:size])
        guest.shut_down()

    stand.serve = serve
    assert stand.error().endswith(": it closed the connection")
    assert stand.failed[0].hint == "can it reach the server?"


def test_proxy_that_resets_is_told(stand: Stand) -> None:
    stand.dial()
    until(stand.reactor, lambda: stand.guests and stand.guests[0].received)
    stand.guests[0].reset()
    stand.finish()
    assert str(stand.failed[0]).endswith(": it closed the connection")


@pytest.mark.parametrize("said", [b"", b"\5", b"\5\0", ACCEPTED[:-1]])
def test_proxy_that_is_silent_is_given_up(stand: Stand, clock: FakeClock, said: bytes) -> None:
    stand.serve = answers(said)
    stand.dial()
    until(stand.reactor, lambda: stand.guests)
    clock.advance(PROXY_SECONDS - 0.001)
    for _ in range(20):
        stand.reactor.turn(0)
    assert not stand.failed
    clock.advance(0.001)
    stand.finish()
    assert str(stand.failed[0]).endswith(": it does not answer")


def test_proxy_that_is_not_there_is_told_as_the_proxy(stand: Stand) -> None:
    stand.reactor.unwatch(stand.listener.fileno())
    stand.listener.close()
    assert stand.error() == (
        f"no way to the proxy socks5h://127.0.0.1:{stand.port}: "
        f"cannot reach 127.0.0.1 port {stand.port}: connection refused"
    )
    assert stand.failed[0].hint == "is the proxy running, and is this its port?"


def test_password_is_in_no_error(stand: Stand) -> None:
    stand.serve = answers(b"\5\2\1\1")
    stand.dialer.close()
    stand.dialer_to("chat.example", login="ira:hush@")
    error = stand.error()
    assert error.endswith("it does not accept the user and the password")
    assert "hush" not in error + stand.failed[0].hint
    assert b"hush" in stand.guests[0].received


class Found:
    """A look-up that is over, and has found these."""

    over, error = True, None

    def __init__(self, *where: tuple[str, int]) -> None:
        self.addresses = [Address(socket.AF_INET, one) for one in where]

    def close(self) -> None:
        pass


def test_proxy_that_led_us_in_is_asked_first_the_next_time(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Stand(stand.reactor)) as other:
        proxies = Found(("127.0.0.1", stand.port), ("127.0.0.1", other.port))
        monkeypatch.setattr("chat.sockets.LookUp", lambda *_, **__: proxies)
        stand.dialer.close()
        stand.dialer_to("chat.example")
        stand.serve = other.serve = answers(ACCEPTED)
        for _ in range(2):
            stand.dial()
            stand.finish()
            stand.connected.pop().close()
            stand.dialer.settle()
        assert (len(stand.guests), len(other.guests)) == (2, 0)


def test_name_is_looked_up_here_and_each_address_tried(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(("192.0.2.1", 9443), ("192.0.2.2", 9443))
    monkeypatch.setattr("chat.proxied.LookUp", lambda *_, **__: found)
    stand.dialer.close()
    stand.dialer_to("chat.example", "socks5")
    stand.serve = lambda guest: guest.send(b"\5\0\5\4" if len(stand.guests) == 1 else ACCEPTED)
    stand.dial()
    stand.finish()
    assert len(stand.connected) == 1
    assert [bytes(guest.received[-6:]) for guest in stand.guests] == [
        b"\xc0\0\2\1\x24\xe3",
        b"\xc0\0\2\2\x24\xe3",
    ]


def test_name_that_is_unknown_here_is_told(stand: Stand) -> None:
    stand.dialer.close()
    stand.dialer_to("a..b", "socks5")
    assert stand.error() == "the host a..b is not known"


@pytest.mark.parametrize("late", [False, True], ids=["dialling", "talking"])
def test_dialer_that_is_closed_calls_nobody_and_leaves_nothing(stand: Stand, late: bool) -> None:
    stand.dial()
    if late:
        until(stand.reactor, lambda: stand.guests)
        stand.reactor.turn(0)
    stand.dialer.close()
    stand.dialer.close()
    for _ in range(20):
        stand.reactor.turn(0)
    assert not stand.connected
    assert not stand.failed
