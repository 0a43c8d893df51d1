"""Whose clock differs: nobody whose message was only held up."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from chat.client.clocks import Clocks
from chat.client.events import (
    ClientEvent,
    ClockDiffers,
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
    Reconnected,
)
from chat.errors import Reason
from chat.limits import DELAY_SECONDS, PING_SECONDS, SETTLE_SECONDS, SKEW_SECONDS
from tests.support.helpers import WALL_CLOCK
from tests.support.loopback import Hall, Seat

HOUR = 3600.0


class Listener:
    """Somebody who has been in for an hour, as has Thea; the clocks of both go on as told."""

    def __init__(self) -> None:
        self.clocks = Clocks()
        self.now, self.live = 1000.0, True
        self._number = 1
        self.pass_time(HOUR)
        self.told: list[ClockDiffers] = []

    @property
    def wall_clock(self) -> float:
        return WALL_CLOCK + self.now

    def pass_time(self, seconds: float) -> None:
        """A running client takes a turn now and then."""
        while seconds > 0:
            self.now += min(seconds, PING_SECONDS)
            seconds -= PING_SECONDS
            self.turn()

    def turn(self) -> None:
        self.clocks.tick(self.now, self.wall_clock, live=self.live)

    def happen(self, *events: ClientEvent) -> None:
        self.turn()
        for event in events:
            assert self.clocks.take(event, self.now, self.wall_clock) == [event]

    def hears(
        self, seconds: float, name: str = "Thea", number: int = 0, *, own: bool = False
    ) -> bool:
        """Whether the time of a message that comes so late is doubtful."""
        self._number += 1
        said = MessageReceived(
            name, int((self.wall_clock - seconds) * 1000), "hi", own, number or self._number
        )
        self.turn()
        shown, *told = self.clocks.take(said, self.now, self.wall_clock)
        assert isinstance(shown, MessageReceived)
        assert shown.arrived_ms == int(self.wall_clock * 1000)
        self.told += [each for each in told if isinstance(each, ClockDiffers)]
        return shown.doubtful


@pytest.mark.parametrize(
    "seconds", [-2 * HOUR, -SKEW_SECONDS - 1, DELAY_SECONDS + 1, 54 * 365 * 24 * HOUR]
)
def test_time_that_differs_is_doubtful_and_said_once_of_each(seconds: float) -> None:
    seat = Listener()
    assert seat.hears(seconds)
    assert seat.hears(seconds)
    assert not seat.hears(0)
    assert seat.hears(seconds)
    assert seat.hears(seconds, "Zoe")
    assert [(each.name, round(each.seconds)) for each in seat.told] == [
        ("Thea", round(seconds)),
        ("Zoe", round(seconds)),
    ]


@pytest.mark.parametrize("seconds", [1 - SKEW_SECONDS, 0, DELAY_SECONDS - 1])
def test_small_difference_is_none(seconds: float) -> None:
    assert not Listener().hears(seconds)


def test_own_message_is_not_doubted() -> None:
    assert not Listener().hears(HOUR, own=True)


@pytest.mark.parametrize(
    "events",
    [
        [MemberLost("Thea"), MemberBack("thea")],
        [MemberLeft("Thea", Reason.TIMEOUT), MemberJoined("Thea")],
        [Reconnected(0, new_room=False, awaiting=False)],
        [Reconnected(0, new_room=True, awaiting=True), Entered(("Thea",), again=True)],
    ],
)
@pytest.mark.parametrize("number", [1, 5])
def test_what_waited_for_a_connection_is_late_and_its_time_is_right(
    events: list[ClientEvent], number: int
) -> None:
    seat = Listener()
    seat.happen(*events)
    seat.pass_time(SETTLE_SECONDS - 1)
    assert not seat.hears(HOUR, number=number)
    assert seat.hears(-HOUR)
    assert not seat.hears(0)
    seat.pass_time(1)
    assert seat.hears(HOUR, number=number)


def test_first_words_of_a_newcomer_have_not_waited_and_later_ones_may_have() -> None:
    seat = Listener()
    seat.happen(MemberJoined("Zoe"), MemberJoined("Max"))
    assert seat.hears(HOUR, "Zoe", 1)
    assert seat.hears(HOUR, "Zoe", 2)
    assert not seat.hears(HOUR, "Max", 7)
    seat.pass_time(SETTLE_SECONDS)
    assert seat.hears(HOUR, "Max", 8)


def fall_asleep(seat: Listener) -> None:
    seat.now += HOUR


def stop_reading(seat: Listener) -> None:
    seat.live = False
    seat.pass_time(HOUR)
    seat.live = True


@pytest.mark.parametrize("pause", [fall_asleep, stop_reading])
def test_what_waited_for_us_is_late_and_its_time_is_right(
    pause: Callable[[Listener], None],
) -> None:
    seat = Listener()
    pause(seat)
    assert not seat.hears(HOUR)
    assert not seat.hears(HOUR / 2)
    assert not seat.hears(0)
    seat.pass_time(SETTLE_SECONDS)
    assert seat.hears(HOUR)


def test_sender_who_has_more_to_say_than_is_taken_falls_behind_and_is_not_doubted() -> None:
    seat = Listener()
    for late in range(0, 1000, 9):
        assert not seat.hears(late)
        seat.pass_time(10)
    assert seat.hears(HOUR, "Zoe")
    assert seat.hears(HOUR)


def test_slow_line_makes_all_late_and_nobody_is_doubted() -> None:
    seat = Listener()
    for late in range(0, 1000, 9):
        assert not seat.hears(late)
        seat.pass_time(10)
    assert not seat.hears(1000, "Zoe")


def test_clock_that_stands_still_is_doubted_once_its_owner_has_paused() -> None:
    seat = Listener()
    assert not seat.hears(0)
    seat.pass_time(HOUR)
    assert seat.hears(HOUR)


# -- with a server


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


def is_shown(seat: Seat, end: str) -> bool:
    """Whether a line that was shown last ends so."""
    return any(line.endswith(end) for line in seat.screen.lines()[-2:])


def test_client_says_whose_clock_differs(hall: Hall) -> None:
    thea, zoe = hall.join("Thea", "other"), hall.join("Zoe", "sahnawaz")
    seat = hall.seat("Ira")
    seat.begin()
    hall.until(lambda: seat.inside)
    for peer, late in ((zoe, 0), (thea, 2 * HOUR), (thea, 2 * HOUR), (zoe, 1)):
        peer.participant.say(f"{late:.0f}", int((time.time() - late) * 1000))
        peer.flush()
        shown = f" {peer.name_in_room}: {late:.0f}"
        hall.until(partial(is_shown, seat, shown))
    assert [line for line in seat.screen.lines() if "clock" in line] == [
        "[!] The times of Thea are 2 hours behind your clock: one of the two clocks is wrong, or "
        "Thea sends wrong times."
    ]
