"""Local time, as the system has it now.

The C library reads the time zone once, and Python does not ask it to look again: who travels, or
changes the zone of the machine, would see the old one until the program ends.
"""

import os
import time
from datetime import datetime

from chat.limits import ZONE_SECONDS

_looked_at = float("-inf")
"""By the wall clock, which goes on while the machine sleeps."""


def local(seconds: float) -> datetime:
    """A time since 1970 in the local zone.

    Raises:
        OverflowError, OSError, ValueError: no calendar holds it.
    """
    if abs(time.time() - _looked_at) >= ZONE_SECONDS:
        look_again()
    return datetime.fromtimestamp(seconds)


def look_again() -> None:
    """See whether the zone is another one."""
    global _looked_at
    _looked_at = time.time()
    zone = os.environ.get("TZ")
    if zone is not None:
        # A file that TZ names is read again only when TZ has had another value meanwhile.
        os.environ["TZ"] = "UTC0"
        time.tzset()
        os.environ["TZ"] = zone
    time.tzset()


TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def time_of(seconds: float, time_format: str = TIME_FORMAT) -> str:
    """A time since 1970 as local time; what no calendar holds is shown as question marks."""
    try:
        return local(seconds).strftime(time_format)
    except (OverflowError, OSError, ValueError):
        return "????-??-?? ??:??:??"
