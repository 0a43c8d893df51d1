"""Noticing that the machine has slept."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

import pytest

import chat.sleep
from chat.limits import SLEEP_SECONDS
from chat.reactor import Reactor
from chat.sleep import SleepWatch, seconds_slept
from tests.support.helpers import FakeClock


class Night:
    """A machine that sleeps when a test says so, and a count of the times that this was noticed."""

    def __init__(self) -> None:
        self.slept = FakeClock(5.0)
        self.woken = 0
        self.reactor = Reactor()
        self.watch = SleepWatch(self.reactor, self._on_woken, self.slept)

    def _on_woken(self) -> None:
        self.woken += 1

    def turn(self) -> None:
        """A turn that may see that the machine has slept, and the next one, which tells it."""
        self.reactor.turn(0)
        self.reactor.turn(0)

    def close(self) -> None:
        self.watch.close()
        self.reactor.close()


@pytest.fixture
def night() -> Iterator[Night]:
    with contextlib.closing(Night()) as night:
        yield night


def test_sleep_is_told_once(night: Night) -> None:
    assert seconds_slept() - seconds_slept() < SLEEP_SECONDS, "however busy the machine is"
    night.turn()
    night.slept.advance(SLEEP_SECONDS)
    night.turn()
    assert night.woken == 1
    night.turn()
    assert night.woken == 1
    night.slept.advance(8 * 3600)
    night.turn()
    assert night.woken == 2


def test_nap_is_not_told(night: Night) -> None:
    for _ in range(10):
        night.slept.advance(SLEEP_SECONDS / 2)
        night.turn()
    assert night.woken == 0


def test_clocks_that_are_read_far_apart_are_no_sleep(night: Night) -> None:
    """A process that is stopped between the two readings sees too little, once."""
    night.slept.advance(-3600)
    night.turn()
    night.slept.advance(3600)
    night.turn()
    assert night.woken == 0


def test_clock_that_is_set_wakes_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the loop would wait for ever. By itself it is no sleep."""
    alarm, hand = os.pipe()
    monkeypatch.setattr(chat.sleep, "_alarm", lambda: alarm)
    with contextlib.closing(Night()) as night:
        os.write(hand, b"12345678")
        night.turn()
        assert night.woken == 0
        night.slept.advance(3600)
        night.turn()
        assert night.woken == 1
    os.close(hand)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no timerfd here")
def test_alarm_of_the_kernel_is_set_and_silent(night: Night) -> None:
    """That it is cancelled when a machine wakes cannot be tried here."""
    assert night.watch._alarm is not None
    with open(f"/proc/self/fdinfo/{night.watch._alarm}") as file:
        told = dict(line.split(":", 1) for line in file.read().splitlines())
    assert int(told["clockid"]) == time.CLOCK_REALTIME
    assert int(told["settime flags"], 8) == 0o3
    with pytest.raises(BlockingIOError):
        os.read(night.watch._alarm, 8)
    night.turn()
    assert night.woken == 0


def test_no_alarm_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    with contextlib.closing(Night()) as night:
        assert night.watch._alarm is None
        night.slept.advance(3600)
        night.turn()
        assert night.woken == 1


def test_nothing_is_left_when_it_is_closed(night: Night) -> None:
    night.watch.close()
    night.watch.close()
    assert not night.reactor._selector.get_map()
