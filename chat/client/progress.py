"""Since when nothing has gone on between a client and its server.

Pure: it is told the time once a turn. What is waited for is not known here.
"""

from chat.limits import PING_SECONDS, PONG_SECONDS

_ASLEEP_SECONDS = PING_SECONDS + PONG_SECONDS
"""A client that runs is told the time more often than this."""


class Progress:
    """`since` is when something that was waited for came last, or the waiting began; `began` is
    when the present phase did."""

    def __init__(self) -> None:
        self.since = self.began = 0.0
        self._phase: object = None
        self._waiting = False
        self._moved = False
        self._looked_at = 0.0

    def move(self) -> None:
        """Something that was waited for has come, since the last look."""
        self._moved = True

    def look(self, now: float, phase: object, *, waiting: bool, listening: bool) -> None:
        """It is so now. What cannot have come, since we did not listen or slept, is not late."""
        deaf = not listening or now - self._looked_at > _ASLEEP_SECONDS
        if deaf or self._moved or not waiting or not self._waiting:
            self.since = now
        if deaf or phase is not self._phase:
            self.began = now
        self._phase, self._waiting, self._moved = phase, waiting, False
        self._looked_at = now
