"""From an address to a socket: what an address says, listening, and dialling several at once."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import pytest

from chat import sockets
from chat.errors import TransportError
from chat.limits import ATTEMPT_SECONDS, HANDSHAKE_SECONDS, MAX_ADDRESSES
from chat.reactor import Reactor
from chat.resolver import Address
from tests.support.helpers import FakeClock
from tests.support.loopback import Hall, until


def address_of(where: tuple[Any, ...]) -> Address:
    return Address(socket.AF_INET6 if ":" in where[0] else socket.AF_INET, where)


class NameServer:
    """Stands in for `LookUp`: what is asked waits for the answer that a test gives."""

    def __init__(self) -> None:
        self.over = False
        self.asked = self.closed = 0
        self.addresses: list[Address] = []
        self.error: TransportError | None = None
        self._on_over: Callable[[], None]
        self._begin: list[tuple[Any, ...] | None] | None = None

    def __call__(
        self, _reactor: Reactor, _host: str, _port: int, on_over: Callable[[], None], **_: bool
    ) -> "NameServer":
        self.asked += 1
        self.over = False
        self._on_over = on_over
        if self._begin is not None:
            self._set(*self._begin)
        return self

    def _set(self, *answer: tuple[Any, ...] | None) -> None:
        self.over = True
        self.addresses = [address_of(where) for where in answer if where]
        self.error = None if self.addresses else TransportError("not known")

    def answer(self, *answer: tuple[Any, ...]) -> None:
        """Tell these addresses, or that there are none."""
        self._set(*answer)
        self._on_over()

    def always(self, *answer: tuple[Any, ...]) -> None:
        """Tell these at once whenever somebody asks."""
        self._begin = list(answer)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    names = NameServer()
    monkeypatch.setattr(sockets, "LookUp", names)
    return names


@pytest.mark.parametrize(
    ("host", "text", "source"),
    [
        ("192.0.2.1", "192.0.2.1:9443", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1:9443", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]:9443", "2001:db8::/64"),
        ("2001:db8::2:0:0:1", "[2001:db8::2:0:0:1]:9443", "2001:db8::/64"),
        ("2001:db8:0:1::1", "[2001:db8:0:1::1]:9443", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "[fe80::1%eth0]:9443", "fe80::/64"),
    ],
)
def test_an_address_has_a_text_and_a_source(host: str, text: str, source: str) -> None:
    assert sockets.address_text(host, 9443) == text
    assert sockets.source_of(host) == source
    assert sockets.host_text(host) == text.rpartition(":")[0].strip("[]")


@pytest.mark.parametrize(
    ("host", "this"),
    [
        *(
            (host, True)
            for host in ("localhost", "LOCALHOST", "127.1.2.3", "::1", "::ffff:127.0.0.1")
        ),
        *((host, False) for host in ("chat.example", "192.0.2.7", "::", "fe80::1%eth0", "")),
    ],
)
def test_host_that_each_machine_has_for_itself_is_known(host: str, this: bool) -> None:
    assert sockets.is_this_machine(host) is this


@pytest.mark.parametrize(
    ("hosts", "reachable"),
    [
        (["127.0.0.1"], None),
        (["127.0.1.1"], None),
        (["::1", "127.0.0.1"], None),
        (["::ffff:127.0.0.1"], None),
        (["127.0.0.1", "192.0.2.7"], "192.0.2.7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["fe80::1%eth0"], "fe80::1%eth0"),
    ],
)
def test_who_can_reach_a_server_follows_from_its_addresses(
    hosts: list[str], reachable: str | None
) -> None:
    assert sockets.reachable_at(hosts) == reachable


class Way:
    """Stands in for the socket with which the way out is asked for."""

    families: ClassVar[set[int]] = set()

    def __init__(self, family: int, _kind: int) -> None:
        self.family = family

    def __enter__(self) -> "Way":
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def connect(self, _address: object) -> None:
        if self.family not in self.families:
            raise OSError(errno.ENETUNREACH, "")

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.7" if self.family == socket.AF_INET else "2001:db8::7", 1


@pytest.mark.parametrize(
    ("host", "families", "reachable"),
    [
        ("0.0.0.0", {socket.AF_INET, socket.AF_INET6}, "192.0.2.7"),
        ("0.0.0.0", {socket.AF_INET6}, "lilac"),
        ("::", {socket.AF_INET, socket.AF_INET6}, "192.0.2.7"),
        ("::", {socket.AF_INET6}, "2001:db8::7"),
        ("::", set(), "lilac"),
    ],
)
def test_server_on_all_addresses_is_reached_at_the_one_that_leads_out(
    monkeypatch: pytest.MonkeyPatch, host: str, families: set[int], reachable: str
) -> None:
    monkeypatch.setattr(Way, "families", families)
    monkeypatch.setattr(socket, "socket", Way)
    monkeypatch.setattr(socket, "gethostname", lambda: "lilac")
    assert sockets.reachable_at([host]) == reachable


# -- listening


@contextlib.contextmanager
def listening(host: str, port: int = 0) -> Iterator[list[tuple[Any, ...]]]:
    """Listen, and yield the addresses."""
    listeners = sockets.listen(host, port)
    try:
        yield [listener.getsockname() for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


@pytest.fixture
def ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")


@pytest.fixture
def link_local() -> str:
    """A link-local address of this machine."""
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else ():
        digits, _, _, scope, _, name = line.split()
        if scope == "20":
            host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
            return f"{host}%{name}"
    pytest.skip("no link-local address is here")


@pytest.mark.parametrize(("host", "takes_ipv4"), [("::", True), ("::1", False)])
def test_listener_on_all_ipv6_addresses_takes_ipv4_too_and_on_one_nothing_else(
    ipv6: None, host: str, takes_ipv4: bool
) -> None:
    with listening(host) as ((_, port, _, _),), socket.create_connection(("::1", port)):
        refusal = contextlib.nullcontext() if takes_ipv4 else pytest.raises(ConnectionRefusedError)
        with refusal:
            socket.create_connection(("127.0.0.1", port)).close()


def test_listener_is_on_all_that_a_name_means_and_this_machine_has(
    ipv6: None, names: NameServer
) -> None:
    names.always(("192.0.2.1", 0), ("::1", 0, 0, 0), ("127.0.0.1", 0), ("127.0.0.1", 0))
    with listening("localhost") as found:
        port = found[0][1]
        assert found == [("::1", port, 0, 0), ("127.0.0.1", port)]
        for host in ("::1", "127.0.0.1"):
            socket.create_connection((host, port)).close()
    assert names.closed == 1


def test_port_is_free_on_all_addresses(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first port that is tried is in use on the second address."""
    tried: list[tuple[Any, ...]] = []
    create = socket.create_server

    def create_server(address: tuple[Any, ...], **options: Any) -> socket.socket:
        tried.append(address)
        if len(tried) == 2:
            raise OSError(errno.EADDRINUSE, "")
        return create(address, **options)

    monkeypatch.setattr(socket, "create_server", create_server)
    names.always(("127.0.0.1", 0), ("127.0.0.2", 0))
    with listening("lilac") as ((_, port), (_, same)):
        assert port == same
    assert [host for host, _ in tried] == ["127.0.0.1", "127.0.0.2"] * 2


def test_listener_on_a_link_local_address(link_local: str) -> None:
    (listener,) = sockets.listen(link_local, 0)
    with listener:
        assert sockets.own_host(listener) == link_local
        socket.create_connection((link_local, listener.getsockname()[1])).close()


def test_ipv4_in_an_ipv6_listener_is_shown_as_ipv4(ipv6: None) -> None:
    (listener,) = sockets.listen("::ffff:127.0.0.1", 0)
    with listener:
        assert sockets.own_host(listener) == "127.0.0.1"


def test_server_takes_whoever_comes_to_any_of_its_addresses() -> None:
    (first,), (second,) = sockets.listen("127.0.0.1", 0), sockets.listen("127.0.0.2", 0)
    with contextlib.closing(Hall(first, second)) as hall:
        hall.join("Ira")
        hall.address = second.getsockname()
        sahnawaz = hall.join("sahnawaz", "sahnawaz")
        sahnawaz.say("Hi")
        hall.until(lambda: sahnawaz.heard)
        hall.server.terminate()
        hall.until(lambda: not hall.server.connections)


def test_port_in_use_on_one_of_several_addresses_is_refused(names: NameServer) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        names.always(("127.0.0.1", port), ("127.0.0.2", port))
        with pytest.raises(TransportError, match="already in use"):
            sockets.listen("lilac", port)
    with listening("lilac", port):
        pass


@pytest.mark.parametrize("host", ["", "a" * 70, "a..b", "\udcff"])
def test_unknown_host_is_an_error_with_a_hint(reactor: Reactor, host: str) -> None:
    attempt = Attempt(reactor, host)
    attempt.dial()
    assert attempt.errors == [f"the host {host} is not known"]
    assert "spelled" in attempt.failed[0].hint
    with pytest.raises(TransportError, match="is not known"):
        sockets.listen(host, 0)


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EADDRINUSE, "--port 0 takes a free port"),
        (errno.EACCES, "below 1024"),
        (errno.EADDRNOTAVAIL, "0.0.0.0 or ::"),
        (errno.ENOMEM, ""),
    ],
    ids=errno.errorcode.get,
)
def test_what_the_system_refuses_is_said(
    monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def refuse(*_arguments: object, **_options: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(TransportError) as caught:
        sockets.listen("127.0.0.1", 80)
    reason = os.strerror(number).lower()
    assert str(caught.value) == f"cannot listen on 127.0.0.1 port 80: {reason}"
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


# -- dialling


class Attempt:
    """A dialer that is asked to dial, and what became of it."""

    names: NameServer
    clock: FakeClock

    def __init__(self, reactor: Reactor, host: str = "chat.example", port: int = 9443) -> None:
        self.connected: list[socket.socket] = []
        self.failed: list[TransportError] = []
        self.found = 0
        self.dialer = sockets.Dialer(reactor, host, port)
        self.dialer.on_found = self._count
        self._reactor = reactor

    def _count(self) -> None:
        self.found += 1

    def dial(self) -> None:
        self.close()
        self.connected.clear()
        self.failed.clear()
        self.dialer.dial(self.connected.append, self.failed.append)

    def reach(self, *addresses: tuple[Any, ...]) -> None:
        """Dial while the name server tells these addresses, and wait for the end."""
        self.dial()
        self.names.answer(*addresses)
        self.finish()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._reactor.turn(0)

    @property
    def over(self) -> bool:
        return bool(self.connected or self.failed)

    def finish(self) -> None:
        until(self._reactor, lambda: self.over)

    @property
    def peers(self) -> list[tuple[Any, ...]]:
        """The addresses at the other end."""
        return [connected.getpeername() for connected in self.connected]

    @property
    def errors(self) -> list[str]:
        return [str(error) for error in self.failed]

    def close(self) -> None:
        for connected in self.connected:
            connected.close()


@pytest.fixture
def attempt(reactor: Reactor, clock: FakeClock, names: NameServer) -> Iterator[Attempt]:
    with contextlib.closing(Attempt(reactor)) as attempt:
        attempt.names, attempt.clock = names, clock
        yield attempt
        attempt.dialer.close()
    # Nothing is watched and nothing is due: everything was released.
    assert not reactor._selector.get_map()
    assert not [timer for timer in reactor._timers if timer.callback]


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """An address that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def closed() -> tuple[str, int]:
    """An address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    return host, port


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that never answers: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


NO_WAY = ("127.255.255.255", 9)
"""A broadcast address, which `connect` itself refuses."""


def test_dialer_connects_or_says_where_and_why_not(
    reactor: Reactor, server: tuple[str, int], closed: tuple[str, int]
) -> None:
    with contextlib.closing(Attempt(reactor, *server)) as attempt:
        attempt.dial()
        attempt.finish()
        assert (attempt.peers, attempt.failed) == ([server], [])
    attempt = Attempt(reactor, *closed)
    attempt.dial()
    attempt.finish()
    assert attempt.errors == [f"cannot reach 127.0.0.1 port {closed[1]}: connection refused"]
    assert "is the server running" in attempt.failed[0].hint


def test_host_is_looked_up_before_it_is_dialled(attempt: Attempt, server: tuple[str, int]) -> None:
    assert attempt.names.asked == 1
    attempt.names.answer(server)
    attempt.dial()
    attempt.finish()
    assert (attempt.names.asked, attempt.names.closed, attempt.found) == (1, 1, 1)
    assert attempt.peers == [server]


def test_refusal_is_followed_by_the_next_address_at_once(
    attempt: Attempt, closed: tuple[str, int], server: tuple[str, int]
) -> None:
    """The next look-up may find another address."""
    attempt.reach(closed)
    attempt.reach(NO_WAY, closed, server)
    assert (attempt.names.asked, attempt.peers) == (2, [server])


def test_family_that_this_machine_lacks_is_followed_by_the_next(
    attempt: Attempt, server: tuple[str, int]
) -> None:
    attempt.names.addresses = [Address(0xFFFF, ("nowhere",)), address_of(server)]
    attempt.names.over = True
    attempt.dial()
    attempt.finish()
    assert attempt.peers == [server]


def test_silent_address_has_company_after_a_moment(
    attempt: Attempt, silent: tuple[str, int], server: tuple[str, int]
) -> None:
    """The address that let us in comes first the next time."""
    attempt.dial()
    attempt.names.answer(silent, server)
    attempt.pass_time(ATTEMPT_SECONDS - 0.001)
    assert len(attempt.dialer._attempts) == 1
    attempt.pass_time(0.001)
    (first, second) = [one.dialing for one in attempt.dialer._attempts.values()]
    attempt.finish()
    assert (attempt.peers, first.fileno(), second) == ([server], -1, attempt.connected[0])
    attempt.dialer.settle()
    attempt.reach(silent, server)
    assert attempt.peers == [server]


def test_first_address_may_still_answer(
    attempt: Attempt, silent: tuple[str, int], server: tuple[str, int]
) -> None:
    """It answers after the second attempt has begun, which is to a silent address."""
    attempt.dial()
    attempt.names.answer(server, silent)
    attempt.clock.advance(ATTEMPT_SECONDS)
    attempt.dialer._try_next()
    assert len(attempt.dialer._attempts) == 2
    attempt.finish()
    assert attempt.peers == [server]


def test_silent_host_is_given_up(
    attempt: Attempt, silent: tuple[str, int], closed: tuple[str, int]
) -> None:
    attempt.dial()
    attempt.names.answer(silent)
    attempt.pass_time(HANDSHAKE_SECONDS - 0.001)
    assert not attempt.over
    attempt.clock.advance(0.001)
    attempt.finish()
    assert attempt.errors == ["cannot reach chat.example port 9443: connection timed out"]
    # A refusal beside it says more.
    attempt.dial()
    attempt.names.answer(silent, closed)
    attempt.clock.advance(HANDSHAKE_SECONDS)
    attempt.finish()
    assert attempt.errors == ["cannot reach chat.example port 9443: connection refused"]


@pytest.mark.parametrize("turn", range(3))
def test_most_telling_error_is_told_when_all_addresses_fail(
    attempt: Attempt, closed: tuple[str, int], turn: int
) -> None:
    answers = [NO_WAY, closed, ("127.255.255.255", 10)]
    attempt.reach(*answers[turn:], *answers[:turn])
    assert attempt.errors == ["cannot reach chat.example port 9443: connection refused"]


@pytest.mark.parametrize("silent_names", [False, True])
def test_name_server_that_fails_or_is_silent_does_not_keep_us_from_where_we_were(
    attempt: Attempt, server: tuple[str, int], silent_names: bool
) -> None:
    attempt.reach(server)
    attempt.dial()
    if silent_names:
        attempt.pass_time(0)
        assert not attempt.dialer._attempts
        attempt.clock.advance(ATTEMPT_SECONDS)
    else:
        attempt.names.answer()
    attempt.finish()
    assert (attempt.names.asked, attempt.names.closed, attempt.peers) == (2, 2, [server])


@pytest.mark.parametrize("late", [False, True])
def test_answer_is_tried_beside_where_we_were(
    attempt: Attempt,
    closed: tuple[str, int],
    silent: tuple[str, int],
    server: tuple[str, int],
    late: bool,
) -> None:
    """The old address is silent now; its moment is over already, or not."""
    attempt.reach(closed)
    attempt.dialer._known = [address_of(silent)]
    attempt.dial()
    attempt.pass_time(ATTEMPT_SECONDS)
    if late:
        attempt.clock.advance(ATTEMPT_SECONDS)
        attempt.pass_time(0)
    attempt.names.answer(server)
    assert len(attempt.dialer._attempts) == 1 + late
    attempt.clock.advance(ATTEMPT_SECONDS)
    attempt.finish()
    assert attempt.peers == [server]


def test_where_we_were_may_have_failed_before_the_answer_comes(
    attempt: Attempt, reactor: Reactor, closed: tuple[str, int], server: tuple[str, int]
) -> None:
    attempt.reach(closed)
    attempt.dial()
    attempt.clock.advance(ATTEMPT_SECONDS)
    until(reactor, lambda: attempt.dialer._errors)
    assert not attempt.over
    attempt.names.answer(server)
    attempt.finish()
    assert attempt.peers == [server]


@pytest.mark.parametrize("known", [False, True], ids=["looking up", "connecting"])
def test_dialer_that_is_closed_calls_nobody_and_leaves_nothing(
    attempt: Attempt, silent: tuple[str, int], known: bool
) -> None:
    attempt.dial()
    if known:
        attempt.names.answer(silent, ("127.0.0.1", 9))
    dialing = [one.dialing for one in attempt.dialer._attempts.values()]
    assert len(dialing) == known
    attempt.dialer.close()
    assert [one.fileno() for one in dialing] == [-1] * known
    attempt.pass_time(HANDSHAKE_SECONDS)
    assert (attempt.over, attempt.names.closed) == (False, 1)


FOUR = [Address(socket.AF_INET, (f"192.0.2.{number}", 9443)) for number in range(20)]
SIX = [Address(socket.AF_INET6, (f"2001:db8::{number}", 9443, 0, 0)) for number in range(20)]


def test_address_that_answers_and_does_not_let_us_in_comes_last_the_next_time(
    attempt: Attempt, server: tuple[str, int]
) -> None:
    """Behind one name may be several servers. One that is frozen still takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = listener.getsockname()
        reached = []
        for _ in range(4):
            attempt.reach(server, other)
            reached += attempt.peers
        assert reached == [server, other, server, other]
        attempt.dialer.settle()
        attempt.reach(server, other)
        assert attempt.peers == [other]


@pytest.mark.parametrize(
    ("found", "answered", "order"),
    [
        (FOUR[:2], None, FOUR[:2]),
        ([*SIX[:3], *FOUR[:2]], None, [SIX[0], FOUR[0], SIX[1], FOUR[1], SIX[2]]),
        ([FOUR[0], *SIX[:3]], None, [FOUR[0], *SIX[:3]]),
        ([FOUR[0], FOUR[0], SIX[0]], None, [FOUR[0], SIX[0]]),
        ([*SIX[:2], FOUR[0]], FOUR[0], [FOUR[0], *SIX[:2]]),
        ([*SIX[:2], FOUR[0]], FOUR[1], [SIX[0], FOUR[0], SIX[1]]),
        ([*SIX, *FOUR], FOUR[19], [FOUR[19], *list(chain(*zip(SIX, FOUR, strict=True)))[:15]]),
    ],
)
def test_families_take_turns_and_the_one_that_answered_comes_first(
    found: list[Address], answered: Address | None, order: list[Address]
) -> None:
    assert sockets.in_order(found, answered) == order
    assert len(order) <= MAX_ADDRESSES
