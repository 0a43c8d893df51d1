"""Lines that stand between the others: where a new day begins, and where the person stopped
reading. When they are due is decided here, except that `attention` knows when the person is away.
"""

import time

from chat.limits import SKEW_SECONDS
from chat.localtime import time_of

_DAY = "%Y-%m-%d"


def unread(away_seconds: float, time_format: str) -> str:
    """Stands above the first message that came while the person was away."""
    since = time_of(time.time() - away_seconds, time_format)
    return titled(f"{since}, unread" if since else "unread")


def titled(text: str) -> str:
    """A text as such a line."""
    return f"── {text} ──"


class Days:
    """Remembers on which day the thing was that was shown last."""

    def __init__(self) -> None:
        self._last = time_of(time.time(), _DAY)

    def begins(self, seconds: float | None = None) -> str:
        """The line to be shown before something of this time, in seconds since 1970 (None: now);
        empty if the day is still the same. What others said at midnight comes in any order within a
        moment, and begins no day again and again."""
        now = time.time()
        seconds = now if seconds is None else seconds
        day, today = time_of(seconds, _DAY), time_of(now, _DAY)
        is_today = abs(now - seconds) <= SKEW_SECONDS
        if self._last == day or "?" in day or (is_today and self._last == today):
            return ""
        self._last = day
        return titled(f"{time_of(seconds, '%A')}, {day}")
