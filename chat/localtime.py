"""Local time, in the zone that the system has now.

The C library reads the time zone once, and Python does not ask it to read it again. Without this
module, a person who travels would see times of the old zone until the program ends.
"""

import os
import time
from datetime import UTC, datetime
from functools import lru_cache

from chat.limits import CACHED_TIMES, ZONE_SECONDS

_looked_at = float("-inf")
"""When the zone was read last, by the wall clock, which goes on while the machine sleeps."""


def local(seconds: float) -> datetime:
    """The local time for seconds since 1970.

    Raises:
        OverflowError, OSError, ValueError: the calendar does not reach that far.
    """
    _look_if_due()
    return datetime.fromtimestamp(seconds)


def _look_if_due() -> None:
    if abs(time.time() - _looked_at) >= ZONE_SECONDS:
        look_again()


def look_again() -> None:
    """Read the zone again."""
    global _looked_at
    _looked_at = time.time()
    _written.cache_clear()
    zone = os.environ.get("TZ")
    if zone is not None:
        # A file that TZ names is read again only if TZ has had another value in between.
        os.environ["TZ"] = "UTC0"
        time.tzset()
        os.environ["TZ"] = zone
    time.tzset()


TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
SHORT_TIME_FORMAT = "%H:%M"
"""Where a line tells when a new day begins."""


def time_of(seconds: float, time_format: str = TIME_FORMAT) -> str:
    """Seconds since 1970 as local time; question marks if the calendar does not reach that far."""
    _look_if_due()
    # Of many messages most are of the same second.
    return _written(seconds if "%f" in time_format else seconds // 1, time_format)


@lru_cache(CACHED_TIMES)
def _written(seconds: float, time_format: str) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime(time_format)
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??:??"


def iso_of(seconds: float) -> str:
    """Seconds since 1970 as local time with its offset, for logs: `2026-11-27T14:00:00+01:00`."""
    return local(seconds).astimezone().isoformat(timespec="seconds")


def stamp_of(seconds: float) -> str:
    """A time, in seconds since 1970, as it stands in files: `2026-11-27T13:00:00Z`."""
    return datetime.fromtimestamp(max(0, int(seconds)), UTC).isoformat()[:19] + "Z"


def seconds_of(stamp: str) -> int:
    """The opposite of `stamp_of`; raises ValueError."""
    return int(datetime.fromisoformat(stamp).timestamp())
