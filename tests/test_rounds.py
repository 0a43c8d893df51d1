"""Whose turn it is among several servers, and dialling them: who answers, refuses, is silent."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import ProxyRefusedError, TransportError
from chat.limits import HANDSHAKE_SECONDS, NEXT_SERVER_SECONDS
from chat.place import Endpoint
from chat.reactor import Reactor
from chat.rounds import Rounds
from chat.several import SeveralServers
from chat.sockets import Dialer, Way
from chat.targets import Target, way_to
from tests.support.helpers import FakeClock
from tests.support.loopback import listen, until


def takes(rounds: Rounds, count: int) -> list[int]:
    return [rounds.take() for _ in range(count)]


def test_each_has_one_turn_in_a_round_and_the_next_round_begins_as_the_last() -> None:
    assert takes(Rounds(3), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_round_begins_where_we_were_in_last() -> None:
    rounds = Rounds(3)
    takes(rounds, 2)
    rounds.settle()
    assert not rounds.has_next, "the place is there, so ask for it again before anybody else"
    assert takes(rounds, 6) == [1, 2, 0, 1, 2, 0]


def test_round_has_a_next_one_until_all_had_their_turns() -> None:
    rounds = Rounds(2)
    assert not rounds.has_next
    rounds.take()
    assert rounds.pass_over()
    assert rounds.has_next
    rounds.take()
    assert not rounds.pass_over()
    assert not rounds.has_next


def test_who_sends_us_away_is_not_asked_in_the_round_that_begins_then() -> None:
    rounds = Rounds(3)
    rounds.take()
    rounds.settle()
    assert rounds.pass_over()
    assert takes(rounds, 2) == [1, 2]
    assert not rounds.has_next
    assert rounds.take() == 0


def test_who_was_given_up_for_another_still_has_its_turn() -> None:
    rounds = Rounds(3)
    takes(rounds, 2)
    rounds.choose(1, given_up=[0])
    assert rounds.present == 1
    assert takes(rounds, 2) == [0, 2]


def test_who_was_too_slow_has_one_longer_turn_behind_the_others() -> None:
    rounds = Rounds(3)
    turns = []
    for _ in range(8):
        turns.append((rounds.take(), rounds.is_hasty))
        rounds.postpone()
    assert turns[:5] == [(0, True), (1, True), (2, False), (0, False), (1, False)]
    assert turns[5:] == [(0, True), (1, True), (2, False)], "another round"


def test_who_was_too_slow_has_no_other_turn_when_we_are_in() -> None:
    rounds = Rounds(2)
    rounds.take()
    rounds.postpone()
    rounds.take()
    rounds.settle()
    assert takes(rounds, 3) == [1, 0, 1]


@given(st.integers(1, 8), st.lists(st.sampled_from(["take", "settle", "pass"]), max_size=40))
def test_no_server_is_left_out_and_none_comes_twice_in_a_round(
    count: int, steps: list[str]
) -> None:
    rounds = Rounds(count)
    for step in steps:
        {"take": rounds.take, "settle": rounds.settle, "pass": rounds.pass_over}[step]()
    while rounds.has_next:
        rounds.take()
    assert sorted(takes(rounds, count)) == list(range(count))
    assert not rounds.has_next


# -- dialling


class Stands:
    """Servers of which a test says what becomes of each dial, and a way to them."""

    def __init__(self, reactor: Reactor, clock: FakeClock, count: int) -> None:
        self.reactor = reactor
        self.clock = clock
        self.dialled: list[int] = []
        self.closed: list[int] = []
        self.looked_up: list[int] = []
        self.connected: list[socket.socket] = []
        self.failed: list[TransportError] = []
        self.answers: dict[int, Callable[[socket.socket], None]] = {}
        self.failures: dict[int, Callable[[TransportError], None]] = {}
        servers = [Endpoint("server", number) for number in range(count)]
        self.way = SeveralServers(reactor, servers, lambda server: _Stand(self, server))
        self.told: list[str] = []
        self.way.on_found = lambda: self.told.append(f"{self.way.host} {self.way.port}")

    def dial(self) -> None:
        self.way.dial(self.connected.append, self.failed.append)

    def refuse(self, number: int) -> None:
        self.failures[number](TransportError(f"cannot reach {number}", "is it running?"))

    def answer(self, number: int) -> None:
        with socket.socket() as connected:
            self.answers[number](connected)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.reactor.turn(0)


class _Stand(Way):
    def __init__(self, stands: Stands, server: Endpoint) -> None:
        self.host, self.port = server
        self.looked_up = self.host
        self.on_found: Callable[[], None] = lambda: None
        self._stands = stands
        stands.looked_up.append(self.port)

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        self._stands.dialled.append(self.port)
        self._stands.answers[self.port] = on_connected
        self._stands.failures[self.port] = on_failed
        self.on_found()

    def close(self) -> None:
        self._stands.closed.append(self.port)


@pytest.fixture
def stands(reactor: Reactor, clock: FakeClock) -> Iterator[Stands]:
    stands = Stands(reactor, clock, 3)
    yield stands
    stands.way.close()
    assert not [timer for timer in reactor._timers if timer.callback]


def test_first_server_is_looked_up_already_and_no_other_one(stands: Stands) -> None:
    assert (stands.looked_up, stands.dialled) == ([0], [])
    stands.dial()
    assert (stands.looked_up, stands.dialled, stands.closed) == ([0], [0], [])


def test_server_that_refuses_is_followed_by_the_next_at_once(stands: Stands) -> None:
    stands.dial()
    stands.refuse(0)
    stands.answer(1)
    assert stands.dialled == [0, 1]
    assert (stands.way.host, stands.way.port) == ("server", 1)
    assert stands.told == ["server 0", "server 1"]
    assert len(stands.connected) == 1


def test_all_that_fail_are_told_in_one_sentence(stands: Stands) -> None:
    stands.dial()
    for number in range(3):
        assert not stands.failed
        stands.refuse(number)
    (error,) = stands.failed
    assert str(error) == "cannot reach 0; cannot reach 1; cannot reach 2"
    assert error.hint == "is it running?"


def test_proxy_that_does_not_let_us_in_is_not_asked_for_the_other_servers(stands: Stands) -> None:
    """And the client can tell it from a server that is away, which it would wait for."""
    error = ProxyRefusedError("it does not accept the user and the password")
    stands.dial()
    stands.failures[0](error)
    assert (stands.failed, stands.dialled) == ([error], [0])


def test_silent_server_has_company_after_a_while_and_may_still_answer(stands: Stands) -> None:
    stands.dial()
    stands.wait(NEXT_SERVER_SECONDS - 0.01)
    assert stands.dialled == [0]
    stands.wait(0.01)
    stands.wait(NEXT_SERVER_SECONDS)
    assert stands.dialled == [0, 1, 2]
    stands.refuse(2)
    stands.wait(NEXT_SERVER_SECONDS)
    assert stands.dialled == [0, 1, 2], "the round is over when nobody is dialled any more"
    stands.answer(0)
    assert stands.way.port == 0
    assert stands.closed == [0, 1]
    assert stands.way.pass_over(), "the one that was given up for it may be asked"
    stands.dial()
    assert stands.dialled[-1] == 1


def test_server_that_let_us_in_is_dialled_first_the_next_time(stands: Stands) -> None:
    stands.dial()
    stands.refuse(0)
    stands.answer(1)
    stands.way.settle()
    stands.dial()
    stands.refuse(1)
    stands.refuse(2)
    stands.refuse(0)
    assert stands.dialled == [0, 1, 1, 2, 0]
    assert len(stands.failed) == 1


def test_dial_goes_on_with_the_round_behind_who_does_not_want_us(stands: Stands) -> None:
    stands.dial()
    stands.answer(0)
    assert stands.way.pass_over()
    stands.dial()
    stands.answer(1)
    assert stands.way.pass_over()
    stands.dial()
    stands.answer(2)
    assert not stands.way.pass_over()
    assert stands.dialled == [0, 1, 2]


def test_way_that_is_closed_dials_nobody_any_more(stands: Stands) -> None:
    stands.dial()
    stands.way.close()
    stands.wait(10 * NEXT_SERVER_SECONDS)
    assert stands.dialled == [0]
    assert stands.closed == [0, 0]


def test_real_servers_of_which_the_first_refuses_and_the_second_is_there(reactor: Reactor) -> None:
    closed, open_ = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    with open_:
        servers = tuple(Endpoint(*one.getsockname()[:2]) for one in (closed, open_))
        closed.close()
        connected: list[socket.socket] = []
        failed: list[TransportError] = []
        with contextlib.closing(way_to(Target(servers), reactor, None)) as way:
            way.dial(connected.append, failed.append)
            until(reactor, lambda: connected or failed)
            assert connected[0].getpeername() == servers[1]
            assert way.server == servers[1]
            connected[0].close()
    assert not reactor._selected
    assert not [timer for timer in reactor._timers if timer.callback]


def test_one_server_is_dialled_without_rounds(reactor: Reactor) -> None:
    with contextlib.closing(way_to(Target((Endpoint("127.0.0.1", 9),)), reactor, None)) as way:
        assert type(way) is Dialer
        assert way.servers == (way.server,) == (Endpoint("127.0.0.1", 9),)
        assert not way.has_next
        assert not way.pass_over()


def test_next_server_has_its_turn_before_the_silent_one_is_given_up() -> None:
    assert NEXT_SERVER_SECONDS < HANDSHAKE_SECONDS
