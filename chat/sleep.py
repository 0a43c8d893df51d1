"""Notices that the machine has slept, for instance with its lid closed. The loop's timers cannot:
their clock stands still meanwhile.

What should be done then is not decided here.
"""

import contextlib
import os
import time
from collections.abc import Callable

from chat.limits import SLEEP_SECONDS
from chat.reactor import Reactor

_NEVER = 2**31 - 1
"""Far ahead, in seconds since 1970, and within a `long` of 32 bits."""

_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
"""As <linux/timerfd.h> has them."""

_GOES_ON = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that goes on during sleep. On macOS that is CLOCK_MONOTONIC, which is not the clock of
`time.monotonic` there."""


def seconds_slept() -> float:
    """How many seconds this machine has slept, counted from some time in the past."""
    # The order matters: an interruption between the two makes the result too small, not too large.
    goes_on = time.clock_gettime(_GOES_ON)
    return goes_on - time.monotonic()


class SleepWatch:
    """Calls `on_woken` when the machine has slept. `close` when done.

    Every turn of the loop compares the clocks. On Linux a timer makes sure that there is a turn
    when the machine wakes: it never fires, but is cancelled when the wall clock jumps, as it does
    then (timerfd_create(2)). Elsewhere the next key, timer or frame makes the turn."""

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
        """The wall clock was set, or the machine has slept; `_look` finds out in this turn."""
        assert self._alarm is not None
        # Reading fails with ECANCELED, once for each time that the timer was cancelled.
        with contextlib.suppress(OSError):
            os.read(self._alarm, 8)

    def _look(self) -> None:
        slept = self._slept()
        woken = slept - self._known >= SLEEP_SECONDS
        self._known = max(self._known, slept)
        if woken:
            # Deferred, so that what it sends leaves before the next wait.
            self._reactor.defer(self._on_woken)


def _alarm() -> int | None:
    """A descriptor that becomes readable when the wall clock jumps; None if the system has none."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        descriptor: int = libc.timerfd_create(time.CLOCK_REALTIME, _TFD_FLAGS)
        set_time = libc.timerfd_settime
    except (ImportError, AttributeError, OSError):
        return None
    if descriptor < 0:
        return None
    # A `struct itimerspec`: the interval, which is none, and the time.
    when = (ctypes.c_long * 4)(0, 0, _NEVER, 0)
    if set_time(descriptor, _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET, when, None):
        os.close(descriptor)
        return None
    return descriptor
