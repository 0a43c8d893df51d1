"""Deadlines that are looked at together."""

import contextlib
from collections.abc import Iterator

import pytest

from chat.limits import ROUND_SECONDS
from chat.server.deadlines import Deadlines
from tests.support.loopback import SteppedReactor


class Guest:
    """Notes when it was called; may send another one away then."""

    def __init__(self, reactor: SteppedReactor) -> None:
        self._reactor = reactor
        self.called: list[float] = []
        self.fails = False

    def on_time(self) -> None:
        self.called.append(self._reactor.clock())
        if self.fails:
            raise ZeroDivisionError


@pytest.fixture
def reactor() -> Iterator[SteppedReactor]:
    with contextlib.closing(SteppedReactor()) as reactor:
        yield reactor


def pass_time(reactor: SteppedReactor, until: float) -> None:
    while reactor.clock() < until:
        reactor.turn()


def test_deadlines_of_one_round_take_one_timer_and_none_is_kept_early(
    reactor: SteppedReactor,
) -> None:
    begun = ROUND_SECONDS * (reactor.clock() // ROUND_SECONDS + 1)
    pass_time(reactor, begun)
    deadlines = Deadlines(reactor)
    guests = {part: Guest(reactor) for part in (0.1, 0.5, 0.9, 1.0, 1.1)}
    for part, guest in guests.items():
        deadlines.enter(guest, begun + part * ROUND_SECONDS)
    assert len(reactor._timers) == 2
    pass_time(reactor, begun + 3 * ROUND_SECONDS)
    for part, guest in guests.items():
        (called,) = guest.called
        assert part <= (called - begun) / ROUND_SECONDS < part + 1.1


def test_who_goes_is_not_called_and_a_round_that_is_over_does_not_matter(
    reactor: SteppedReactor,
) -> None:
    deadlines = Deadlines(reactor)
    stays, goes = Guest(reactor), Guest(reactor)
    deadline = reactor.clock() + 1
    numbers = [deadlines.enter(guest, deadline) for guest in (stays, goes)]
    deadlines.leave(goes, numbers[1])
    pass_time(reactor, deadline + 2 * ROUND_SECONDS)
    assert (len(stays.called), goes.called) == (1, [])
    deadlines.leave(stays, numbers[0])


def test_one_that_fails_answers_for_it_and_the_others_are_called(reactor: SteppedReactor) -> None:
    faults: list[object] = []

    def on_fault(answering: object, _fault: Exception) -> float:
        faults.append(answering)
        return 1.0

    reactor.on_fault = on_fault
    deadlines = Deadlines(reactor)
    guests = [Guest(reactor) for _ in range(3)]
    guests[0].fails = True
    deadline = reactor.clock() + 1
    for guest in guests:
        deadlines.enter(guest, deadline)
    pass_time(reactor, deadline + 2 * ROUND_SECONDS)
    assert faults == [guests[0]]
    assert [len(guest.called) for guest in guests] == [1, 1, 1]
