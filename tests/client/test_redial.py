"""When to dial again: after which wait, at once, or no more, since a server did not want us."""

import random
import socket
from collections.abc import Callable

import pytest

from chat.client.redial import Redial
from chat.errors import TransportError
from chat.limits import MAX_RETRY_SECONDS, RETRY_SECONDS
from chat.reactor import Reactor, do_nothing
from chat.sockets import Way
from tests.support.helpers import FakeClock


class Servers(Way):
    """Several servers. A test says which one answered, and whether others have a turn left."""

    def __init__(self) -> None:
        self.host = self.looked_up = "a.example"
        self.port = 9443
        self.on_found = do_nothing
        self.others_left = self.settled = self.closed = False

    def dial(
        self,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[TransportError], None],
    ) -> None:
        raise AssertionError("the client has it dial")

    def close(self) -> None:
        self.closed = True

    @property
    def has_next(self) -> bool:
        return self.others_left

    def settle(self) -> None:
        self.settled = True

    def pass_over(self) -> bool:
        return self.others_left


class Stay:
    """What redials, and what it did."""

    def __init__(self, reactor: Reactor, clock: FakeClock) -> None:
        self.servers = Servers()
        self.dialled: list[float] = []
        self.ended_by: list[str] = []
        self._reactor = reactor
        self._clock = clock
        self.redial = Redial(reactor, self.servers, lambda: self.dialled.append(clock.now))

    def is_sent_away(self, by: str, *, is_refusal: bool = False) -> bool:
        return self.redial.pass_over(lambda: self.ended_by.append(by), is_refusal=is_refusal)

    def fail_and_wait(self) -> float:
        """Nobody answered. Returns how long it took until the next dial, in seconds."""
        self.redial.later()
        before, count = self._clock.now, len(self.dialled)
        while len(self.dialled) == count:
            assert self._clock.now - before <= MAX_RETRY_SECONDS, "nothing was dialled"
            self.pass_time(0.25)
        return self._clock.now - before

    def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)
        self._reactor.turn(0)


@pytest.fixture
def stay(reactor: Reactor, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Stay:
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    return Stay(reactor, clock)


def test_wait_doubles_after_each_round_and_is_short_within_one(stay: Stay) -> None:
    assert stay.fail_and_wait() == RETRY_SECONDS
    assert stay.fail_and_wait() == 2 * RETRY_SECONDS
    stay.servers.others_left = True
    assert [stay.fail_and_wait() for _ in range(2)] == [RETRY_SECONDS] * 2
    stay.servers.others_left = False
    assert stay.fail_and_wait() == 4 * RETRY_SECONDS
    for _ in range(10):
        longest = stay.fail_and_wait()
    assert longest == MAX_RETRY_SECONDS
    stay.redial.be_quick()
    assert stay.fail_and_wait() == RETRY_SECONDS


def test_who_dials_at_once_does_not_dial_again_when_the_wait_would_be_over(stay: Stay) -> None:
    stay.redial.now_if_waiting()
    assert not stay.dialled, "nothing was waited for"
    stay.redial.later()
    stay.redial.now_if_waiting()
    stay.redial.now_if_waiting()
    stay.pass_time(2 * MAX_RETRY_SECONDS)
    assert len(stay.dialled) == 1


def test_nothing_is_dialled_after_the_stop(stay: Stay) -> None:
    stay.redial.later()
    stay.redial.stop()
    stay.pass_time(2 * MAX_RETRY_SECONDS)
    assert not stay.dialled
    assert stay.servers.closed


def test_verdict_waits_for_the_end_of_the_round(stay: Stay) -> None:
    stay.servers.others_left = True
    assert stay.is_sent_away("a")
    stay.fail_and_wait()
    assert not stay.ended_by
    stay.servers.others_left = False
    stay.redial.later()
    stay.pass_time(2 * MAX_RETRY_SECONDS)
    assert (stay.ended_by, len(stay.dialled)) == (["a"], 1)


def test_verdict_of_the_last_server_of_a_round_is_not_kept(stay: Stay) -> None:
    """There is nobody else, so the client ends by it at once."""
    assert not stay.is_sent_away("a")
    stay.fail_and_wait()
    assert not stay.ended_by


def test_refusal_outweighs_a_server_that_only_ended_it(stay: Stay) -> None:
    stay.servers.others_left = True
    for by, is_refusal in (("closing", False), ("full", True), ("closing too", False)):
        assert stay.is_sent_away(by, is_refusal=is_refusal)
    stay.servers.others_left = False
    stay.redial.later()
    assert stay.ended_by == ["full"]


@pytest.mark.parametrize("forget", [Redial.forget_verdict, Redial.settle])
def test_verdict_is_forgotten_once_a_server_would_have_us(
    stay: Stay, forget: Callable[[Redial], object]
) -> None:
    stay.servers.others_left = True
    assert stay.is_sent_away("a")
    forget(stay.redial)
    stay.servers.others_left = False
    stay.fail_and_wait()
    assert not stay.ended_by


def test_server_that_lets_us_in_is_told_if_it_is_another_one_than_before(stay: Stay) -> None:
    assert stay.redial.settle() == "", "we were nowhere before"
    assert stay.servers.settled
    assert stay.redial.settle() == ""
    stay.servers.host = "b.example"
    assert stay.redial.settle() == "b.example:9443"
    assert stay.redial.settle() == ""
