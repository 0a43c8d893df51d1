"""Whether the person in front of the terminal is there, and when they were there last.

What is shown then is decided elsewhere.
"""

import time
from collections.abc import Callable

from chat.limits import AWAY_SECONDS

_GOES_ON = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _clock() -> float:
    """It goes on while the machine sleeps: nobody reads meanwhile."""
    return time.clock_gettime(_GOES_ON)


class Attention:
    """The person is away while the window has no focus, or when no key was pressed for
    AWAY_SECONDS. `has_focus` is None as long as the terminal does not tell."""

    def __init__(self, clock: Callable[[], float] = _clock) -> None:
        self._clock = clock
        self._here_at = clock()
        self._marked = False
        self.has_focus: bool | None = None

    def on_key(self) -> None:
        """A key was pressed."""
        if self.has_focus is False:
            # So the report was not about this window.
            self.has_focus = None
        self._here_at = self._clock()
        self._marked = False

    def on_focus(self, has_focus: bool) -> None:
        """The window has got the focus, or lost it."""
        if has_focus:
            self.on_key()
        elif not self._is_away:
            self._here_at = self._clock()
        self.has_focus = has_focus

    @property
    def _is_away(self) -> bool:
        return self.has_focus is False or self._clock() - self._here_at >= AWAY_SECONDS

    def unread_for(self) -> float | None:
        """Called when something is about to be shown that was not read before: for how many seconds
        the person has been away. None if they are here, or if this was told since they left."""
        if self._marked or not self._is_away:
            return None
        self._marked = True
        return self._clock() - self._here_at
