"""A look at a server's key: what is learned, that nothing is sent, and how it fails."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import pytest

from chat.client.meeting import Meeting
from chat.errors import ChatError, Reason, RefusedError, TransportError
from chat.kex import PublicKey, SignedShare
from chat.limits import HANDSHAKE_SECONDS, SHARE_SECONDS, SHARE_SKEW_SECONDS
from chat.place import Endpoint
from chat.session import Offer
from chat.several import SeveralServers
from chat.sockets import Dialer, Way
from chat.wire import Refused
from tests.support.helpers import WALL_CLOCK, key
from tests.support.loopback import Hall, SteppedReactor, Wire, listen

HELLO = Offer.of(SignedShare.make(key("server"), WALL_CLOCK, os.urandom)).hello


class Counter:
    """A server made by hand: somebody looks at its key, and it says what the test wants."""

    def __init__(self) -> None:
        self.reactor = SteppedReactor()
        self._listener = listen("127.0.0.1", 0)
        self.reactor.watch_read(self._listener.fileno(), self._on_connection)
        self.guest: Wire | None = None
        self.serve: Callable[[Wire], None] = lambda _: None

    def _on_connection(self) -> None:
        if self.guest is not None:
            self.guest.close()
        self.guest = Wire(self.reactor, self._listener.accept()[0])
        self.serve(self.guest)

    def look(self, clock: float = WALL_CLOCK, servers: Sequence[Endpoint] = ()) -> PublicKey:
        """Look at the key of this server, which may pass for several. Afterwards nothing is left
        open."""

        def way(_server: object = None) -> Way:
            return Dialer(self.reactor, *self._listener.getsockname())

        to = SeveralServers(self.reactor, servers, way) if servers else way()
        with contextlib.closing(to) as dialer:
            self.reactor.may_run = True
            try:
                return Meeting(self.reactor, dialer, lambda: clock).run()
            finally:
                if self.guest is not None and not self.guest.closed:
                    self.reactor.turn()
                    assert self.guest.eof
                    assert not self.guest.received

    def close(self) -> None:
        self.reactor.unwatch(self._listener.fileno())
        self._listener.close()
        if self.guest is not None:
            self.guest.close()
        self.reactor.close()


@pytest.fixture
def counter() -> Iterator[Counter]:
    with contextlib.closing(Counter()) as counter:
        yield counter


def test_key_of_a_real_server_is_seen_and_the_server_is_told_nothing() -> None:
    with contextlib.closing(Hall()) as hall:
        with contextlib.closing(Dialer(hall.reactor, *hall.address)) as dialer:
            hall.reactor.may_run = True
            assert Meeting(hall.reactor, dialer).run() == key("server").public
        hall.turns(3)
        assert not any("joined" in line for line in hall.screen.lines())


def test_nothing_is_sent_when_hello_arrives_in_pieces(counter: Counter) -> None:
    def serve(guest: Wire) -> None:
        guest.send(HELLO[:9])
        counter.reactor.when(lambda: True, lambda: guest.send(HELLO[9:]))

    counter.serve = serve
    assert counter.look() == key("server").public


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", TransportError, "frame"),
        (HELLO[:-1] + bytes([HELLO[-1] ^ 1]), TransportError, "signature is not valid"),
        (HELLO.replace(b"chat/1", b"chat/9"), TransportError, "speaks 'chat/9'"),
        (Refused(Reason.FULL, "come later").to_wire(), RefusedError, "come later"),
        (Refused(Reason.LOST, "").to_wire(), TransportError, "the server ended the connection"),
    ],
    ids=["no chat", "forged", "another protocol", "full", "busy"],
)
def test_server_that_shows_no_key_is_told(
    counter: Counter, said: bytes, kind: type[ChatError], text: str
) -> None:
    counter.serve = lambda guest: guest.send(said)
    with pytest.raises(kind, match=text):
        counter.look()


def test_server_that_hangs_up_is_told(counter: Counter) -> None:
    counter.serve = lambda guest: guest.shut_down()
    with pytest.raises(TransportError, match="the connection was lost"):
        counter.look()


def test_server_that_says_nothing_is_given_up(counter: Counter) -> None:
    counter.serve = lambda _guest: counter.reactor.time.advance(HANDSHAKE_SECONDS)
    with pytest.raises(TransportError, match="the server does not answer"):
        counter.look()


@pytest.mark.parametrize("off", [SHARE_SECONDS + 2 * SHARE_SKEW_SECONDS, -2 * SHARE_SKEW_SECONDS])
def test_clock_that_is_wrong_is_told(counter: Counter, off: int) -> None:
    counter.serve = lambda guest: guest.send(HELLO)
    with pytest.raises(TransportError, match="one of the two clocks is wrong"):
        counter.look(WALL_CLOCK + off)


def test_server_that_cannot_be_reached_is_told() -> None:
    with contextlib.closing(SteppedReactor()) as reactor, listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        listener.close()
        reactor.may_run = True
        dialer = Dialer(reactor, *address)
        with pytest.raises(TransportError, match="connection refused"):
            Meeting(reactor, dialer).run()


def test_host_that_is_unknown_at_once_is_told() -> None:
    with contextlib.closing(SteppedReactor()) as reactor:
        dialer = Dialer(reactor, "a..b", 1)
        with pytest.raises(TransportError, match="is not known"):
            Meeting(reactor, dialer).run()


def test_first_of_several_servers_that_shows_its_key_is_met(counter: Counter) -> None:
    said = iter([Refused(Reason.FULL, "").to_wire(), b"SSH-2.0-OpenSSH_9.6\r\n", HELLO])

    def serve(guest: Wire) -> None:
        guest.send(next(said))
        guest.shut_down()

    counter.serve = serve
    servers = [Endpoint("server", number) for number in range(3)]
    assert counter.look(servers=servers) == key("server").public


def test_several_servers_that_show_no_key_are_told_as_one(counter: Counter) -> None:
    counter.serve = lambda guest: guest.shut_down()
    with pytest.raises(TransportError, match=r"^the connection was lost"):
        counter.look(servers=[Endpoint("server", number) for number in range(2)])
