"""Notices that the machine has slept, with its lid closed perhaps: timers do not, since the clock
that they go by stood still meanwhile.

What is to be done then is not known here.
"""

import contextlib
import os
import time
from collections.abc import Callable

from chat.limits import SLEEP_SECONDS
from chat.reactor import Reactor

_NEVER = 2**31 - 1
"""A time far ahead, in seconds since 1970, which fits where a `long` has 32 bits."""

_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
"""As <linux/timerfd.h> has them."""

_GOES_ON = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that goes on in sleep: where it has no name of its own (macOS), CLOCK_MONOTONIC does,
which there is not what `time.monotonic` asks."""


def seconds_slept() -> float:
    """For how long this machine has slept since some time in the past."""
    # In this order: whoever is interrupted in between is told too little, never too much.
    goes_on = time.clock_gettime(_GOES_ON)
    return goes_on - time.monotonic()


class SleepWatch:
    """Calls `on_woken` when the machine has slept. `close` when done.

    Every turn of the loop compares the clocks. That there is a turn when the machine wakes, a timer
    of Linux sees to: it never fires, but is cancelled when the wall clock jumps, as it does then
    (timerfd_create(2)). Elsewhere it shows with the next key, timer or piece of news."""

    def __init__(
        self,
        reactor: Reactor,
        on_woken: Callable[[], None],
        slept: Callable[[], float] = seconds_slept,
    ) -> None:
        self._reactor = reactor
        self._on_woken = on_woken
        self._slept = slept
        self._known = slept()
        self._alarm = _alarm()
        if self._alarm is not None:
            reactor.watch_read(self._alarm, self._on_alarm)
        reactor.before_wait(self._look)

    def close(self) -> None:
        """Let go of the timer."""
        if self._alarm is not None:
            self._reactor.unwatch(self._alarm)
            os.close(self._alarm)
            self._alarm = None

    def _on_alarm(self) -> None:
        """The clock was set, or we have slept; looking is up to the turn."""
        assert self._alarm is not None
        # That the timer is cancelled is told as an error (ECANCELED), once each time.
        with contextlib.suppress(OSError):
            os.read(self._alarm, 8)

    def _look(self) -> None:
        slept = self._slept()
        woken = slept - self._known >= SLEEP_SECONDS
        self._known = max(self._known, slept)
        if woken:
            # What this leads to is sent before the next wait.
            self._reactor.defer(self._on_woken)


def _alarm() -> int | None:
    """A descriptor that can be read when the wall clock has jumped; None where there is none."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        descriptor: int = libc.timerfd_create(time.CLOCK_REALTIME, _TFD_FLAGS)
        set_time = libc.timerfd_settime
    except (ImportError, AttributeError, OSError):
        return None
    if descriptor < 0:
        return None
    # A `struct itimerspec`: no interval, and when.
    when = (ctypes.c_long * 4)(0, 0, _NEVER, 0)
    if set_time(descriptor, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, when, None):
        os.close(descriptor)
        return None
    return descriptor
